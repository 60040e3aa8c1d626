--[[
Tell what a cell has of some campaigns' stock, what it could send away, what has gone to and fro.

flags:    no-writes allow-oom
include:  batch, campaigns, issuing, pack, segments
keys:
  1 cell      hash    epoch, seq and definitions of the cell
derived:
  campaign    hash    the campaigns' shares in this cell
  quotas      hash    the quotas of its event
  lapsing     zset    open orders of a quota
  pending     zset    open orders of a campaign
arguments:
  1 request   msgpack [now, what, ids]
outcomes:
]]

local request = cmsgpack.unpack(ARGV[1])
local now, found, boundless = batch.at(request[1]), {}, 2 ^ 50

-- Of a campaign: for how long nobody is given one, the quotas that it counts against, and whether
-- people wait for it.
local function more(share)
  local promise, names = share.promise[PROMISE.until_ms] - batch.now, {}
  if promise < 0 or promise > issuing.promise then promise = 0 end
  for i, quota in ipairs(share.quotas or {}) do names[i] = quota.name end
  return promise, names, share.waiting and 1 or 0
end

for i, id in ipairs(request[3]) do
  local part = segments.read(request[2], id)
  local share = request[2] == 'stock' and campaigns.share(id) or nil
  local promise, names, waits = 0, {}, 0
  if share then promise, names, waits = more(share) end
  if part then
    local _, free = segments.lapsed(part, now)
    local kept, last = segments.kept_now(part)
    found[i] = pack.array(segments.left(part) + free, kept, math.max(0, last - batch.now), promise,
      part.sent, part.received, names, waits)
  elseif #names > 0 then  -- its quotas alone bound it
    found[i] = pack.array(boundless, 0, 0, promise, {}, {}, names, waits)
  else
    found[i] = '\192'  -- nil
  end
end
return pack.join(found)
