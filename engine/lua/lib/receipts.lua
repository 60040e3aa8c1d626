-- include: keys
-- What a redemption record says of its coupons and tenders; nothing is written.
local receipts = {}

-- The record, or nil.
function receipts.get(handle, serial)
  local packed = redis.call('GET', keys.redemption(handle, serial))
  return packed and cmsgpack.unpack(packed), packed
end

-- Every coupon of a record, those that took something off and those that paid:
-- {serial, campaign, counted, applied or tender, uses (of a pass), total (of stored value), many}.
function receipts.parts(record)
  local parts = {}
  for _, c in ipairs(record[REDEMPTION.coupons]) do
    local number = c[APPLIED.uses] or 1
    parts[#parts + 1] = { serial = c[APPLIED.serial], campaign = c[APPLIED.campaign_id],
      counted = c[APPLIED.counted] or 0, applied = c, uses = number, many = number > 1 }
  end
  for _, t in ipairs(record[REDEMPTION.tenders] or {}) do
    if t[TENDER.kind] == TENDER_KIND.STORED_VALUE then
      parts[#parts + 1] = { serial = t[TENDER.serial], campaign = t[TENDER.campaign_id],
        counted = t[TENDER.counted], tender = t, total = t[TENDER.total], many = true }
    end
  end
  return parts
end

-- The tender of points of a record, or nil.
function receipts.points(record)
  for _, t in ipairs(record[REDEMPTION.tenders] or {}) do
    if t[TENDER.kind] == TENDER_KIND.POINTS then return t end
  end
end

-- The deductions of a parking payment that are neither a coupon's nor points.
function receipts.own_deductions(record)
  local own = {}
  for _, d in ipairs(record[REDEMPTION.deductions] or {}) do
    if d[DEDUCTION.type] ~= 'coupon' and d[DEDUCTION.type] ~= 'points' then own[#own + 1] = d end
  end
  return own
end

-- Where its uses are counted: the store, or the lot of a parking payment.
function receipts.place(record)
  local store = record[REDEMPTION.store_id]
  return store ~= '' and store or record[REDEMPTION.lot_id] or ''
end

-- What was paid with stored value and points, in fen.
function receipts.tendered(record)
  local sum = 0
  for _, t in ipairs(record[REDEMPTION.tenders] or {}) do sum = sum + t[TENDER.amount] end
  return sum
end

-- What a coupon of a redemption costs its campaign's budget: what it took off and did not give
-- back, and an exchange's worth.
function receipts.cost(c)
  local sum = c[APPLIED.returned] == 0 and c[APPLIED.value] or 0
  for _, share in ipairs(c[APPLIED.lines]) do
    sum = sum + share[SHARE.discount] - (share[SHARE.back] or 0)
  end
  return sum
end
