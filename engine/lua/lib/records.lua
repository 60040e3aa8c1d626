-- include: pack
-- Packing records; positions such as COUPON.state come from engine/records.py at load.
local records = {}
local blank = { [COUPON.step] = 0, [COUPON.held_until] = 0, [COUPON.voided] = 0,
  [COUPON.used] = 0, [COUPON.spent] = 0, [COUPON.paid] = 0, [COUPON.points_paid] = 0,
  [COUPON.came_used] = 0, [COUPON.came_spent] = 0 }

-- A coupon: the tail is written only as far as it says something.
function records.coupon(c)
  local last = 8
  if c[COUPON.extra] and c[COUPON.extra] ~= '' then last = COUPON.extra end
  if c[COUPON.redemption] or c[COUPON.step] then last = COUPON.held_until end
  if (c[COUPON.voided] or 0) > 0 then last = COUPON.voided end
  local holds = c[COUPON.holds]
  if (c[COUPON.used] or 0) > 0 or (c[COUPON.spent] or 0) > 0 or (holds and #holds > 0) then
    last = COUPON.holds
  end
  if (c[COUPON.order] or '') ~= '' then last = COUPON.points_paid end
  if c[COUPON.given_to] or c[COUPON.came_from] then last = COUPON.came_from end
  if (c[COUPON.came_used] or 0) > 0 or (c[COUPON.came_spent] or 0) > 0 then
    last = COUPON.came_spent
  end
  if c[COUPON.refunds] and #c[COUPON.refunds] > 0 then last = COUPON.refunds end
  for i = 9, last do
    if not c[i] then c[i] = i == COUPON.holds and {} or blank[i] or '' end
  end
  return pack.array(unpack(c, 1, last))
end

-- Whether a hold still sets the coupon aside.
function records.is_held(c, now)
  return c[COUPON.state] == COUPON_STATE.HELD and now < c[COUPON.held_until]
end

-- When the coupon ends; nil = never.
function records.valid_until(c)
  local length = c[COUPON.valid_until]
  return length > 0 and c[COUPON.issued] + length or nil
end
