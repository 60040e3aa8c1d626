-- include: pack
-- Packing records; positions such as COUPON.state come from engine/records.py at load.
local records = {}

-- A coupon: the tail is written only as far as it says something.
function records.coupon(c)
  local last = 8
  if c[COUPON.extra] and c[COUPON.extra] ~= '' then last = COUPON.extra end
  if c[COUPON.redemption] or c[COUPON.step] then last = COUPON.held_until end
  if c[COUPON.voided] then last = COUPON.voided end
  for i = 9, last do
    if not c[i] then
      c[i] = (i == COUPON.step or i == COUPON.held_until or i == COUPON.voided) and 0 or ''
    end
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
