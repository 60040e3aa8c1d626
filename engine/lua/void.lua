--[[
Withdraw a coupon that is not used. One that lies open as a gift takes its gift with it: whoever
would accept it is told.

include:  batch, gifts, keys, records, uses
keys:
  1 cell      hash    epoch, seq and definitions of the cell
derived:
  wallet      hash    the person's live state; the coupon keeps the key of its withdrawal
  gift        string  the record
  gifts       zset    open gifts by the time they lapse
  facts       stream  the outbox
arguments:
  1 batch     msgpack array of commands.Void
outcomes:
  DONE REPEATED NOT_FOUND IDEMPOTENCY_KEY_REUSED ALREADY_REDEEMED HELD VOIDED REFUNDED
  TRANSFERRED EXPIRED
]]

return batch.run(function(op)
  local handle, serial = op[VOID.handle], op[VOID.serial]
  local now, wallet = batch.at(op[VOID.now]), keys.wallet(op[VOID.handle])
  local row = redis.call('HMGET', wallet, 'C' .. serial, 'u')
  if not row[1] then return batch.answer(OUTCOME.NOT_FOUND, now) end
  local coupon = cmsgpack.unpack(row[1])
  if coupon[COUPON.void_key] == op[VOID.key] then
    if coupon[COUPON.void_fingerprint] ~= op[VOID.fingerprint] then
      return batch.answer(OUTCOME.IDEMPOTENCY_KEY_REUSED, now)
    end
    return batch.record(OUTCOME.REPEATED, now, row[1])
  end
  local state, ends = coupon[COUPON.state], records.valid_until(coupon)
  if state == COUPON_STATE.REDEEMED then return batch.answer(OUTCOME.ALREADY_REDEEMED, now) end
  uses.tidy(coupon, now)
  local gift, given = gifts.holding(handle, serial, coupon, now)
  if not gift and (records.is_held(coupon, now) or #coupon[COUPON.holds] > 0) then
    return batch.answer(OUTCOME.HELD, now)
  end
  if state == COUPON_STATE.VOIDED then return batch.answer(OUTCOME.VOIDED, now) end
  if state == COUPON_STATE.REFUNDED then return batch.answer(OUTCOME.REFUNDED, now) end
  if state == COUPON_STATE.TRANSFERRED then return batch.answer(OUTCOME.TRANSFERRED, now) end
  if ends and now >= ends then return batch.answer(OUTCOME.EXPIRED, now) end
  coupon[COUPON.state], coupon[COUPON.voided] = COUPON_STATE.VOIDED, now
  coupon[COUPON.redemption], coupon[COUPON.held_until], coupon[COUPON.holds] = '', 0, {}
  coupon[COUPON.void_key], coupon[COUPON.void_fingerprint] = op[VOID.key], op[VOID.fingerprint]
  coupon[COUPON.void_reason] = op[VOID.reason]
  local packed = records.coupon(coupon)
  -- After this point the act must succeed.
  redis.call('HSET', wallet, 'C' .. serial, packed)
  if gift then
    given[GIVEN.state], given[GIVEN.ended] = GIFT_STATE.WITHDRAWN, now
    gifts.put(handle, gift, given)
    redis.call('ZREM', keys.gifts(), handle .. gift)
    batch.fact('gift_ended', now, 'C' .. handle .. serial, given[GIVEN.fingerprint], op[VOID.who],
      given[GIVEN.user_id], 'G' .. handle .. gift, GIFT_STATE.WITHDRAWN, 0)
  end
  batch.fact('voided', now, 'C' .. handle .. serial, op[VOID.fingerprint], op[VOID.who],
    cmsgpack.unpack(row[2])[USER.user_id], coupon[COUPON.campaign_id], op[VOID.reason])
  return batch.record(OUTCOME.DONE, now, packed)
end)
