--[[
Offer a coupon as a gift: until it is taken, or its time is over by the clock, nobody can use it.

include:  batch, campaigns, gifts, keys, pack, records
keys:
  1 cell      hash    epoch, seq and definitions of the cell
derived:
  wallet      hash    the giver's live state; the coupon is held by its gift
  campaign    hash    the campaign's share in this cell, with the terms of each revision
  quotas      hash    the quotas of its event
  gift        string  the record: its id comes from the Idempotency-Key, so it is the receipt
  gifts       zset    open gifts by the time they lapse
  facts       stream  the outbox
arguments:
  1 batch     msgpack array of commands.Gift
outcomes:
  DONE REPEATED NOT_FOUND IDEMPOTENCY_KEY_REUSED CAMPAIGN_FROZEN USER_FROZEN ALREADY_REDEEMED HELD
  VOIDED REFUNDED TRANSFERRED EXPIRED NOT_TRANSFERABLE WINDOW_MOVED
]]

return batch.run(function(op)
  local handle, serial, now = op[GIFT.handle], op[GIFT.serial], batch.at(op[GIFT.now])
  local wallet, field = keys.wallet(handle), 'C' .. op[GIFT.coupon]
  if batch.window_moved(now, op[GIFT.window]) then
    return batch.answer(OUTCOME.WINDOW_MOVED, now)
  end
  local before = op[GIFT.serial_before]
  local again = batch.again(now, op[GIFT.fingerprint], GIVEN.fingerprint, serial,
    keys.gift(handle, serial), before, keys.gift(handle, before))
  if again then return again end
  local row = redis.call('HMGET', wallet, field, 'u')
  if not row[1] then return batch.answer(OUTCOME.NOT_FOUND, now) end
  local coupon, user = cmsgpack.unpack(row[1]), cmsgpack.unpack(row[2])
  local share = campaigns.share(coupon[COUPON.campaign_id])
  local terms = campaigns.terms(share, coupon[COUPON.terms_revision])
  if share.issue[ISSUE.status] == 'frozen' then
    return batch.answer(OUTCOME.CAMPAIGN_FROZEN, now)
  end
  if user[USER.frozen] == 1 then return batch.answer(OUTCOME.USER_FROZEN, now) end
  local outcome = gifts.state(coupon, now)
  if outcome ~= OUTCOME.DONE then return batch.answer(outcome, now) end
  if terms[TERMS.transferable] ~= true
    or string.sub(user[USER.user_id], 1, #gifts.printed) == gifts.printed then
    return batch.answer(OUTCOME.NOT_TRANSFERABLE, now)
  end
  local till = now + op[GIFT.seconds] * 1000
  till = math.min(till, records.valid_until(coupon) or till)
  gifts.hold(coupon, serial, till, terms, now)
  local record = { GIFT_STATE.OPEN, now, till, op[GIFT.fingerprint], user[USER.user_id],
    op[GIFT.coupon], '', 0 }
  -- After this point the act must succeed.
  redis.call('HSET', wallet, field, records.coupon(coupon))
  redis.call('ZADD', keys.gifts(), till, handle .. serial)
  batch.fact('gifted', now, 'C' .. handle .. op[GIFT.coupon], op[GIFT.fingerprint], op[GIFT.who],
    user[USER.user_id], share.id, 'G' .. handle .. serial, till,
    coupon[COUPON.state] == COUPON_STATE.HELD and 1 or 0)
  return pack.header(4) .. cmsgpack.pack(OUTCOME.DONE, now) .. gifts.put(handle, serial, record)
    .. cmsgpack.pack(serial)
end)
