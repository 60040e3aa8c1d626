--[[
Put a batch of a third party's codes where coupons of this campaign take theirs from. A batch that
was put there before changes nothing.

include:  batch, keys, pack
keys:
  1 cell      hash    epoch, seq and definitions of the cell
derived:
  campaign    hash    the campaign's share in this cell: codes left, the last batch
  pool        list    the codes
  facts       stream  the outbox
arguments:
  1 id        text    campaign id
  2 number    int     of the batch: they come in order, not all to every cell
  3 who       json    who did it
  4 now       int     0 = the server's clock
  5 codes     …       each a text
outcomes:
  DONE REPEATED NOT_FOUND
]]

local at_once = 1000  -- unpack has an end
local campaign, number, now = keys.campaign(ARGV[1]), tonumber(ARGV[2]), batch.at(tonumber(ARGV[4]))
local row = redis.call('HMGET', campaign, 'version', 'batch', 'codes')
if not row[1] then return pack.array(OUTCOME.NOT_FOUND, now, 0) end
local codes = tonumber(row[3]) or 0
if (tonumber(row[2]) or 0) >= number then return pack.array(OUTCOME.REPEATED, now, codes) end
-- After this point the act must succeed.
for i = 5, #ARGV, at_once do
  redis.call('RPUSH', keys.pool(ARGV[1]), unpack(ARGV, i, math.min(#ARGV, i + at_once - 1)))
end
codes = codes + #ARGV - 4
redis.call('HSET', campaign, 'codes', codes, 'batch', number)
batch.fact('codes_loaded', now, ARGV[1], '', ARGV[3], number, #ARGV - 4)
batch.finish()
return pack.array(OUTCOME.DONE, now, codes)
