-- include: keys
-- The definitions of this cell: stores and settings, read once a batch.
local stores = { known = {} }

-- records.StoreRecord, or nil when there is no such store.
function stores.get(id)
  if stores.known[id] == nil then
    local packed = redis.call('HGET', keys.cell, 's' .. id)
    stores.known[id] = packed and cmsgpack.unpack(packed) or false
  end
  return stores.known[id] or nil
end

-- parking/records.LotRecord, or nil when there is no such lot.
function stores.lot(id)
  local packed = redis.call('HGET', keys.cell, 'l' .. id)
  return packed and cmsgpack.unpack(packed) or nil
end

-- records.SettingsRecord; an empty table where none are published yet.
function stores.settings()
  if not stores.set then
    local packed = redis.call('HGET', keys.cell, 'settings')
    stores.set = packed and cmsgpack.unpack(packed) or {}
  end
  return stores.set
end

-- The least that must stay to pay, in fen.
function stores.payable_floor()
  return stores.settings()[SETTINGS.payable_floor] or 0
end
