-- include: batch, keys
-- A campaign's share in this cell: read once a batch, its counters written once at the end.
local campaigns = { known = {} }

-- The share, or nil when there is no such campaign here. left is nil when stock is unlimited.
function campaigns.share(id)
  local share = campaigns.known[id]
  if share == nil then
    local row = redis.call('HMGET', keys.campaign(id), 'issue', 'left', 'issued', 'redeemed')
    share = row[1] and {
      id = id, issue = cmsgpack.unpack(row[1]), left = tonumber(row[2]),
      issued = tonumber(row[3]) or 0, redeemed = tonumber(row[4]) or 0, terms = {},
    } or false
    campaigns.known[id] = share
  end
  return share or nil
end

-- The terms of one revision, or nil.
function campaigns.terms(share, revision)
  local terms = share.terms[revision]
  if not terms then
    local packed = redis.call('HGET', keys.campaign(share.id), 't' .. revision)
    terms = packed and cmsgpack.unpack(packed)
    share.terms[revision] = terms
  end
  return terms
end

local function touch(share)
  if share.touched then return end
  share.touched = true
  batch.flush[#batch.flush + 1] = function()
    local key = keys.campaign(share.id)
    redis.call('HSET', key, 'issued', share.issued, 'redeemed', share.redeemed)
    if share.left then redis.call('HSET', key, 'left', share.left) end
  end
end

function campaigns.take_one(share)
  if share.left then share.left = share.left - 1 end
  share.issued = share.issued + 1
  touch(share)
end

function campaigns.count_redeemed(share, change)
  share.redeemed = share.redeemed + change
  touch(share)
end
