--[[
Release a hold: what was set aside is free again.

flags:    allow-oom
include:  batch, redemptions
keys:
  1 cell      hash    epoch, seq and definitions of the cell
derived:
  wallet      hash    the person's live state
  campaign    hash    the campaign's share in this cell
  quotas      hash    the quotas of its event
  redemption  string  the hold; it keeps the key of the release
  holds       zset    open holds by the time they lapse
  points      string  entries whose lots expire meanwhile
  points_due  zset    people by the time their next lot expires
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
  local again = redemptions.repeated(record, packed, 'release', op[FINISH.key],
    op[FINISH.fingerprint], now)
  if again then return again end
  local outcome, parts = redemptions.finishable(handle, serial, record, now)
  if outcome ~= OUTCOME.DONE then return batch.answer(outcome, now) end
  -- After this point the act must succeed.
  table.insert(record[REDEMPTION.acts],
    { 'release', op[FINISH.key], op[FINISH.fingerprint], now })
  return batch.record(OUTCOME.DONE, now, redemptions.give_up(handle, serial, record,
    REDEMPTION_STATE.RELEASED, now, op[FINISH.fingerprint], op[FINISH.who], parts))
end)
