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

-- Whether n more of a window's name pass a limit; at, number: positions in CountRecord.
local function over(count, limit, n, at, name, number)
  return (count and count[at] == name and count[number] or 0) + n > limit
end

-- Whether a person who has had `count` (records.CountRecord or nil) may have n more; and when they
-- may have so many again, where it takes no more than time.
function issuing.limits(issue, count, now, offset, n)
  local total, per_user = count and count[COUNT.total] or 0, issue[ISSUE.per_user]
  if per_user >= 0 and total + n > per_user then return OUTCOME.USER_LIMIT end
  local per_day, per_week = issue[ISSUE.per_user_per_day], issue[ISSUE.per_user_per_week]
  local per_month = issue[ISSUE.per_user_per_month]
  -- Who has had none may have one, unless a limit is 0.
  if not count and n == 1 and per_day ~= 0 and per_week ~= 0 and per_month ~= 0 then
    return OUTCOME.DONE
  end
  local day, week, month = calendar.of(now, offset)
  if per_day >= 0 and over(count, per_day, n, COUNT.day, day, COUNT.day_count) then
    return OUTCOME.USER_DAY_LIMIT, n <= per_day and calendar.next('day', now, offset) or nil
  end
  if per_week >= 0 and over(count, per_week, n, COUNT.week, week, COUNT.week_count) then
    return OUTCOME.USER_WEEK_LIMIT, n <= per_week and calendar.next('week', now, offset) or nil
  end
  if per_month >= 0 and over(count, per_month, n, COUNT.month, month, COUNT.month_count) then
    return OUTCOME.USER_MONTH_LIMIT, n <= per_month and calendar.next('month', now, offset) or nil
  end
  return OUTCOME.DONE
end

-- The count with n more of this moment: of all time, and of the local day, week and month.
function issuing.more(count, now, offset, n)
  local day, week, month = calendar.of(now, offset)
  if not count then return { n, day, n, week, n, month, n } end
  return { count[COUNT.total] + n,
    day, count[COUNT.day] == day and count[COUNT.day_count] + n or n,
    week, count[COUNT.week] == week and count[COUNT.week_count] + n or n,
    month, count[COUNT.month] == month and count[COUNT.month_count] + n or n }
end

-- The packed count of who has one more now; most claims are a person's first.
function issuing.counted(count, now, offset)
  if count then return cmsgpack.pack(issuing.more(count, now, offset, 1)) end
  local day = calendar.of(now, offset)
  if issuing.first_on ~= day then
    issuing.first_on, issuing.first = day, cmsgpack.pack(issuing.more(nil, now, offset, 1))
  end
  return issuing.first
end

-- The count without n that were counted at that moment.
function issuing.less(count, at, offset, n)
  local day, week, month = calendar.of(at, offset)
  local less = { unpack(count, 1, 7) }
  less[COUNT.total] = less[COUNT.total] - n
  if less[COUNT.day] == day then less[COUNT.day_count] = less[COUNT.day_count] - n end
  if less[COUNT.week] == week then less[COUNT.week_count] = less[COUNT.week_count] - n end
  if less[COUNT.month] == month then less[COUNT.month_count] = less[COUNT.month_count] - n end
  return less
end

-- From when and until when a coupon issued now is valid; until 0 = no end. `rule`: the fields
-- validity to minutes of an issue.
function issuing.span(rule, now)
  local kind, start, last, delay, minutes = unpack(rule, 1, 5)
  if kind == 'fixed' then return start > 0 and start or now, last end
  local from = now + delay * 60000
  if minutes < 0 then return from, last end
  local to = from + minutes * 60000
  return from, last > 0 and math.min(to, last) or to
end

-- The same for an issue as it is.
function issuing.validity(issue, now)
  issue.rule = issue.rule or issuing.rule(issue)
  return issuing.span(issue.rule, now)
end

-- The rule of validity of an issue, as an order keeps it.
function issuing.rule(issue)
  return { issue[ISSUE.validity], issue[ISSUE.valid_start], issue[ISSUE.valid_end],
    issue[ISSUE.delay_minutes], issue[ISSUE.minutes] }
end

-- The first moment at which nobody is given one any more, by its validity; 0 = none: what has
-- expired already, or would before it is valid, is not given out.
function issuing.last(issue)
  local last = issue[ISSUE.valid_end]
  return last > 0 and math.max(1, last - issue[ISSUE.delay_minutes] * 60000) or 0
end

-- When giving out ends; 0 = never.
function issuing.ends(issue)
  local ends, last = issue[ISSUE.end], issue[ISSUE.valid_end] > 0 and issuing.last(issue) or 0
  return last > 0 and (ends == 0 or last < ends) and last or ends
end

local function is_member(audiences, wallet)
  for _, audience in ipairs(audiences) do
    if redis.call('HEXISTS', wallet, 'a' .. audience) == 1 then return true end
  end
  return false
end

-- user: records.UserRecord or nil; count: records.CountRecord or nil; wallet: the person's key, nil
-- = a stranger; channel nil = not judged; n: how many, one unless said. Returns the outcome, and
-- when it opens where that helps.
function issuing.ladder(share, user, count, wallet, channel, now, offset, n)
  local issue = share.issue
  n = n or 1
  local status = issue[ISSUE.status]
  if status == 'frozen' then return OUTCOME.CAMPAIGN_FROZEN end
  if status == 'paused' then return OUTCOME.CAMPAIGN_PAUSED end
  local ends = issuing.ends(issue)
  if status == 'ended' or (ends > 0 and now >= ends) then return OUTCOME.CAMPAIGN_ENDED end
  local tier = ''
  if user and (user[USER.tier_until] == 0 or now < user[USER.tier_until]) then
    tier = user[USER.tier]
  end
  local start = issue[ISSUE.start]
  if now < start then start = issuing.start(issue, tier) end
  if status == 'draft' then return OUTCOME.NOT_STARTED end  -- nobody knows when it will
  if now < start then return OUTCOME.NOT_STARTED, start end
  if user and user[USER.frozen] == 1 then return OUTCOME.USER_FROZEN end
  if issue[ISSUE.tiers] and not contains(issue[ISSUE.tiers], tier) then
    return OUTCOME.NOT_ELIGIBLE
  end
  if issue[ISSUE.audiences] and not (wallet and is_member(issue[ISSUE.audiences], wallet)) then
    return OUTCOME.NOT_ELIGIBLE
  end
  if channel and issue[ISSUE.channels] and not contains(issue[ISSUE.channels], channel) then
    return OUTCOME.CHANNEL_NOT_ALLOWED
  end
  local outcome, opens = issuing.limits(issue, count, now, offset, n)
  if outcome ~= OUTCOME.DONE then return outcome, opens end
  local limit = issue[ISSUE.per_minute] or -1
  if limit >= 0 then
    local minute = math.floor((now + offset) / 60000)
    if campaigns.given_out(share, RATE.minute, RATE.minute_count, minute) + n
      > campaigns.part(share, limit, minute) then
      return OUTCOME.CAMPAIGN_RATE_LIMIT, n <= limit and (minute + 1) * 60000 - offset or nil
    end
  end
  limit = issue[ISSUE.per_day] or -1
  if limit >= 0 then
    local day = calendar.of(now, offset)
    if campaigns.given_out(share, RATE.day, RATE.day_count, day) + n
      > campaigns.part(share, limit, day) then
      return OUTCOME.CAMPAIGN_DAY_LIMIT, n <= limit and calendar.next('day', now, offset) or nil
    end
  end
  -- What nobody could use here any more is not given out either.
  if share.budget_left and share.budget_left < 1
    and rooms.of(share, '', now, (calendar.of(now, offset))).budget < 1 then
    return OUTCOME.BUDGET_EXHAUSTED
  end
  local left = (share.codes or share.quotas) and campaigns.room(share) or share.left
  if share.waiting or left and left < n then return OUTCOME.SOLD_OUT end
  return OUTCOME.DONE
end

-- The same, and nobody is let in while a promise lasts (shut.lua). It is of the server's clock,
-- and a clock that was put back does not make one longer.
function issuing.judge(share, user, count, wallet, channel, now, offset, n)
  local outcome, opens = issuing.ladder(share, user, count, wallet, channel, now, offset, n)
  local left = share.promise[PROMISE.until_ms] - now
  if outcome == OUTCOME.DONE and now == batch.now and left > 0 and left <= issuing.promise then
    return share.promise[PROMISE.outcome]
  end
  return outcome, opens
end
