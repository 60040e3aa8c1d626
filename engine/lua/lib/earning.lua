-- include: arithmetic, stores
-- What a purchase earns by the mall's rule (settings.earn).
local earning = {}

local kept_days = 31  -- of a person's days, where a day is capped

local function listed(list, value)
  for _, v in ipairs(list) do if v == value then return true end end
  return false
end

-- records.EarnRule, or nil when purchases earn nothing.
function earning.rule()
  return stores.settings()[SETTINGS.earn]
end

-- Day and tier factors are in hundredths; of several special days the best one counts.
local function factor_of(rule, tier, day)
  local of_tier, of_day = 100, 100
  for _, row in ipairs(rule[EARN.tiers]) do if row[1] == tier then of_tier = row[2] end end
  for _, special in ipairs(rule[EARN.days]) do
    if day >= special[SPECIAL.first] and day <= special[SPECIAL.last]
      and (not special[SPECIAL.weekdays] or listed(special[SPECIAL.weekdays], (day + 3) % 7 + 1))
    then
      of_day = math.max(of_day, special[SPECIAL.factor])
    end
  end
  return of_tier * of_day
end

-- What purchases of that local day have earned so far.
local function earned_on(record, day)
  for _, row in ipairs(record[POINTS.days]) do if row[1] == day then return row[2] end end
  return 0
end

-- Points for a purchase, rounded down, once; and why they are none, or fewer.
-- user: records.UserRecord or nil; record: records.PointsRecord.
function earning.points(user, record, store_id, amount, day, now)
  local rule = earning.rule()
  if not rule then return 0, 'no_rule' end
  if user and user[USER.frozen] == 1 then return 0, 'user_frozen' end
  if listed(rule[EARN.excluded_stores], store_id) then return 0, 'store_excluded' end
  if amount < rule[EARN.min_amount] then return 0, 'below_minimum' end
  local tier = ''
  if user and (user[USER.tier_until] == 0 or now < user[USER.tier_until]) then
    tier = user[USER.tier]
  end
  local earned = arithmetic.muldiv(amount, rule[EARN.rate] * factor_of(rule, tier, day),
    100000000)
  if earned == 0 then return 0, 'too_small' end
  local reason, most = '', rule[EARN.max_per_purchase]
  if most >= 0 and earned > most then earned, reason = most, 'purchase_cap' end
  most = rule[EARN.max_per_day]
  local left = most >= 0 and math.max(0, most - earned_on(record, day)) or earned
  if earned > left then earned, reason = left, 'day_cap' end
  return earned, reason
end

-- Count them on their day, where a day is capped.
function earning.count(record, day, earned)
  local rule = earning.rule()
  if not rule or rule[EARN.max_per_day] < 0 or earned == 0 then return end
  local days = record[POINTS.days]
  for _, row in ipairs(days) do
    if row[1] == day then
      row[2] = row[2] + earned
      return
    end
  end
  days[#days + 1] = { day, earned }
  table.sort(days, function(a, b) return a[1] > b[1] end)
  while #days > kept_days do days[#days] = nil end
end

-- From when and until when (0 = for good) what is earned now can be spent; local days.
function earning.times(now, offset)
  local rule = earning.rule()
  local today = math.floor((now + offset) / 86400000)
  local function start_of(day) return day * 86400000 - offset end
  local pending, lasts = rule[EARN.pending_days], rule[EARN.expires_days]
  local available = pending > 0 and start_of(today + pending) or now
  return available, lasts >= 0 and start_of(today + pending + lasts + 1) or 0
end
