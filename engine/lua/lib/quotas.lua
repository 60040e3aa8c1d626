-- include: batch, keys
-- Quotas of an event: how many tickets may be out, of all campaigns together that name them. A cell
-- has its share of each; read once a batch, what is used written once at its end.
local quotas = { known = {} }

-- One of them, the same object for all that ask in a batch.
function quotas.named(event, id)
  local name = event .. '/' .. id
  local quota = quotas.known[name]
  if not quota then
    local row = redis.call('HMGET', keys.quotas(event), 's' .. id, 'm' .. id, 'u' .. id)
    local used = tonumber(row[3]) or 0
    quota = { name = name, event = event, id = id, used = used,
      left = (tonumber(row[1]) or 0) + (tonumber(row[2]) or 0) - used }
    quotas.known[name] = quota
  end
  return quota
end

-- Those that an issue counts against.
function quotas.of(issue)
  local found = {}
  for i, id in ipairs(issue[ISSUE.quotas]) do found[i] = quotas.named(issue[ISSUE.event], id) end
  return found
end

-- The least of what they and a stock (nil = unlimited) have left.
function quotas.room(list, left)
  for _, quota in ipairs(list) do
    if not left or quota.left < left then left = quota.left end
  end
  return left
end

-- n tickets are given out or set aside; negative: come back.
function quotas.take(list, n)
  for _, quota in ipairs(list) do
    quota.left, quota.used = quota.left - n, quota.used + n
    if not quota.touched then
      quota.touched = true
      batch.flush[#batch.flush + 1] = function()
        redis.call('HSET', keys.quotas(quota.event), 'u' .. quota.id, quota.used)
      end
    end
  end
end

-- What they have left, to reckon with.
function quotas.copy(list)
  local view = {}
  for i, quota in ipairs(list) do view[i] = { name = quota.name, left = quota.left } end
  return view
end

-- In a copy, n tickets that count against `list` come back; negative: are taken.
function quotas.reckon(view, list, n)
  for _, mine in ipairs(view) do
    for _, quota in ipairs(list) do
      if mine.name == quota.name then mine.left = mine.left + n end
    end
  end
end

-- n tickets of a campaign are set aside by an order until it lapses.
function quotas.open(list, order, campaign, n, lapses)
  for _, quota in ipairs(list) do
    redis.call('ZADD', keys.lapsing(quota.name), lapses, order .. ':' .. n .. ':' .. campaign)
  end
end

-- Forget it.
function quotas.close(list, order, campaign, n)
  for _, quota in ipairs(list) do
    redis.call('ZREM', keys.lapsing(quota.name), order .. ':' .. n .. ':' .. campaign)
  end
end
