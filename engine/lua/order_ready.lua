--[[
A group has formed: its member's order may be paid from now on, for as long as another may.

include:  batch, orders
keys:
  1 cell        hash    epoch, seq and definitions of the cell
derived:
  wallet        hash    the person's live state, their open orders in field q
  campaign      hash    which quotas its campaign counts against
  quotas        hash    those quotas
  order         string  the order
  orders        zset    open orders by the time they lapse
  pending       zset    open orders of a campaign
  lapsing       zset    open orders of a quota
  facts         stream  the outbox
arguments:
  1 batch       msgpack array of commands.Ready
outcomes:
  DONE REPEATED NOT_FOUND ORDER_CANCELLED
]]

return batch.run(function(op)
  local handle, serial, now = op[READY.handle], op[READY.order], batch.at(op[READY.now])
  local record, packed = orders.get(handle, serial)
  if not record then return batch.answer(OUTCOME.NOT_FOUND, now) end
  if record[ORDER.state] == ORDER_STATE.CANCELLED then
    return batch.answer(OUTCOME.ORDER_CANCELLED, now)
  end
  if record[ORDER.waits] ~= 1 then return batch.record(OUTCOME.REPEATED, now, packed) end
  local open = record[ORDER.state] == ORDER_STATE.PENDING and now < record[ORDER.until]
  -- After this point the act must succeed.
  record[ORDER.waits] = 0
  if open then orders.deadline(handle, serial, record, now + op[READY.pay_seconds] * 1000) end
  batch.fact('order_ready', now, 'O' .. handle .. serial, '', op[READY.who],
    record[ORDER.user_id], record[ORDER.until])
  return batch.record(OUTCOME.DONE, now, orders.put(handle, serial, record))
end)
