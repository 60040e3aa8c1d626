--[[
Take in a refund of a purchase: what it earned goes back in proportion. A refund that comes before
its purchase is remembered.

include:  batch, earning, keys, notes, points, purchases
keys:
  1 cell        hash    epoch, seq and definitions of the cell
derived:
  wallet        hash    the person's live state, their points in field p
  purchase      string  the purchase, its refunds in it
  note          string  which refund the Idempotency-Key is used for
  points        string  its entry, the reversal's, and those whose lots expire
  points_due    zset    people by the time their next lot expires
  facts         stream  the outbox
arguments:
  1 batch       msgpack array of commands.Refund
outcomes:
  DONE REPEATED IDEMPOTENCY_KEY_REUSED MORE_THAN_REDEEMED
]]

return batch.run(function(op)
  local handle, serial, user_id = op[REFUND.handle], op[REFUND.serial], op[REFUND.user_id]
  local now, amount = batch.at(op[REFUND.now]), op[REFUND.amount]
  local key, key_before, use = unpack(op[REFUND.key])
  local noted = notes.used(handle, key, key_before)
  if noted and noted ~= use then return batch.answer(OUTCOME.IDEMPOTENCY_KEY_REUSED, now) end
  local purchase, packed = purchases.get(handle, serial)
  if not purchase then
    purchase = { 0, op[REFUND.transaction_id], user_id, '', '', 0, 0, now, '', '', '', 0, 0, 0, '',
      0, {}, '' }
  end
  for _, refund in ipairs(purchase[PURCHASE.refunds]) do
    if refund[BACK.refund_id] == op[REFUND.refund_id] then
      if refund[BACK.amount] ~= amount then
        return batch.answer(OUTCOME.IDEMPOTENCY_KEY_REUSED, now)
      end
      return batch.record(OUTCOME.REPEATED, now, packed)
    end
  end
  local known, refunded = purchase[PURCHASE.known] == 1, purchase[PURCHASE.refunded] + amount
  if known and refunded > purchase[PURCHASE.amount] then
    return batch.answer(OUTCOME.MORE_THAN_REDEEMED, now)
  end
  purchase[PURCHASE.refunded] = refunded
  local held = redis.call('HGET', keys.wallet(handle), 'p')
  local record = points.read(held, now)
  local entry, back, short = points.entry(handle, serial), 0, 0
  if known and entry then
    local rule = earning.rule()
    local netted = purchase[PURCHASE.earned] - entry[ENTRY.points]
    local due = math.max(0, purchases.due(purchase) - netted - entry[ENTRY.reversed])
    local wanted = math.min(due, points.rest(record, serial, entry))  -- what expired is gone
    back = math.min(wanted, points.reclaimable(record, serial, entry,
      rule and rule[EARN.refunds] or 'within_balance'))
    short = wanted - back
    if back > 0 then points.reclaim(record, serial, entry, back) end
  end
  -- After this point the act must succeed.
  if not noted then notes.keep(handle, key, use) end
  if back > 0 then points.keep(handle, serial, entry) end  -- first: put adds to it what expired
  local balance = held and points.put(handle, user_id, record, now) or 0
  table.insert(purchase[PURCHASE.refunds],
    { op[REFUND.refund_id], amount, back, short, balance, refunded, now })
  batch.fact('purchase_refunded', now, 'P' .. handle .. serial, '', op[REFUND.who], user_id,
    op[REFUND.transaction_id], op[REFUND.refund_id], amount, refunded, known and 1 or 0,
    back, short, balance, purchase[PURCHASE.store_id], purchase[PURCHASE.merchant_id],
    points.per_yuan())
  return batch.record(OUTCOME.DONE, now, purchases.put(handle, serial, purchase))
end)
