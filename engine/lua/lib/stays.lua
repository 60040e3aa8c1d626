-- include: batch, keys, pack
-- Stays: one packed record each (engine/parking/records.py).
local stays = {}

-- The record, and the same packed; nil when there is none.
function stays.get(handle)
  local packed = redis.call('GET', keys.stay(handle))
  return packed and cmsgpack.unpack(packed), packed
end

-- Keep it and tell the books what became of it; returns it packed.
function stays.put(handle, stay, now, who, what, fingerprint, before, override)
  local packed = pack.array(unpack(stay, 1, STAY.overrides))
  redis.call('SET', keys.stay(handle), packed)
  batch.fact('stay_told', now, handle, fingerprint, who, what, stay[STAY.lot_id],
    stay[STAY.session_id], stay[STAY.plate], stay[STAY.entered], stay[STAY.closed],
    stay[STAY.exited], stay[STAY.user_id], before, override and override[OVERRIDE.amount] or 0,
    override and override[OVERRIDE.reason] or '', override and override[OVERRIDE.staff_id] or '')
  return packed
end
