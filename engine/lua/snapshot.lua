--[[
Read a wallet, or some coupons of it, with the campaigns and terms they name and the person's
points, at one moment.

flags:    no-writes allow-oom
include:  batch, calendar, campaigns, keys, pack, rooms
keys:
  1 cell      hash    epoch, seq and definitions of the cell
derived:
  wallet      hash    the person's live state
  campaign    hash    the campaigns' shares in this cell
  quotas      hash    the quotas of its event
  redemption  string  lapsed holds on limited campaigns
  opens       zset    open holds on a limited campaign
arguments:
  1 request   msgpack [now, handle, serials or nil for all, store, offset]
outcomes:
]]

local request = cmsgpack.unpack(ARGV[1])
local now, wallet = batch.at(request[1]), keys.wallet(request[2])
local user, coupons, counts, shares, terms = '\192', {}, {}, {}, {}  -- \192 = nil
local purse = '\192'
local seen = {}

local function coupon(serial, packed)
  coupons[#coupons + 1] = pack.header(2) .. cmsgpack.pack(serial) .. packed
  local record = cmsgpack.unpack(packed)
  local id, revision = record[COUPON.campaign_id], record[COUPON.terms_revision]
  if not seen[id] then
    seen[id] = {}
    local share = campaigns.share(id)
    if share then
      local packed_room = '\192'
      if share.limited then
        local room = rooms.of(share, request[4], now, (calendar.of(now, request[5])))
        packed_room = pack.array(room.budget, room.used, room.used_here)
      end
      shares[#shares + 1] = pack.header(4) .. cmsgpack.pack(id) .. share.packed
        .. cmsgpack.pack(share.left) .. packed_room
    end
  end
  if not seen[id][revision] then
    seen[id][revision] = true
    local packed_terms = redis.call('HGET', keys.campaign(id), 't' .. revision)
    if packed_terms then
      terms[#terms + 1] = pack.header(3) .. cmsgpack.pack(id, revision) .. packed_terms
    end
  end
end

if request[3] then
  for _, serial in ipairs(request[3]) do
    local packed = redis.call('HGET', wallet, 'C' .. serial)
    if packed then coupon(serial, packed) end
  end
  local row = redis.call('HMGET', wallet, 'u', 'p')
  user, purse = row[1] or user, row[2] or purse
else
  local all = redis.call('HGETALL', wallet)
  for i = 1, #all, 2 do
    local first, rest = string.sub(all[i], 1, 1), string.sub(all[i], 2)
    if first == 'C' then coupon(rest, all[i + 1])
    elseif first == 'n' then
      counts[#counts + 1] = pack.array(rest, cmsgpack.unpack(all[i + 1])[COUNT.total])
    elseif all[i] == 'u' then user = all[i + 1]
    elseif all[i] == 'p' then purse = all[i + 1] end
  end
end
return pack.header(7) .. cmsgpack.pack(now) .. user .. pack.join(coupons) .. pack.join(counts)
  .. pack.join(shares) .. pack.join(terms) .. purse
