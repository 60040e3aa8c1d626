--[[
Tell which codes of a third party are on their way to another cell, the last sent last, and how much
this cell has ever sent there.

flags:    no-writes allow-oom
include:  keys, pack, segments
keys:
  1 cell      hash    epoch, seq and definitions of the cell
derived:
  campaign    hash    the campaign's share in this cell
  quotas      hash    the quotas of its event
  moving      list    the codes
arguments:
  1 request   msgpack [id, cell]
outcomes:
]]

local id, to = unpack(cmsgpack.unpack(ARGV[1]))
local part = segments.read('stock', id)
local total = part and part.sent[to + 1] or 0
return pack.array(total, redis.call('LRANGE', keys.moving(to, id), 0, -1))
