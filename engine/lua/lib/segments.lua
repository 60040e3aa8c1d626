-- include: batch, campaigns, keys, orders, pack, quotas
-- A cell's part of what is handed out over several cells, and how it goes from one to another.
-- What a cell has sent to another, and what it has received from one, are totals that only grow:
-- told again they change nothing, and their difference is what is on its way.
local segments = { kept = 50, most = 1000 }  -- kept: how long what came is for its cell alone, ms

local function list(packed) return packed and cmsgpack.unpack(packed) or {} end

local function with(part, sent, received, kept)
  local row = redis.call('HMGET', part.key, sent, received, kept)
  part.fields = { sent = sent, received = received, kept = kept }
  part.sent, part.received = list(row[1]), list(row[2])
  part.kept = row[3] and cmsgpack.unpack(row[3]) or { 0, 0 }
  return part
end

-- The part of this cell, or nil where there is none or it is without bound. `what`: stock of a
-- campaign, or a quota (event/quota).
function segments.read(what, id)
  if what == 'quota' then
    local event, name = string.match(id, '^(.*)/(.*)$')
    local quota = quotas.named(event, name)
    return with({ what = what, id = id, quota = quota, key = keys.quotas(event) }, 'o' .. name,
      'i' .. name, 'k' .. name)
  end
  local share = campaigns.share(id)
  if not share or not campaigns.in_stock(share) then return nil end
  return with({ what = what, id = id, share = share, key = keys.campaign(id) }, 'sent', 'received',
    'kept')
end

-- How much is left of it.
function segments.left(part)
  return part.quota and part.quota.left or campaigns.in_stock(part.share)
end

-- Whether coupons of it take a code of a third party along.
function segments.with_codes(part) return part.share and part.share.codes end

-- Orders that have lapsed and set some of it aside: {handle, serial, n} each, and the sum of n. An
-- order may count against a quota through several campaigns.
function segments.lapsed(part, now)
  local found, at, sum = {}, {}, 0
  if part.share and part.share.aside == 0 then return found, sum end
  local list = part.quota and keys.lapsing(part.id) or keys.pending(part.id)
  for _, name in ipairs(redis.call('ZRANGEBYSCORE', list, '-inf', now, 'LIMIT', 0,
    segments.most)) do
    local n = tonumber(string.match(name, ':(%d+)', 28))
    local order = string.sub(name, 1, 27)
    if not at[order] then
      at[order] = { string.sub(name, 1, 16), string.sub(name, 17, 27), 0 }
      found[#found + 1] = at[order]
    end
    at[order][3], sum = at[order][3] + n, sum + n
  end
  return found, sum
end

-- How much of what came a moment ago is for this cell alone, and until when (of the server's
-- clock): else cells would take the last one from each other before anybody could have it.
function segments.kept_now(part)
  local n, last = part.kept[1], part.kept[2]
  if batch.now >= last or last - batch.now > segments.kept then return 0, 0 end
  return math.min(n, segments.left(part)), last
end

-- As many lapsed orders as make n left: what orders.tidy gives up.
function segments.in_the_way(part, lapsed, n)
  local freed, left = {}, segments.left(part)
  for _, place in ipairs(lapsed) do
    if left >= n then break end
    freed[#freed + 1] = { handle = place[1], serial = place[2],
      record = (orders.get(place[1], place[2])) }
    left = left + place[3]
  end
  return freed
end

-- n more (or fewer) are this cell's; `name`: sent or received, which has changed.
function segments.move(part, n, name)
  redis.call('HSET', part.key, part.fields[name], pack.array(unpack(part[name])))
  if part.quota then
    part.quota.left = part.quota.left + n
    redis.call('HINCRBY', part.key, 'm' .. part.quota.id, n)
    return part.quota.left + part.quota.used
  end
  local bounded = part.share.left
  if bounded then part.share.left = part.share.left + n end
  campaigns.freed(part.share)
  redis.call('HINCRBY', part.key, 'moved', n)
  return bounded and redis.call('HINCRBY', part.key, 'share', n) or -1
end

-- n codes of a third party go along to another cell: they wait where it takes them from.
function segments.send_codes(part, to, n)
  local codes = redis.call('LPOP', keys.pool(part.id), n)
  redis.call('RPUSH', keys.moving(to, part.id), unpack(codes))
  campaigns.recode(part.share, -n)
end

-- Codes that came along: of those told, the last n at most.
function segments.receive_codes(part, codes, n)
  for i = math.max(1, #codes - n + 1), #codes do
    redis.call('RPUSH', keys.pool(part.id), codes[i])
    campaigns.recode(part.share, 1)
  end
end

-- Put a total into a list that has one a cell, the first cell's first.
function segments.put(totals, cell, total)
  for i = #totals + 1, cell do totals[i] = 0 end
  totals[cell + 1] = total
end

-- n more of what is left here are for this cell alone for a moment.
function segments.keep(part, n)
  n = n + segments.kept_now(part)
  redis.call('HSET', part.key, part.fields.kept, pack.array(n, batch.now + segments.kept))
end
