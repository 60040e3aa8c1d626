--[[
Take off the fee of a stay what a person's coupons, tier, receipts and points, shops and the booth
give: quoted, set aside (a hold) or committed. The lot's fee_id is the key: sent again, it is
answered as before, and a commit completes the hold under it. A hold under another fee_id of the
same stay gives way.

flags:    allow-oom
include:  arithmetic, batch, calendar, keys, pack, parking, people, points, purchases, receipts,
          redemptions, rooms, stacking, stores, tenders, using
keys:
  1 cell      hash    epoch, seq and definitions of the cell
derived:
  wallet      hash    the person's live state
  campaign    hash    the campaign's share in this cell, with the terms of each revision
  quotas      hash    the quotas of its event
  redemption  string  the payment's record
  stay_use    string  how the person paid for the stay so far
  tier_use    string  stays of the day that the person's tier was used for
  purchase    string  a receipt that frees a car
  opens       zset    open holds on a limited campaign; lapsed ones give way to this act
  holds       zset    open holds by the time they lapse
  points      string  entries whose lots expire meanwhile
  points_due  zset    people by the time their next lot expires
  facts       stream  the outbox
arguments:
  1 batch     msgpack array of commands.Park
outcomes:
  DONE REPEATED NOT_FOUND CODE_EXPIRED CAMPAIGN_FROZEN USER_FROZEN ALREADY_REDEEMED HELD CODE_USED
  VOIDED REFUNDED TRANSFERRED EXPIRED NOT_YET_VALID STORE_NOT_ALLOWED CHANNEL_NOT_ALLOWED
  OUTSIDE_HOURS NO_ELIGIBLE_ITEMS MIN_QUANTITY MIN_SPEND STACKING_CONFLICT GROUP_LIMIT
  CAMPAIGN_LIMIT TOO_MANY_COUPONS CAMPAIGN_DAY_LIMIT STORE_LIMIT BUDGET_EXHAUSTED
  POINTS_INSUFFICIENT NO_EFFECT MORE_THAN_REDEEMED RECEIPT_USED WALLET_MOVED
]]

local QUOTE, COMMIT = 0, 2

-- The answer: the record, and the payment it stands under (serial '' = nothing was recorded) with
-- the minutes and coupons that the stay had before it.
local function answer(outcome, now, packed, payment, earlier)
  return pack.header(4) .. cmsgpack.pack(outcome, now) .. packed .. pack.array(payment,
    earlier and earlier.minutes or 0, earlier and earlier.coupons or 0)
end

local function leave_by(op, now)
  return math.max(now, op[PARK.as_of]) + op[PARK.leave_ms]
end

-- The fee as one line of a basket, with what this stay may still be given.
local function fee(op, due, earlier)
  local floor, caps = stores.payable_floor(), op[PARK.caps]
  if caps[3] >= 0 then floor = math.max(floor, due - math.max(0, caps[3] - earlier.fen)) end
  local basket = arithmetic.basket({ { '1', due, 1, '', 'parking' } }, floor)
  basket.parking, basket.worth, basket.taken = true, op[PARK.worth] or nil, earlier.minutes
  if caps[2] >= 0 then basket.most_minutes = math.max(caps[2], earlier.minutes) end
  if caps[1] >= 0 then basket.most = math.min(12, math.max(0, caps[1] - earlier.coupons)) end
  return basket
end

-- Points as the last tender; nil = none are useful.
local function by_points(op, basket, packed, at, earlier)
  if op[PARK.points] == 0 or stacking.scene(at) ~= OUTCOME.DONE then return nil end
  local mine = points.read(packed, at.now)
  for _, hold in ipairs(earlier.holds) do
    local parts = points.unhold(mine, hold[1])
    if parts then points.give_back(mine, parts, math.huge) end
  end
  local available, cap = points.available(mine, at.now), op[PARK.caps][4]
  if cap >= 0 then available = math.min(available, math.max(0, cap - earlier.points)) end
  local _, _, tender = tenders.judge(basket, -1, available)
  return tender
end

-- The deductions in the order in which they were taken off: minutes, amounts, coupons, points.
local function listed(by_minutes, by_amounts, accepted, tender)
  local list = {}
  for _, d in ipairs(by_minutes) do list[#list + 1] = d end
  for _, item in ipairs(accepted) do
    if item.rank < 0 then
      list[#list + 1] = { 'coupon', item.serial, item.minutes, item.discount, '', '', 0 }
    end
  end
  for _, d in ipairs(by_amounts) do list[#list + 1] = d end
  for _, item in ipairs(accepted) do
    if item.rank >= 0 then
      list[#list + 1] = { 'coupon', item.serial, 0, item.discount, '', '', 0 }
    end
  end
  if tender then list[#list + 1] = { 'points', '', 0, tender[TENDER.amount], 'mall', '', 0 } end
  return list
end

local function compose(op, due, accepted, refused, deductions, tender, now, day)
  local coupons, discount, counted = {}, 0, 0
  for i, item in ipairs(accepted) do
    coupons[i], discount = using.applied(item), discount + item.discount
    counted = counted + item.counted
  end
  for _, d in ipairs(deductions) do
    if d[DEDUCTION.type] ~= 'coupon' and d[DEDUCTION.type] ~= 'points' then
      discount = discount + d[DEDUCTION.amount]
    end
  end
  local held = op[PARK.mode] ~= COMMIT
  return { held and REDEMPTION_STATE.HELD or REDEMPTION_STATE.REDEEMED, now,
    held and now + op[PARK.hold_seconds] * 1000 or 0, op[PARK.fingerprint], op[PARK.user_id], '',
    op[PARK.merchant_id], '', op[PARK.staff_id], op[PARK.channel], op[PARK.order_ref], due,
    discount, { { '1', due, 1, '', 'parking', 0 } }, coupons, using.skipped(refused), {}, {}, 0,
    counted > 0 and day or 0, { tender }, op[PARK.lot_id], deductions }
end

-- Keep the payment of this fee_id in the stay's record.
local function keep(handle, op, use, payment)
  local list = use[STAY_USE.payments]
  local at = #list + 1
  for i, one in ipairs(list) do
    if one[PAYMENT.fee_id] == payment[PAYMENT.fee_id] then at = i end
  end
  list[at] = payment
  redis.call('SET', keys.stay_use(handle, op[PARK.use]), cmsgpack.pack(use))
end

-- Complete the hold under this fee_id: its deductions stay, what is to pay grows with the fee.
local function complete(handle, op, now, plan)
  local use, payment, record, due = plan.use, plan.payment, plan.record, plan.due
  local serial = payment[PAYMENT.serial]
  redemptions.close_hold(handle, serial, record, redemptions.parts(handle, record))
  local freed = parking.settle(handle, serial, record, op[PARK.vendor], due)
  payment[PAYMENT.fee_total], payment[PAYMENT.already_paid] = op[PARK.fee_total],
    op[PARK.already_paid]
  payment[PAYMENT.leave_by], payment[PAYMENT.untold] = leave_by(op, now), 0
  record[REDEMPTION.state], record[REDEMPTION.committed] = REDEMPTION_STATE.REDEEMED, now
  local before = receipts.tendered(record)
  redemptions.tender(record, math.min(before, due - record[REDEMPTION.discount]))
  redemptions.move_coupons(handle, serial, redemptions.parts(handle, record),
    COUPON_STATE.REDEEMED, now)
  local tender = receipts.points(record)
  if tender then
    redemptions.spend_points(handle, serial, record, tender[TENDER.points], now)
    local last = record[REDEMPTION.deductions][#record[REDEMPTION.deductions]]
    last[DEDUCTION.amount] = tender[TENDER.amount]
  end
  redemptions.count(record, 1)
  record.freed = freed
  redemptions.tell('committed', handle, serial, record, now, op[PARK.who])
  record.freed = nil
  keep(handle, op, use, payment)
  return answer(OUTCOME.DONE, now, redemptions.put(handle, serial, record), payment)
end

-- What is under this fee_id already: its answer, or the plan to complete it, or how many attempts
-- under it ended unused.
local function again(handle, op, use, now)
  local payment, record, packed, live = parking.payment(handle, use, op[PARK.fee_id], now)
  if not payment then return nil, nil, 0 end
  if live == 'held' and op[PARK.mode] == COMMIT then
    local due = math.max(0, op[PARK.fee_total] - op[PARK.already_paid]
      - payment[PAYMENT.already_deducted])
    local wrong, name = parking.vendor(record, op[PARK.vendor], due)
    if wrong then return batch.answer(wrong, now, nil, name) end
    return nil, { finish = true, use = use, payment = payment, record = record, due = due }
  end
  if live or record[REDEMPTION.state] == REDEMPTION_STATE.REVERSED then
    return answer(OUTCOME.REPEATED, now, packed, payment)
  end
  return nil, nil, payment[PAYMENT.attempt] + 1
end

-- Those who give something besides coupons, in order; the tier's other stays of the day, and the
-- receipts found. Or nil, the outcome and what it is about.
local function givers_of(handle, op, user, earlier, day, now)
  local givers, tier_kept = {}, nil
  if op[PARK.user_id] ~= '' and user[USER.frozen] ~= 1 then
    givers[1], tier_kept = parking.tier(handle, op, user, earlier, day, now)
  end
  for _, given in ipairs(op[PARK.given]) do
    if given[1] == 'merchant' and not earlier.ids[given[2]] then givers[#givers + 1] = given end
  end
  local spend, wrong, found = parking.spend(handle, op, earlier, now)
  if wrong then return nil, wrong, found end
  givers[#givers + 1] = spend
  for _, given in ipairs(op[PARK.given]) do
    if given[1] == 'manual' and not earlier.ids[given[2]] then givers[#givers + 1] = given end
  end
  return givers, tier_kept, found or {}
end

-- All that is decided: an answer, or the plan of what to write.
local function decide(op, handle, now)
  local mode, use = op[PARK.mode], parking.use(handle, op)
  local first_answer, finish, attempt = again(handle, op, use, now)
  if first_answer or finish then return first_answer, finish end
  if mode ~= QUOTE and attempt ~= op[PARK.attempt] then
    return batch.answer(OUTCOME.WALLET_MOVED, now, nil, attempt)
  end
  local earlier = parking.earlier(handle, use, op, now)
  local due = math.max(0, op[PARK.fee_total] - op[PARK.already_paid] - earlier.fen)

  local items, row, missing = using.gather(handle, op[PARK.coupons], { 'u', 'p' }, function(coupon)
    for _, hold in ipairs(earlier.holds) do
      if coupon[COUPON.redemption] == hold[1] then return true end
    end
    return false
  end)
  if missing then return batch.answer(OUTCOME.NOT_FOUND, now, nil, missing) end
  local user = people.read(row[1] or people.new(op[PARK.user_id]))
  local member_step, day = op[PARK.member_step], (calendar.of(now, op[PARK.offset]))
  local olds = {}
  for i, hold in ipairs(earlier.holds) do olds[i] = hold[2] end
  local tidy = using.make_room(items, op[PARK.lot_id], now, day, olds)
  local at = {
    now = now, offset = op[PARK.offset], store = op[PARK.lot_id], store_closed = false,
    channel = op[PARK.channel], user_frozen = user[USER.frozen] == 1,
    member_stale = op[PARK.member_stale] == 1,
    member_used = member_step > 0 and member_step <= user[USER.member_step],
    replaced = earlier.holds[1] and earlier.holds[1][1] or nil,
  }

  local givers, tier_kept, found = givers_of(handle, op, user, earlier, day, now)
  if not givers then return batch.answer(tier_kept, now, nil, found) end

  local basket, by_minutes, by_amounts = fee(op, due, earlier), {}, {}
  parking.take_minutes(basket, givers, by_minutes)
  function basket.amounts(this)
    this.amounts = nil
    parking.take_amounts(this, givers, by_amounts)
  end
  local accepted, refused = stacking.judge(items, basket, at)
  if basket.amounts then basket.amounts(basket) end
  if #refused > 0 and (op[PARK.searched] == 1 or op[PARK.all_or_nothing] == 1) then
    if op[PARK.searched] == 1 then return batch.answer(OUTCOME.WALLET_MOVED, now, nil, attempt) end
    return batch.answer(refused[1].outcome, now, using.skipped(refused))
  end
  local tender = by_points(op, basket, row[2], at, earlier)
  local deductions = listed(by_minutes, by_amounts, accepted, tender)
  local record = compose(op, due, accepted, refused, deductions, tender, now, day)
  local coupons_off = 0
  for _, item in ipairs(accepted) do coupons_off = coupons_off + item.discount end
  if op[PARK.expected] >= 0 and coupons_off ~= op[PARK.expected] then
    return batch.answer(OUTCOME.WALLET_MOVED, now, nil, attempt)
  end
  local payment = { op[PARK.fee_id], '', attempt, op[PARK.fee_total], op[PARK.already_paid],
    earlier.fen, leave_by(op, now), basket.worth and 0 or 1 }
  if mode == QUOTE or (mode ~= COMMIT and #deductions == 0) then
    return answer(OUTCOME.DONE, now, cmsgpack.pack(record), payment, earlier)
  end
  return nil, { use = use, payment = payment, record = record, deductions = deductions,
    accepted = accepted, tidy = tidy, holds = earlier.holds, user = row[1] and user,
    tier_days = tier_kept, receipts = found, day = day }
end

-- Write a new payment.
local function make(handle, op, now, plan)
  local serial, record, payment = op[PARK.serial], plan.record, plan.payment
  local member_step, user = op[PARK.member_step], plan.user
  payment[PAYMENT.serial] = serial
  for _, lapsed in ipairs(plan.tidy) do
    redemptions.give_up(lapsed[1], lapsed[2], lapsed[3], REDEMPTION_STATE.LAPSED, now, '',
      rooms.engine)
  end
  for _, hold in ipairs(plan.holds) do
    redemptions.give_up(handle, hold[1], hold[2], REDEMPTION_STATE.RELEASED, now,
      op[PARK.fingerprint], op[PARK.who])
  end
  local till, tender = record[REDEMPTION.until], receipts.points(record)
  local fields = using.take_coupons(handle, serial, plan.accepted, till, now,
    plan.holds[1] and plan.holds[1][1], {})
  if member_step > 0 and user and #plan.accepted > 0 then
    user[USER.member_step] = math.max(member_step, user[USER.member_step])
    fields[#fields + 1], fields[#fields + 2] = 'u', people.pack(user)
  end
  if #fields > 0 then redis.call('HSET', keys.wallet(handle), unpack(fields)) end
  redemptions.charge(record, 1)
  using.take_points(handle, serial, tender, record[REDEMPTION.user_id], till, now)
  if parking.has(plan.deductions, 'spend') then
    for _, receipt in ipairs(plan.receipts) do
      receipt[2][PURCHASE.used] = serial
      purchases.put(handle, receipt[1], receipt[2])
    end
  end
  if plan.tier_days and parking.has(plan.deductions, 'tier') then
    table.insert(plan.tier_days, { plan.day, op[PARK.use], serial })
    redis.call('SET', keys.tier_use(handle), cmsgpack.pack(plan.tier_days))
  end
  keep(handle, op, plan.use, payment)
  if op[PARK.mode] == COMMIT then
    redemptions.count(record, 1)
    redemptions.tell('redeemed', handle, serial, record, now, op[PARK.who], '')
  else
    redemptions.open_hold(handle, serial, record)
    redemptions.tell('held', handle, serial, record, now, op[PARK.who], '',
      record[REDEMPTION.until])
  end
  return answer(OUTCOME.DONE, now, redemptions.put(handle, serial, record), payment)
end

return batch.run(function(op)
  local handle, now = op[PARK.handle], batch.at(op[PARK.now])
  local done, plan = decide(op, handle, now)
  if done then return done end
  -- After this point the act must succeed.
  if plan.finish then return complete(handle, op, now, plan) end
  return make(handle, op, now, plan)
end)
