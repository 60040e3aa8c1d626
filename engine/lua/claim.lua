--[[
Claim one coupon of a campaign for a user.

include:  batch, calendar, campaigns, claims, issuing, keys, orders, pack, people
keys:
  1 cell      hash    epoch, seq and definitions of the cell
derived:
  wallet      hash    the person's live state: the coupon is a field, and its own receipt
  campaign    hash    the campaign's share in this cell
  quotas      hash    the quotas of its event
  lapsing     zset    open orders of a quota; lapsed ones give way as well
  holders     string  who was given one
  pool        list    codes of a third party
  order       string  lapsed orders that set stock aside
  orders      zset    open orders by the time they lapse
  pending     zset    open orders of a campaign; lapsed ones give way to this act
  redemption  string  lapsed holds that set part of the budget aside
  opens       zset    open holds on a limited campaign
  points      string  entries of points; those whose lots expire
  points_due  zset    people by the time their next lot expires
  facts       stream  the outbox
arguments:
  1 batch     msgpack array of commands.Claim
outcomes:
  DONE REPEATED INVALID_REQUEST NOT_FOUND IDEMPOTENCY_KEY_REUSED CAMPAIGN_FROZEN CAMPAIGN_PAUSED
  CAMPAIGN_ENDED NOT_STARTED USER_FROZEN NOT_ELIGIBLE CHANNEL_NOT_ALLOWED USER_LIMIT USER_DAY_LIMIT
  USER_WEEK_LIMIT USER_MONTH_LIMIT CAMPAIGN_RATE_LIMIT CAMPAIGN_DAY_LIMIT BUDGET_EXHAUSTED SOLD_OUT
  WINDOW_MOVED
]]

-- A coupon as it is answered: of other kinds than "coupon" with what its terms say of uses.
local function answered(outcome, now, share, revision, coupon)
  local terms = share and share.issue[ISSUE.kind] ~= 'coupon' and campaigns.terms(share, revision)
  if not terms then return batch.opening(outcome, now), coupon end
  return pack.header(4) .. cmsgpack.pack(outcome, now) .. coupon
    .. pack.array(terms[TERMS.kind], terms[TERMS.benefit], terms[TERMS.uses] or 1,
      terms[TERMS.amount], terms[TERMS.event])
end

-- Whether a person may have what a waiting line has set aside for them: its place in stock and
-- limits is theirs already.
local function may_take(op, share, user)
  local issue, channels = share.issue, share.issue[ISSUE.channels]
  if issue[ISSUE.status] == 'frozen' then return OUTCOME.CAMPAIGN_FROZEN end
  if issue[ISSUE.status] == 'paused' then return OUTCOME.CAMPAIGN_PAUSED end
  if user and user[USER.frozen] == 1 then return OUTCOME.USER_FROZEN end
  for _, channel in ipairs(channels or {}) do
    if channel == op[CLAIM.channel] then return OUTCOME.DONE end
  end
  return channels and OUTCOME.CHANNEL_NOT_ALLOWED or OUTCOME.DONE
end

return batch.run(function(op)
  local handle, serial = op[CLAIM.handle], op[CLAIM.serial]
  local campaign_id, offset = op[CLAIM.campaign_id], op[CLAIM.offset]
  local now = batch.at(op[CLAIM.now])
  local wallet, place, counted = keys.wallet(handle), 'C' .. serial, 'n' .. campaign_id
  if batch.window_moved(now, op[CLAIM.window]) then
    return batch.answer(OUTCOME.WINDOW_MOVED, now)
  end
  local row = redis.call('HMGET', wallet, place, 'C' .. op[CLAIM.serial_before], 'u', counted)
  local receipt = row[1] or row[2]
  if receipt then
    local record = cmsgpack.unpack(receipt)
    if record[COUPON.fingerprint] ~= op[CLAIM.fingerprint] then
      return batch.answer(OUTCOME.IDEMPOTENCY_KEY_REUSED, now)
    end
    return answered(OUTCOME.REPEATED, now, campaigns.share(campaign_id),
      record[COUPON.terms_revision], receipt)
  end
  local share = campaigns.share(campaign_id)
  if not share then return batch.answer(OUTCOME.NOT_FOUND, now) end
  local user = row[3] and people.read(row[3])
  local count = row[4] and cmsgpack.unpack(row[4])
  if user and user[USER.user_id] ~= op[CLAIM.user_id] then error('two users share a handle') end
  if (share.issue[ISSUE.price] or 0) > 0 or (share.issue[ISSUE.points_price] or 0) > 0 then
    return batch.answer(OUTCOME.INVALID_REQUEST, now)  -- it is ordered and paid
  end
  local freed, offer, offered
  local person = (share.aside > 0 or share.quotas) and { handle = handle, wallet = wallet,
    user = user, now = now, offset = offset, counts = { [campaign_id] = count },
    channel = op[CLAIM.channel] }
  if person then offer, offered = orders.offer(person, share) end
  local outcome, opens
  if offer then
    outcome = may_take(op, share, user)
  else
    outcome, opens = issuing.judge(share, user, count, wallet, op[CLAIM.channel], now, offset)
  end
  if outcome ~= OUTCOME.DONE and person and not offer then  -- what has lapsed may make room
    freed = {}
    outcome, opens = orders.may_have(person, share, freed, 1)
  end
  if outcome ~= OUTCOME.DONE then return batch.answer(outcome, now, nil, opens) end

  -- After this point the act must succeed.
  if offer then
    orders.take(handle, offer, offered, now, { serial = serial, who = op[CLAIM.who],
      fingerprint = op[CLAIM.fingerprint], channel = op[CLAIM.channel], extra = op[CLAIM.extra],
      source = op[CLAIM.source], metadata = op[CLAIM.metadata] })
    return answered(OUTCOME.DONE, now, share, offered[ORDER.items][1][ITEM.terms_revision],
      redis.call('HGET', wallet, 'C' .. serial))
  end
  if freed then
    orders.tidy(freed, now)
    local left = redis.call('HGET', wallet, counted)
    count = left and cmsgpack.unpack(left)
  end
  local code, coupon = '', claims.coupon(op, share, now)
  if share.codes then code, coupon = campaigns.coded(share, coupon) end
  count = issuing.counted(count, now, offset)
  if user then redis.call('HSET', wallet, place, coupon, counted, count)
  else
    redis.call('HSET', wallet, place, coupon, counted, count, 'u', people.new(op[CLAIM.user_id]))
  end
  campaigns.take_one(share, handle, math.floor((now + offset) / 60000), (calendar.of(now, offset)))
  claims.fact(op, share, now, code)
  return answered(OUTCOME.DONE, now, share, share.issue[ISSUE.revision], coupon)
end)
