--[[
Tell the books which lots of a person's points have expired. The clock decided long ago.

include:  batch, keys, points
keys:
  1 cell        hash    epoch, seq and definitions of the cell
derived:
  wallet        hash    the person's live state, their points in field p
  points        string  the entries whose lots expire
  points_due    zset    people by the time their next lot expires
  facts         stream  the outbox
arguments:
  1 batch       msgpack array of commands.Expire
outcomes:
  DONE REPEATED
]]

return batch.run(function(op)
  local handle, now = op[EXPIRE.handle], batch.at(op[EXPIRE.now])
  local row = redis.call('HMGET', keys.wallet(handle), 'u', 'p')
  if not row[1] or not row[2] then return batch.answer(OUTCOME.REPEATED, now) end
  local record = points.read(row[2], now)
  if #record.expired == 0 then return batch.answer(OUTCOME.REPEATED, now) end
  -- After this point the act must succeed.
  points.put(handle, cmsgpack.unpack(row[1])[USER.user_id], record, now)
  return batch.answer(OUTCOME.DONE, now)
end)
