-- include: arithmetic, calendar, records, uses
-- Several coupons on one basket: order of application, the ladder of each, who stacks with whom.
-- Stored value is a tender: it pays what is left after all discounts.
local stacking = { rank = { parking_minutes = -1, gift = 0, fixed_price = 1, percent_off = 2,
  amount_off = 3, parking_free = 4, exchange = 9, admission = 9, stored_value = 10 } }

local function listed(list, value)
  for _, v in ipairs(list) do if v == value then return true end end
  return false
end

-- Order of application: class of benefit, stacking.order, earliest end, id.
-- An item: as using.gather makes it.
function stacking.sort(items, at)
  for i = 1, #items do
    local item = items[i]
    local benefit = item.terms[TERMS.benefit]
    item.rank = stacking.rank[benefit]
    item.ends = records.valid_until(item.record) or math.huge
    item.tender = benefit == 'stored_value'
    item.many = uses.many(item.terms)
    if item.many then
      item.uses_left, item.balance = uses.left(item.record, item.terms, at.now, at.replaced)
    end
  end
  if #items < 2 then return end
  table.sort(items, function(a, b)
    if a.rank ~= b.rank then return a.rank < b.rank end
    local x, y = a.terms[TERMS.order], b.terms[TERMS.order]
    if x ~= y then return x < y end
    if a.ends ~= b.ends then return a.ends < b.ends end
    return a.serial < b.serial
  end)
end

-- Whether anything of this person can be used here now, whichever coupon it is.
function stacking.scene(at)
  if at.member_stale then return OUTCOME.CODE_EXPIRED end
  if at.user_frozen then return OUTCOME.USER_FROZEN end
  if at.member_used then return OUTCOME.CODE_USED end
  if at.store_closed then return OUTCOME.STORE_NOT_ALLOWED end
  return OUTCOME.DONE
end

-- The state of one coupon, at this store, in this channel, at this moment.
local function state(item, at)
  local record, terms = item.record, item.terms
  local now, stands = at.now, record[COUPON.state]
  if item.stale or at.member_stale then return OUTCOME.CODE_EXPIRED end
  if item.status == 'frozen' then return OUTCOME.CAMPAIGN_FROZEN end
  if at.user_frozen then return OUTCOME.USER_FROZEN end
  if stands == COUPON_STATE.REDEEMED then return OUTCOME.ALREADY_REDEEMED end
  if item.many then
    if (item.tender and item.balance or item.uses_left) <= 0 then return OUTCOME.HELD end
  elseif records.is_held(record, now) and not item.own_hold then
    return OUTCOME.HELD
  end
  if (item.step > 0 and item.step <= (record[COUPON.step] or 0)) or at.member_used then
    return OUTCOME.CODE_USED
  end
  if stands == COUPON_STATE.VOIDED then return OUTCOME.VOIDED end
  if stands == COUPON_STATE.REFUNDED then return OUTCOME.REFUNDED end
  if stands == COUPON_STATE.TRANSFERRED then return OUTCOME.TRANSFERRED end
  if now >= item.ends then return OUTCOME.EXPIRED end
  if now < record[COUPON.issued] + record[COUPON.valid_from] then
    return OUTCOME.NOT_YET_VALID
  end
  if at.store_closed or (terms[TERMS.stores] and not listed(terms[TERMS.stores], at.store)) then
    return OUTCOME.STORE_NOT_ALLOWED
  end
  if terms[TERMS.channels] and not listed(terms[TERMS.channels], at.channel) then
    return OUTCOME.CHANNEL_NOT_ALLOWED
  end
  local weekdays, hours = terms[TERMS.weekdays], terms[TERMS.hours]
  if (weekdays or hours) and not calendar.open(weekdays, hours, now, at.offset) then
    return OUTCOME.OUTSIDE_HOURS
  end
  return OUTCOME.DONE
end

local function smaller(a, b)
  if a < 0 then return b end
  if b < 0 then return a end
  return math.min(a, b)
end

-- Whether one more may join those accepted.
local function joins(item, accepted, most)
  local terms = item.terms
  local class, group, campaign = terms[TERMS.stacking], terms[TERMS.group],
    item.record[COUPON.campaign_id]
  local in_group, group_limit = 1, terms[TERMS.group_limit]
  local in_campaign, campaign_limit = 1, terms[TERMS.per_redemption]
  for i = 1, #accepted do
    local other = accepted[i]
    local theirs = other.terms[TERMS.stacking]
    if not item.tender and not other.tender  -- money stands beside every class of discount
      and ((class == 'exclusive' and theirs ~= 'always')
        or (theirs == 'exclusive' and class ~= 'always')) then
      return OUTCOME.STACKING_CONFLICT
    end
    if group ~= '' and other.terms[TERMS.group] == group then
      in_group = in_group + 1
      group_limit = smaller(group_limit, other.terms[TERMS.group_limit])
    end
    if other.record[COUPON.campaign_id] == campaign then
      in_campaign = in_campaign + 1
      campaign_limit = smaller(campaign_limit, other.terms[TERMS.per_redemption])
    end
  end
  if group ~= '' and group_limit >= 0 and in_group > group_limit then
    return OUTCOME.GROUP_LIMIT
  end
  if campaign_limit >= 0 and in_campaign > campaign_limit then return OUTCOME.CAMPAIGN_LIMIT end
  if #accepted >= most then return OUTCOME.TOO_MANY_COUPONS end
  return OUTCOME.DONE
end

-- Whether the campaign's budget and its uses a day have room for it. An item without a room has no
-- limits; those of one campaign share a room.
local function fits(item, cost)
  local room = item.room
  if item.day_limit >= 0 and room.used >= item.day_limit then
    return OUTCOME.CAMPAIGN_DAY_LIMIT
  end
  if item.store_limit >= 0 and room.used_here >= item.store_limit then
    return OUTCOME.STORE_LIMIT
  end
  if room.budget and cost > room.budget then return OUTCOME.BUDGET_EXHAUSTED end
  return OUTCOME.DONE
end

-- Take the room of one that is accepted.
local function occupy(item, cost)
  local room = item.room
  if item.day_limit >= 0 then room.used = room.used + 1 end
  if item.store_limit >= 0 then room.used_here = room.used_here + 1 end
  if room.budget then room.budget = room.budget - cost end
end

-- Minutes are given though nobody knows yet what they are worth: the vendor's tariff is not told.
local function given_untold(basket, item)
  return item.rank < 0 and basket.parking and not basket.worth
    and arithmetic.minutes_left(basket) > 0
end

-- Judge all, in order; a refused one counts as not sent. Returns the accepted (with discount and
-- shares; of a tender the discount is 0 and `tendered` what it pays) and the refused (with outcome
-- and short_by).
function stacking.judge(items, basket, at)
  stacking.sort(items, at)
  local accepted, refused = {}, {}
  for i = 1, #items do
    local item = items[i]
    -- Minutes go before amounts, those that are no coupons included.
    if basket.amounts and item.rank >= 0 then basket.amounts(basket) end
    local short, discount, shares, free = 0, 0, nil, nil
    local outcome = state(item, at)
    if outcome == OUTCOME.DONE then
      outcome, short, discount, shares, free = arithmetic.judge(basket, item.terms, item.balance)
    end
    if outcome == OUTCOME.DONE then outcome = joins(item, accepted, basket.most or 12) end
    local cost = item.tender and 0 or (discount or 0) + item.terms[TERMS.value]
    if outcome == OUTCOME.DONE and item.room then outcome = fits(item, cost) end
    if outcome == OUTCOME.DONE and discount == 0
      and not arithmetic.stands_alone(item.terms[TERMS.benefit])
      and not given_untold(basket, item) then
      outcome = OUTCOME.NO_EFFECT
    end
    if outcome == OUTCOME.DONE then
      item.discount, item.tendered, item.shares = discount, 0, shares
      if item.tender then item.discount, item.tendered = 0, discount end
      arithmetic.apply(basket, shares, free)
      if item.rank < 0 then
        item.minutes = arithmetic.minutes(basket, item.terms)
        basket.taken = basket.taken + item.minutes
      end
      if item.room then occupy(item, cost) end
      accepted[#accepted + 1] = item
    else
      item.outcome, item.short = outcome, short
      refused[#refused + 1] = item
    end
  end
  return accepted, refused
end
