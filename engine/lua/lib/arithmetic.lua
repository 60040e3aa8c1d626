-- What a coupon takes off a basket (CONTRACT.md section 4, "The arithmetic"); the same in
-- engine/rules.py, held together by a property test. Integers in fen, every product exact.
local arithmetic = {}
local floor, max, min = math.floor, math.max, math.min  -- a name of one's own is found at once

-- floor(a * b / c) and the remainder, exact for a, b, c < 2^37, c > 0: where the product does
-- not fit a double, long division by digits of 15 bits.
function arithmetic.muldiv(a, b, c)
  local product = a * b
  if product < 9007199254740992 then
    local quotient = floor(product / c)
    local rest = product - quotient * c
    if rest < 0 then return quotient - 1, rest + c end
    return quotient, rest
  end
  local quotient, rest = 0, 0
  for shift = 2, 0, -1 do
    local digit = floor(b / 32768 ^ shift) % 32768
    rest = rest * 32768 + a * digit
    local part = floor(rest / c)
    rest = rest - part * c
    quotient = quotient * 32768 + part
  end
  return quotient, rest
end

-- What rounding left goes to the largest remainders, ties to the earlier.
local function hand_out(left, shares, rests)
  if left == 1 then
    local most = 1
    for i = 2, #rests do if rests[i] > rests[most] then most = i end end
    shares[most] = shares[most] + 1
    return
  end
  local order = {}
  for i = 1, #shares do order[i] = i end
  table.sort(order, function(a, b)
    if rests[a] ~= rests[b] then return rests[a] > rests[b] end
    return a < b
  end)
  for i = 1, left do shares[order[i]] = shares[order[i]] + 1 end
end

-- Share an amount out in proportion to weights: largest remainder, ties to the earlier.
function arithmetic.split(amount, weights)
  if #weights == 1 then return { amount } end
  local total, left, shares, rests = 0, amount, {}, {}
  for i = 1, #weights do total = total + weights[i] end
  for i = 1, #weights do
    local share, rest = 0, 0
    if total > 0 then share, rest = arithmetic.muldiv(amount, weights[i], total) end
    shares[i], rests[i], left = share, rest, left - share
  end
  if left > 0 then hand_out(left, shares, rests) end
  return shares
end

-- A basket as it stands while coupons are applied. lines: {id, amount, quantity, sku, category}.
-- running: what each still costs; paying: units of it that are not free yet; all: 1, 2, 3, …
function arithmetic.basket(lines, least)
  local running, paying, all, gross = {}, {}, {}, 0
  for i = 1, #lines do
    local line = lines[i]
    running[i], paying[i], all[i], gross = line[2], line[3], i, gross + line[2]
  end
  return { lines = lines, running = running, paying = paying, all = all, gross = gross,
    floor = least }
end

local function listed(list, value)
  if list then for i = 1, #list do if list[i] == value then return true end end end
  return false
end

-- What the benefit of a coupon may take off a parking fee.
local for_parking = { parking_minutes = true, parking_free = true, amount_off = true,
  percent_off = true, fixed_price = true }

-- The lines (indices) that a coupon is for: include is a union, exclude wins, a gift's sku.
-- Parking coupons are for a parking fee alone; others reach it only where they name "parking".
function arithmetic.eligible(basket, terms)
  local categories, skus = terms[TERMS.include_categories], terms[TERMS.include_skus]
  local not_categories, not_skus = terms[TERMS.exclude_categories], terms[TERMS.exclude_skus]
  local everything, gift = not categories and not skus, terms[TERMS.benefit] == 'gift'
  local parking = terms[TERMS.kind] == 'parking'
  if basket.parking then
    if not for_parking[terms[TERMS.benefit]] then return {} end
    everything = everything and parking
  elseif parking then
    return {}
  end
  if everything and not not_categories and not not_skus and not gift then return basket.all end
  local eligible = {}
  for i = 1, #basket.lines do
    local sku, category = basket.lines[i][4], basket.lines[i][5]
    if (everything or listed(categories, category) or listed(skus, sku))
      and not listed(not_categories, category) and not listed(not_skus, sku)
      and (not gift or sku == terms[TERMS.sku]) then
      eligible[#eligible + 1] = i
    end
  end
  return eligible
end

-- What all lines together still cost.
function arithmetic.to_pay(basket)
  local running, sum = basket.running, 0
  for i = 1, #running do sum = sum + running[i] end
  return sum
end

-- How many minutes a stay may still be given.
function arithmetic.minutes_left(basket)
  return basket.most_minutes and basket.most_minutes - basket.taken or math.huge
end

-- How many minutes a parking coupon still gives.
function arithmetic.minutes(basket, terms)
  return min(terms[TERMS.amount], arithmetic.minutes_left(basket))
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

-- What some lines still cost, or cost at first.
local function total(basket, eligible, initial)
  if eligible == basket.all then return initial and basket.gross or arithmetic.to_pay(basket) end
  local lines, running, sum = basket.lines, basket.running, 0
  for n = 1, #eligible do
    local i = eligible[n]
    sum = sum + (initial and lines[i][2] or running[i])
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
    local times = floor(spend / every)
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
      local unit = floor(basket.running[i] / basket.paying[i])
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
  if terms[TERMS.min_quantity] > 0 then
    local quantity = 0
    for n = 1, #eligible do quantity = quantity + basket.lines[eligible[n]][3] end
    if quantity < terms[TERMS.min_quantity] then
      return OUTCOME.MIN_QUANTITY, terms[TERMS.min_quantity] - quantity
    end
  end
  local left = total(basket, eligible, false)
  local spend = terms[TERMS.min_spend_running] and left or total(basket, eligible, true)
  if spend < terms[TERMS.min_spend] then
    return OUTCOME.MIN_SPEND, terms[TERMS.min_spend] - spend
  end
  if exchange then return OUTCOME.DONE, 0, 0, {} end

  local most = left
  local discount, free
  if benefit == 'amount_off' then
    local short
    discount, short = amount_off(terms, spend)
    if not discount then return OUTCOME.MIN_SPEND, short end
  elseif benefit == 'percent_off' then
    local base = terms[TERMS.base_initial] and total(basket, eligible, true) or left
    discount = capped(floor((base * terms[TERMS.basis_points] + 5000) / 10000),
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
    if free then most = basket.running[free] end
  end
  if benefit ~= 'stored_value' then
    local all = eligible == basket.all and left or arithmetic.to_pay(basket)
    most = min(most, all - basket.floor)
  end
  discount = max(0, min(discount, most))
  if free then return OUTCOME.DONE, 0, discount, { [free] = discount }, free end
  if eligible == basket.all then
    return OUTCOME.DONE, 0, discount, arithmetic.split(discount, basket.running)
  end
  local weights, shares = {}, {}
  for n = 1, #eligible do weights[n] = basket.running[eligible[n]] end
  for n, share in ipairs(arithmetic.split(discount, weights)) do shares[eligible[n]] = share end
  return OUTCOME.DONE, 0, discount, shares
end

-- Take what a coupon takes off the basket.
function arithmetic.apply(basket, shares, free)
  local running = basket.running
  for i, share in pairs(shares) do running[i] = running[i] - share end
  if free then basket.paying[free] = basket.paying[free] - 1 end
end

-- Of a share of `discount` on a line of `gross`, what has gone back once `returned` of the gross
-- has: in proportion, half up, so all parts sum to the whole.
function arithmetic.back(discount, returned, gross)
  if gross == 0 then return discount end
  local quotient, rest = arithmetic.muldiv(discount, returned, gross)
  return 2 * rest >= gross and quotient + 1 or quotient
end
