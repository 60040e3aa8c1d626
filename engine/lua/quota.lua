--[[
Publish a quota of an event to this cell: its share of the total. An older version changes nothing;
a share is never less than what is used of it.

include:  keys, pack
keys:
  1 cell      hash    epoch, seq and definitions of the cell
derived:
  quotas      hash    of each quota s share, m moved here from other cells, u used, v version
arguments:
  1 event     text    event id
  2 quota     text    quota id
  3 version   int     of the quota in the books; -1 = none: `number` is taken from the share
  4 number    int     the share, or how many to take away (negative: to give back)
outcomes:
  DONE REPEATED SOLD_OUT
]]

local key, id, version, share = keys.quotas(ARGV[1]), ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4])
local row = redis.call('HMGET', key, 's' .. id, 'm' .. id, 'u' .. id, 'v' .. id)
local had, moved, used = tonumber(row[1]) or 0, tonumber(row[2]) or 0, tonumber(row[3]) or 0
local before = tonumber(row[4]) or 0
if version == -1 then version, share = before, had - share
elseif before >= version then return pack.array(OUTCOME.REPEATED, had + moved - used) end
if share < had and share + moved < used then
  return pack.array(OUTCOME.SOLD_OUT, had + moved - used)
end
-- After this point the act must succeed.
redis.call('HSET', key, 's' .. id, share, 'v' .. id, version)
return pack.array(OUTCOME.DONE, share + moved - used)
