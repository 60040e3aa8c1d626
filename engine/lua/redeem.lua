--[[
Redeem coupons of one wallet for one basket, or set them aside for a while (a hold).

flags:    allow-oom
include:  arithmetic, batch, calendar, campaigns, keys, pack, records, redemptions, rooms,
          stacking, stores
keys:
  1 cell      hash    epoch, seq and definitions of the cell
derived:
  wallet      hash    the person's live state
  campaign    hash    the campaign's share in this cell, with the terms of each revision
  redemption  string  the record: its id comes from the Idempotency-Key, so it is the receipt
  opens       zset    open holds on a limited campaign; lapsed ones give way to this act
  holds       zset    open holds by the time they lapse
  facts       stream  the outbox
arguments:
  1 batch     msgpack array of commands.Redeem
outcomes:
  DONE REPEATED NOT_FOUND IDEMPOTENCY_KEY_REUSED CODE_EXPIRED CAMPAIGN_FROZEN USER_FROZEN
  ALREADY_REDEEMED HELD CODE_USED VOIDED EXPIRED NOT_YET_VALID STORE_NOT_ALLOWED
  CHANNEL_NOT_ALLOWED OUTSIDE_HOURS NO_ELIGIBLE_ITEMS MIN_QUANTITY MIN_SPEND STACKING_CONFLICT
  GROUP_LIMIT CAMPAIGN_LIMIT TOO_MANY_COUPONS CAMPAIGN_DAY_LIMIT STORE_LIMIT BUDGET_EXHAUSTED
  NO_EFFECT WINDOW_MOVED WALLET_MOVED
]]

-- The first answer again: the record of this key, in this window or the one before.
local function receipt(op, handle, now)
  for _, serial in ipairs({ op[REDEEM.serial], op[REDEEM.serial_before] }) do
    local record, packed = redemptions.get(handle, serial)
    if record then
      if record[REDEMPTION.fingerprint] ~= op[REDEEM.fingerprint] then
        return batch.answer(OUTCOME.IDEMPOTENCY_KEY_REUSED, now)
      end
      return pack.header(4) .. cmsgpack.pack(OUTCOME.REPEATED, now) .. packed
        .. cmsgpack.pack(serial)
    end
  end
end

-- The coupons asked for with all that judging them needs; nil and the serial that is missing.
-- One that is named twice (by two pictures of it) is one coupon: the first naming counts.
local function gather(op, row, replaced)
  local items, seen = {}, {}
  for i, presented in ipairs(op[REDEEM.coupons]) do
    local serial = presented[PRESENTED.serial]
    if not row[i + 2] then return nil, serial end
    if not seen[serial] then
      seen[serial] = true
      local record = cmsgpack.unpack(row[i + 2])
      local share = campaigns.share(record[COUPON.campaign_id])
      items[#items + 1] = { serial = serial, record = record, step = presented[PRESENTED.step],
        stale = presented[PRESENTED.stale] == 1, share = share,
        status = share.issue[ISSUE.status],
        terms = campaigns.terms(share, record[COUPON.terms_revision]),
        own_hold = replaced and record[COUPON.redemption] == replaced }
    end
  end
  return items
end

-- Give each item of a limited campaign its room. What the hold to be replaced set aside is free,
-- and so is that of lapsed holds: they are handed back, to be tidied if the act succeeds.
local function make_room(items, op, now, day, old)
  local known, tidy, seen = {}, {}, {}
  for _, item in ipairs(items) do
    local share, terms = item.share, item.terms
    local per_day, per_store = terms[TERMS.per_day] or -1, terms[TERMS.per_store_per_day] or -1
    item.counted = (per_day >= 0 and 1 or 0) + (per_store >= 0 and 2 or 0)
    if share.budget_left or item.counted > 0 then
      if not known[share.id] then
        local room, lapsed = rooms.of(share, op[REDEEM.store_id], now, day)
        if old then rooms.free(room, share, old, op[REDEEM.store_id], day) end
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

local function skipped(refused)
  local list = {}
  for i, item in ipairs(refused) do list[i] = { item.serial, item.outcome, item.short } end
  return list
end

local function applied(item)
  local shares = {}
  for line, share in pairs(item.shares) do
    if share > 0 then shares[#shares + 1] = { line - 1, share, 0 } end
  end
  table.sort(shares, function(a, b) return a[1] < b[1] end)
  return { item.serial, item.record[COUPON.campaign_id], item.record[COUPON.terms_revision],
    item.terms[TERMS.benefit], item.terms[TERMS.value], item.discount, shares, 0,
    item.terms[TERMS.item], 0, item.counted, 1 }
end

-- The record of a redemption that will stand; `hold` 0 = redeemed at once.
local function compose(op, user, store, accepted, refused, now, hold, day)
  local lines, coupons, discount, counted = {}, {}, 0, 0
  for i, line in ipairs(op[REDEEM.lines]) do
    lines[i] = { line[1], line[2], line[3], line[4], line[5], 0 }
  end
  for i, item in ipairs(accepted) do
    coupons[i], discount = applied(item), discount + item.discount
    counted = counted + item.counted
  end
  return { hold > 0 and REDEMPTION_STATE.HELD or REDEMPTION_STATE.REDEEMED, now,
    hold > 0 and now + hold * 1000 or 0, op[REDEEM.fingerprint], user[USER.user_id],
    op[REDEEM.store_id], store[STORE.merchant_id], op[REDEEM.terminal_id],
    op[REDEEM.staff_id], op[REDEEM.channel], op[REDEEM.order_ref], op[REDEEM.amount], discount,
    lines, coupons, skipped(refused), {}, {}, 0, counted > 0 and day or 0,
    {}, '', {} }
end

return batch.run(function(op)
  local handle, serial = op[REDEEM.handle], op[REDEEM.serial]
  local now, hold = batch.at(op[REDEEM.now]), op[REDEEM.hold_seconds]
  if batch.window_moved(now, op[REDEEM.window]) then
    return batch.answer(OUTCOME.WINDOW_MOVED, now)
  end
  local again = receipt(op, handle, now)
  if again then return again end
  -- One stale picture costs no more than this look-up.
  local first = op[REDEEM.coupons][1]
  if not first then return batch.answer(OUTCOME.NO_EFFECT, now) end  -- a search found nothing
  if not op[REDEEM.coupons][2] and (first[PRESENTED.stale] == 1 or op[REDEEM.member_stale] == 1)
  then
    return batch.answer(OUTCOME.CODE_EXPIRED, now,
      { { first[PRESENTED.serial], OUTCOME.CODE_EXPIRED, 0 } })
  end
  local store = stores.get(op[REDEEM.store_id])
  if not store then return batch.answer(OUTCOME.NOT_FOUND, now, nil, 'store_id') end

  local wallet = keys.wallet(handle)
  local hold_field = redemptions.hold_field(op[REDEEM.store_id], op[REDEEM.order_ref])
  local fields = { 'u', hold_field }
  for i, presented in ipairs(op[REDEEM.coupons]) do
    fields[i + 2] = 'C' .. presented[PRESENTED.serial]
  end
  local row = redis.call('HMGET', wallet, unpack(fields))
  local replaced = hold > 0 and op[REDEEM.order_ref] ~= '' and row[2] or nil
  local items, missing = gather(op, row, replaced)
  if not items then return batch.answer(OUTCOME.NOT_FOUND, now, nil, missing) end
  local user = cmsgpack.unpack(row[1])
  local member_step = op[REDEEM.member_step]
  local basket = arithmetic.basket(op[REDEEM.lines], stores.payable_floor())
  local old = replaced and redemptions.get(handle, replaced)
  if not old or not redemptions.is_open(handle, replaced, old, now) then
    old, replaced = nil, nil  -- it has lapsed: there is nothing to take the place of
  end
  local day = calendar.of(now, op[REDEEM.offset])
  local tidy = make_room(items, op, now, day, old)
  local accepted, refused = stacking.judge(items, basket, {
    now = now, offset = op[REDEEM.offset], store = op[REDEEM.store_id],
    store_closed = store[STORE.closed] == 1, channel = op[REDEEM.channel],
    user_frozen = user[USER.frozen] == 1, member_stale = op[REDEEM.member_stale] == 1,
    member_used = member_step > 0 and member_step <= user[USER.member_step],
  })
  if #accepted == 0 or (#refused > 0 and op[REDEEM.all_or_nothing] == 1) then
    return batch.answer(refused[1].outcome, now, skipped(refused))
  end
  local discount = 0
  for _, item in ipairs(accepted) do discount = discount + item.discount end
  if op[REDEEM.expected] >= 0 and discount ~= op[REDEEM.expected] then
    return batch.answer(OUTCOME.WALLET_MOVED, now)
  end
  local record = compose(op, user, store, accepted, refused, now, hold, day)
  -- After this point the act must succeed.
  for _, lapsed in ipairs(tidy) do
    redemptions.give_up(lapsed[1], lapsed[2], lapsed[3], REDEMPTION_STATE.LAPSED, now, '',
      rooms.engine)
  end
  if old then
    redemptions.give_up(handle, replaced, old, REDEMPTION_STATE.RELEASED, now,
      op[REDEEM.fingerprint], op[REDEEM.who])
  end
  for _, item in ipairs(accepted) do
    local coupon = item.record
    coupon[COUPON.state] = hold > 0 and COUPON_STATE.HELD or COUPON_STATE.REDEEMED
    coupon[COUPON.step] = math.max(item.step, coupon[COUPON.step] or 0)
    coupon[COUPON.redemption] = serial
    coupon[COUPON.held_until] = record[REDEMPTION.until]
    redis.call('HSET', wallet, 'C' .. item.serial, records.coupon(coupon))
  end
  if member_step > 0 then
    user[USER.member_step] = member_step
    redis.call('HSET', wallet, 'u', pack.array(unpack(user, 1, 5)))
  end
  redemptions.charge(record, 1)
  if hold > 0 then
    redemptions.open_hold(handle, serial, record)
    if op[REDEEM.order_ref] ~= '' then redis.call('HSET', wallet, hold_field, serial) end
    redemptions.tell('held', handle, serial, record, now, op[REDEEM.who],
      replaced and 'R' .. handle .. replaced or '', record[REDEMPTION.until])
  else
    redemptions.count(record, 1)
    redemptions.tell('redeemed', handle, serial, record, now, op[REDEEM.who], '')
  end
  return pack.header(4) .. cmsgpack.pack(OUTCOME.DONE, now)
    .. redemptions.put(handle, serial, record) .. cmsgpack.pack(serial)
end)
