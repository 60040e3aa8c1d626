--[[
Commit a hold: what was set aside is redeemed.

flags:    allow-oom
include:  batch, redemptions
keys:
  1 cell      hash    epoch, seq and definitions of the cell
derived:
  wallet      hash    the person's live state
  campaign    hash    the campaign's share in this cell
  redemption  string  the hold, then the redemption; it keeps the key of the commit
  holds       zset    open holds by the time they lapse
  opens       zset    open holds on a limited campaign
  facts       stream  the outbox
arguments:
  1 batch     msgpack array of commands.Finish
outcomes:
  DONE REPEATED NOT_FOUND FORBIDDEN IDEMPOTENCY_KEY_REUSED ALREADY_REDEEMED ALREADY_REVERSED
  HOLD_RELEASED HOLD_EXPIRED
]]

return batch.run(function(op)
  local handle, serial = op[FINISH.handle], op[FINISH.redemption]
  local now = batch.at(op[FINISH.now])
  local record, packed = redemptions.get(handle, serial)
  if not record then return batch.answer(OUTCOME.NOT_FOUND, now) end
  if op[FINISH.store_id] ~= '' and op[FINISH.store_id] ~= record[REDEMPTION.store_id] then
    return batch.answer(OUTCOME.FORBIDDEN, now)
  end
  local again = redemptions.repeated(record, packed, 'commit', op, now)
  if again then return again end
  local outcome = redemptions.finishable(handle, serial, record, now)
  if outcome ~= OUTCOME.DONE then return batch.answer(outcome, now) end
  -- After this point the act must succeed.
  record[REDEMPTION.state] = REDEMPTION_STATE.REDEEMED
  record[REDEMPTION.committed] = now
  table.insert(record[REDEMPTION.acts],
    { 'commit', op[FINISH.key], op[FINISH.fingerprint], now })
  redemptions.move_coupons(handle, serial, record, COUPON_STATE.REDEEMED)
  redemptions.close_hold(handle, serial, record)
  redemptions.count(record, 1)
  redemptions.tell('committed', handle, serial, record, now, op[FINISH.who])
  return batch.record(OUTCOME.DONE, now, redemptions.put(handle, serial, record))
end)
