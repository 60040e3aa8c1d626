--[[
Note for which waiting line a person uses an Idempotency-Key, before they join it in another cell
(line_join.lua does it for those of its own); or tell for which
other one they have used it. Who was refused used it for none.

include:  batch, keys, lines
keys:
  1 cell        hash    epoch, seq and definitions of the cell
derived:
  joining       string  the campaign whose line it is
  facts         stream  the outbox; nothing is told
arguments:
  1 batch       msgpack array of line_commands.LineKey
outcomes:
  DONE ALREADY_EXISTS
]]

return batch.run(function(op)
  local handle, id, now = op[LINEKEY.handle], op[LINEKEY.campaign_id], batch.at(op[LINEKEY.now])
  local key = keys.joining(handle, op[LINEKEY.serial])
  local before = keys.joining(handle, op[LINEKEY.serial_before])
  local other = lines.used(key, before)
  local refused = op[LINEKEY.refused] == 1
  if not refused and other == id or refused and other ~= id then
    return batch.answer(OUTCOME.DONE, now)
  end
  if other and not refused and other ~= op[LINEKEY.free_of] then
    return batch.answer(OUTCOME.ALREADY_EXISTS, now, other)
  end
  -- After this point the act must succeed.
  if refused then redis.call('DEL', key, before)
  else redis.call('SET', key, id, 'EX', lines.kept) end
  return batch.answer(OUTCOME.DONE, now)
end)
