--[[
Take stock or budget away from a campaign's share in this cell, never below what is issued, spent
or set aside.

include:  batch, keys, pack
keys:
  1 cell      hash    epoch, seq and definitions of the cell
derived:
  campaign    hash    the campaign's share in this cell
  facts       stream  the outbox
arguments:
  1 id        text    campaign id
  2 number    int     how many to take away
  3 who       json    who did it
  4 what      text    stock (coupons) or budget (fen)
outcomes:
  DONE SOLD_OUT BUDGET_EXHAUSTED
]]

local campaign, number = keys.campaign(ARGV[1]), tonumber(ARGV[2])
local stock = ARGV[4] == 'stock'
local share_field, left_field = 'budget', 'budget_left'
if stock then share_field, left_field = 'share', 'left' end
local row = redis.call('HMGET', campaign, 'version', share_field, left_field)
local left, share = tonumber(row[3]) or 0, tonumber(row[2]) or 0
if left < number then
  return pack.array(stock and OUTCOME.SOLD_OUT or OUTCOME.BUDGET_EXHAUSTED, batch.now, left)
end
-- After this point the act must succeed.
redis.call('HSET', campaign, left_field, left - number, share_field, share - number)
if stock then
  batch.fact('published', batch.now, ARGV[1], '', ARGV[3], tonumber(row[1]), share - number,
    -number)
end
batch.finish()
return pack.array(OUTCOME.DONE, batch.now, left - number)
