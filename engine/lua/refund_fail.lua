--[[
The money of a refund could not be sent: the coupon is its buyer's again, if there is still room;
one that came from somebody is withdrawn again.

include:  batch, campaigns, issuing, keys, orders, pack, points, records
keys:
  1 cell        hash    epoch, seq and definitions of the cell
derived:
  wallet        hash    the person's live state
  campaign      hash    the campaign's share in this cell
  quotas        hash    the quotas of its event
  lapsing       zset    open orders of a quota; lapsed ones give way as well
  order         string  the order that the coupon was bought with; it keeps the refund
  orders        zset    open orders by the time they lapse
  pending       zset    open orders of a campaign; lapsed ones give way to this act
  points        string  entries of points; those whose lots expire
  points_due    zset    people by the time their next lot expires
  facts         stream  the outbox
arguments:
  1 batch       msgpack array of commands.Unrepay
outcomes:
  DONE REPEATED NOT_FOUND USER_LIMIT USER_DAY_LIMIT USER_WEEK_LIMIT USER_MONTH_LIMIT SOLD_OUT
  BUDGET_EXHAUSTED POINTS_INSUFFICIENT
]]

-- The refund of this coupon under this ref: its position, or nil.
local function find(op, refunds)
  for i, refund in ipairs(refunds) do
    if refund[REFUNDED.coupon] == op[UNREPAY.serial]
      and refund[REFUNDED.ref] == op[UNREPAY.refund_ref] then
      return i
    end
  end
end

local function tell(op, now, coupon, user_id, bought, refund, voided)
  batch.fact('refund_failed', now, 'C' .. op[UNREPAY.handle] .. op[UNREPAY.serial],
    refund[REFUNDED.fingerprint], op[UNREPAY.who], user_id, coupon[COUPON.campaign_id],
    coupon[COUPON.terms_revision], bought ~= '' and 'O' .. op[UNREPAY.handle] .. bought or '',
    refund[REFUNDED.ref], '', refund[REFUNDED.amount], refund[REFUNDED.points],
    refund[REFUNDED.stock], voided and 1 or 0)
end

return batch.run(function(op)
  local handle, serial, now = op[UNREPAY.handle], op[UNREPAY.serial], batch.at(op[UNREPAY.now])
  local wallet, offset = keys.wallet(handle), op[UNREPAY.offset]
  local packed_coupon = redis.call('HGET', wallet, 'C' .. serial)
  local coupon = packed_coupon and cmsgpack.unpack(packed_coupon)
  -- The refund is kept by the order, or by a coupon that came from somebody: it was withdrawn
  -- before, and is again.
  local given = coupon and (coupon[COUPON.came_from] or '') ~= ''
  local bought = coupon and not given and coupon[COUPON.order] or ''
  if bought == '' and not given then return batch.answer(OUTCOME.NOT_FOUND, now) end
  local record, packed = nil, packed_coupon
  if not given then record, packed = orders.get(handle, bought) end
  local refunds = given and (coupon[COUPON.refunds] or {}) or record[ORDER.refunds]
  local at, sign = find(op, refunds), given and -1 or 1
  if not at then return batch.answer(OUTCOME.NOT_FOUND, now) end
  local refund = refunds[at]
  if refund[REFUNDED.failed] > 0 then
    return pack.header(4) .. cmsgpack.pack(OUTCOME.REPEATED, now) .. packed
      .. cmsgpack.pack(sign * at)
  end
  local id, freed = coupon[COUPON.campaign_id], {}
  local share = campaigns.share(id)
  if refund[REFUNDED.stock] == 1 then
    local person = orders.person(handle, record[ORDER.user_id], '', now, offset, { id })
    local outcome = orders.judge(person, share, freed, function(view, count)
      local limit = issuing.limits(view.issue, count, now, offset, 1)
      local left = campaigns.room(view)
      if limit == OUTCOME.DONE and left and left < 1 then return OUTCOME.SOLD_OUT end
      return limit
    end)
    if outcome ~= OUTCOME.DONE then return batch.answer(outcome, now) end
  end
  local score = refund[REFUNDED.points]
  local user_id = given and cmsgpack.unpack(redis.call('HGET', wallet, 'u'))[USER.user_id]
    or record[ORDER.user_id]
  local mine = score > 0 and orders.purse(handle, now)
  if mine and points.available(mine, now) < score then
    return batch.answer(OUTCOME.POINTS_INSUFFICIENT, now)
  end
  local voided = given or (coupon[COUPON.voided] or 0) > 0
  -- After this point the act must succeed.
  orders.tidy(freed, now)
  coupon[COUPON.state] = voided and COUPON_STATE.VOIDED or COUPON_STATE.ISSUED
  refund[REFUNDED.failed], refund[REFUNDED.fail_key] = now, op[UNREPAY.key]
  local kept = records.coupon(coupon)
  redis.call('HSET', wallet, 'C' .. serial, kept)
  if refund[REFUNDED.stock] == 1 then
    campaigns.restock(share, -1)
    orders.recount(handle, id, issuing.less, record[ORDER.counted], record[ORDER.offset], -1)
  end
  if mine then
    local spent = points.entry(handle, bought)
    for _, part in ipairs(points.take(mine, score, now)) do
      table.insert(spent[ENTRY.parts], part)
    end
    spent[ENTRY.reversed] = spent[ENTRY.reversed] - score
    points.keep(handle, bought, spent)
    local entry = points.new_entry('spend', -score, now, user_id, refund[REFUNDED.fingerprint],
      '', refund[REFUNDED.ref], nil, '')
    entry[ENTRY.reversed] = score  -- it comes back by the order's own entry, not by itself
    points.tell(handle, op[UNREPAY.entry], entry, points.put(handle, user_id, mine, now),
      op[UNREPAY.who])
  end
  tell(op, now, coupon, user_id, bought, refund, voided)
  return pack.header(4) .. cmsgpack.pack(OUTCOME.DONE, now)
    .. (given and kept or orders.put(handle, bought, record)) .. cmsgpack.pack(sign * at)
end)
