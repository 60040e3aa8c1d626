--[[
Say whose car a plate is, in the cell of the plate.

include:  batch, keys, pack
keys:
  1 cell      hash    epoch, seq and definitions of the cell
derived:
  vehicle     string  whose car it is
  facts       stream  the outbox
arguments:
  1 batch     msgpack array of commands.Vehicle
outcomes:
  DONE REPEATED NOT_FOUND PLATE_TAKEN
]]

local function contains(list, value)
  for _, v in ipairs(list) do if v == value then return true end end
  return false
end

return batch.run(function(op)
  local now, key, users = batch.at(op[VEHICLE.now]), keys.vehicle(op[VEHICLE.handle]),
    op[VEHICLE.user_ids]
  local packed = redis.call('GET', key)
  local had = packed and cmsgpack.unpack(packed)[CAR.user_ids] or {}
  if #users == 0 and not packed then return batch.answer(OUTCOME.NOT_FOUND, now) end
  local removed, stays = {}, 0
  for _, user in ipairs(had) do
    if contains(users, user) then stays = stays + 1 else removed[#removed + 1] = user end
  end
  if #users > 0 and #had > 0 and stays == 0 and op[VEHICLE.anyones] ~= 1 then
    return batch.answer(OUTCOME.PLATE_TAKEN, now)
  end
  local new = pack.array(op[VEHICLE.plate], users)
  if new == packed then return batch.record(OUTCOME.REPEATED, now, packed) end
  -- After this point the act must succeed.
  if #users > 0 then redis.call('SET', key, new) else redis.call('DEL', key) end
  batch.fact('vehicle_told', now, op[VEHICLE.handle], '', op[VEHICLE.who], op[VEHICLE.plate],
    users, removed)
  return batch.record(OUTCOME.DONE, now, new)
end)
