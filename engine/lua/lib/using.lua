-- include: campaigns, keys, pack, points, records, redemptions, rooms, uses
-- Coupons and points on their way into a redemption: gathered, given room, taken or set aside.
local using = {}

-- The coupons asked for with all that judging them needs, and the fields of the wallet named; or
-- nil, those fields, and the serial that is missing. One that is named twice is one coupon.
-- own(coupon): whether a hold that this act takes the place of holds it; nil = there is none.
function using.gather(handle, presented, fields, own)
  local before, items = #fields, {}
  for i = 1, #presented do fields[before + i] = 'C' .. presented[i][PRESENTED.serial] end
  local row = redis.call('HMGET', keys.wallet(handle), unpack(fields))
  for i = 1, #presented do
    local one, packed = presented[i], row[before + i]
    local serial, again = one[PRESENTED.serial], false
    if not packed then return nil, row, serial end
    for n = 1, #items do again = again or items[n].serial == serial end
    if not again then
      local record = cmsgpack.unpack(packed)
      local share = campaigns.share(record[COUPON.campaign_id])
      -- With all that judging adds to it: a table that grows is made anew.
      items[#items + 1] = { serial = serial, record = record, step = one[PRESENTED.step],
        stale = one[PRESENTED.stale] == 1, share = share, status = share.issue[ISSUE.status],
        terms = campaigns.terms(share, record[COUPON.terms_revision]),
        own_hold = own and own(record), counted = 0, rank = 0, ends = 0, tender = false,
        many = false, discount = 0, tendered = 0, shares = nil, cost = 0 }
    end
  end
  return items, row
end

-- Give each item of a limited campaign its room at a place. What the holds to be replaced (olds)
-- set aside is free, and so is that of lapsed holds: they are returned, to be tidied by the act.
function using.make_room(items, place, now, day, olds)
  local known, tidy, seen = {}, {}, {}
  for i = 1, #items do
    local item = items[i]
    local share, terms = item.share, item.terms
    local per_day, per_store = terms[TERMS.per_day] or -1, terms[TERMS.per_store_per_day] or -1
    item.counted = (per_day >= 0 and 1 or 0) + (per_store >= 0 and 2 or 0)
    if share.budget_left or item.counted > 0 then
      if not known[share.id] then
        local room, lapsed = rooms.of(share, place, now, day)
        for _, old in ipairs(olds) do rooms.free(room, share, old, place, day) end
        for _, hold in ipairs(lapsed) do
          if not seen[hold[1] .. hold[2]] then tidy[#tidy + 1] = hold end
          seen[hold[1] .. hold[2]] = true
        end
        known[share.id] = room
      end
      item.room = known[share.id]
      item.day_limit = campaigns.part(share, per_day, day)
      item.store_limit = campaigns.part(share, per_store, day)
    end
  end
  return tidy
end

-- Refused items as records.SkippedCoupon.
function using.skipped(refused)
  local list = {}
  for i, item in ipairs(refused) do list[i] = { item.serial, item.outcome, item.short } end
  return list
end

-- What an item takes off each line, as records.LineShare.
function using.shares(item)
  local shares = {}
  for line, share in pairs(item.shares) do
    if share > 0 then shares[#shares + 1] = { line - 1, share, 0 } end
  end
  if #shares > 1 then table.sort(shares, function(a, b) return a[1] < b[1] end) end
  return shares
end

-- An accepted discount as records.AppliedCoupon.
function using.applied(item)
  local terms = item.terms
  return { item.serial, item.record[COUPON.campaign_id], item.record[COUPON.terms_revision],
    terms[TERMS.benefit], terms[TERMS.value], item.discount, using.shares(item),
    item.many and item.uses_left - 1 or 0, terms[TERMS.item], 0, item.counted,
    terms[TERMS.uses] or 1 }
end

-- What coupons of one use have alike by their terms, packed once a batch: behind the id and in
-- the end of records.AppliedCoupon, and in the end of facts.FactCoupon.
local function alike(item)
  local terms = item.terms
  local known = terms.alike
  if not known then
    known = { first = cmsgpack.pack(item.share.id, item.record[COUPON.terms_revision],
      terms[TERMS.benefit], terms[TERMS.value]),
      last = cmsgpack.pack(0, terms[TERMS.item], 0, item.counted, 1),
      told = cmsgpack.pack(-1, 0, 1) }
    terms.alike = known
  end
  return known
end

-- An accepted discount on a basket of n lines, packed twice: as the record keeps it
-- (records.AppliedCoupon) and as the fact tells it (facts.FactCoupon). After using.take_coupons,
-- which counts the uses of a pass.
function using.told(handle, item, n)
  local known, serial, kept, shares, k = alike(item), item.serial, {}, {}, 0
  for line = 1, n do
    local share = item.shares[line]
    if share and share > 0 then
      k = k + 1
      kept[k], shares[k] = { line - 1, share, 0 }, { line - 1, share }
    end
  end
  local last, told = known.last, known.told
  if item.many then
    local noted, number = uses.noted(handle, serial), item.terms[TERMS.uses]
    last = cmsgpack.pack(item.uses_left - 1, item.terms[TERMS.item], 0, item.counted, number)
    told = cmsgpack.pack(noted.used, noted.done, number)
  end
  return pack.header(12) .. cmsgpack.pack(serial) .. known.first
    .. cmsgpack.pack(item.discount, kept) .. last,
    pack.header(10) .. cmsgpack.pack('C' .. handle .. serial) .. known.first
    .. cmsgpack.pack(item.discount, shares) .. told
end

-- Take from budgets and counts of uses what they need, and count them in their campaigns unless
-- it is a hold (till > 0), which is remembered with those whose money or uses it sets aside.
function using.charge(handle, serial, accepted, place, day, till)
  for i = 1, #accepted do
    local item = accepted[i]
    if item.room then
      campaigns.spend(item.share, item.cost)
      campaigns.use(item.share, item.counted, place, day, 1)
      if till > 0 then redis.call('ZADD', keys.opens(item.share.id), till, handle .. serial) end
    end
    if till == 0 then campaigns.count_redeemed(item.share, 1) end
  end
end

-- A coupon of one use as it stands in a redemption from now on (records.CouponRecord).
local function taken(coupon, step, serial, till)
  local state = till > 0 and COUPON_STATE.HELD or COUPON_STATE.REDEEMED
  step = math.max(step, coupon[COUPON.step] or 0)
  if coupon[COUPON.void_key] then  -- it has more to say
    coupon[COUPON.state], coupon[COUPON.step] = state, step
    coupon[COUPON.redemption], coupon[COUPON.held_until] = serial, till
    return records.coupon(coupon)
  end
  return pack.header(12) .. cmsgpack.pack(coupon[COUPON.campaign_id], coupon[COUPON.terms_revision],
    state, coupon[COUPON.issued], coupon[COUPON.valid_from], coupon[COUPON.valid_until],
    coupon[COUPON.fingerprint], coupon[COUPON.channel], coupon[COUPON.extra] or '', step, serial,
    till)
end

-- A pass or stored value, one use or so much money less.
local function used(handle, item, serial, till, now, given_up)
  local coupon, number = item.record, item.tender and 0 or 1
  local part = { uses = item.terms[TERMS.uses] or 1,
    total = item.tender and item.terms[TERMS.amount] or nil }
  coupon[COUPON.step] = math.max(item.step, coupon[COUPON.step] or 0)
  uses.tidy(coupon, now, given_up)
  if till > 0 then
    uses.hold(coupon, serial, till, number, item.tendered)
  else
    uses.redeem(coupon, part, number, item.tendered)
  end
  uses.note(handle, item.serial, coupon, part)
  return records.coupon(coupon)
end

-- Take the coupons out of the wallet, or set them aside until a moment (0 = redeemed at once):
-- what is to be written of each is added to `fields`. `given_up`: see uses.tidy.
function using.take_coupons(handle, serial, accepted, till, now, given_up, fields)
  local n = #fields
  for i = 1, #accepted do
    local item = accepted[i]
    fields[n + 1] = 'C' .. item.serial
    fields[n + 2] = item.many and used(handle, item, serial, till, now, given_up)
      or taken(item.record, item.step, serial, till)
    n = n + 2
  end
  return fields
end

-- Take the points of a tender, or set them aside until a moment (0 = spent at once).
function using.take_points(handle, serial, tender, user_id, till, now)
  if not tender then return end
  local mine = points.read(redis.call('HGET', keys.wallet(handle), 'p'), now)
  local taken = points.take(mine, tender[TENDER.points], now)
  if till > 0 then points.hold(mine, serial, till, taken) else tender[TENDER.parts] = taken end
  redemptions.purses[handle] = points.put(handle, user_id, mine, now)
end
