--[[
Cancel an order that is not paid: what it set aside is free again.

flags:    allow-oom
include:  batch, orders
keys:
  1 cell        hash    epoch, seq and definitions of the cell
derived:
  wallet        hash    the person's live state
  campaign      hash    the campaigns' shares in this cell
  quotas        hash    the quotas of its event
  lapsing       zset    open orders of a quota; lapsed ones give way as well
  order         string  the order; it keeps the key of its cancellation
  orders        zset    open orders by the time they lapse
  pending       zset    open orders of a campaign
  points        string  entries of points; those whose lots expire
  points_due    zset    people by the time their next lot expires
  facts         stream  the outbox
arguments:
  1 batch       msgpack array of commands.Cancel
outcomes:
  DONE REPEATED NOT_FOUND IDEMPOTENCY_KEY_REUSED ORDER_EXPIRED ORDER_CANCELLED NOT_REFUNDABLE
  HELD
]]

return batch.run(function(op)
  local handle, serial, now = op[CANCEL.handle], op[CANCEL.order], batch.at(op[CANCEL.now])
  local record, packed = orders.get(handle, serial)
  if not record then return batch.answer(OUTCOME.NOT_FOUND, now) end
  for _, act in ipairs(record[ORDER.acts]) do
    if act[ACT.verb] == 'cancel' and act[ACT.key] == op[CANCEL.key] then
      if act[ACT.fingerprint] ~= op[CANCEL.fingerprint] then
        return batch.answer(OUTCOME.IDEMPOTENCY_KEY_REUSED, now)
      end
      return batch.record(OUTCOME.REPEATED, now, packed)
    end
  end
  local state = record[ORDER.state]
  if state == ORDER_STATE.PAID then return batch.answer(OUTCOME.NOT_REFUNDABLE, now) end
  if state == ORDER_STATE.CANCELLED then return batch.answer(OUTCOME.ORDER_CANCELLED, now) end
  if state == ORDER_STATE.LAPSED or now >= record[ORDER.until] then
    return batch.answer(OUTCOME.ORDER_EXPIRED, now)
  end
  if record[ORDER.waits] == 1 and op[CANCEL.group] ~= 1 then
    return batch.answer(OUTCOME.HELD, now)
  end
  -- After this point the act must succeed.
  table.insert(record[ORDER.acts], { 'cancel', op[CANCEL.key], op[CANCEL.fingerprint], now })
  return batch.record(OUTCOME.DONE, now, orders.give_up(handle, serial, record,
    ORDER_STATE.CANCELLED, now, op[CANCEL.fingerprint], op[CANCEL.who]))
end)
