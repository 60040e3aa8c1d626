-- include: campaigns, keys, pack, points, records, redemptions, rooms, uses
-- Coupons and points on their way into a redemption: gathered, given room, taken or set aside.
local using = {}
local number = cmsgpack.pack

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
      -- With what judging adds to it: a table that grows is made anew, and so is one beyond 16.
      items[#items + 1] = { serial = serial, record = record, packed = packed,
        step = one[PRESENTED.step], stale = one[PRESENTED.stale] == 1, share = share,
        status = share.issue[ISSUE.status], counted = 0, rank = 0, ends = 0,
        terms = campaigns.terms(share, record[COUPON.terms_revision]),
        tender = false, many = false, discount = 0, tendered = 0, shares = false }
      if own and own(record) then items[#items].own_hold = true end
    end
  end
  return items, row
end

-- Give each item of a limited campaign its room at a place. What the holds to be replaced (olds)
-- set aside is free, and so is that of lapsed holds: they are returned, to be tidied by the act.
function using.make_room(items, place, now, day, olds)
  local known, tidy, seen = nil, {}, nil
  for i = 1, #items do
    local item = items[i]
    local share, terms = item.share, item.terms
    local per_day, per_store = terms[TERMS.per_day] or -1, terms[TERMS.per_store_per_day] or -1
    item.counted = (per_day >= 0 and 1 or 0) + (per_store >= 0 and 2 or 0)
    if share.budget_left or item.counted > 0 then
      known, seen = known or {}, seen or {}
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

-- What coupons of the same terms have alike, packed once a batch: behind the id and, of one use, in
-- the end of records.AppliedCoupon, and in the end of facts.FactCoupon; at: where the state of a
-- records.CouponRecord stands.
local function alike(item)
  local terms = item.terms
  local known = terms.alike
  if not known then
    local head = pack.texts[item.share.id] .. number(item.record[COUPON.terms_revision])
    known = { at = #head + 2,
      first = head .. cmsgpack.pack(terms[TERMS.benefit], terms[TERMS.value]),
      last = cmsgpack.pack(0, terms[TERMS.item], 0, item.counted, 1),
      told = cmsgpack.pack(-1, 0, 1) }
    terms.alike = known
  end
  return known
end

-- The accepted discounts on a basket of n lines, packed as the record keeps them
-- (records.AppliedCoupon) and as the fact tells them (facts.FactCoupon), put together of strings:
-- tables to be packed cost three times as much. After using.take_coupons, which counts the uses of
-- a pass.
function using.told(handle, accepted, n)
  local by_record, by_fact, count, heads = '', '', 0, pack.heads
  for i = 1, #accepted do
    local item = accepted[i]
    if not item.tender then
      local known, serial, shares, k = alike(item), item.serial, '', 0
      for line = 1, n do
        local share = item.shares[line]
        if share and share > 0 then
          shares, k = shares .. '\146' .. number(line - 1) .. number(share), k + 1
        end
      end
      local last, told = known.last, known.told
      if item.many then
        local noted, most = uses.noted(handle, serial), item.terms[TERMS.uses]
        last = cmsgpack.pack(item.uses_left - 1, item.terms[TERMS.item], 0, item.counted, most)
        told = cmsgpack.pack(noted.used, noted.done, most)
      end
      local middle = known.first .. number(item.discount) .. pack.header(k) .. shares
      by_record = by_record .. '\156' .. heads[#serial] .. serial .. middle .. last
      by_fact = by_fact .. '\154' .. heads[1 + #handle + #serial] .. 'C' .. handle .. serial
        .. middle .. told
      count = count + 1
    end
  end
  return pack.header(count) .. by_record, pack.header(count) .. by_fact
end

-- Take from budgets and counts of uses what they need, and count them in their campaigns unless
-- it is a hold (till > 0), which is remembered with those whose money or uses it sets aside.
function using.charge(handle, serial, accepted, place, day, till)
  for i = 1, #accepted do
    local item = accepted[i]
    if item.room then
      if not item.tender then
        campaigns.spend(item.share, item.discount + item.terms[TERMS.value])
      end
      campaigns.use(item.share, item.counted, place, day, 1)
      if till > 0 then redis.call('ZADD', keys.opens(item.share.id), till, handle .. serial) end
    end
    if till == 0 then campaigns.count_redeemed(item.share, 1) end
  end
end

-- A coupon of one use as it stands in a redemption from now on (records.CouponRecord). Of one that
-- was never used only the state changes, and what follows has nothing said yet.
local function taken(item, serial, till)
  local coupon, packed = item.record, item.packed
  local state = till > 0 and COUPON_STATE.HELD or COUPON_STATE.REDEEMED
  if coupon[COUPON.step] then
    coupon[COUPON.state], coupon[COUPON.step] = state, math.max(item.step, coupon[COUPON.step])
    coupon[COUPON.redemption], coupon[COUPON.held_until] = serial, till
    return records.coupon(coupon)
  end
  local at = alike(item).at
  return '\156' .. string.sub(packed, 2, at - 1) .. string.char(state) .. string.sub(packed, at + 1)
    .. (coupon[COUPON.extra] and '' or '\160') .. number(item.step) .. pack.heads[#serial] .. serial
    .. number(till)
end

-- A pass or stored value, one use or so much money less.
local function used(handle, item, serial, till, now, given_up)
  local coupon, n = item.record, item.tender and 0 or 1
  local part = { uses = item.terms[TERMS.uses] or 1,
    total = item.tender and item.terms[TERMS.amount] or nil }
  coupon[COUPON.step] = math.max(item.step, coupon[COUPON.step] or 0)
  uses.tidy(coupon, now, given_up)
  if till > 0 then
    uses.hold(coupon, serial, till, n, item.tendered)
  else
    uses.redeem(coupon, part, n, item.tendered)
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
      or taken(item, serial, till)
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
