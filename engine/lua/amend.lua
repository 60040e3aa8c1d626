--[[
Correct the plate of a stay that is not over, or take money off it by hand (the last word counts).
With a plate goes the person it was recorded for, unless something of theirs was committed.

include:  batch, stays
keys:
  1 cell      hash    epoch, seq and definitions of the cell
derived:
  stay        string  the stay
  facts       stream  the outbox
arguments:
  1 batch     msgpack array of commands.Amend
outcomes:
  DONE REPEATED NOT_FOUND IDEMPOTENCY_KEY_REUSED STAY_CLOSED WINDOW_MOVED WALLET_MOVED
]]

-- The place and form of corrections and overrides are alike: serial, fingerprint, at, ...
local function receipt(list, op)
  for _, one in ipairs(list) do
    if one[OVERRIDE.serial] == op[AMEND.serial] or one[OVERRIDE.serial] == op[AMEND.serial_before]
    then
      return one
    end
  end
end

return batch.run(function(op)
  local now, handle = batch.at(op[AMEND.now]), op[AMEND.handle]
  if batch.window_moved(now, op[AMEND.window]) then
    return batch.answer(OUTCOME.WINDOW_MOVED, now)
  end
  local stay, packed = stays.get(handle)
  if not stay then return batch.answer(OUTCOME.NOT_FOUND, now) end
  local plate = op[AMEND.what] == 'plate'
  local list = stay[plate and STAY.corrections or STAY.overrides]
  local known = receipt(list, op)
  if known then
    if known[OVERRIDE.fingerprint] ~= op[AMEND.fingerprint] then
      return batch.answer(OUTCOME.IDEMPOTENCY_KEY_REUSED, now)
    end
    return batch.record(OUTCOME.REPEATED, now, packed)
  end
  if stay[STAY.closed] > 0 then return batch.answer(OUTCOME.STAY_CLOSED, now) end
  if plate and stay[STAY.owner] ~= op[AMEND.owner] then
    return batch.answer(OUTCOME.WALLET_MOVED, now)
  end
  local before, override = stay[STAY.plate], nil
  if plate then
    list[#list + 1] = { op[AMEND.serial], op[AMEND.fingerprint], now, before, op[AMEND.plate] }
    stay[STAY.plate] = op[AMEND.plate]
    if op[AMEND.keep] == 0 and before ~= op[AMEND.plate] then
      stay[STAY.user_id], stay[STAY.owner] = '', ''
    end
  else
    before = ''
    override = { op[AMEND.serial], op[AMEND.fingerprint], now, op[AMEND.amount],
      op[AMEND.reason], op[AMEND.staff_id] }
    list[#list + 1] = override
  end
  -- After this point the act must succeed.
  packed = stays.put(handle, stay, now, op[AMEND.who], op[AMEND.what], op[AMEND.fingerprint],
    before, override)
  return batch.record(OUTCOME.DONE, now, packed)
end)
