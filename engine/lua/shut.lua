--[[
Promise for a moment that nobody is given a coupon of a campaign, where nobody could be.
Until then a process refuses by itself whom nothing else is known of (engine/doors.py).

include:  batch, campaigns, issuing, keys, orders, pack
keys:
  1 cell      hash    epoch, seq and definitions of the cell
derived:
  campaign    hash    the campaign's share in this cell; it keeps the promise
  quotas      hash    the quotas of its event
  lapsing     zset    open orders of a quota; lapsed ones give way as well
  holders     string  who was given one: they have another answer to get
  pending     zset    open orders of the campaign: what they set aside comes back as they lapse
  frozen      set     frozen members: they too
  facts       stream  the outbox; nothing is told
  redemption  string  lapsed holds that set part of the budget aside
  opens       zset    open holds on a limited campaign
arguments:
  1 batch     msgpack array of commands.Shut
outcomes:
  DONE NOT_FOUND CAMPAIGN_FROZEN CAMPAIGN_PAUSED CAMPAIGN_ENDED NOT_STARTED USER_FROZEN NOT_ELIGIBLE
  CHANNEL_NOT_ALLOWED USER_LIMIT USER_DAY_LIMIT USER_WEEK_LIMIT USER_MONTH_LIMIT
  CAMPAIGN_RATE_LIMIT CAMPAIGN_DAY_LIMIT BUDGET_EXHAUSTED SOLD_OUT
]]

local impersonal = { [OUTCOME.CAMPAIGN_FROZEN] = true, [OUTCOME.CAMPAIGN_PAUSED] = true,
  [OUTCOME.CAMPAIGN_ENDED] = true, [OUTCOME.NOT_STARTED] = true, [OUTCOME.SOLD_OUT] = true }
local at_once, most_frozen = 24576, 10000

-- Frozen members where the caller does not know them yet (nil), and whether they are few enough.
local function frozen_since(version)
  local freezes = tonumber(redis.call('HGET', keys.cell, 'freezes') or 0)
  if freezes == version then return freezes, nil, true end
  if redis.call('SCARD', keys.frozen()) > most_frozen then return freezes, nil, false end
  return freezes, redis.call('SMEMBERS', keys.frozen()), true
end

return batch.run(function(op)
  local id, now = op[SHUT.campaign_id], batch.now
  local share = campaigns.share(id)
  if not share then return batch.answer(OUTCOME.NOT_FOUND, now) end
  local issue = share.issue
  -- As it would be for somebody of no tier, in no audience, who holds nothing.
  local outcome, opens = issuing.ladder(share, nil, nil, nil, nil, now, op[SHUT.offset])
  local early = outcome == OUTCOME.NOT_STARTED and #issue[ISSUE.early] > 0
  if not impersonal[outcome] or early then return batch.answer(outcome, now) end
  local sold_out = outcome == OUTCOME.SOLD_OUT
  if sold_out and op[SHUT.lasts] <= 0 then return batch.answer(OUTCOME.DONE, now) end
  if share.waiting and (campaigns.room(share) or 1) > 0 then  -- it is about to be offered
    return batch.answer(OUTCOME.DONE, now)
  end
  local lapses = sold_out and orders.next(share) or nil
  if lapses and lapses <= now then return batch.answer(OUTCOME.DONE, now) end
  local last, ends = now + issuing.promise, issuing.ends(issue)
  if lapses then last = math.min(last, lapses) end
  if sold_out then last = math.min(last, now + op[SHUT.lasts]) end
  if opens then last = math.min(last, opens) end
  if outcome ~= OUTCOME.CAMPAIGN_ENDED and ends > now then last = math.min(last, ends) end
  local promised = share.promise[PROMISE.until_ms]
  local renewed = promised < now + issuing.promise * 3 / 4 or promised > now + issuing.promise
  -- A longer one of another process stands.
  if promised > last and promised <= now + issuing.promise then renewed = false end
  if not renewed then last = promised end

  local length, from = redis.call('STRLEN', keys.holders(id)), op[SHUT.known]
  if from > length then from = 0 end
  local names = redis.call('GETRANGE', keys.holders(id), from, from + at_once - 1)
  local complete = length >= (share.issued + share.aside) * campaigns.holder
  local freezes, frozen, few = frozen_since(op[SHUT.freezes])
  -- After this point the act must succeed.
  if renewed then
    redis.call('HSET', keys.campaign(id), 'promise', pack.array(last, outcome))
  end
  return pack.header(3) .. cmsgpack.pack(outcome, now)
    .. pack.array(last - now, opens or 0, issue[ISSUE.channels], length, from, names,
      complete and few, freezes, frozen)
end)
