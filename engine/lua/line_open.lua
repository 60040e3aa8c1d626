--[[
Open a campaign's waiting line: the first person is about to join it.

include:  batch, keys
keys:
  1 cell        hash  epoch, seq and definitions of the cell
derived:
  line          hash  the waiting line: its version is odd while it is open
  lines         zset  campaigns whose line is open
  facts         stream  the outbox; nothing is told before somebody joins
arguments:
  1 batch       msgpack array of line_commands.LineOpen
outcomes:
  DONE REPEATED
]]

return batch.run(function(op)
  local id, now, handle = op[LINEOPEN.campaign_id], batch.at(op[LINEOPEN.now]), op[LINEOPEN.handle]
  local version = tonumber(redis.call('HGET', keys.line(id), 'version')) or 0
  if handle == '' or version % 2 == 1 then
    return batch.answer(OUTCOME.REPEATED, now, version)
  end
  -- After this point the act must succeed.
  redis.call('HSET', keys.line(id), 'version', version + 1)
  redis.call('ZADD', keys.lines(), 0, id)
  return batch.answer(OUTCOME.DONE, now, version + 1)
end)
