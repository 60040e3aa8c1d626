-- include: arithmetic, campaigns, keys, purchases, receipts, records, redemptions, uses
-- What a stay was given, by the payments that stand; and what takes money off besides coupons.
local parking = {}

-- How the person pays for the stay so far: records.StayUse.
function parking.use(handle, op)
  local packed = redis.call('GET', keys.stay_use(handle, op[PARK.use]))
  return packed and cmsgpack.unpack(packed) or { op[PARK.lot_id], op[PARK.session_id], {} }
end

-- The payment under a fee_id, or nil; its redemption, and whether that is open or stands.
function parking.payment(handle, use, fee_id, now)
  for _, payment in ipairs(use[STAY_USE.payments]) do
    if payment[PAYMENT.fee_id] == fee_id then
      local record, packed = redemptions.get(handle, payment[PAYMENT.serial])
      return payment, record, packed, parking.is_live(handle, payment[PAYMENT.serial], record, now)
    end
  end
end

-- Whether a redemption sets something aside or stands: 'held', 'stands' or nil.
function parking.is_live(handle, serial, record, now)
  local state = record[REDEMPTION.state]
  if state == REDEMPTION_STATE.REDEEMED then return 'stands' end
  return redemptions.is_open(handle, serial, record, now) and 'held' or nil
end

-- What earlier payments of the stay gave: minutes, fen, coupons, points, whether the tier's, which
-- ids of validations and overrides; and its open holds, which give way: {serial, record}.
function parking.earlier(handle, use, op, now)
  local sum = { minutes = op[PARK.before][1], fen = op[PARK.before][2],
    coupons = op[PARK.before][3], points = 0, ids = {}, holds = {} }
  for _, payment in ipairs(use[STAY_USE.payments]) do
    local serial = payment[PAYMENT.serial]
    local record = redemptions.get(handle, serial)
    local live = parking.is_live(handle, serial, record, now)
    if live == 'held' then sum.holds[#sum.holds + 1] = { serial, record } end
    if live == 'stands' then
      for _, d in ipairs(record[REDEMPTION.deductions]) do
        sum.minutes = sum.minutes + d[DEDUCTION.minutes]
        if d[DEDUCTION.type] == 'tier' then sum.tier = true end
        if d[DEDUCTION.id] ~= '' then sum.ids[d[DEDUCTION.id]] = true end
      end
      for _, d in ipairs(receipts.own_deductions(record)) do
        sum.fen = sum.fen + d[DEDUCTION.amount] - d[DEDUCTION.back]
      end
      for _, c in ipairs(record[REDEMPTION.coupons]) do
        sum.fen = sum.fen + receipts.cost(c)
        if c[APPLIED.returned] == 0 then sum.coupons = sum.coupons + 1 end
      end
      for _, t in ipairs(record[REDEMPTION.tenders]) do
        sum.fen = sum.fen + t[TENDER.amount] - t[TENDER.back]
        sum.points = sum.points + t[TENDER.points] - t[TENDER.points_back]
      end
    end
  end
  return sum
end

local function given_up(earlier, serial)
  for _, hold in ipairs(earlier.holds) do if hold[1] == serial then return true end end
  return false
end

-- The stays of a local day that a tier was used for and that stand, this one not counted.
local function tier_days(handle, op, earlier, day, now)
  local packed, kept = redis.call('GET', keys.tier_use(handle)), {}
  for _, one in ipairs(packed and cmsgpack.unpack(packed) or {}) do
    local serial = one[TIER_USE.redemption]
    if one[TIER_USE.day] == day and not given_up(earlier, serial) then
      local record = redemptions.get(handle, serial)
      if record and parking.is_live(handle, serial, record, now) then kept[#kept + 1] = one end
    end
  end
  return kept
end

-- What the person's tier gives with a stay: {type, id, minutes, fen, bearer, label}, or nil.
function parking.tier(handle, op, user, earlier, day, now)
  local tier = user[USER.tier]
  if earlier.tier or tier == '' then return nil end
  local till = user[USER.tier_until]
  if till > 0 and now >= till then return nil end
  for _, rule in ipairs(op[PARK.tiers]) do
    if rule[1] == tier then
      local days = tier_days(handle, op, earlier, day, now)
      if rule[4] >= 0 and #days >= rule[4] then return nil end
      return { 'tier', tier, rule[2], rule[3], op[PARK.bearer], '' }, days
    end
  end
end

-- What the receipts named give: as above. Or nil, the outcome and the transaction it is about.
function parking.spend(handle, op, earlier, now)
  local sum, found = 0, {}
  for _, receipt in ipairs(op[PARK.receipts]) do
    local purchase = purchases.get(handle, receipt[2])
    if not purchase then return nil, OUTCOME.NOT_FOUND, receipt[1] end
    local used = purchase[PURCHASE.used]
    if used ~= '' and not given_up(earlier, used) then
      local record = redemptions.get(handle, used)
      if record and parking.is_live(handle, used, record, now) then
        return nil, OUTCOME.RECEIPT_USED, receipt[1]
      end
    end
    sum = sum + purchases.net(purchase)
    found[#found + 1] = { receipt[2], purchase }
  end
  local best
  for _, rule in ipairs(op[PARK.spend]) do
    if rule[1] <= sum and (not best or rule[1] > best[1]) then best = rule end
  end
  if not best or #found == 0 then return nil end
  return { 'spend', op[PARK.receipts][1][1], best[2], best[3], op[PARK.bearer], '' }, nil, found
end

local function deduction(giver, minutes, fen)
  return { giver[1], giver[2], minutes, fen, giver[5], giver[6], 0 }
end

-- What so many more minutes take off.
local function off(basket, minutes)
  local most = basket.running[1] - basket.floor
  return math.max(0, math.min(arithmetic.worth(basket, minutes), most))
end

-- Take off the minutes of those that give any, as long as they do something: by themselves, or with
-- those before them whose minutes reached into no other unit; these share what they do by minutes.
function parking.take_minutes(basket, givers, taken_off)
  local waiting, weights, sum = {}, {}, 0
  for _, giver in ipairs(givers) do
    local left = arithmetic.minutes_left(basket)
    local alone, minutes = math.min(giver[3], left), math.min(giver[3], left - sum)
    local fen = off(basket, sum + minutes)
    if alone > 0 and (not basket.worth or (fen > 0 and off(basket, alone) == fen)) then
      basket.taken, basket.running[1] = basket.taken + alone, basket.running[1] - fen
      taken_off[#taken_off + 1] = deduction(giver, alone, fen)
    elseif minutes > 0 then
      waiting[#waiting + 1], weights[#weights + 1], sum = giver, minutes, sum + minutes
      if fen > 0 then
        for i, part in ipairs(arithmetic.split(fen, weights)) do
          taken_off[#taken_off + 1] = deduction(waiting[i], weights[i], part)
        end
        basket.taken, basket.running[1] = basket.taken + sum, basket.running[1] - fen
        waiting, weights, sum = {}, {}, 0
      end
    end
  end
end

-- Take off the amounts of those that give any.
function parking.take_amounts(basket, givers, taken_off)
  for _, giver in ipairs(givers) do
    local fen = basket.running[1] - basket.floor
    if giver[4] >= 0 then fen = math.min(fen, giver[4]) end
    if fen > 0 then
      basket.running[1] = basket.running[1] - fen
      taken_off[#taken_off + 1] = deduction(giver, 0, fen)
    end
  end
end

-- Whether a deduction of a type is among them.
function parking.has(deductions, kind)
  for _, d in ipairs(deductions) do if d[DEDUCTION.type] == kind then return true end end
  return false
end

-- What the vendor's own amounts say of each deduction of a hold: a coupon's by its serial, others
-- by their type, several of one type as they come; 0 of what they do not name. Also a name that is
-- of no deduction, or nil.
local function told(record, amounts)
  local said, used = {}, {}
  for i, d in ipairs(record[REDEMPTION.deductions]) do
    local name = d[DEDUCTION.type] == 'coupon' and d[DEDUCTION.id] or d[DEDUCTION.type]
    said[i] = 0
    for j, one in ipairs(amounts) do
      if one[1] == name and not used[j] then
        said[i], used[j] = one[2], true
        break
      end
    end
  end
  for j, one in ipairs(amounts) do
    if not used[j] then return said, one[1] end
  end
  return said
end

-- What is wrong with the vendor's amounts: the outcome and the name it is about; nil = nothing.
-- Minutes that nobody has told the worth of may be worth anything, up to the fee.
function parking.vendor(record, amounts, due)
  if not amounts then return nil end
  local said, unknown = told(record, amounts)
  if unknown then return OUTCOME.NOT_FOUND, unknown end
  local sum, by_serial = 0, {}
  for _, c in ipairs(record[REDEMPTION.coupons]) do by_serial[c[APPLIED.serial]] = c end
  for i, d in ipairs(record[REDEMPTION.deductions]) do
    local fen = said[i]
    sum = sum + fen
    local untold = d[DEDUCTION.minutes] > 0 and d[DEDUCTION.amount] == 0
    local name = d[DEDUCTION.type] == 'coupon' and d[DEDUCTION.id] or d[DEDUCTION.type]
    if not untold and fen > d[DEDUCTION.amount] then return OUTCOME.MORE_THAN_REDEEMED, name end
    local c = d[DEDUCTION.type] == 'coupon' and by_serial[d[DEDUCTION.id]]
    local share = c and campaigns.share(c[APPLIED.campaign_id])
    if share and share.budget_left and fen - c[APPLIED.discount] > share.budget_left then
      return OUTCOME.BUDGET_EXHAUSTED, d[DEDUCTION.id]
    end
  end
  if sum > due then return OUTCOME.MORE_THAN_REDEEMED, 'deductions' end
end

-- A coupon of a hold that took nothing off in the end goes back unused.
local function let_go(handle, serial, record, c)
  local field, wallet = 'C' .. c[APPLIED.serial], keys.wallet(handle)
  local coupon = cmsgpack.unpack(redis.call('HGET', wallet, field))
  coupon[COUPON.state], coupon[COUPON.redemption] = COUPON_STATE.ISSUED, ''
  coupon[COUPON.held_until] = 0
  uses.unhold(coupon, serial)
  redis.call('HSET', wallet, field, records.coupon(coupon))
  local share = campaigns.share(c[APPLIED.campaign_id])
  if share then
    campaigns.use(share, c[APPLIED.counted], receipts.place(record), record[REDEMPTION.day], -1)
  end
end

-- Make the hold what it takes off in the end: the vendor's own amounts where there are any, else
-- as held; never more than is due now (the last ones give way). Returns the coupons let go.
function parking.settle(handle, serial, record, amounts, due)
  local left, kept, applied, freed, discount = due, {}, {}, {}, 0
  local by_serial, said = {}, amounts and told(record, amounts)
  for _, c in ipairs(record[REDEMPTION.coupons]) do by_serial[c[APPLIED.serial]] = c end
  for i, d in ipairs(record[REDEMPTION.deductions]) do
    local kind, id = d[DEDUCTION.type], d[DEDUCTION.id]
    local fen = d[DEDUCTION.amount]
    if kind ~= 'points' then
      fen = math.min(said and said[i] or fen, left)
      left, discount = left - fen, discount + fen
      d[DEDUCTION.amount] = fen
    end
    if fen > 0 or kind == 'points' then kept[#kept + 1] = d end
    local c = kind == 'coupon' and by_serial[id]
    if c and fen > 0 then
      local share = campaigns.share(c[APPLIED.campaign_id])
      if share then campaigns.spend(share, fen - c[APPLIED.discount]) end
      c[APPLIED.discount], c[APPLIED.lines] = fen, { { 0, fen, 0 } }
      applied[#applied + 1] = c
    elseif c then
      local share = campaigns.share(c[APPLIED.campaign_id])
      if share then campaigns.spend(share, -c[APPLIED.discount]) end
      let_go(handle, serial, record, c)
      freed[#freed + 1] = 'C' .. handle .. id
    end
  end
  record[REDEMPTION.deductions], record[REDEMPTION.coupons] = kept, applied
  record[REDEMPTION.amount], record[REDEMPTION.discount] = due, discount
  record[REDEMPTION.lines][1][LINE.amount] = due
  return freed
end
