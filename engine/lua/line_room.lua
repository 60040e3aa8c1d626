--[[
Read how much of a campaign this cell has to offer, and when the next order of it lapses.

flags:    no-writes allow-oom
include:  batch, campaigns, keys, pack
keys:
  1 cell        hash    epoch, seq and definitions of the cell
derived:
  campaign      hash    the campaign's share in this cell
  line          hash    the waiting line, where it is this cell's
  pending       zset    open orders of the campaign; what has lapsed is free
  quotas        hash    the quotas that it shares with others
arguments:
  1 request     msgpack [now, campaign]
outcomes:
]]

local request = cmsgpack.unpack(ARGV[1])
local now, id = batch.at(request[1]), request[2]
local share = campaigns.share(id)
local line = redis.call('HMGET', keys.line(id), 'version', 'why')
local row = redis.call('HMGET', keys.campaign(id), 'share', 'waiting')
-- Of a quota the orders of other campaigns may have lapsed as well: one more is tried.
local free, next = share and campaigns.in_stock(share) or -1, 0
if share and share.quotas then
  free = math.min(free < 0 and math.huge or free, (campaigns.room(share) or 0) + 1)
end
if share and free >= 0 and share.aside > 0 then
  for _, name in ipairs(redis.call('ZRANGEBYSCORE', keys.pending(id), '-inf', now,
    'LIMIT', 0, 1000)) do
    free = free + tonumber(string.match(name, ':(%d+)$'))
  end
end
if share and share.aside > 0 then
  local first = redis.call('ZRANGEBYSCORE', keys.pending(id), '(' .. now, '+inf', 'WITHSCORES',
    'LIMIT', 0, 1)
  next = tonumber(first[2]) or 0
end
-- What a quota is in this cell, wherever it has moved to: of all cells together, its total.
local totals = {}
for i, quota in ipairs(share and share.quotas or {}) do
  totals[i] = tonumber(redis.call('HGET', keys.quotas(quota.event), 's' .. quota.id)) or 0
end
return pack.header(8) .. cmsgpack.pack(now, free, tonumber(row[1]) or 0, next,
  tonumber(line[1]) or 0, tonumber(line[2]) or 0, tonumber(row[2]) or 0)
  .. pack.array(unpack(totals))
