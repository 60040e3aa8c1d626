--[[
Commit a hold: what was set aside is redeemed; of what was to be tendered, as much as is said.

flags:    allow-oom
include:  batch, receipts, redemptions
keys:
  1 cell      hash    epoch, seq and definitions of the cell
derived:
  wallet      hash    the person's live state
  campaign    hash    the campaign's share in this cell
  quotas      hash    the quotas of its event
  redemption  string  the hold, then the redemption; it keeps the key of the commit
  holds       zset    open holds by the time they lapse
  points      string  entries whose lots expire meanwhile
  points_due  zset    people by the time their next lot expires
  opens       zset    open holds on a limited campaign
  facts       stream  the outbox
arguments:
  1 batch     msgpack array of commands.Commit
outcomes:
  DONE REPEATED NOT_FOUND FORBIDDEN IDEMPOTENCY_KEY_REUSED ALREADY_REDEEMED ALREADY_REVERSED
  HOLD_RELEASED HOLD_EXPIRED MORE_THAN_REDEEMED
]]

return batch.run(function(op)
  local handle, serial = op[COMMIT.handle], op[COMMIT.redemption]
  local now = batch.at(op[COMMIT.now])
  local record, packed = redemptions.get(handle, serial)
  if not record then return batch.answer(OUTCOME.NOT_FOUND, now) end
  if op[COMMIT.store_id] ~= '' and op[COMMIT.store_id] ~= record[REDEMPTION.store_id] then
    return batch.answer(OUTCOME.FORBIDDEN, now)
  end
  local again = redemptions.repeated(record, packed, 'commit', op[COMMIT.key],
    op[COMMIT.fingerprint], now)
  if again then return again end
  local outcome, parts = redemptions.finishable(handle, serial, record, now)
  if outcome ~= OUTCOME.DONE then return batch.answer(outcome, now) end
  local amount = op[COMMIT.amount]
  if amount > receipts.tendered(record) then
    return batch.answer(OUTCOME.MORE_THAN_REDEEMED, now, nil, 'amount')
  end
  -- After this point the act must succeed.
  record[REDEMPTION.state] = REDEMPTION_STATE.REDEEMED
  record[REDEMPTION.committed] = now
  table.insert(record[REDEMPTION.acts],
    { 'commit', op[COMMIT.key], op[COMMIT.fingerprint], now })
  redemptions.close_hold(handle, serial, record, parts)
  redemptions.tender(record, amount >= 0 and amount or receipts.tendered(record))
  redemptions.move_coupons(handle, serial, parts, COUPON_STATE.REDEEMED, now)
  local tender = receipts.points(record)
  if tender then redemptions.spend_points(handle, serial, record, tender[TENDER.points], now) end
  redemptions.count(record, 1, parts)
  redemptions.tell('committed', handle, serial, record, now, op[COMMIT.who])
  return batch.record(OUTCOME.DONE, now, redemptions.put(handle, serial, record))
end)
