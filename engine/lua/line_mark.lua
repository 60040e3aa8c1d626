--[[
Tell this cell whether people wait for a campaign: while they do, nobody else is given one.
What was told later stands, whatever comes in late.

include:  batch, campaigns, keys
keys:
  1 cell        hash    epoch, seq and definitions of the cell
derived:
  campaign      hash    the campaign's share in this cell; it keeps the version
  facts         stream  the outbox; nothing is told
  quotas        hash    the quotas that it shares with others
arguments:
  1 batch       msgpack array of line_commands.LineMark
outcomes:
  DONE REPEATED NOT_FOUND
]]

return batch.run(function(op)
  local id, now, version = op[LINEMARK.campaign_id], batch.now, op[LINEMARK.version]
  local share = campaigns.share(id)
  if not share then return batch.answer(OUTCOME.NOT_FOUND, now) end
  -- How long a door that was shut before the line began stays so (shut.lua).
  local promised = math.max(0, share.promise[PROMISE.until_ms] - now)
  local told = tonumber(redis.call('HGET', keys.campaign(id), 'waiting')) or 0
  if told >= version then return batch.answer(OUTCOME.REPEATED, now, promised) end
  -- After this point the act must succeed.
  redis.call('HSET', keys.campaign(id), 'waiting', version)
  share.waiting = version % 2 == 1
  return batch.answer(OUTCOME.DONE, now, promised)
end)
