--[[
Read somebody's place in a waiting line. It comes in batches as acts do: those who wait ask often.

include:  batch, campaigns, keys, lines, pack
keys:
  1 cell        hash    epoch, seq and definitions of the cell
derived:
  campaign      hash    the campaign's share in this cell, for its rules
  line          hash    the waiting line and who joined it
  line_order    zset    who waits, first come first
  redemption    string  lapsed holds that set part of the budget aside
  opens         zset    open holds on a limited campaign
  facts         stream  the outbox; nothing is told
  quotas        hash    the quotas that it shares with others
arguments:
  1 batch       msgpack array of line_commands.LineRead
outcomes:
  DONE NOT_FOUND CAMPAIGN_FROZEN CAMPAIGN_PAUSED CAMPAIGN_ENDED NOT_STARTED USER_FROZEN NOT_ELIGIBLE
  CHANNEL_NOT_ALLOWED USER_LIMIT USER_DAY_LIMIT USER_WEEK_LIMIT USER_MONTH_LIMIT
  CAMPAIGN_RATE_LIMIT CAMPAIGN_DAY_LIMIT BUDGET_EXHAUSTED SOLD_OUT
]]

return batch.run(function(op)
  local id, person, now = op[LINEREAD.campaign_id], op[LINEREAD.person], batch.at(op[LINEREAD.now])
  local share = campaigns.share(id)
  if not share or op[LINEREAD.handle] == '' then return batch.answer(OUTCOME.NOT_FOUND, now) end
  local row = redis.call('HMGET', keys.line(id), 'why', 'e' .. person)
  if not row[2] then return batch.answer(OUTCOME.NOT_FOUND, now) end
  local rank = redis.call('ZRANK', keys.line_order(id), person)
  local outcome = lines.closed(share, now, op[LINEREAD.offset])
  -- After this point the act must succeed.
  return pack.header(4) .. cmsgpack.pack(outcome, now) .. row[2]
    .. pack.array(rank and rank + 1 or 0, tonumber(row[1]) or 0)
end)
