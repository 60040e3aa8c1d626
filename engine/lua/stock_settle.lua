--[[
Forget that something was sent: it has arrived, and nothing has been sent there since.

include:  batch, keys, pack
keys:
  1 cell      hash    epoch, seq and definitions of the cell
derived:
  sent        zset    what was sent where, by when, for the sweeper
arguments:
  1 member    text    of the zset
  2 at        text    its score
outcomes:
  DONE
]]

local score = redis.call('ZSCORE', keys.sent(), ARGV[1])
-- After this point the act must succeed.
if score and tonumber(score) == tonumber(ARGV[2]) then redis.call('ZREM', keys.sent(), ARGV[1]) end
return pack.array(OUTCOME.DONE, batch.now, nil)
