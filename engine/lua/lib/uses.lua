-- Coupons that are used more than once: a pass by its uses, stored value by its balance. What
-- open holds set aside stands in the coupon; a hold that has lapsed sets nothing aside.
local uses = { totals = {} }

-- Whether uses or money are counted in the coupon itself.
function uses.many(terms)
  return terms[TERMS.benefit] == 'stored_value' or (terms[TERMS.uses] or 1) > 1
end

-- The uses and the fen that are neither redeemed nor set aside. `given_up`: serial of a hold that
-- this act takes the place of.
function uses.left(coupon, terms, now, given_up)
  local left = (terms[TERMS.uses] or 1) - (coupon[COUPON.used] or 0)
  local money = 0
  if terms[TERMS.benefit] == 'stored_value' then
    money = terms[TERMS.amount] - (coupon[COUPON.spent] or 0)
  end
  for _, hold in ipairs(coupon[COUPON.holds] or {}) do
    if now < hold[COUPON_HOLD.until] and hold[COUPON_HOLD.redemption] ~= given_up then
      left, money = left - hold[COUPON_HOLD.uses], money - hold[COUPON_HOLD.amount]
    end
  end
  return left, money
end

-- What is left of so much stored value.
function uses.balance(coupon, total, now)
  local money = total - (coupon[COUPON.spent] or 0)
  for _, hold in ipairs(coupon[COUPON.holds] or {}) do
    if now < hold[COUPON_HOLD.until] then money = money - hold[COUPON_HOLD.amount] end
  end
  return money
end

-- Forget holds that have lapsed, and the one that is given up.
function uses.tidy(coupon, now, given_up)
  local open = {}
  for _, hold in ipairs(coupon[COUPON.holds] or {}) do
    if now < hold[COUPON_HOLD.until] and hold[COUPON_HOLD.redemption] ~= given_up then
      open[#open + 1] = hold
    end
  end
  coupon[COUPON.holds] = open
end

-- Whether a redemption still sets something of it aside.
function uses.is_held_by(coupon, serial)
  for _, hold in ipairs(coupon[COUPON.holds] or {}) do
    if hold[COUPON_HOLD.redemption] == serial then return true end
  end
  return false
end

function uses.hold(coupon, serial, till, number, amount)
  table.insert(coupon[COUPON.holds], { serial, till, number, amount })
end

-- What a redemption set aside is free again; false when it had nothing.
function uses.unhold(coupon, serial)
  local holds = coupon[COUPON.holds] or {}
  for i, hold in ipairs(holds) do
    if hold[COUPON_HOLD.redemption] == serial then
      table.remove(holds, i)
      return true
    end
  end
  return false
end

-- Count what is redeemed of it (negative: given back). `part`: as receipts.parts makes it.
-- A coupon is redeemed when nothing is left; one that was withdrawn, refunded or given on stays so.
function uses.redeem(coupon, part, number, amount)
  coupon[COUPON.used] = (coupon[COUPON.used] or 0) + number
  coupon[COUPON.spent] = (coupon[COUPON.spent] or 0) + amount
  local state = coupon[COUPON.state]
  if state ~= COUPON_STATE.VOIDED and state ~= COUPON_STATE.REFUNDED
    and state ~= COUPON_STATE.TRANSFERRED then
    coupon[COUPON.state] = uses.done(coupon, part) and COUPON_STATE.REDEEMED
      or COUPON_STATE.ISSUED
  end
end

function uses.done(coupon, part)
  if part.total then return (coupon[COUPON.spent] or 0) >= part.total end
  return (coupon[COUPON.used] or 0) >= part.uses
end

-- Remember how it stands now, for the fact of this act.
function uses.note(handle, serial, coupon, part)
  uses.totals[handle .. serial] = { used = coupon[COUPON.used] or 0,
    spent = coupon[COUPON.spent] or 0, done = uses.done(coupon, part) and 1 or 0 }
end

function uses.noted(handle, serial)
  return uses.totals[handle .. serial]
end
