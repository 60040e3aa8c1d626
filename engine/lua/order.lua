--[[
Order coupons: stock and limits are set aside at once, all or nothing, until they are paid or the
time is over.

include:  batch, campaigns, issuing, keys, orders, pack, points
keys:
  1 cell        hash    epoch, seq and definitions of the cell
derived:
  wallet        hash    the person's live state: counts, and their open orders in field q
  campaign      hash    the campaigns' shares in this cell
  quotas        hash    the quotas of its event
  lapsing       zset    open orders of a quota; lapsed ones give way as well
  order         string  the record: its id comes from the Idempotency-Key, so it is the receipt
  orders        zset    open orders by the time they lapse
  pending       zset    open orders of a campaign; lapsed ones give way to this act
  redemption    string  lapsed holds that set part of the budget aside
  opens         zset    open holds on a limited campaign
  holders       string  who was given one
  points        string  entries of points; those whose lots expire
  points_due    zset    people by the time their next lot expires
  facts         stream  the outbox
arguments:
  1 batch       msgpack array of commands.Reserve
outcomes:
  DONE REPEATED NOT_FOUND IDEMPOTENCY_KEY_REUSED CAMPAIGN_FROZEN CAMPAIGN_PAUSED CAMPAIGN_ENDED
  NOT_STARTED USER_FROZEN NOT_ELIGIBLE CHANNEL_NOT_ALLOWED USER_LIMIT USER_DAY_LIMIT
  USER_WEEK_LIMIT USER_MONTH_LIMIT CAMPAIGN_RATE_LIMIT CAMPAIGN_DAY_LIMIT BUDGET_EXHAUSTED SOLD_OUT
  POINTS_INSUFFICIENT WINDOW_MOVED
]]

return batch.run(function(op)
  local handle, serial, now = op[RESERVE.handle], op[RESERVE.serial], batch.at(op[RESERVE.now])
  if batch.window_moved(now, op[RESERVE.window]) then
    return batch.answer(OUTCOME.WINDOW_MOVED, now)
  end
  local before = op[RESERVE.serial_before]
  local again = batch.again(now, op[RESERVE.fingerprint], ORDER.fingerprint, serial,
    keys.order(handle, serial), before, keys.order(handle, before))
  if again then return again end
  local ids, freed, items, amount, score = {}, {}, {}, 0, 0
  for i, wanted in ipairs(op[RESERVE.items]) do ids[i] = wanted[1] end
  local person = orders.person(handle, op[RESERVE.user_id], op[RESERVE.channel], now,
    op[RESERVE.offset], ids)
  if op[RESERVE.spare] then person.channel = nil end  -- of a waiting line: by no channel
  person.head = op[RESERVE.head] == 1
  local lapses = now + op[RESERVE.hold_seconds] * 1000
  for i, wanted in ipairs(op[RESERVE.items]) do
    local share = campaigns.share(wanted[1])
    if not share then return batch.answer(OUTCOME.NOT_FOUND, now, nil, wanted[1]) end
    local outcome, opens = orders.may_have(person, share, freed, wanted[2])
    if outcome ~= OUTCOME.DONE then return batch.answer(outcome, now, opens, wanted[1]) end
    local issue = share.issue
    local price, points_price = issue[ISSUE.price] or 0, issue[ISSUE.points_price] or 0
    amount, score = amount + wanted[2] * price, score + wanted[2] * points_price
    items[i] = { wanted[1], wanted[2], price, points_price, issue[ISSUE.revision],
      issuing.rule(issue) }
    -- What is paid at the last moment must not have expired by then.
    local last = issuing.last(issue)
    if last > 0 then lapses = math.min(lapses, last) end
  end
  local mine = score > 0 and orders.purse(handle, now)
  local short = mine and score - points.available(mine, now) or 0
  if short > 0 then return batch.answer(OUTCOME.POINTS_INSUFFICIENT, now, short) end
  local record = { ORDER_STATE.PENDING, now, lapses, op[RESERVE.fingerprint], op[RESERVE.user_id],
    op[RESERVE.channel], op[RESERVE.source], amount, score, now, op[RESERVE.offset],
    items, {}, {}, '', 0, {}, op[RESERVE.waits], op[RESERVE.spare] }
  -- After this point the act must succeed.
  if #freed > 0 then
    orders.tidy(freed, now)
    person = orders.look(handle, ids)
  end
  orders.open(handle, serial, record, person)
  if mine then
    points.hold(mine, serial, lapses, points.take(mine, score, now))
    points.put(handle, op[RESERVE.user_id], mine, now)
  end
  local told = {}
  for i, item in ipairs(items) do told[i] = { unpack(item, 1, 5) } end
  batch.fact('ordered', now, 'O' .. handle .. serial, op[RESERVE.fingerprint], op[RESERVE.who],
    op[RESERVE.user_id], op[RESERVE.channel], op[RESERVE.source], amount, score, lapses, told,
    op[RESERVE.spare] and 1 or 0)
  return pack.header(4) .. cmsgpack.pack(OUTCOME.DONE, now)
    .. orders.put(handle, serial, record) .. cmsgpack.pack(serial)
end)
