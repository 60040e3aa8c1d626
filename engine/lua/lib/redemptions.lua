-- include: arithmetic, batch, campaigns, keys, points, receipts, records, uses
-- Redemption records: find, keep, hand coupons and what was tendered back.
local redemptions = { purses = {} }  -- balances of points that this act leaves, by handle

function redemptions.get(handle, serial)
  return receipts.get(handle, serial)
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
function redemptions.repeated(record, packed, verb, key, fingerprint, now)
  for _, act in ipairs(record[REDEMPTION.acts]) do
    if act[ACT.key] == key and act[ACT.verb] == verb then
      if act[ACT.fingerprint] ~= fingerprint then
        return batch.answer(OUTCOME.IDEMPOTENCY_KEY_REUSED, now)
      end
      return batch.record(OUTCOME.REPEATED, now, packed)
    end
  end
end

-- The parts of a record (receipts.parts), each with its coupon, all read at once, and `order`: the
-- hold that is open under its order.
function redemptions.parts(handle, record)
  local parts, names = receipts.parts(record), {}
  for i = 1, #parts do names[i] = 'C' .. parts[i].serial end
  names[#names + 1] = redemptions.hold_field(record[REDEMPTION.store_id],
    record[REDEMPTION.order_ref])
  local row = redis.call('HMGET', keys.wallet(handle), unpack(names))
  for i = 1, #parts do parts[i].coupon = cmsgpack.unpack(row[i]) end
  parts.order = row[#names]
  return parts
end

-- Whether a hold still sets its coupons and points aside, and its parts. After a failover to a
-- clock that is behind, one that had lapsed would look open again: they tell whether they are still
-- its own.
function redemptions.is_open(handle, serial, record, now)
  if record[REDEMPTION.state] ~= REDEMPTION_STATE.HELD or now >= record[REDEMPTION.until] then
    return false
  end
  local parts = redemptions.parts(handle, record)
  for i = 1, #parts do
    local coupon = parts[i].coupon
    local own = coupon[COUPON.redemption] == serial
    if parts[i].many then own = uses.is_held_by(coupon, serial) end
    if not own then return false end
  end
  if receipts.points(record) then
    local held = points.read(redis.call('HGET', keys.wallet(handle), 'p'), now)
    return points.unhold(held, serial) ~= nil, parts
  end
  return true, parts
end

-- Why a hold can no longer be finished, or DONE and its parts.
function redemptions.finishable(handle, serial, record, now)
  local open, parts = redemptions.is_open(handle, serial, record, now)
  if open then return OUTCOME.DONE, parts end
  local state = record[REDEMPTION.state]
  if state == REDEMPTION_STATE.REDEEMED then return OUTCOME.ALREADY_REDEEMED end
  if state == REDEMPTION_STATE.REVERSED then return OUTCOME.ALREADY_REVERSED end
  if state == REDEMPTION_STATE.RELEASED then return OUTCOME.HOLD_RELEASED end
  return OUTCOME.HOLD_EXPIRED
end

-- Write each coupon of these parts that is still the redemption's own. Returns their ids.
function redemptions.move_coupons(handle, serial, parts, state, now)
  local moved, fields = {}, {}
  for i = 1, #parts do
    local part = parts[i]
    local coupon, own = part.coupon, nil
    if part.many then
      own = uses.unhold(coupon, serial)
      if own and state == COUPON_STATE.REDEEMED then
        uses.redeem(coupon, part, part.tender and 0 or 1,
          part.tender and part.tender[TENDER.amount] or 0)
      end
      uses.note(handle, part.serial, coupon, part)
      if part.tender and state == COUPON_STATE.REDEEMED then
        part.tender[TENDER.balance] = uses.balance(coupon, part.total, now)
      end
    else
      own = coupon[COUPON.redemption] == serial and coupon[COUPON.state] == COUPON_STATE.HELD
      if own then
        coupon[COUPON.state], coupon[COUPON.held_until] = state, 0
        if state == COUPON_STATE.ISSUED then coupon[COUPON.redemption] = '' end
      end
    end
    if own then
      local n = #moved
      fields[2 * n + 1], fields[2 * n + 2] = 'C' .. part.serial, records.coupon(coupon)
      moved[n + 1] = 'C' .. handle .. part.serial
    end
  end
  if fields[1] then redis.call('HSET', keys.wallet(handle), unpack(fields)) end
  return moved
end

-- The points that a hold set aside are spent, as many as are tendered; the rest goes back.
function redemptions.spend_points(handle, serial, record, number, now)
  local tender = receipts.points(record)
  if not tender then return end
  local held = points.read(redis.call('HGET', keys.wallet(handle), 'p'), now)
  local parts = points.unhold(held, serial)
  if parts then
    local sum = 0
    for _, part in ipairs(parts) do sum = sum + part[PART.points] end
    parts = points.give_back(held, parts, sum - number)
    if number > 0 then tender[TENDER.parts] = parts end
  end
  redemptions.purses[handle] = points.put(handle, record[REDEMPTION.user_id], held, now)
  if record[REDEMPTION.state] == REDEMPTION_STATE.REDEEMED then
    tender[TENDER.balance] = points.available(held, now)
  end
end

-- Take from budgets and counts of uses what a redemption needs (change 1), or give it back (-1).
function redemptions.charge(record, change, parts)
  for _, part in ipairs(parts or receipts.parts(record)) do
    local share = campaigns.share(part.campaign)
    if share then
      if share.budget_left and part.applied then
        campaigns.spend(share, change * receipts.cost(part.applied))
      end
      campaigns.use(share, part.counted, receipts.place(record), record[REDEMPTION.day] or 0,
        change)
    end
  end
end

-- Remember a hold with each campaign whose money or uses it sets aside.
function redemptions.open_hold(handle, serial, record)
  redis.call('ZADD', keys.holds(), record[REDEMPTION.until], handle .. serial)
  for _, part in ipairs(receipts.parts(record)) do
    local share = campaigns.share(part.campaign)
    if share and (share.budget_left or part.counted > 0) then
      redis.call('ZADD', keys.opens(share.id), record[REDEMPTION.until], handle .. serial)
    end
  end
end

-- Forget that this hold, of these parts, is open.
function redemptions.close_hold(handle, serial, record, parts)
  redis.call('ZREM', keys.holds(), handle .. serial)
  for i = 1, #parts do
    local share = campaigns.share(parts[i].campaign)
    if share and (share.budget_left or parts[i].counted > 0) then
      redis.call('ZREM', keys.opens(share.id), handle .. serial)
    end
  end
  if parts.order == serial then
    redis.call('HDEL', keys.wallet(handle), redemptions.hold_field(record[REDEMPTION.store_id],
      record[REDEMPTION.order_ref]))
  end
end

-- End a hold unused: its coupons and points are free again, the books are told. `parts`: where
-- they have just been read.
function redemptions.give_up(handle, serial, record, state, now, fingerprint, who, parts)
  parts = parts or redemptions.parts(handle, record)
  record[REDEMPTION.state] = state
  local freed = redemptions.move_coupons(handle, serial, parts, COUPON_STATE.ISSUED, now)
  redemptions.spend_points(handle, serial, record, 0, now)
  redemptions.close_hold(handle, serial, record, parts)
  redemptions.charge(record, -1, parts)
  batch.fact('released', now, 'R' .. handle .. serial, fingerprint, who,
    record[REDEMPTION.user_id], freed, state == REDEMPTION_STATE.LAPSED and 1 or 0,
    redemptions.fact_tenders(handle, record[REDEMPTION.tenders]))
  return redemptions.put(handle, serial, record)
end

-- A hold is tendered: `amount` of it, what is too much is taken from the last tender first.
function redemptions.tender(record, amount)
  local over = receipts.tendered(record) - amount
  for i = #(record[REDEMPTION.tenders] or {}), 1, -1 do
    local t = record[REDEMPTION.tenders][i]
    local before, number = t[TENDER.amount], t[TENDER.points]
    t[TENDER.held], t[TENDER.held_points] = before, number
    t[TENDER.held_balance] = t[TENDER.balance]
    local left, weights = math.max(0, before - over), {}
    over = over - (before - left)
    if left < before then
      for n, share in ipairs(t[TENDER.lines]) do weights[n] = share[SHARE.discount] end
      for n, part in ipairs(arithmetic.split(left, weights)) do
        t[TENDER.lines][n][SHARE.discount] = part
      end
      local stays, rest = arithmetic.muldiv(number, left, before)
      t[TENDER.amount], t[TENDER.points] = left, rest > 0 and stays + 1 or stays
      local share = left == 0 and t[TENDER.counted] > 0 and campaigns.share(t[TENDER.campaign_id])
      if share then  -- it was not used after all
        campaigns.use(share, t[TENDER.counted], record[REDEMPTION.store_id],
          record[REDEMPTION.day], -1)
        t[TENDER.counted] = 0
      end
    end
  end
end

-- Shares of lines as facts tell them: those that nothing was given back of are so already.
local function fact_shares(lines)
  if lines[1] and not lines[1][SHARE.back] then return lines end
  local shares = {}
  for n, share in ipairs(lines) do shares[n] = { share[SHARE.line], share[SHARE.discount] } end
  return shares
end

-- What is tendered (records.Tender), as facts carry it (facts.FactTender).
function redemptions.fact_tenders(handle, list)
  local tenders = {}
  for i, t in ipairs(list or {}) do
    local spent, done, id = 0, 0, ''
    if t[TENDER.kind] == TENDER_KIND.STORED_VALUE then
      id = 'C' .. handle .. t[TENDER.serial]
      local noted = uses.noted(handle, t[TENDER.serial])
      spent, done = noted.spent, noted.done
    else
      spent = redemptions.purses[handle] or 0
    end
    tenders[i] = { t[TENDER.kind], id, t[TENDER.campaign_id], t[TENDER.terms_revision],
      t[TENDER.amount], t[TENDER.points], t[TENDER.balance], spent, done,
      fact_shares(t[TENDER.lines]), points.per_yuan() }
  end
  return tenders
end

-- The lines and coupons of a record as facts carry them (engine/facts.py).
local function fact_parts(handle, record)
  local lines, coupons = {}, {}
  for i, line in ipairs(record[REDEMPTION.lines]) do
    lines[i] = line[LINE.returned] and { line[LINE.id], line[LINE.amount], line[LINE.quantity],
      line[LINE.sku], line[LINE.category] } or line
  end
  for i, c in ipairs(record[REDEMPTION.coupons]) do
    local used, done = -1, 0
    if (c[APPLIED.uses] or 1) > 1 then
      local noted = uses.noted(handle, c[APPLIED.serial])
      used, done = noted.used, noted.done
    end
    coupons[i] = { 'C' .. handle .. c[APPLIED.serial], c[APPLIED.campaign_id],
      c[APPLIED.terms_revision], c[APPLIED.benefit], c[APPLIED.value], c[APPLIED.discount],
      fact_shares(c[APPLIED.lines]), used, done, c[APPLIED.uses] or 1 }
  end
  return lines, coupons
end

-- Tell the books of a redemption, a hold or a commit; `more` are the fields of that fact alone.
function redemptions.tell(kind, handle, serial, record, now, who, ...)
  local lines, coupons = fact_parts(handle, record)
  local payable = record[REDEMPTION.amount] - record[REDEMPTION.discount]
    - receipts.tendered(record)
  local deductions = {}
  for i, d in ipairs(record[REDEMPTION.deductions] or {}) do
    deductions[i] = { unpack(d, DEDUCTION.type, DEDUCTION.label) }
  end
  local fields = { ... }
  local n = select('#', ...)
  fields[n + 1], fields[n + 2] = redemptions.fact_tenders(handle, record[REDEMPTION.tenders]),
    record[REDEMPTION.lot_id] or ''
  fields[n + 3], n = deductions, n + 3
  if kind == 'committed' then fields[n + 1], n = record.freed or {}, n + 1 end
  fields[n + 1], n = record[REDEMPTION.skipped], n + 1
  local r = record
  batch.fact(kind, now, 'R' .. handle .. serial, r[REDEMPTION.fingerprint], who,
    r[REDEMPTION.user_id], r[REDEMPTION.store_id], r[REDEMPTION.merchant_id],
    r[REDEMPTION.terminal_id], r[REDEMPTION.staff_id], r[REDEMPTION.channel],
    r[REDEMPTION.order_ref], r[REDEMPTION.amount], r[REDEMPTION.discount], payable, lines,
    coupons, unpack(fields, 1, n))
end

-- Count the coupons of a redemption in their campaigns.
function redemptions.count(record, change, parts)
  for _, part in ipairs(parts or receipts.parts(record)) do
    local share = campaigns.share(part.campaign)
    if share and not (part.tender and part.tender[TENDER.amount] == 0) then
      campaigns.count_redeemed(share, change)
    end
  end
end
