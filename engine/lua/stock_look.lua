--[[
Tell what a cell has of some campaigns' stock, what it could send away, what has gone to and fro.

flags:    no-writes allow-oom
include:  batch, campaigns, issuing, pack, segments
keys:
  1 cell      hash    epoch, seq and definitions of the cell
derived:
  campaign    hash    the campaigns' shares in this cell
  quotas      hash    the quotas of its event
  pending     zset    open orders of a campaign
arguments:
  1 request   msgpack [now, what, ids]
outcomes:
]]

local request = cmsgpack.unpack(ARGV[1])
local now, found = batch.at(request[1]), {}
for i, id in ipairs(request[3]) do
  local part = segments.read(request[2], id)
  if part then
    local _, free = segments.lapsed(part, now)
    local kept, last = segments.kept_now(part)
    local promise = part.share.promise[PROMISE.until_ms] - batch.now
    if promise > issuing.promise then promise = 0 end
    local left = campaigns.in_stock(part.share) + free
    found[i] = pack.array(left, kept, math.max(0, last - batch.now),
      math.max(0, promise), part.sent, part.received)
  else
    found[i] = '\192'  -- nil
  end
end
return pack.join(found)
