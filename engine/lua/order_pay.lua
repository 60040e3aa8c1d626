--[[
Take the notice that an order was paid: its coupons are issued. After its time it is accepted as
long as there is room; a notice that comes again finds the first answer.

include:  batch, campaigns, keys, orders, points
keys:
  1 cell        hash    epoch, seq and definitions of the cell
derived:
  wallet        hash    the person's live state
  campaign      hash    the campaigns' shares in this cell
  quotas        hash    the quotas of its event
  lapsing       zset    open orders of a quota; lapsed ones give way as well
  order         string  the order; it keeps the payment and the keys of its notices
  orders        zset    open orders by the time they lapse
  pending       zset    open orders of a campaign
  redemption    string  lapsed holds that set part of the budget aside
  opens         zset    open holds on a limited campaign
  holders       string  who was given one
  pool          list    codes of a third party
  points        string  entries of points; those whose lots expire
  points_due    zset    people by the time their next lot expires
  facts         stream  the outbox
arguments:
  1 batch       msgpack array of commands.Pay
outcomes:
  DONE REPEATED NOT_FOUND IDEMPOTENCY_KEY_REUSED ORDER_EXPIRED ORDER_CANCELLED AMOUNT_MISMATCH
  CAMPAIGN_FROZEN CAMPAIGN_PAUSED CAMPAIGN_ENDED NOT_STARTED USER_FROZEN NOT_ELIGIBLE
  CHANNEL_NOT_ALLOWED USER_LIMIT USER_DAY_LIMIT USER_WEEK_LIMIT USER_MONTH_LIMIT
  CAMPAIGN_RATE_LIMIT CAMPAIGN_DAY_LIMIT BUDGET_EXHAUSTED SOLD_OUT
]]

-- A notice that came before: by its key, or by its payment under another key; nil when neither.
local function before(op, record, packed, now)
  for _, act in ipairs(record[ORDER.acts]) do
    if act[ACT.verb] == 'pay' and act[ACT.key] == op[PAY.key] then
      if act[ACT.fingerprint] ~= op[PAY.fingerprint] then
        return batch.answer(OUTCOME.IDEMPOTENCY_KEY_REUSED, now)
      end
      return batch.record(OUTCOME.REPEATED, now, packed)
    end
  end
  if record[ORDER.state] == ORDER_STATE.PAID then
    local same = record[ORDER.payment_ref] == op[PAY.payment_ref]
      and record[ORDER.amount] == op[PAY.paid_amount]
    if same then return batch.record(OUTCOME.REPEATED, now, packed) end
    return batch.answer(OUTCOME.AMOUNT_MISMATCH, now, nil, 0)  -- nothing more is owed
  end
end

-- Whether there is still room for an order whose time is over, what it had set aside being free.
local function room(op, handle, serial, record, now, freed)
  if record[ORDER.state] == ORDER_STATE.PENDING then
    freed[1] = { handle = handle, serial = serial, record = record }
  end
  local person = orders.person(handle, record[ORDER.user_id], record[ORDER.channel], now,
    op[PAY.offset], orders.ids(record))
  for _, item in ipairs(record[ORDER.items]) do
    local outcome = orders.may_have(person, campaigns.share(item[ITEM.campaign_id]), freed,
      item[ITEM.quantity])
    if outcome ~= OUTCOME.DONE then return false end
  end
  local score = record[ORDER.points]
  return score == 0 or points.available(orders.purse(handle, now), now) >= score
end

return batch.run(function(op)
  local handle, serial, now = op[PAY.handle], op[PAY.order], batch.at(op[PAY.now])
  local record, packed = orders.get(handle, serial)
  if not record then return batch.answer(OUTCOME.NOT_FOUND, now) end
  local again = before(op, record, packed, now)
  if again then return again end
  local state, amount = record[ORDER.state], record[ORDER.amount]
  local late = state ~= ORDER_STATE.PENDING or now >= record[ORDER.until]
  local freed = {}
  if state == ORDER_STATE.CANCELLED then return batch.answer(OUTCOME.ORDER_CANCELLED, now) end
  if record[ORDER.waits] == 1 then return batch.answer(OUTCOME.NOT_STARTED, now) end
  if late and not room(op, handle, serial, record, now, freed) then
    return batch.answer(OUTCOME.ORDER_EXPIRED, now)
  end
  if amount ~= op[PAY.paid_amount] then
    return batch.answer(OUTCOME.AMOUNT_MISMATCH, now, nil, amount)
  end
  -- After this point the act must succeed.
  if late then
    orders.tidy(freed, now)
    record[ORDER.counted], record[ORDER.offset] = now, op[PAY.offset]
    local items = {}
    for i, item in ipairs(record[ORDER.items]) do
      items[i] = { id = item[ITEM.campaign_id], n = item[ITEM.quantity] }
    end
    local person = orders.look({ handle = handle, wallet = keys.wallet(handle) },
      orders.ids(record))
    orders.open(person, serial, record[ORDER.user_id], items, record[ORDER.until], now,
      op[PAY.offset])
  end
  record[ORDER.state], record[ORDER.paid_at] = ORDER_STATE.PAID, now
  record[ORDER.payment_ref] = op[PAY.payment_ref]
  table.insert(record[ORDER.acts], { 'pay', op[PAY.key], op[PAY.fingerprint], now })
  if record[ORDER.points] > 0 then
    orders.spend(handle, serial, record, now, op[PAY.fingerprint], op[PAY.who])
  end
  orders.issue(handle, serial, record, op[PAY.serials], now, op[PAY.who])
  local ids = {}
  for i, coupon in ipairs(record[ORDER.coupons]) do ids[i] = 'C' .. handle .. coupon end
  batch.fact('order_paid', now, 'O' .. handle .. serial, op[PAY.fingerprint], op[PAY.who],
    record[ORDER.user_id], amount, record[ORDER.points], op[PAY.payment_ref], ids)
  return batch.record(OUTCOME.DONE, now, orders.put(handle, serial, record))
end)
