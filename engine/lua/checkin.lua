--[[
A ticket at a gate, in or out. Every attempt is kept, a refused one too; the first entry redeems
the ticket. What happened while the gate could not ask is kept as it happened: it is told what it
would have been refused for.

flags:    allow-oom
include:  batch, calendar, campaigns, gates, keys, pack, people, redemptions, rooms, stores, using
keys:
  1 cell       hash    epoch, seq and definitions of the cell
derived:
  wallet       hash    the person's live state
  campaign     hash    the campaign's share in this cell, with the terms of each revision
  quotas       hash    the quotas of its event
  checkin      string  the attempt: its id comes from gate and nonce, so it is the receipt
  attendance   string  who came and went with the ticket
  order        string  open orders of a member who shows a code and has no ticket
  redemption   string  of the first entry
  opens        zset    open holds on a limited campaign; lapsed ones give way to this act
  holds        zset    open holds by the time they lapse
  points       string  entries whose lots expire meanwhile
  points_due   zset    people by the time their next lot expires
  facts        stream  the outbox
arguments:
  1 batch      msgpack array of commands.CheckIn
outcomes:
  DONE REPEATED NOT_FOUND IDEMPOTENCY_KEY_REUSED CAMPAIGN_FROZEN USER_FROZEN CHANNEL_NOT_ALLOWED
  CAMPAIGN_DAY_LIMIT BUDGET_EXHAUSTED CODE_EXPIRED ALREADY_REDEEMED HELD CODE_USED VOIDED REFUNDED
  TRANSFERRED EXPIRED NOT_YET_VALID STORE_NOT_ALLOWED OUTSIDE_HOURS NO_ELIGIBLE_ITEMS MIN_QUANTITY
  MIN_SPEND STACKING_CONFLICT GROUP_LIMIT CAMPAIGN_LIMIT TOO_MANY_COUPONS STORE_LIMIT NO_EFFECT
  WRONG_EVENT NOT_PAID ALREADY_IN NOT_IN TOO_EARLY TOO_LATE WINDOW_MOVED
]]

-- Whether an order of this member for this event is waiting for its money.
local function unpaid(op, handle, packed, now)
  for _, open in ipairs(packed and cmsgpack.unpack(packed) or {}) do
    local order = now < open[OPEN_ORDER.until]
      and redis.call('GET', keys.order(handle, open[OPEN_ORDER.serial]))
    for _, item in ipairs(order and cmsgpack.unpack(order)[ORDER.items] or {}) do
      local share = campaigns.share(item[ITEM.campaign_id])
      local terms = share and campaigns.terms(share, item[ITEM.terms_revision])
      local event = terms and terms[TERMS.event]
      if event and event[EVENT.id] == op[CHECKIN.event_id] then return true end
    end
  end
  return false
end

-- Where a ticket is settled: the gate's store, else the only one that it is good for.
local function place(op, item)
  local id, known = op[CHECKIN.store_id], item.terms[TERMS.stores]
  if id == '' and known and #known == 1 then id = known[1] end
  return id, id ~= '' and stores.get(id) or nil
end

-- What a ticket is judged by.
local function scene(op, item, user, moment, now)
  local step = op[CHECKIN.member_step]
  local store_id, store = place(op, item)
  return { now = moment, real = now, offset = op[CHECKIN.offset], channel = 'gate',
    store = store_id, merchant = store and store[STORE.merchant_id] or '',
    store_closed = store ~= nil and store[STORE.closed] == 1, user_frozen = user[USER.frozen] == 1,
    member_stale = op[CHECKIN.member_stale] == 1,
    member_used = step > 0 and step <= user[USER.member_step],
    event = op[CHECKIN.event_id], out = op[CHECKIN.out] }
end

-- The ticket that lets its owner through, else the first one: the item with its outcome, and the
-- lapsed holds that its campaign has.
local function choose(op, handle, items, user, moment, now)
  local first, lapsed
  for _, item in ipairs(items) do
    item.at = scene(op, item, user, moment, now)
    item.day = calendar.of(now, op[CHECKIN.offset])
    local tidy = using.make_room({ item }, item.at.store, now, item.day, {})
    gates.judge(handle, item, item.at)
    if item.outcome == OUTCOME.DONE then return item, tidy end
    if not first then first, lapsed = item, tidy end
  end
  return first, lapsed
end

-- The record of the redemption that a first entry is.
local function compose(op, user, item, now)
  local applied = using.applied(item)
  if item.at.merchant == '' then applied[APPLIED.value] = 0 end  -- nobody is owed for it
  return { REDEMPTION_STATE.REDEEMED, now, 0, op[CHECKIN.fingerprint], user[USER.user_id],
    item.at.store, item.at.merchant, op[CHECKIN.gate], op[CHECKIN.staff_id], 'gate', '', 0, 0, {},
    { applied }, {}, {}, {}, 0, item.counted > 0 and item.day or 0, {}, '', {} }
end

return batch.run(function(op)
  local handle, now = op[CHECKIN.handle], batch.at(op[CHECKIN.now])
  if batch.window_moved(now, op[CHECKIN.window]) then
    return batch.answer(OUTCOME.WINDOW_MOVED, now)
  end
  local serial, before = op[CHECKIN.serial], op[CHECKIN.serial_before]
  local again = batch.again(now, op[CHECKIN.fingerprint], SCAN.fingerprint, serial,
    keys.checkin(handle, serial), before, keys.checkin(handle, before))
  if again then return again end
  local offline = op[CHECKIN.scanned] > 0
  -- No gate's clock is ahead of ours.
  local moment = offline and math.min(op[CHECKIN.scanned], now) or now
  local items, row = using.gather(handle, op[CHECKIN.tickets], { 'u', 'q' })
  if not items or not row[1] then return batch.answer(OUTCOME.NOT_FOUND, now) end
  local user, item, tidy = people.read(row[1]), nil, {}
  local outcome, other, opens, seen = OUTCOME.WRONG_EVENT, nil, 0, nil
  if items[1] then
    item, tidy = choose(op, handle, items, user, moment, now)
    outcome, other, opens, seen = item.outcome, item.other, item.opens, item.seen
  elseif unpaid(op, handle, row[2], now) then
    outcome = OUTCOME.NOT_PAID
  end
  local done = outcome == OUTCOME.DONE
  local through = item and (done or (offline and outcome ~= OUTCOME.WRONG_EVENT))
  local redeems = through and item.redeems
  local record = { outcome, now, op[CHECKIN.fingerprint], user[USER.user_id],
    item and item.serial or '', item and item.record[COUPON.campaign_id] or '',
    op[CHECKIN.event_id], op[CHECKIN.gate], op[CHECKIN.out], offline and 1 or 0, moment,
    op[CHECKIN.staff_id], redeems and serial or '', seen and seen[ATTENDANCE.entries] or 0,
    other and other[PASSING.gate] or '', other and other[PASSING.at] or 0, opens }
  if record[SCAN.event_id] == '' and item and item.terms[TERMS.event] then
    record[SCAN.event_id] = item.terms[TERMS.event][EVENT.id]
  end
  local redemption = redeems and compose(op, user, item, now) or nil
  -- After this point the act must succeed.
  if redemption then
    for _, lapsed in ipairs(tidy) do
      redemptions.give_up(lapsed[1], lapsed[2], lapsed[3], REDEMPTION_STATE.LAPSED, now, '',
        rooms.engine)
    end
    redis.call('HSET', keys.wallet(handle),
      unpack(using.take_coupons(handle, serial, { item }, 0, now, nil, {})))
    redemptions.charge(redemption, 1)
    redemptions.count(redemption, 1)
    redemptions.tell('redeemed', handle, serial, redemption, now, op[CHECKIN.who], '')
    redemptions.put(handle, serial, redemption)
    seen[ATTENDANCE.redemption] = serial
  end
  if through then gates.pass(handle, item, serial, record, done) end
  if done and op[CHECKIN.member_step] > 0 then
    user[USER.member_step] = op[CHECKIN.member_step]
    redis.call('HSET', keys.wallet(handle), 'u', people.pack(user))
  end
  local packed = cmsgpack.pack(record)
  redis.call('SET', keys.checkin(handle, serial), packed)
  batch.fact('checked', now, 'I' .. handle .. serial, op[CHECKIN.fingerprint], op[CHECKIN.who],
    user[USER.user_id], item and 'C' .. handle .. item.serial or '', record[SCAN.campaign_id],
    record[SCAN.event_id], op[CHECKIN.gate], op[CHECKIN.out], outcome, record[SCAN.offline],
    moment, op[CHECKIN.staff_id], redeems and 'R' .. handle .. serial or '',
    record[SCAN.entries], record[SCAN.other_gate], record[SCAN.other_at])
  return pack.header(4) .. cmsgpack.pack(OUTCOME.DONE, now) .. packed .. cmsgpack.pack(serial)
end)
