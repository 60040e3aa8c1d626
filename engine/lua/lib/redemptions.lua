-- include: batch, campaigns, keys, records
-- Redemption records: find, keep, hand coupons back.
local redemptions = {}

-- The record, or nil.
function redemptions.get(handle, serial)
  local packed = redis.call('GET', keys.redemption(handle, serial))
  return packed and cmsgpack.unpack(packed), packed
end

function redemptions.put(handle, serial, record)
  local packed = cmsgpack.pack(record)
  redis.call('SET', keys.redemption(handle, serial), packed)
  return packed
end

-- The field of the wallet that names the open hold of a store's order.
function redemptions.hold_field(store_id, order_ref)
  return 'h' .. store_id .. '/' .. order_ref
end

-- An act on a hold that was done before under this key: its answer, or nil.
function redemptions.repeated(record, packed, verb, op, now)
  for _, act in ipairs(record[REDEMPTION.acts]) do
    if act[ACT.key] == op[FINISH.key] and act[ACT.verb] == verb then
      if act[ACT.fingerprint] ~= op[FINISH.fingerprint] then
        return batch.answer(OUTCOME.IDEMPOTENCY_KEY_REUSED, now)
      end
      return batch.record(OUTCOME.REPEATED, now, packed)
    end
  end
end

-- Whether a hold still sets its coupons aside. After a failover to a clock that is behind, one
-- that had lapsed would look open again: its coupons tell whether it is still theirs.
function redemptions.is_open(handle, serial, record, now)
  if record[REDEMPTION.state] ~= REDEMPTION_STATE.HELD or now >= record[REDEMPTION.until] then
    return false
  end
  for _, applied in ipairs(record[REDEMPTION.coupons]) do
    local packed = redis.call('HGET', keys.wallet(handle), 'C' .. applied[APPLIED.serial])
    if cmsgpack.unpack(packed)[COUPON.redemption] ~= serial then return false end
  end
  return true
end

-- Why a hold can no longer be finished, or DONE.
function redemptions.finishable(handle, serial, record, now)
  if redemptions.is_open(handle, serial, record, now) then return OUTCOME.DONE end
  local state = record[REDEMPTION.state]
  if state == REDEMPTION_STATE.REDEEMED then return OUTCOME.ALREADY_REDEEMED end
  if state == REDEMPTION_STATE.REVERSED then return OUTCOME.ALREADY_REVERSED end
  if state == REDEMPTION_STATE.RELEASED then return OUTCOME.HOLD_RELEASED end
  return OUTCOME.HOLD_EXPIRED
end

-- Write each coupon of the redemption that is still its own. Returns their serials.
function redemptions.move_coupons(handle, serial, record, state)
  local wallet, moved = keys.wallet(handle), {}
  for _, applied in ipairs(record[REDEMPTION.coupons]) do
    local field = 'C' .. applied[APPLIED.serial]
    local coupon = cmsgpack.unpack(redis.call('HGET', wallet, field))
    if coupon[COUPON.redemption] == serial and coupon[COUPON.state] == COUPON_STATE.HELD then
      coupon[COUPON.state], coupon[COUPON.held_until] = state, 0
      if state == COUPON_STATE.ISSUED then coupon[COUPON.redemption] = '' end
      redis.call('HSET', wallet, field, records.coupon(coupon))
      moved[#moved + 1] = 'C' .. handle .. applied[APPLIED.serial]
    end
  end
  return moved
end

-- What a coupon of a redemption costs its campaign's budget: what it took off and did not give
-- back, and an exchange's worth.
function redemptions.cost(c)
  local sum = c[APPLIED.returned] == 0 and c[APPLIED.value] or 0
  for _, share in ipairs(c[APPLIED.lines]) do
    sum = sum + share[SHARE.discount] - share[SHARE.back]
  end
  return sum
end

-- Take from budgets and counts of uses what a redemption needs (change 1), or give it back (-1).
function redemptions.charge(record, change)
  for _, c in ipairs(record[REDEMPTION.coupons]) do
    local share = campaigns.share(c[APPLIED.campaign_id])
    if share then
      if share.budget_left then campaigns.spend(share, change * redemptions.cost(c)) end
      campaigns.use(share, c[APPLIED.counted] or 0, record[REDEMPTION.store_id],
        record[REDEMPTION.day] or 0, change)
    end
  end
end

-- Remember a hold with each campaign whose money or uses it sets aside.
function redemptions.open_hold(handle, serial, record)
  redis.call('ZADD', keys.holds(), record[REDEMPTION.until], handle .. serial)
  for _, c in ipairs(record[REDEMPTION.coupons]) do
    local share = campaigns.share(c[APPLIED.campaign_id])
    if share and (share.budget_left or c[APPLIED.counted] > 0) then
      redis.call('ZADD', keys.opens(share.id), record[REDEMPTION.until], handle .. serial)
    end
  end
end

-- Forget that this hold is open.
function redemptions.close_hold(handle, serial, record)
  redis.call('ZREM', keys.holds(), handle .. serial)
  for _, c in ipairs(record[REDEMPTION.coupons]) do
    local share = campaigns.share(c[APPLIED.campaign_id])
    if share and (share.budget_left or (c[APPLIED.counted] or 0) > 0) then
      redis.call('ZREM', keys.opens(share.id), handle .. serial)
    end
  end
  local wallet = keys.wallet(handle)
  local field = redemptions.hold_field(record[REDEMPTION.store_id],
    record[REDEMPTION.order_ref])
  if redis.call('HGET', wallet, field) == serial then redis.call('HDEL', wallet, field) end
end

-- End a hold unused: its coupons are free again, the books are told.
function redemptions.give_up(handle, serial, record, state, now, fingerprint, who)
  record[REDEMPTION.state] = state
  local freed = redemptions.move_coupons(handle, serial, record, COUPON_STATE.ISSUED)
  redemptions.close_hold(handle, serial, record)
  redemptions.charge(record, -1)
  batch.fact('released', now, 'R' .. handle .. serial, fingerprint, who,
    record[REDEMPTION.user_id], freed, state == REDEMPTION_STATE.LAPSED and 1 or 0)
  return redemptions.put(handle, serial, record)
end

-- The lines and coupons of a record as facts carry them (engine/facts.py).
function redemptions.fact_parts(handle, record)
  local lines, coupons, payable = {}, {}, record[REDEMPTION.amount] - record[REDEMPTION.discount]
  for i, line in ipairs(record[REDEMPTION.lines]) do
    lines[i] = { line[LINE.id], line[LINE.amount], line[LINE.quantity], line[LINE.sku],
      line[LINE.category] }
  end
  for i, c in ipairs(record[REDEMPTION.coupons]) do
    local shares = {}
    for n, share in ipairs(c[APPLIED.lines]) do
      shares[n] = { share[SHARE.line], share[SHARE.discount] }
    end
    coupons[i] = { 'C' .. handle .. c[APPLIED.serial], c[APPLIED.campaign_id],
      c[APPLIED.terms_revision], c[APPLIED.benefit], c[APPLIED.value], c[APPLIED.discount],
      shares }
  end
  return lines, coupons, payable
end

-- Tell the books of a redemption, a hold or a commit; `more` are the fields of that fact alone.
function redemptions.tell(kind, handle, serial, record, now, who, ...)
  local lines, coupons, payable = redemptions.fact_parts(handle, record)
  local r = record
  batch.fact(kind, now, 'R' .. handle .. serial, r[REDEMPTION.fingerprint], who,
    r[REDEMPTION.user_id], r[REDEMPTION.store_id], r[REDEMPTION.merchant_id],
    r[REDEMPTION.terminal_id], r[REDEMPTION.staff_id], r[REDEMPTION.channel],
    r[REDEMPTION.order_ref], r[REDEMPTION.amount], r[REDEMPTION.discount], payable, lines,
    coupons, ...)
end

-- Count the coupons of a redemption in their campaigns.
function redemptions.count(record, change)
  for _, applied in ipairs(record[REDEMPTION.coupons]) do
    local share = campaigns.share(applied[APPLIED.campaign_id])
    if share then campaigns.count_redeemed(share, change) end
  end
end
