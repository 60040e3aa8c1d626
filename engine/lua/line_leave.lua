--[[
Leave a campaign's waiting line.

include:  batch, keys, line_facts, lines, pack
keys:
  1 cell        hash    epoch, seq and definitions of the cell
derived:
  line          hash    the waiting line; it keeps what became of the person
  line_order    zset    who waits, first come first
  facts         stream  the outbox
arguments:
  1 batch       msgpack array of line_commands.LineLeave
outcomes:
  DONE REPEATED NOT_FOUND
]]

return batch.run(function(op)
  local id, person, now = op[LINELEAVE.campaign_id], op[LINELEAVE.person],
    batch.at(op[LINELEAVE.now])
  local _, packed = lines.get(id, person)
  if not packed or op[LINELEAVE.handle] == '' then return batch.answer(OUTCOME.NOT_FOUND, now) end
  local waiter = cmsgpack.unpack(packed)
  if waiter[WAITER.state] ~= WAITER_STATE.WAITING then
    return batch.record(OUTCOME.REPEATED, now, packed)
  end
  waiter[WAITER.state] = WAITER_STATE.LEFT
  packed = cmsgpack.pack(waiter)
  local rank = redis.call('ZRANK', keys.line_order(id), person)
  -- After this point the act must succeed.
  redis.call('ZREM', keys.line_order(id), person)
  redis.call('HSET', keys.line(id), 'e' .. person, packed)
  line_facts.tell(id, person, waiter, now, op[LINELEAVE.who])
  return pack.header(4) .. cmsgpack.pack(OUTCOME.DONE, now) .. packed .. cmsgpack.pack(rank or -1)
end)
