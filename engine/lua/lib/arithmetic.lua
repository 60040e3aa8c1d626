-- What a coupon takes off a basket (CONTRACT.md section 4, "The arithmetic"); the same in
-- engine/rules.py, held together by a property test. Integers in fen, every product exact.
local arithmetic = {}

-- floor(a * b / c) and the remainder, exact for a, b, c < 2^37, c > 0: where the product does
-- not fit a double, long division by digits of 15 bits.
function arithmetic.muldiv(a, b, c)
  local product = a * b
  if product < 9007199254740992 then
    local quotient = math.floor(product / c)
    local rest = product - quotient * c
    if rest < 0 then return quotient - 1, rest + c end
    return quotient, rest
  end
  local quotient, rest = 0, 0
  for shift = 2, 0, -1 do
    local digit = math.floor(b / 32768 ^ shift) % 32768
    rest = rest * 32768 + a * digit
    local part = math.floor(rest / c)
    rest = rest - part * c
    quotient = quotient * 32768 + part
  end
  return quotient, rest
end

-- Share an amount out in proportion to weights: largest remainder, ties to the earlier.
function arithmetic.split(amount, weights)
  local total, given, shares, order = 0, 0, {}, {}
  for _, weight in ipairs(weights) do total = total + weight end
  local rests = {}
  for i, weight in ipairs(weights) do
    if total == 0 then shares[i], rests[i] = 0, 0
    else shares[i], rests[i] = arithmetic.muldiv(amount, weight, total) end
    given, order[i] = given + shares[i], i
  end
  table.sort(order, function(a, b)
    if rests[a] ~= rests[b] then return rests[a] > rests[b] end
    return a < b
  end)
  for i = 1, amount - given do shares[order[i]] = shares[order[i]] + 1 end
  return shares
end

-- A basket as it stands while coupons are applied. lines: {id, amount, quantity, sku, category}.
function arithmetic.basket(lines, floor)
  local basket = { lines = lines, running = {}, paying = {}, floor = floor }
  for i, line in ipairs(lines) do
    basket.running[i], basket.paying[i] = line[2], line[3]  -- units that are not free yet
  end
  return basket
end

local function listed(list, value)
  if list then for _, v in ipairs(list) do if v == value then return true end end end
  return false
end

-- What the benefit of a coupon may take off a parking fee.
local for_parking = { parking_minutes = true, parking_free = true, amount_off = true,
  percent_off = true, fixed_price = true }

-- The lines (indices) that a coupon is for: include is a union, exclude wins, a gift's sku.
-- Parking coupons are for a parking fee alone; others reach it only where they name "parking".
function arithmetic.eligible(basket, terms)
  local everything = not terms[TERMS.include_categories] and not terms[TERMS.include_skus]
  local eligible, parking = {}, terms[TERMS.kind] == 'parking'
  if basket.parking then
    if not for_parking[terms[TERMS.benefit]] then return {} end
    everything = everything and parking
  elseif parking then
    return {}
  end
  for i, line in ipairs(basket.lines) do
    local sku, category = line[4], line[5]
    if (everything or listed(terms[TERMS.include_categories], category)
        or listed(terms[TERMS.include_skus], sku))
      and not listed(terms[TERMS.exclude_categories], category)
      and not listed(terms[TERMS.exclude_skus], sku)
      and (terms[TERMS.benefit] ~= 'gift' or sku == terms[TERMS.sku]) then
      eligible[#eligible + 1] = i
    end
  end
  return eligible
end

-- What all lines together still cost.
function arithmetic.to_pay(basket)
  local running = 0
  for _, amount in ipairs(basket.running) do running = running + amount end
  return running
end

-- How many minutes a stay may still be given.
function arithmetic.minutes_left(basket)
  return basket.most_minutes and basket.most_minutes - basket.taken or math.huge
end

-- How many minutes a parking coupon still gives.
function arithmetic.minutes(basket, terms)
  return math.min(terms[TERMS.amount], arithmetic.minutes_left(basket))
end

-- What m more minutes take off a parking fee, after those taken already: a step of the table
-- {minutes, fen} that basket.worth is; 0 where the tariff is not known.
function arithmetic.worth(basket, minutes)
  local before, after = 0, 0
  for _, step in ipairs(basket.worth or {}) do
    if step[1] <= basket.taken then before = step[2] end
    if step[1] > basket.taken + minutes then break end
    after = step[2]
  end
  return after - before
end

local function total(basket, eligible, initial)
  local sum = 0
  for _, i in ipairs(eligible) do
    sum = sum + (initial and basket.lines[i][2] or basket.running[i])
  end
  return sum
end

local function capped(amount, cap)
  if cap >= 0 and amount > cap then return cap end
  return amount
end

-- The amount of "amount_off", or nil and what is missing.
local function amount_off(terms, spend)
  local every, steps = terms[TERMS.every], terms[TERMS.steps]
  if every > 0 then
    local times = math.floor(spend / every)
    if times == 0 then return nil, every - spend end
    return capped(times * terms[TERMS.amount], terms[TERMS.max_amount])
  end
  if #steps > 0 then
    local amount
    for _, step in ipairs(steps) do if step[1] <= spend then amount = step[2] end end
    if not amount then return nil, steps[1][1] - spend end
    return amount
  end
  return terms[TERMS.amount]
end

-- The cheapest unit not yet free: its line and price.
local function cheapest_unit(basket, eligible)
  local line, price
  for _, i in ipairs(eligible) do
    if basket.paying[i] > 0 then
      local unit = math.floor(basket.running[i] / basket.paying[i])
      if not price or unit < price then line, price = i, unit end
    end
  end
  return line, price
end

-- Whether a benefit takes nothing off the basket and is settled at its value.
function arithmetic.stands_alone(benefit)
  return benefit == 'exchange' or benefit == 'admission'
end

-- Judge one coupon against the basket: outcome, short_by, discount, shares {line index from 1 =
-- fen}, line of the unit that becomes free. Nothing is changed. Of stored value, which is no
-- discount: what it pays, at most `balance`.
function arithmetic.judge(basket, terms, balance)
  local benefit = terms[TERMS.benefit]
  local exchange = arithmetic.stands_alone(benefit) and not basket.parking
  local eligible = arithmetic.eligible(basket, terms)
  if exchange and terms[TERMS.min_spend] == 0 and terms[TERMS.min_quantity] == 0 then
    return OUTCOME.DONE, 0, 0, {}
  end
  if #eligible == 0 then return OUTCOME.NO_ELIGIBLE_ITEMS, 0 end
  local quantity = 0
  for _, i in ipairs(eligible) do quantity = quantity + basket.lines[i][3] end
  if quantity < terms[TERMS.min_quantity] then
    return OUTCOME.MIN_QUANTITY, terms[TERMS.min_quantity] - quantity
  end
  local spend = total(basket, eligible, not terms[TERMS.min_spend_running])
  if spend < terms[TERMS.min_spend] then
    return OUTCOME.MIN_SPEND, terms[TERMS.min_spend] - spend
  end
  if exchange then return OUTCOME.DONE, 0, 0, {} end

  local left = total(basket, eligible, false)
  local discount, free
  if benefit == 'amount_off' then
    local short
    discount, short = amount_off(terms, spend)
    if not discount then return OUTCOME.MIN_SPEND, short end
  elseif benefit == 'percent_off' then
    local base = terms[TERMS.base_initial] and total(basket, eligible, true) or left
    discount = capped(math.floor((base * terms[TERMS.basis_points] + 5000) / 10000),
      terms[TERMS.max_amount])
  elseif benefit == 'fixed_price' then
    discount = left - terms[TERMS.amount]
  elseif benefit == 'stored_value' then
    discount = balance
  elseif benefit == 'parking_minutes' then
    discount = arithmetic.worth(basket, arithmetic.minutes(basket, terms))
  elseif benefit == 'parking_free' then
    discount = capped(left, terms[TERMS.amount])
  else  -- gift
    local price
    free, price = cheapest_unit(basket, eligible)
    discount = capped(price or 0, terms[TERMS.amount])
    if free then left = basket.running[free] end
  end
  local most = left
  if benefit ~= 'stored_value' then
    most = math.min(left, arithmetic.to_pay(basket) - basket.floor)
  end
  discount = math.max(0, math.min(discount, most))
  local shares = {}
  if free then
    shares[free] = discount
  else
    local weights = {}
    for n, i in ipairs(eligible) do weights[n] = basket.running[i] end
    for n, share in ipairs(arithmetic.split(discount, weights)) do shares[eligible[n]] = share end
  end
  return OUTCOME.DONE, 0, discount, shares, free
end

-- Take what a coupon takes off the basket.
function arithmetic.apply(basket, shares, free)
  for i, share in pairs(shares) do basket.running[i] = basket.running[i] - share end
  if free then basket.paying[free] = basket.paying[free] - 1 end
end

-- Of a share of `discount` on a line of `gross`, what has gone back once `returned` of the gross
-- has: in proportion, half up, so all parts sum to the whole.
function arithmetic.back(discount, returned, gross)
  if gross == 0 then return discount end
  local quotient, rest = arithmetic.muldiv(discount, returned, gross)
  return 2 * rest >= gross and quotient + 1 or quotient
end
