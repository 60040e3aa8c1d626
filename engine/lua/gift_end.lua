--[[
End an open gift: its giver takes it back, it is declined, or (the sweeper) its time has passed.

include:  batch, gifts, keys, records, uses
keys:
  1 cell      hash    epoch, seq and definitions of the cell
derived:
  wallet      hash    the giver's live state; the coupon is free again
  gift        string  the record
  gifts       zset    open gifts by the time they lapse
  facts       stream  the outbox
arguments:
  1 batch     msgpack array of commands.Endgift
outcomes:
  DONE REPEATED NOT_FOUND HELD GIFT_TAKEN GIFT_EXPIRED
]]

return batch.run(function(op)
  local handle, serial, now = op[ENDGIFT.handle], op[ENDGIFT.gift], batch.at(op[ENDGIFT.now])
  local record, packed = gifts.get(handle, serial)
  if not record then return batch.answer(OUTCOME.NOT_FOUND, now) end
  local state = record[GIVEN.state]
  if state == op[ENDGIFT.state] then return batch.record(OUTCOME.REPEATED, now, packed) end
  if state == GIFT_STATE.ACCEPTED then return batch.answer(OUTCOME.GIFT_TAKEN, now) end
  local over = now >= record[GIVEN.until]
  if op[ENDGIFT.state] == GIFT_STATE.LAPSED then
    if state == GIFT_STATE.OPEN and not over then return batch.answer(OUTCOME.HELD, now) end
  elseif over then
    return batch.answer(OUTCOME.GIFT_EXPIRED, now)
  end
  if state ~= GIFT_STATE.OPEN then return batch.answer(OUTCOME.GIFT_EXPIRED, now) end
  local wallet, field = keys.wallet(handle), 'C' .. record[GIVEN.coupon]
  local coupon = cmsgpack.unpack(redis.call('HGET', wallet, field))
  local own, freed = gifts.holds(serial, record, coupon), 0
  if own and not uses.unhold(coupon, serial) then
    coupon[COUPON.state], coupon[COUPON.held_until], freed = COUPON_STATE.ISSUED, 0, 1
  end
  record[GIVEN.state], record[GIVEN.ended] = op[ENDGIFT.state], now
  -- After this point the act must succeed.
  if own then redis.call('HSET', wallet, field, records.coupon(coupon)) end
  redis.call('ZREM', keys.gifts(), handle .. serial)
  batch.fact('gift_ended', now, 'C' .. handle .. record[GIVEN.coupon], record[GIVEN.fingerprint],
    op[ENDGIFT.who], record[GIVEN.user_id], 'G' .. handle .. serial, op[ENDGIFT.state], freed)
  return batch.record(OUTCOME.DONE, now, gifts.put(handle, serial, record))
end)
