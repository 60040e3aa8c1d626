--[[
Order coupons: stock and limits are set aside at once, all or nothing, until they are paid or the
time is over.

include:  batch, keys, orders, pack
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
  local wanted, ids = op[RESERVE.items], {}
  for i, each in ipairs(wanted) do ids[i] = each[1] end
  local person = orders.person(handle, op[RESERVE.user_id], op[RESERVE.channel], now,
    op[RESERVE.offset], ids)
  if op[RESERVE.spare] then person.channel = nil end  -- of a waiting line: by no channel
  person.head = op[RESERVE.head] == 1
  local outcome, detail, id, order = orders.decide(person, wanted, op[RESERVE.hold_seconds])
  if outcome ~= OUTCOME.DONE then return batch.answer(outcome, now, detail, id) end
  -- After this point the act must succeed.
  local record = orders.place(person, order, { serial = serial,
    fingerprint = op[RESERVE.fingerprint], user_id = op[RESERVE.user_id],
    channel = op[RESERVE.channel], source = op[RESERVE.source], waits = op[RESERVE.waits],
    spare = op[RESERVE.spare], who = op[RESERVE.who] })
  return pack.header(4) .. cmsgpack.pack(OUTCOME.DONE, now) .. record .. cmsgpack.pack(serial)
end)
