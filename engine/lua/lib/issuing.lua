-- include: batch, calendar, campaigns, rooms
-- May this person claim this campaign now? The ladder, in the contract's order.
local issuing = { promise = 100 }  -- how long one lasts, ms

local function contains(list, value)
  for _, v in ipairs(list) do if v == value then return true end end
  return false
end

-- When giving out starts for a tier: the campaign's start, or an early one.
function issuing.start(issue, tier)
  local start = issue[ISSUE.start]
  for _, early in ipairs(issue[ISSUE.early]) do
    if early[2] < start and contains(early[1], tier) then start = early[2] end
  end
  return start
end

-- When giving out ends; 0 = never. Nobody is given what has expired already, or would before it
-- is valid.
function issuing.ends(issue)
  local ends, last = issue[ISSUE.end], issue[ISSUE.valid_end]
  if last > 0 then
    last = math.max(1, last - issue[ISSUE.delay_minutes] * 60000)
    if ends == 0 or last < ends then ends = last end
  end
  return ends
end

-- user: records.UserRecord or nil; count: records.CountRecord or nil; membership(audience) tells.
-- channel nil = not judged. Returns the outcome, and when it opens where that helps.
function issuing.ladder(share, user, count, membership, channel, now, offset)
  local issue = share.issue
  local status = issue[ISSUE.status]
  if status == 'frozen' then return OUTCOME.CAMPAIGN_FROZEN end
  if status == 'paused' then return OUTCOME.CAMPAIGN_PAUSED end
  local ends = issuing.ends(issue)
  if status == 'ended' or (ends > 0 and now >= ends) then return OUTCOME.CAMPAIGN_ENDED end
  local tier = ''
  if user and (user[USER.tier_until] == 0 or now < user[USER.tier_until]) then
    tier = user[USER.tier]
  end
  local start = issuing.start(issue, tier)
  if status == 'draft' then return OUTCOME.NOT_STARTED end  -- nobody knows when it will
  if now < start then return OUTCOME.NOT_STARTED, start end
  if user and user[USER.frozen] == 1 then return OUTCOME.USER_FROZEN end
  if issue[ISSUE.tiers] and not contains(issue[ISSUE.tiers], tier) then
    return OUTCOME.NOT_ELIGIBLE
  end
  if issue[ISSUE.audiences] then
    local member = false
    for _, audience in ipairs(issue[ISSUE.audiences]) do
      if membership(audience) then member = true break end
    end
    if not member then return OUTCOME.NOT_ELIGIBLE end
  end
  if channel and issue[ISSUE.channels] and not contains(issue[ISSUE.channels], channel) then
    return OUTCOME.CHANNEL_NOT_ALLOWED
  end
  local total, per_user = count and count[COUNT.total] or 0, issue[ISSUE.per_user]
  if per_user >= 0 and total >= per_user then return OUTCOME.USER_LIMIT end
  local day, week, month = calendar.of(now, offset)
  local function used(at, name, number)
    return count and count[at] == name and count[number] or 0
  end
  local limit = issue[ISSUE.per_user_per_day]
  if limit >= 0 and used(COUNT.day, day, COUNT.day_count) >= limit then
    return OUTCOME.USER_DAY_LIMIT
  end
  limit = issue[ISSUE.per_user_per_week]
  if limit >= 0 and used(COUNT.week, week, COUNT.week_count) >= limit then
    return OUTCOME.USER_WEEK_LIMIT
  end
  limit = issue[ISSUE.per_user_per_month]
  if limit >= 0 and used(COUNT.month, month, COUNT.month_count) >= limit then
    return OUTCOME.USER_MONTH_LIMIT
  end
  limit = issue[ISSUE.per_minute] or -1
  if limit >= 0 then
    local minute = math.floor((now + offset) / 60000)
    if campaigns.given_out(share, RATE.minute, RATE.minute_count, minute)
      >= campaigns.part(share, limit, minute) then
      return OUTCOME.CAMPAIGN_RATE_LIMIT, (minute + 1) * 60000 - offset
    end
  end
  limit = issue[ISSUE.per_day] or -1
  if limit >= 0 and campaigns.given_out(share, RATE.day, RATE.day_count, day)
    >= campaigns.part(share, limit, day) then
    return OUTCOME.CAMPAIGN_DAY_LIMIT, (day + 1) * 86400000 - offset
  end
  -- What nobody could use here any more is not given out either.
  if share.budget_left and share.budget_left < 1
    and rooms.of(share, '', now, day).budget < 1 then
    return OUTCOME.BUDGET_EXHAUSTED
  end
  if share.left and share.left < 1 then return OUTCOME.SOLD_OUT end
  return OUTCOME.DONE
end

-- The same, and nobody is let in while a promise lasts (shut.lua). It is of the server's clock,
-- and a clock that was put back does not make one longer.
function issuing.judge(share, user, count, membership, channel, now, offset)
  local outcome, opens = issuing.ladder(share, user, count, membership, channel, now, offset)
  local left = share.promise[PROMISE.until_ms] - now
  if outcome == OUTCOME.DONE and now == batch.now and left > 0 and left <= issuing.promise then
    return share.promise[PROMISE.outcome]
  end
  return outcome, opens
end

-- From when and until when a coupon issued now is valid; until 0 = no end.
function issuing.validity(issue, now)
  local last = issue[ISSUE.valid_end]
  if issue[ISSUE.validity] == 'fixed' then
    return issue[ISSUE.valid_start] > 0 and issue[ISSUE.valid_start] or now, last
  end
  local from, minutes = now + issue[ISSUE.delay_minutes] * 60000, issue[ISSUE.minutes]
  if minutes < 0 then return from, last end
  local to = from + minutes * 60000
  return from, last > 0 and math.min(to, last) or to
end
