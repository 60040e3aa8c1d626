--[[
Tell the books that orders have lapsed. The clock decided long ago; this only tidies.

flags:    allow-oom
include:  batch, orders
keys:
  1 cell        hash    epoch, seq and definitions of the cell
derived:
  wallet        hash    the person's live state
  campaign      hash    the campaigns' shares in this cell
  quotas        hash    the quotas of its event
  lapsing       zset    open orders of a quota; lapsed ones give way as well
  order         string  the order
  orders        zset    open orders by the time they lapse
  pending       zset    open orders of a campaign
  points        string  entries of points; those whose lots expire
  points_due    zset    people by the time their next lot expires
  facts         stream  the outbox
arguments:
  1 batch       msgpack array of commands.Unpaid
outcomes:
  DONE REPEATED NOT_FOUND
]]

return batch.run(function(op)
  local handle, serial, now = op[UNPAID.handle], op[UNPAID.order], batch.at(op[UNPAID.now])
  local record = orders.get(handle, serial)
  if not record then return batch.answer(OUTCOME.NOT_FOUND, now) end
  if record[ORDER.state] ~= ORDER_STATE.PENDING or now < record[ORDER.until] then
    return batch.answer(OUTCOME.REPEATED, now)
  end
  -- After this point the act must succeed.
  orders.give_up(handle, serial, record, ORDER_STATE.LAPSED, now, '', op[UNPAID.who])
  return batch.answer(OUTCOME.DONE, now)
end)
