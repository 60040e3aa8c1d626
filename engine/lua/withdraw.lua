--[[
Take stock away from a campaign's share in this cell, never below what is issued.

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
outcomes:
  DONE SOLD_OUT
]]

local campaign, number = keys.campaign(ARGV[1]), tonumber(ARGV[2])
local row = redis.call('HMGET', campaign, 'version', 'share', 'left')
local left, share = tonumber(row[3]) or 0, tonumber(row[2]) or 0
if left < number then return pack.array(OUTCOME.SOLD_OUT, batch.now, left) end
-- After this point the act must succeed.
redis.call('HSET', campaign, 'left', left - number, 'share', share - number)
batch.fact('published', batch.now, ARGV[1], '', ARGV[3], tonumber(row[1]), share - number, -number)
batch.finish()
return pack.array(OUTCOME.DONE, batch.now, left - number)
