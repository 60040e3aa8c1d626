--[[
Redeem coupons of one wallet for one basket, or set them aside for a while (a hold). Stored value
and points pay what is left after all discounts.

flags:    allow-oom
include:  arithmetic, batch, calendar, keys, pack, people, points, redemptions, rooms, stacking,
          stores, tenders, using
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

local number = cmsgpack.pack

local function paid(item)
  return { TENDER_KIND.STORED_VALUE, item.serial, item.tendered, 0, item.balance - item.tendered,
    0, 0, item.record[COUPON.campaign_id], item.record[COUPON.terms_revision], using.shares(item),
    item.counted, item.terms[TERMS.amount], 0, 0, 0, {} }
end

-- What stands in the end: the sums of discounts, of what is tendered and of what is counted, and
-- the tenders (records.Tender), points last.
local function sums(accepted, by_points)
  local discount, tendered, counted, list = 0, 0, 0, {}
  for i = 1, #accepted do
    local item = accepted[i]
    discount, counted = discount + item.discount, counted + item.counted
    if item.tender then tendered, list[#list + 1] = tendered + item.tendered, paid(item) end
  end
  if by_points then tendered, list[#list + 1] = tendered + by_points[TENDER.amount], by_points end
  return discount, tendered, counted, list
end

-- A list as it is packed; most are empty.
local function list(items)
  return items[1] and cmsgpack.pack(items) or '\144'
end

-- The state of a record and its times as they are packed, alike for most of a batch.
local moment = {}
local function opening(now, till)
  if moment.now ~= now or moment.till ~= till then
    moment.now, moment.till = now, till
    moment.packed = pack.header(23) .. cmsgpack.pack(till > 0 and REDEMPTION_STATE.HELD
      or REDEMPTION_STATE.REDEEMED, now, till)
  end
  return moment.packed
end

-- The redemption or hold as its record (records.RedemptionRecord) keeps it and as the fact
-- (facts.Redeemed, facts.Held) tells it: what both say alike is packed once, the lines by whoever
-- sent them.
local function told(op, made, now)
  local handle, serial, till, user = op[REDEEM.handle], op[REDEEM.serial], made.till, made.user_id
  local fingerprint, order = op[REDEEM.fingerprint], op[REDEEM.order_ref]
  local heads, texts, replaced = pack.heads, pack.texts, ''
  local by_record, by_fact = using.told(handle, made.accepted, made.lines)
  local asked = heads[#fingerprint] .. fingerprint
  local said = heads[#user] .. user .. texts[op[REDEEM.store_id]] .. texts[made.merchant]
    .. texts[op[REDEEM.terminal_id]] .. texts[op[REDEEM.staff_id]] .. texts[op[REDEEM.channel]]
    .. heads[#order] .. order .. number(op[REDEEM.amount])
    .. number(made.discount)
  local tenders, skipped = made.tenders, list(made.skipped)
  local record = opening(now, till) .. asked .. said .. op[REDEEM.lines] .. by_record .. skipped
    .. '\144\144\0' .. number(made.day) .. list(tenders) .. '\160\144'
  if made.replaced then replaced = 'R' .. handle .. made.replaced end
  batch.facts[#batch.facts + 1] = pack.header(till > 0 and 24 or 23)
    .. texts[till > 0 and 'held' or 'redeemed'] .. number(batch.next()) .. number(now)
    .. heads[1 + #handle + #serial] .. 'R' .. handle .. serial .. asked .. texts[op[REDEEM.who]]
    .. said .. number(op[REDEEM.amount] - made.discount - made.tendered)
    .. op[REDEEM.lines] .. by_fact .. texts[replaced] .. (till > 0 and number(till) or '')
    .. list(redemptions.fact_tenders(handle, tenders)) .. '\160\144' .. skipped
  return record
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
  local user = people.read(row[1])
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
  local discount, tendered, counted, paid_with = sums(accepted, tender)
  local made = { accepted = accepted, replaced = replaced, user_id = user[USER.user_id],
    merchant = store[STORE.merchant_id], till = hold > 0 and now + hold * 1000 or 0, lines = #lines,
    discount = discount, tendered = tendered, tenders = paid_with, day = counted > 0 and day or 0,
    skipped = using.skipped(refused) }
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
    changed[1], changed[2] = 'u', people.pack(user)
  end
  if order then changed[#changed + 1], changed[#changed + 2] = order, serial end
  using.take_coupons(handle, serial, accepted, till, now, replaced, changed)
  if changed[1] then redis.call('HSET', keys.wallet(handle), unpack(changed)) end
  using.charge(handle, serial, accepted, op[REDEEM.store_id], day, till)
  using.take_points(handle, serial, tender, made.user_id, till, now)
  if till > 0 then redis.call('ZADD', keys.holds(), till, handle .. serial) end
  local record = told(op, made, now)
  redis.call('SET', keys.redemption(handle, serial), record)
  return batch.opening(OUTCOME.DONE, now), record
end)
