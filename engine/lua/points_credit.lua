--[[
Make an entry of points: earn, spend, or adjust either way. The entry is its own receipt.

include:  batch, keys, people, points
keys:
  1 cell        hash    epoch, seq and definitions of the cell
derived:
  wallet        hash    the person's live state, their points in field p
  points        string  the entry, and those whose lots expire
  points_due    zset    people by the time their next lot expires
  facts         stream  the outbox
arguments:
  1 batch       msgpack array of commands.Credit
outcomes:
  DONE REPEATED IDEMPOTENCY_KEY_REUSED INVALID_REQUEST USER_FROZEN POINTS_INSUFFICIENT
  WINDOW_MOVED
]]

return batch.run(function(op)
  local handle, serial, user_id = op[CREDIT.handle], op[CREDIT.serial],
    op[CREDIT.user_id]
  local now, wallet = batch.at(op[CREDIT.now]), keys.wallet(handle)
  if batch.window_moved(now, op[CREDIT.window]) then
    return batch.answer(OUTCOME.WINDOW_MOVED, now)
  end
  local found, packed = points.entry(handle, serial)
  if not found then found, packed = points.entry(handle, op[CREDIT.serial_before]) end
  if found then
    if found[ENTRY.fingerprint] ~= op[CREDIT.fingerprint] then
      return batch.answer(OUTCOME.IDEMPOTENCY_KEY_REUSED, now)
    end
    return batch.record(OUTCOME.REPEATED, now, packed)
  end
  local kind, number = op[CREDIT.kind], op[CREDIT.points]
  local available, expires = op[CREDIT.available], op[CREDIT.expires]
  if available == 0 then available = now end
  if expires > 0 and expires <= math.max(now, available) then
    return batch.answer(OUTCOME.INVALID_REQUEST, now)
  end
  local row = redis.call('HMGET', wallet, 'u', 'p')
  local user = row[1] and cmsgpack.unpack(row[1])
  if user and user[USER.user_id] ~= user_id then error('two users share a handle') end
  if kind == 'spend' and user and user[USER.frozen] == 1 then
    return batch.answer(OUTCOME.USER_FROZEN, now)
  end
  local record, parts = points.read(row[2], now), {}
  local short = -number - points.available(record, now)
  if number < 0 and short > 0 then
    return batch.answer(OUTCOME.POINTS_INSUFFICIENT, now, nil, short)
  end
  local lot = number > 0 and { serial, number, available, expires } or nil
  if lot then points.add(record, lot) else parts = points.take(record, -number, now) end
  local entry = points.new_entry(kind, number, now, user_id, op[CREDIT.fingerprint],
    op[CREDIT.reason], op[CREDIT.ref], lot, '')
  entry[ENTRY.parts] = parts
  -- After this point the act must succeed.
  if not user then redis.call('HSET', wallet, 'u', people.new(user_id)) end
  local balance = points.put(handle, user_id, record, now)
  return batch.record(OUTCOME.DONE, now,
    points.tell(handle, serial, entry, balance, op[CREDIT.who]))
end)
