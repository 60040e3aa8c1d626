--[[
Send back what was paid for what is unused of a coupon; whole, it goes back to the stock. What has
expired comes back where its terms say so, and stays given out. What somebody was given comes back
only where the mall has withdrawn it: to whoever bought it, so its stock and points stay theirs.

flags:    allow-oom
include:  arithmetic, batch, campaigns, issuing, keys, orders, pack, points, records
keys:
  1 cell        hash    epoch, seq and definitions of the cell
derived:
  wallet        hash    the person's live state
  campaign      hash    the campaign's share in this cell
  quotas        hash    the quotas of its event
  order         string  the order that the coupon was bought with; it keeps the refund
  points        string  entries of points; those whose lots expire
  points_due    zset    people by the time their next lot expires
  facts         stream  the outbox
arguments:
  1 batch       msgpack array of commands.Repay
outcomes:
  DONE REPEATED NOT_FOUND IDEMPOTENCY_KEY_REUSED ALREADY_REDEEMED HELD REFUNDED
  TRANSFERRED EXPIRED NOT_REFUNDABLE
]]

-- A refund of this coupon that was asked for before, by its key or by its ref: the answer, or nil.
-- An answer is the record that keeps it with its position, below 0 in a coupon.
local function before(op, refunds, packed, now, sign)
  for i, refund in ipairs(refunds) do
    if refund[REFUNDED.coupon] == op[REPAY.serial] then
      local known = refund[REFUNDED.key] == op[REPAY.key]
      if known and refund[REFUNDED.fingerprint] ~= op[REPAY.fingerprint] then
        return batch.answer(OUTCOME.IDEMPOTENCY_KEY_REUSED, now)
      end
      if known or refund[REFUNDED.ref] == op[REPAY.refund_ref] then
        return pack.header(4) .. cmsgpack.pack(OUTCOME.REPEATED, now) .. packed
          .. cmsgpack.pack(sign * i)
      end
    end
  end
end

local function expired(coupon, now)
  local ends = records.valid_until(coupon)
  return ends and now >= ends
end

-- Whether the coupon is free to go back; what was withdrawn always is.
local function state(coupon, terms, now)
  local held = records.is_held(coupon, now)
  for _, hold in ipairs(coupon[COUPON.holds] or {}) do
    held = held or now < hold[COUPON_HOLD.until]
  end
  if coupon[COUPON.state] == COUPON_STATE.REDEEMED then return OUTCOME.ALREADY_REDEEMED end
  if held then return OUTCOME.HELD end
  if coupon[COUPON.state] == COUPON_STATE.REFUNDED then return OUTCOME.REFUNDED end
  if coupon[COUPON.state] == COUPON_STATE.VOIDED then return OUTCOME.DONE end
  if coupon[COUPON.state] == COUPON_STATE.TRANSFERRED then return OUTCOME.TRANSFERRED end
  if expired(coupon, now) then
    return terms[TERMS.refund_expired] and OUTCOME.DONE or OUTCOME.EXPIRED
  end
  if terms[TERMS.refundable] == false then return OUTCOME.NOT_REFUNDABLE end
  return OUTCOME.DONE
end

-- What is left of a price once a coupon was used: of a pass by uses, the first ones a fen more; of
-- stored value in proportion, half up.
local function unused(price, coupon, terms)
  local used, spent = coupon[COUPON.used] or 0, coupon[COUPON.spent] or 0
  if spent > 0 then
    local part, rest = arithmetic.muldiv(price, spent, terms[TERMS.amount])
    return price - part - (2 * rest >= terms[TERMS.amount] and 1 or 0)
  end
  local uses = terms[TERMS.uses] or 1
  return price - used * math.floor(price / uses) - math.min(used, price % uses)
end

local function tell(op, now, coupon, user_id, bought, amount, score, whole)
  batch.fact('refunded', now, 'C' .. op[REPAY.handle] .. op[REPAY.serial], op[REPAY.fingerprint],
    op[REPAY.who], user_id, coupon[COUPON.campaign_id], coupon[COUPON.terms_revision],
    bought ~= '' and 'O' .. op[REPAY.handle] .. bought or '', op[REPAY.refund_ref],
    op[REPAY.reason], amount, score, whole and 1 or 0)
end

-- What was given to somebody comes back only where the mall has withdrawn it.
local function withdrawn(coupon)
  if coupon[COUPON.state] == COUPON_STATE.REFUNDED then return OUTCOME.REFUNDED end
  local paid = (coupon[COUPON.paid] or 0) > 0
  return paid and coupon[COUPON.state] == COUPON_STATE.VOIDED and OUTCOME.DONE
    or OUTCOME.NOT_REFUNDABLE
end

return batch.run(function(op)
  local handle, serial, now = op[REPAY.handle], op[REPAY.serial], batch.at(op[REPAY.now])
  local wallet = keys.wallet(handle)
  local packed_coupon = redis.call('HGET', wallet, 'C' .. serial)
  if not packed_coupon then return batch.answer(OUTCOME.NOT_FOUND, now) end
  local coupon = cmsgpack.unpack(packed_coupon)
  -- The refund is kept by the order, or by a coupon that came from somebody.
  local given = (coupon[COUPON.came_from] or '') ~= ''
  local bought = not given and coupon[COUPON.order] or ''
  if bought == '' and not given then return batch.answer(OUTCOME.NOT_REFUNDABLE, now) end
  local record, packed = nil, packed_coupon
  if not given then record, packed = orders.get(handle, bought) end
  local refunds = given and (coupon[COUPON.refunds] or {}) or record[ORDER.refunds]
  local again = before(op, refunds, packed, now, given and -1 or 1)
  if again then return again end
  local share = campaigns.share(coupon[COUPON.campaign_id])
  local terms = campaigns.terms(share, coupon[COUPON.terms_revision])
  local outcome = given and withdrawn(coupon) or state(coupon, terms, now)
  if outcome ~= OUTCOME.DONE then return batch.answer(outcome, now) end
  local user_id = given and cmsgpack.unpack(redis.call('HGET', wallet, 'u'))[USER.user_id]
    or record[ORDER.user_id]
  local amount = unused(coupon[COUPON.paid], coupon, terms)
  local score = given and 0 or unused(coupon[COUPON.points_paid], coupon, terms)
  local spent = score > 0 and points.entry(handle, bought) or nil
  local mine = spent and orders.purse(handle, now)
  if spent then  -- not what was reversed of them already
    score = math.min(score, -spent[ENTRY.points] - spent[ENTRY.reversed])
  end
  local whole = not given and (coupon[COUPON.used] or 0) == 0 and (coupon[COUPON.spent] or 0) == 0
    and (coupon[COUPON.state] == COUPON_STATE.VOIDED or not expired(coupon, now))
  -- After this point the act must succeed.
  if coupon[COUPON.state] == COUPON_STATE.HELD then  -- by a hold that has lapsed
    coupon[COUPON.redemption], coupon[COUPON.held_until] = '', 0
  end
  coupon[COUPON.state] = COUPON_STATE.REFUNDED
  refunds[#refunds + 1] = { serial, op[REPAY.refund_ref], op[REPAY.key], op[REPAY.fingerprint], now,
    amount, score, whole and 1 or 0, 0, '' }
  if given then coupon[COUPON.refunds] = refunds end
  local kept = records.coupon(coupon)
  redis.call('HSET', wallet, 'C' .. serial, kept)
  if whole then
    campaigns.restock(share, 1)
    orders.recount(handle, share.id, issuing.less, record[ORDER.counted], record[ORDER.offset], 1)
  end
  if score > 0 then
    spent[ENTRY.parts] = points.give_back(mine, spent[ENTRY.parts], score)
    spent[ENTRY.reversed] = spent[ENTRY.reversed] + score
    points.keep(handle, bought, spent)  -- first: put adds to it what expired
    local entry = points.new_entry('spend_reversal', score, now, user_id,
      op[REPAY.fingerprint], op[REPAY.reason], op[REPAY.refund_ref], nil, bought)
    points.tell(handle, op[REPAY.entry], entry,
      points.put(handle, user_id, mine, now), op[REPAY.who])
  end
  tell(op, now, coupon, user_id, bought, amount, score, whole)
  return pack.header(4) .. cmsgpack.pack(OUTCOME.DONE, now)
    .. (given and kept or orders.put(handle, bought, record))
    .. cmsgpack.pack(given and -#refunds or #refunds)
end)
