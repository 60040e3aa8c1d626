--[[
Let a coupon go to the first who asks for it: a gift that is open, or a printed coupon. Who got it
stands on the coupon from then on, whoever asks again.

include:  batch, campaigns, gifts, keys, records
keys:
  1 cell      hash    epoch, seq and definitions of the cell
derived:
  wallet      hash    the giver's live state
  campaign    hash    the campaign's share in this cell
  quotas      hash    the quotas of its event
  gift        string  the record
  gifts       zset    open gifts by the time they lapse
  facts       stream  the outbox
arguments:
  1 batch     msgpack array of commands.Send
outcomes:
  DONE REPEATED NOT_FOUND CAMPAIGN_FROZEN USER_FROZEN ALREADY_REDEEMED HELD VOIDED REFUNDED
  TRANSFERRED EXPIRED GIFT_TAKEN GIFT_EXPIRED NOT_TRANSFERABLE
]]

-- Whether the coupon may go, by its gift or because nobody owns it.
local function judge(op, coupon, user, now)
  local gift = op[SEND.gift]
  local state = coupon[COUPON.state]
  if gift ~= '' and state == COUPON_STATE.TRANSFERRED then return OUTCOME.GIFT_TAKEN end
  if gift ~= '' and (coupon[COUPON.voided] or 0) > 0 then return OUTCOME.VOIDED end
  if campaigns.share(coupon[COUPON.campaign_id]).issue[ISSUE.status] == 'frozen' then
    return OUTCOME.CAMPAIGN_FROZEN
  end
  if user[USER.frozen] == 1 then return OUTCOME.USER_FROZEN end
  if gift == '' then
    local outcome = gifts.state(coupon, now)
    if outcome ~= OUTCOME.DONE then return outcome end
    local printed = string.sub(user[USER.user_id], 1, #gifts.printed) == gifts.printed
    return printed and OUTCOME.DONE or OUTCOME.NOT_TRANSFERABLE
  end
  local record = gifts.get(op[SEND.handle], gift)
  if not record then return OUTCOME.NOT_FOUND end
  if record[GIVEN.state] ~= GIFT_STATE.OPEN or now >= record[GIVEN.until]
    or not gifts.holds(gift, record, coupon) then
    return OUTCOME.GIFT_EXPIRED
  end
  return OUTCOME.DONE
end

return batch.run(function(op)
  local handle, serial, now = op[SEND.handle], op[SEND.coupon], batch.at(op[SEND.now])
  local wallet, gift = keys.wallet(handle), op[SEND.gift]
  local row = redis.call('HMGET', wallet, 'C' .. serial, 'u')
  if not row[1] then return batch.answer(OUTCOME.NOT_FOUND, now) end
  local coupon, user = cmsgpack.unpack(row[1]), cmsgpack.unpack(row[2])
  if coupon[COUPON.given_to] == op[SEND.to_coupon] then
    return batch.record(OUTCOME.REPEATED, now, row[1])
  end
  local outcome = judge(op, coupon, user, now)
  if outcome ~= OUTCOME.DONE then return batch.answer(outcome, now) end
  coupon[COUPON.state], coupon[COUPON.redemption] = COUPON_STATE.TRANSFERRED, ''
  coupon[COUPON.held_until], coupon[COUPON.holds] = 0, {}
  coupon[COUPON.given_to] = op[SEND.to_coupon]
  local packed = records.coupon(coupon)
  -- After this point the act must succeed.
  redis.call('HSET', wallet, 'C' .. serial, packed)
  if gift ~= '' then
    local record = gifts.get(handle, gift)
    record[GIVEN.state], record[GIVEN.ended] = GIFT_STATE.ACCEPTED, now
    record[GIVEN.went_to] = op[SEND.to_coupon]
    gifts.put(handle, gift, record)
    redis.call('ZREM', keys.gifts(), handle .. gift)
  end
  batch.fact('given', now, 'C' .. handle .. serial, coupon[COUPON.fingerprint], op[SEND.who],
    user[USER.user_id], coupon[COUPON.campaign_id], gift ~= '' and 'G' .. handle .. gift or '',
    op[SEND.to_user], op[SEND.to_coupon], coupon[COUPON.terms_revision],
    coupon[COUPON.used] or 0, coupon[COUPON.spent] or 0)
  return batch.record(OUTCOME.DONE, now, packed)
end)
