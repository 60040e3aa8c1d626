--[[
Forget that something was sent: it has arrived. Codes of third parties that went along are with the
other cell then.

include:  batch, keys, pack, segments
keys:
  1 cell      hash    epoch, seq and definitions of the cell
derived:
  campaign    hash    the campaign's share in this cell
  quotas      hash    the quotas of its event
  moving      list    codes on their way
  sent        zset    what was sent where, by when, for the sweeper
arguments:
  1 member    text    of the zset: cell, what and id, by colons
  2 at        text    its score; where it was sent to again since, it stays. "" = it stays
  3 received  int     what the other cell has received at least, in all
outcomes:
  DONE
]]

local score = redis.call('ZSCORE', keys.sent(), ARGV[1])
local to, what, id = string.match(ARGV[1], '^(%d+):(%a+):(.*)$')
local part = segments.read(what, id)
local moving = part and (part.sent[tonumber(to) + 1] or 0) - tonumber(ARGV[3])
-- After this point the act must succeed.
if score and score == ARGV[2] then redis.call('ZREM', keys.sent(), ARGV[1]) end
if part and segments.with_codes(part) then
  if moving > 0 then redis.call('LTRIM', keys.moving(to, id), -moving, -1)
  else redis.call('DEL', keys.moving(to, id)) end
end
return pack.array(OUTCOME.DONE, batch.now, nil)
