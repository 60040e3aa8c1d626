-- include: batch, campaigns, keys, orders, pack
-- A cell's part of what is handed out over several cells, and how it goes from one to another.
-- What a cell has sent to another, and what it has received from one, are totals that only grow:
-- told again they change nothing, and their difference is what is on its way.
local segments = { kept = 50, most = 1000 }  -- kept: how long what came is for its cell alone, ms

local function list(packed) return packed and cmsgpack.unpack(packed) or {} end

-- The part of this cell, or nil where there is none or it is without bound. `what`: stock.
function segments.read(what, id)
  local share = what == 'stock' and campaigns.share(id)
  if not share or not campaigns.in_stock(share) then return nil end
  local row = redis.call('HMGET', keys.campaign(id), 'sent', 'received', 'kept')
  return { what = what, id = id, share = share, sent = list(row[1]), received = list(row[2]),
    kept = row[3] and cmsgpack.unpack(row[3]) or { 0, 0 } }
end

-- Orders that have lapsed and set some of it aside: {handle, serial, n} each, and the sum of n.
function segments.lapsed(part, now)
  local found, sum = {}, 0
  if part.share.aside == 0 then return found, sum end
  for i, name in ipairs(redis.call('ZRANGEBYSCORE', keys.pending(part.id), '-inf', now, 'LIMIT', 0,
    segments.most)) do
    local n = tonumber(string.sub(name, 29))
    found[i], sum = { string.sub(name, 1, 16), string.sub(name, 17, 27), n }, sum + n
  end
  return found, sum
end

-- How much of what came a moment ago is for this cell alone, and until when (of the server's
-- clock): else cells would take the last one from each other before anybody could have it.
function segments.kept_now(part)
  local n, last = part.kept[1], part.kept[2]
  if batch.now >= last or last - batch.now > segments.kept then return 0, 0 end
  return math.min(n, campaigns.in_stock(part.share)), last
end

-- As many lapsed orders as make n left: what orders.tidy gives up.
function segments.in_the_way(part, lapsed, n)
  local freed, left = {}, campaigns.in_stock(part.share)
  for _, place in ipairs(lapsed) do
    if left >= n then break end
    freed[#freed + 1] = { handle = place[1], serial = place[2],
      record = (orders.get(place[1], place[2])) }
    left = left + place[3]
  end
  return freed
end

-- n more (or fewer) are this cell's; totals: the name and the list of those that changed.
function segments.move(part, n, name, totals)
  local key = keys.campaign(part.id)
  local bounded = part.share.left
  if bounded then part.share.left = part.share.left + n end
  campaigns.freed(part.share)
  redis.call('HINCRBY', key, 'moved', n)
  redis.call('HSET', key, name, pack.array(unpack(totals)))
  return bounded and redis.call('HINCRBY', key, 'share', n) or -1
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
  redis.call('HSET', keys.campaign(part.id), 'kept', pack.array(n, batch.now + segments.kept))
end
