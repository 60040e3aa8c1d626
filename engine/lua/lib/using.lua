-- include: campaigns, keys, points, receipts, records, redemptions, rooms, uses
-- Coupons and points on their way into a redemption: gathered, given room, taken or set aside.
local using = {}

-- The coupons asked for with all that judging them needs, and the fields of the wallet named; or
-- nil, those fields, and the serial that is missing. One that is named twice is one coupon.
-- own(coupon): whether a hold that this act takes the place of holds it.
function using.gather(handle, presented, fields, own)
  local before, names, items, seen = #fields, {}, {}, {}
  for i, field in ipairs(fields) do names[i] = field end
  for i, one in ipairs(presented) do names[before + i] = 'C' .. one[PRESENTED.serial] end
  local row = redis.call('HMGET', keys.wallet(handle), unpack(names))
  for i, one in ipairs(presented) do
    local serial = one[PRESENTED.serial]
    if not row[before + i] then return nil, row, serial end
    if not seen[serial] then
      seen[serial] = true
      local record = cmsgpack.unpack(row[before + i])
      local share = campaigns.share(record[COUPON.campaign_id])
      items[#items + 1] = { serial = serial, record = record, step = one[PRESENTED.step],
        stale = one[PRESENTED.stale] == 1, share = share, status = share.issue[ISSUE.status],
        terms = campaigns.terms(share, record[COUPON.terms_revision]), own_hold = own(record) }
    end
  end
  return items, row
end

-- Give each item of a limited campaign its room at a place. What the holds to be replaced (olds)
-- set aside is free, and so is that of lapsed holds: they are returned, to be tidied by the act.
function using.make_room(items, place, now, day, olds)
  local known, tidy, seen = {}, {}, {}
  for _, item in ipairs(items) do
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
  table.sort(shares, function(a, b) return a[1] < b[1] end)
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

-- Take the coupons out of the wallet, or set them aside. `given_up`: see uses.tidy.
function using.take_coupons(handle, serial, accepted, record, now, given_up)
  local held, wallet = record[REDEMPTION.state] == REDEMPTION_STATE.HELD, keys.wallet(handle)
  for _, item in ipairs(accepted) do
    local coupon = item.record
    coupon[COUPON.step] = math.max(item.step, coupon[COUPON.step] or 0)
    if item.many then
      local number = item.tender and 0 or 1
      local part = { uses = item.terms[TERMS.uses] or 1,
        total = item.tender and item.terms[TERMS.amount] or nil }
      uses.tidy(coupon, now, given_up)
      if held then
        uses.hold(coupon, serial, record[REDEMPTION.until], number, item.tendered)
      else
        uses.redeem(coupon, part, number, item.tendered)
      end
      uses.note(handle, item.serial, coupon, part)
    else
      coupon[COUPON.state] = held and COUPON_STATE.HELD or COUPON_STATE.REDEEMED
      coupon[COUPON.redemption] = serial
      coupon[COUPON.held_until] = record[REDEMPTION.until]
    end
    redis.call('HSET', wallet, 'C' .. item.serial, records.coupon(coupon))
  end
end

-- Take the points of a redemption, or set them aside.
function using.take_points(handle, serial, record, now)
  local tender = receipts.points(record)
  if not tender then return end
  local mine = points.read(redis.call('HGET', keys.wallet(handle), 'p'), now)
  local taken = points.take(mine, tender[TENDER.points], now)
  if record[REDEMPTION.state] == REDEMPTION_STATE.HELD then
    points.hold(mine, serial, record[REDEMPTION.until], taken)
  else
    tender[TENDER.parts] = taken
  end
  redemptions.purses[handle] = points.put(handle, record[REDEMPTION.user_id], mine, now)
end
