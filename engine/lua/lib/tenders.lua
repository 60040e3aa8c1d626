-- include: arithmetic, points, stores
-- Points as the last tender: how many are useful, and what they pay of each line.
local tenders = {}

-- The most fen that points may pay of what is left to pay.
local function most(left)
  local cap = stores.settings()[SETTINGS.points_max_basis_points] or -1
  if cap < 0 then return left end
  return math.min(left, (arithmetic.muldiv(left, cap, 10000)))
end

-- The points to spend and the fen they pay: of `number` at most, under the mall's caps, for
-- `left` fen at most; no point more than those fen need.
function tenders.worth(number, left)
  local settings, rate = stores.settings(), points.per_yuan()
  local cap = settings[SETTINGS.points_max_per_redemption] or -1
  if cap >= 0 then number = math.min(number, cap) end
  local fen = math.min((arithmetic.muldiv(number, 100, rate)), most(left))
  local needed, rest = arithmetic.muldiv(fen, rate, 100)
  if rest > 0 then needed = needed + 1 end
  local worth = (arithmetic.muldiv(needed, 100, rate))
  if worth > fen then  -- a point is worth more than a fen: only whole ones pay
    needed = needed - 1
    worth = (arithmetic.muldiv(needed, 100, rate))
  end
  return needed, worth
end

-- Judge points on what coupons left of the basket. asked: how many, -1 = as many as are useful;
-- available: how many there are. Returns the outcome, what is missing, and records.Tender.
function tenders.judge(basket, asked, available)
  if asked > available then return OUTCOME.POINTS_INSUFFICIENT, asked - available end
  local number, fen = tenders.worth(asked < 0 and available or asked, arithmetic.to_pay(basket))
  if fen == 0 then return OUTCOME.NO_EFFECT, 0 end
  local lines = {}
  for i, share in ipairs(arithmetic.split(fen, basket.running)) do
    if share > 0 then lines[#lines + 1] = { i - 1, share, 0 } end
  end
  return OUTCOME.DONE, 0, { TENDER_KIND.POINTS, '', fen, number, available - number, 0, 0, '', 0,
    lines, 0, 0, 0, 0, 0, {} }
end
