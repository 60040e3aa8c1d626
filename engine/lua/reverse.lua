--[[
Reverse a redemption, whole or by line. Every reversal is an entry of its own.

flags:    allow-oom
include:  arithmetic, batch, campaigns, keys, pack, points, receipts, records, redemptions,
          uses
keys:
  1 cell      hash    epoch, seq and definitions of the cell
derived:
  wallet      hash    the person's live state
  campaign    hash    the campaign's share in this cell
  quotas      hash    the quotas of its event
  points      string  entries whose lots expire meanwhile
  points_due  zset    people by the time their next lot expires
  redemption  string  the record; it keeps its reversals, each with its key
  facts       stream  the outbox
arguments:
  1 batch     msgpack array of commands.Reverse
outcomes:
  DONE REPEATED INVALID_REQUEST NOT_FOUND FORBIDDEN IDEMPOTENCY_KEY_REUSED ALREADY_REVERSED
  NOTHING_TO_REVERSE MORE_THAN_REDEEMED WINDOW_MOVED
]]

-- The first answer again: the reversal of this key, in this window or the one before.
local function receipt(record, packed, op, now)
  for _, reversal in ipairs(record[REDEMPTION.reversals]) do
    local serial = reversal[REVERSAL.serial]
    if serial == op[REVERSE.serial] or serial == op[REVERSE.serial_before] then
      if reversal[REVERSAL.fingerprint] ~= op[REVERSE.fingerprint] then
        return batch.answer(OUTCOME.IDEMPOTENCY_KEY_REUSED, now)
      end
      return pack.header(4) .. cmsgpack.pack(OUTCOME.REPEATED, now) .. packed
        .. cmsgpack.pack(serial)
    end
  end
end

-- What was never reversed says nothing of what came back: 0.
local function spell_out(record)
  for _, line in ipairs(record[REDEMPTION.lines]) do
    line[LINE.returned] = line[LINE.returned] or 0
  end
  for _, c in ipairs(record[REDEMPTION.coupons]) do
    for _, share in ipairs(c[APPLIED.lines]) do share[SHARE.back] = share[SHARE.back] or 0 end
  end
end

-- The gross amount that comes back of each line, by index; or nil and the outcome.
local function returned_goods(record, wanted)
  local lines, gross, sum = record[REDEMPTION.lines], {}, 0
  local index = {}
  for i, line in ipairs(lines) do
    index[line[LINE.id]] = i
    gross[i] = wanted and 0 or line[LINE.amount] - line[LINE.returned]
  end
  for _, want in ipairs(wanted or {}) do
    local i = index[want[1]]
    if not i then return nil, OUTCOME.INVALID_REQUEST, want[1] end
    gross[i] = gross[i] + want[2]
    if gross[i] > lines[i][LINE.amount] - lines[i][LINE.returned] then
      return nil, OUTCOME.MORE_THAN_REDEEMED, want[1]
    end
    sum = sum + want[2]
  end
  if wanted and sum == 0 then return nil, OUTCOME.NOTHING_TO_REVERSE end
  return gross
end

-- What is left of the basket: gross not returned, and what was paid for it at the till.
local function remains(record)
  local gross, paid = 0, 0
  for _, line in ipairs(record[REDEMPTION.lines]) do
    gross = gross + line[LINE.amount] - line[LINE.returned]
  end
  paid = gross
  for _, c in ipairs(record[REDEMPTION.coupons]) do
    for _, share in ipairs(c[APPLIED.lines]) do
      paid = paid - (share[SHARE.discount] - share[SHARE.back])
    end
  end
  for _, d in ipairs(receipts.own_deductions(record)) do
    paid = paid - (d[DEDUCTION.amount] - d[DEDUCTION.back])
  end
  for _, t in ipairs(record[REDEMPTION.tenders] or {}) do
    paid = paid - (t[TENDER.amount] - t[TENDER.back])
  end
  return gross, paid
end

-- Give back what goes back of one line, all its coupons together, so that no refund is below
-- zero: cumulative, half up. entries: {share, what of its coupon goes back}. Returns the sum.
local function line_goes_back(line, entries)
  local total, gone, left = 0, 0, {}
  for k, entry in ipairs(entries) do
    local share = entry[1]
    total, gone = total + share[SHARE.discount], gone + share[SHARE.back]
    left[k] = share[SHARE.discount] - share[SHARE.back]
  end
  local now = arithmetic.back(total, line[LINE.returned], line[LINE.amount]) - gone
  for k, part in ipairs(arithmetic.split(now, left)) do
    local share, coupon = entries[k][1], entries[k][2]
    share[SHARE.back], coupon.back = share[SHARE.back] + part, coupon.back + part
  end
  return now
end

-- What was refunded of a line goes back to what it was paid with in proportion, all tenders of
-- the line together: cumulative, half up. entries: {share, its tender}. Returns the sum.
local function line_refunds(line, discounts, entries)
  local off, off_back = 0, 0
  for _, entry in ipairs(discounts) do
    off, off_back = off + entry[1][SHARE.discount], off_back + entry[1][SHARE.back]
  end
  local total, gone, left = 0, 0, {}
  for k, entry in ipairs(entries) do
    local share = entry[1]
    total, gone = total + share[SHARE.discount], gone + share[SHARE.back]
    left[k] = share[SHARE.discount] - share[SHARE.back]
  end
  local now = arithmetic.back(total, line[LINE.returned] - off_back, line[LINE.amount] - off) - gone
  for k, part in ipairs(arithmetic.split(now, left)) do
    local share, t = entries[k][1], entries[k][2]
    share[SHARE.back], t[TENDER.back] = share[SHARE.back] + part, t[TENDER.back] + part
  end
  return now
end

-- Return the goods in the record; what goes back of each line, each coupon, and of each line to
-- what it was paid with.
local function take_back(record, gross)
  local line_back, coupon_back, line_tender, on_line, paid_line = {}, {}, {}, {}, {}
  for i, line in ipairs(record[REDEMPTION.lines]) do
    line[LINE.returned] = line[LINE.returned] + gross[i]
    on_line[i], paid_line[i] = {}, {}
  end
  for _, t in ipairs(record[REDEMPTION.tenders] or {}) do
    for _, share in ipairs(t[TENDER.lines]) do
      local entries = paid_line[share[SHARE.line] + 1]
      entries[#entries + 1] = { share, t }
    end
  end
  for n, c in ipairs(record[REDEMPTION.coupons]) do
    local coupon = { before = 0, back = 0 }
    for _, share in ipairs(c[APPLIED.lines]) do
      local entries = on_line[share[SHARE.line] + 1]
      entries[#entries + 1] = { share, coupon }
      coupon.before = coupon.before + share[SHARE.discount] - share[SHARE.back]
    end
    coupon_back[n] = coupon
  end
  local others = {}
  for n, d in ipairs(receipts.own_deductions(record)) do  -- of a parking fee, which is one line
    others[n] = { { 0, d[DEDUCTION.amount], d[DEDUCTION.back] }, { back = 0 } }
    table.insert(on_line[1], others[n])
  end
  for i, line in ipairs(record[REDEMPTION.lines]) do
    line_back[i] = line_goes_back(line, on_line[i])
    line_tender[i] = line_refunds(line, on_line[i], paid_line[i])
  end
  for n, d in ipairs(receipts.own_deductions(record)) do
    d[DEDUCTION.back] = others[n][1][SHARE.back]
  end
  return line_back, coupon_back, line_tender
end

-- Whether nothing of a coupon stays redeemed: every line it took something off is returned.
local function wholly_back(record, shares, whole)
  if #shares == 0 then return whole end
  for _, share in ipairs(shares) do
    local line = record[REDEMPTION.lines][share[SHARE.line] + 1]
    if line[LINE.returned] < line[LINE.amount] then return false end
  end
  return true
end

-- Hand a coupon back to its owner, of a pass one use; an expired one stays expired, by the clock.
-- 0: there is nothing to hand back, the rest was withdrawn, refunded or given on.
local function hand_back(handle, serial, record, c)
  local wallet, field = keys.wallet(handle), 'C' .. c[APPLIED.serial]
  local coupon = cmsgpack.unpack(redis.call('HGET', wallet, field))
  local number = c[APPLIED.uses] or 1
  if coupon[COUPON.state] == COUPON_STATE.VOIDED
    or coupon[COUPON.state] == COUPON_STATE.REFUNDED
    or coupon[COUPON.state] == COUPON_STATE.TRANSFERRED then return 0 end
  if number > 1 then
    local part = { uses = number }
    uses.redeem(coupon, part, -1, 0)
    uses.note(handle, c[APPLIED.serial], coupon, part)
  else
    if coupon[COUPON.redemption] ~= serial then return 1 end
    coupon[COUPON.state], coupon[COUPON.redemption] = COUPON_STATE.ISSUED, ''
  end
  redis.call('HSET', wallet, field, records.coupon(coupon))
  local share = campaigns.share(c[APPLIED.campaign_id])
  if not share then return 1 end
  campaigns.count_redeemed(share, -1)
  campaigns.use(share, c[APPLIED.counted] or 0, receipts.place(record),
    record[REDEMPTION.day] or 0, -1)
  return 1
end

-- Put money back on the coupon that paid; `all`: nothing of it stays tendered here. 0: nobody gets
-- it, the coupon is refunded or given on.
local function refund_value(handle, record, t, back, all)
  local wallet, field = keys.wallet(handle), 'C' .. t[TENDER.serial]
  local coupon = cmsgpack.unpack(redis.call('HGET', wallet, field))
  local part = { total = t[TENDER.total] }
  uses.redeem(coupon, part, 0, -back)
  uses.note(handle, t[TENDER.serial], coupon, part)
  redis.call('HSET', wallet, field, records.coupon(coupon))
  local share = all and campaigns.share(t[TENDER.campaign_id])
  if share then
    campaigns.count_redeemed(share, -1)
    campaigns.use(share, t[TENDER.counted], record[REDEMPTION.store_id], record[REDEMPTION.day],
      -1)
  end
  return (coupon[COUPON.state] == COUPON_STATE.REFUNDED
    or coupon[COUPON.state] == COUPON_STATE.TRANSFERRED) and 0 or 1
end

-- Put points back into their lots: in proportion to the money that goes back, half up.
local function refund_points(handle, record, t, now)
  local wallet = keys.wallet(handle)
  local number = arithmetic.back(t[TENDER.points], t[TENDER.back], t[TENDER.amount])
    - t[TENDER.points_back]
  local mine = points.read(redis.call('HGET', wallet, 'p'), now)
  t[TENDER.parts] = points.give_back(mine, t[TENDER.parts], number)
  t[TENDER.points_back] = t[TENDER.points_back] + number
  redemptions.purses[handle] = points.put(handle, record[REDEMPTION.user_id], mine, now)
  return number
end

-- Give tenders back as take_back reckoned; before: what had gone back of each until now.
-- Returns them as the record keeps them and as the fact tells them.
local function refund(handle, record, before, now)
  local kept, told = {}, {}
  for n, t in ipairs(record[REDEMPTION.tenders] or {}) do
    local back, amount = t[TENDER.back] - before[n], t[TENDER.amount]
    if back > 0 then
      local number, spent, id, returned = 0, 0, '', 1
      if t[TENDER.kind] == TENDER_KIND.POINTS then
        number = refund_points(handle, record, t, now)
        spent = redemptions.purses[handle]
      else
        returned = refund_value(handle, record, t, back, t[TENDER.back] == amount)
        id = 'C' .. handle .. t[TENDER.serial]
        spent = uses.noted(handle, t[TENDER.serial]).spent
      end
      local stays = t[TENDER.points] - t[TENDER.points_back]
      kept[#kept + 1] = { t[TENDER.kind], t[TENDER.serial], back, number }
      told[#told + 1] = { t[TENDER.kind], id, t[TENDER.campaign_id], t[TENDER.terms_revision],
        amount - before[n], amount - t[TENDER.back], stays + number, stays, spent,
        points.per_yuan(), returned }
    end
  end
  return kept, told
end

-- The deductions of a parking payment that are no coupon's, as the fact tells them.
local function told_back(record, before)
  local told = {}
  for n, d in ipairs(receipts.own_deductions(record)) do
    told[n] = { d[DEDUCTION.type], d[DEDUCTION.id], d[DEDUCTION.bearer], d[DEDUCTION.label],
      before[n], d[DEDUCTION.amount] - d[DEDUCTION.back] }
  end
  return told
end

return batch.run(function(op)
  local handle, serial = op[REVERSE.handle], op[REVERSE.redemption]
  local now = batch.at(op[REVERSE.now])
  if batch.window_moved(now, op[REVERSE.window]) then
    return batch.answer(OUTCOME.WINDOW_MOVED, now)
  end
  local record, packed = redemptions.get(handle, serial)
  if not record then return batch.answer(OUTCOME.NOT_FOUND, now) end
  if op[REVERSE.store_id] ~= '' and op[REVERSE.store_id] ~= record[REDEMPTION.store_id] then
    return batch.answer(OUTCOME.FORBIDDEN, now)
  end
  local again = receipt(record, packed, op, now)
  if again then return again end
  local state = record[REDEMPTION.state]
  if state == REDEMPTION_STATE.REVERSED then
    return batch.answer(OUTCOME.ALREADY_REVERSED, now)
  end
  if state ~= REDEMPTION_STATE.REDEEMED then
    return batch.answer(OUTCOME.NOTHING_TO_REVERSE, now)
  end
  spell_out(record)
  local gross, refusal, line_id = returned_goods(record, op[REVERSE.lines])
  if not gross then return batch.answer(refusal, now, nil, line_id) end
  -- After this point the act must succeed.
  local gross_before, paid_before = remains(record)
  local tenders_before = {}
  for n, t in ipairs(record[REDEMPTION.tenders] or {}) do tenders_before[n] = t[TENDER.back] end
  local deductions_before = {}
  for n, d in ipairs(receipts.own_deductions(record)) do
    deductions_before[n] = d[DEDUCTION.amount] - d[DEDUCTION.back]
  end
  local line_back, coupon_back, line_tender = take_back(record, gross)
  local kept_tenders, fact_tenders = refund(handle, record, tenders_before, now)
  local gross_after, paid_after = remains(record)
  local whole = gross_after == 0
  local kept_lines, kept_coupons, line_tenders = {}, {}, {}
  local fact_lines, fact_coupons = {}, {}
  for i, line in ipairs(record[REDEMPTION.lines]) do
    if gross[i] > 0 then
      kept_lines[#kept_lines + 1] = { i - 1, gross[i], line_back[i] }
      line_tenders[#line_tenders + 1] = line_tender[i]
      fact_lines[#fact_lines + 1] = { line[LINE.id], gross[i], line_back[i], line_tender[i] }
    end
  end
  for n, c in ipairs(record[REDEMPTION.coupons]) do
    if c[APPLIED.returned] == 0 then
      local all, cost = wholly_back(record, c[APPLIED.lines], whole),
        receipts.cost(c) + coupon_back[n].back
      local returned = 0
      if all and op[REVERSE.restore] == 1 then
        returned = hand_back(handle, serial, record, c)
      end
      if all then c[APPLIED.returned] = returned == 1 and 1 or 2 end
      local share = campaigns.share(c[APPLIED.campaign_id])
      if share then campaigns.spend(share, receipts.cost(c) - cost) end
      local back, value = coupon_back[n], c[APPLIED.value]
      if all or back.back > 0 then
        kept_coupons[#kept_coupons + 1] = { c[APPLIED.serial], back.back, returned }
        fact_coupons[#fact_coupons + 1] = { 'C' .. handle .. c[APPLIED.serial],
          c[APPLIED.campaign_id], c[APPLIED.terms_revision], back.before,
          back.before - back.back, value, all and 0 or value, returned,
          returned == 1 and (c[APPLIED.uses] or 1) > 1
            and uses.noted(handle, c[APPLIED.serial]).used or -1 }
      end
    end
  end
  if whole then record[REDEMPTION.state] = REDEMPTION_STATE.REVERSED end
  table.insert(record[REDEMPTION.reversals], { op[REVERSE.serial], op[REVERSE.fingerprint], now,
    op[REVERSE.store_id], kept_lines, kept_coupons, op[REVERSE.reason], kept_tenders,
    line_tenders })
  batch.fact('reversed', now, 'V' .. handle .. op[REVERSE.serial], op[REVERSE.fingerprint],
    op[REVERSE.who], 'R' .. handle .. serial,
    record[REDEMPTION.committed] > 0 and record[REDEMPTION.committed] or record[REDEMPTION.at],
    record[REDEMPTION.user_id], record[REDEMPTION.store_id], record[REDEMPTION.merchant_id],
    op[REVERSE.store_id], record[REDEMPTION.order_ref], op[REVERSE.reason], fact_lines,
    fact_coupons, gross_before, gross_after, paid_before, paid_after, whole and 1 or 0,
    fact_tenders, record[REDEMPTION.lot_id] or '', told_back(record, deductions_before))
  return pack.header(4) .. cmsgpack.pack(OUTCOME.DONE, now)
    .. redemptions.put(handle, serial, record) .. cmsgpack.pack(op[REVERSE.serial])
end)
