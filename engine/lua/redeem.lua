--[[
Redeem coupons of one wallet for one basket, or set them aside for a while (a hold). Stored value
and points pay what is left after all discounts.

flags:    allow-oom
include:  arithmetic, batch, calendar, keys, pack, points, redemptions, rooms, stacking, stores,
          tenders, using
keys:
  1 cell      hash    epoch, seq and definitions of the cell
derived:
  wallet      hash    the person's live state
  campaign    hash    the campaign's share in this cell, with the terms of each revision
  quotas      hash    the quotas of its event
  redemption  string  the record: its id comes from the Idempotency-Key, so it is the receipt
  opens       zset    open holds on a limited campaign; lapsed ones give way to this act
  holds       zset    open holds by the time they lapse
  points      string  entries whose lots expire meanwhile
  points_due  zset    people by the time their next lot expires
  facts       stream  the outbox
arguments:
  1 batch     msgpack array of commands.Redeem
outcomes:
  DONE REPEATED NOT_FOUND IDEMPOTENCY_KEY_REUSED CODE_EXPIRED CAMPAIGN_FROZEN USER_FROZEN
  ALREADY_REDEEMED HELD CODE_USED VOIDED REFUNDED TRANSFERRED EXPIRED NOT_YET_VALID
  STORE_NOT_ALLOWED CHANNEL_NOT_ALLOWED OUTSIDE_HOURS NO_ELIGIBLE_ITEMS MIN_QUANTITY MIN_SPEND
  STACKING_CONFLICT GROUP_LIMIT CAMPAIGN_LIMIT TOO_MANY_COUPONS CAMPAIGN_DAY_LIMIT STORE_LIMIT
  BUDGET_EXHAUSTED POINTS_INSUFFICIENT NO_EFFECT WINDOW_MOVED WALLET_MOVED
]]

local function paid(item)
  return { TENDER_KIND.STORED_VALUE, item.serial, item.tendered, 0, item.balance - item.tendered,
    0, 0, item.record[COUPON.campaign_id], item.record[COUPON.terms_revision], using.shares(item),
    item.counted, item.terms[TERMS.amount], 0, 0, 0, {} }
end

-- What pays what the coupons left: stored value and points, as records.Tender.
local function tenders_of(accepted, by_points)
  local list = {}
  for i = 1, #accepted do
    if accepted[i].tender then list[#list + 1] = paid(accepted[i]) end
  end
  list[#list + 1] = by_points
  return list
end

local function sum(list, name)
  local total = 0
  for i = 1, #list do total = total + list[i][name] end
  return total
end

-- The redemption or hold as its record (records.RedemptionRecord) keeps it and as the fact
-- (facts.Redeemed, facts.Held) tells it: what both say alike is packed once, the lines by whoever
-- sent them.
local function told(op, made, now)
  local handle, serial, till = op[REDEEM.handle], op[REDEEM.serial], made.till
  local by_record, by_fact = {}, {}
  for i = 1, #made.accepted do
    local item, n = made.accepted[i], #by_record + 1
    if not item.tender then by_record[n], by_fact[n] = using.told(handle, item, made.lines) end
  end
  local said = cmsgpack.pack(made.user_id, op[REDEEM.store_id], made.merchant,
    op[REDEEM.terminal_id], op[REDEEM.staff_id], op[REDEEM.channel], op[REDEEM.order_ref],
    op[REDEEM.amount], made.discount)
  local tenders, skipped = made.tenders, made.skipped
  local record = pack.header(23) .. cmsgpack.pack(till > 0 and REDEMPTION_STATE.HELD
    or REDEMPTION_STATE.REDEEMED, now, till, op[REDEEM.fingerprint]) .. said .. op[REDEEM.kept]
    .. pack.join(by_record) .. cmsgpack.pack(skipped, {}, {}, 0, made.day, tenders, '', {})
  local n = till > 0 and 24 or 23
  local fact = pack.header(n) .. cmsgpack.pack(till > 0 and 'held' or 'redeemed', batch.next(), now,
    'R' .. handle .. serial, op[REDEEM.fingerprint], op[REDEEM.who]) .. said
    .. cmsgpack.pack(op[REDEEM.amount] - made.discount - made.tendered) .. op[REDEEM.lines]
    .. pack.join(by_fact) .. cmsgpack.pack(made.replaced and 'R' .. handle .. made.replaced or '')
    .. (till > 0 and cmsgpack.pack(till) or '')
    .. cmsgpack.pack(redemptions.fact_tenders(handle, tenders), '', {}, skipped)
  return record, fact
end

-- Judge the points asked for, on what the coupons left: the tender or nil, and what refuses them.
local function by_points(op, basket, row, at, serial)
  local asked = op[REDEEM.points]
  if asked == 0 then return nil end
  local outcome, short, tender = stacking.scene(at), 0, nil
  if outcome == OUTCOME.DONE then
    local record = points.read(row, at.now)
    local old = at.replaced and points.unhold(record, at.replaced)
    if old then points.give_back(record, old, math.huge) end
    outcome, short, tender = tenders.judge(basket, asked, points.available(record, at.now))
  end
  if tender then return tender end
  if asked < 0 then return nil end  -- as many as are useful: none are
  return nil, { serial = '', outcome = outcome, short = short }
end

return batch.run(function(op)
  local handle, serial = op[REDEEM.handle], op[REDEEM.serial]
  local now, hold = batch.at(op[REDEEM.now]), op[REDEEM.hold_seconds]
  if batch.window_moved(now, op[REDEEM.window]) then
    return batch.answer(OUTCOME.WINDOW_MOVED, now)
  end
  local before = op[REDEEM.serial_before]
  local again = batch.again(now, op[REDEEM.fingerprint], REDEMPTION.fingerprint, serial,
    keys.redemption(handle, serial), before, keys.redemption(handle, before))
  if again then return again end
  -- One stale picture costs no more than this look-up.
  local first = op[REDEEM.coupons][1]
  if not first and op[REDEEM.points] == 0 then  -- a search found nothing
    return batch.answer(OUTCOME.NO_EFFECT, now)
  end
  if first and not op[REDEEM.coupons][2] and op[REDEEM.points] == 0
    and (first[PRESENTED.stale] == 1 or op[REDEEM.member_stale] == 1) then
    return batch.answer(OUTCOME.CODE_EXPIRED, now,
      { { first[PRESENTED.serial], OUTCOME.CODE_EXPIRED, 0 } })
  end
  local store = stores.get(op[REDEEM.store_id])
  if not store then return batch.answer(OUTCOME.NOT_FOUND, now, nil, 'store_id') end

  local fields, order, replaced, own = { 'u' }, nil, nil, nil
  if hold > 0 and op[REDEEM.order_ref] ~= '' then
    order = redemptions.hold_field(op[REDEEM.store_id], op[REDEEM.order_ref])
    replaced = redis.call('HGET', keys.wallet(handle), order) or nil
    own = replaced and function(coupon) return coupon[COUPON.redemption] == replaced end
  end
  if op[REDEEM.points] ~= 0 then fields[2] = 'p' end
  local items, row, missing = using.gather(handle, op[REDEEM.coupons], fields, own)
  if not items then return batch.answer(OUTCOME.NOT_FOUND, now, nil, missing) end
  if not row[1] then  -- nobody is known by that name
    return batch.answer(op[REDEEM.points] < 0 and OUTCOME.NO_EFFECT or OUTCOME.POINTS_INSUFFICIENT,
      now)
  end
  local user = cmsgpack.unpack(row[1])
  local member_step = op[REDEEM.member_step]
  local lines = cmsgpack.unpack(op[REDEEM.lines])
  local basket = arithmetic.basket(lines, stores.payable_floor())
  local old = replaced and redemptions.get(handle, replaced)
  if not old or not redemptions.is_open(handle, replaced, old, now) then
    old, replaced = nil, nil  -- it has lapsed: there is nothing to take the place of
  end
  local day = calendar.of(now, op[REDEEM.offset])
  local tidy = using.make_room(items, op[REDEEM.store_id], now, day, old and { old } or {})
  local at = {
    now = now, offset = op[REDEEM.offset], store = op[REDEEM.store_id],
    store_closed = store[STORE.closed] == 1, channel = op[REDEEM.channel],
    user_frozen = user[USER.frozen] == 1, member_stale = op[REDEEM.member_stale] == 1,
    member_used = member_step > 0 and member_step <= user[USER.member_step],
    replaced = replaced,
  }
  local accepted, refused = stacking.judge(items, basket, at)
  local tender, why_not = by_points(op, basket, row[2], at)
  if why_not then refused[#refused + 1] = why_not end
  if (#accepted == 0 and not tender) or (#refused > 0 and op[REDEEM.all_or_nothing] == 1) then
    if #refused == 0 then return batch.answer(OUTCOME.NO_EFFECT, now) end
    return batch.answer(refused[1].outcome, now, using.skipped(refused))
  end
  local made = { accepted = accepted, replaced = replaced, user_id = user[USER.user_id],
    merchant = store[STORE.merchant_id], till = hold > 0 and now + hold * 1000 or 0, lines = #lines,
    discount = sum(accepted, 'discount'), tenders = tenders_of(accepted, tender),
    tendered = sum(accepted, 'tendered') + (tender and tender[TENDER.amount] or 0),
    day = sum(accepted, 'counted') > 0 and day or 0, skipped = using.skipped(refused) }
  for _, one in ipairs(op[REDEEM.skipped]) do made.skipped[#made.skipped + 1] = one end
  if op[REDEEM.expected] >= 0 and (made.discount ~= op[REDEEM.expected]
    or made.tendered ~= op[REDEEM.expected_tendered]) then
    return batch.answer(OUTCOME.WALLET_MOVED, now)
  end
  -- After this point the act must succeed.
  for _, lapsed in ipairs(tidy) do
    redemptions.give_up(lapsed[1], lapsed[2], lapsed[3], REDEMPTION_STATE.LAPSED, now, '',
      rooms.engine)
  end
  if old then
    redemptions.give_up(handle, replaced, old, REDEMPTION_STATE.RELEASED, now,
      op[REDEEM.fingerprint], op[REDEEM.who])
  end
  local till, changed = made.till, {}
  if member_step > 0 then
    user[USER.member_step] = member_step
    changed[1], changed[2] = 'u', pack.array(unpack(user, 1, 5))
  end
  if order then changed[#changed + 1], changed[#changed + 2] = order, serial end
  using.take_coupons(handle, serial, accepted, till, now, replaced, changed)
  if changed[1] then redis.call('HSET', keys.wallet(handle), unpack(changed)) end
  using.charge(handle, serial, accepted, op[REDEEM.store_id], day, till)
  using.take_points(handle, serial, tender, made.user_id, till, now)
  if till > 0 then redis.call('ZADD', keys.holds(), till, handle .. serial) end
  local record, fact = told(op, made, now)
  batch.facts[#batch.facts + 1] = fact
  redis.call('SET', keys.redemption(handle, serial), record)
  return batch.record(OUTCOME.DONE, now, record)
end)
