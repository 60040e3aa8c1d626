--[[
Tell whether a user could claim each of some campaigns now, as a claim would judge it.

flags:    no-writes allow-oom
include:  batch, campaigns, keys, orders, pack, people
keys:
  1 cell      hash    epoch, seq and definitions of the cell
derived:
  wallet      hash    the person's live state
  campaign    hash    the campaigns' shares in this cell
  quotas      hash    the quotas of its event
  lapsing     zset    open orders of a quota; lapsed ones give way as well
  order       string  lapsed orders that set stock aside
  pending     zset    open orders of a campaign
  redemption  string  lapsed holds that set part of the budget aside
  opens       zset    open holds on a limited campaign
arguments:
  1 request   msgpack [now, handle, offset, channel or nil, campaign ids]
outcomes:
  DONE CAMPAIGN_FROZEN CAMPAIGN_PAUSED CAMPAIGN_ENDED NOT_STARTED USER_FROZEN NOT_ELIGIBLE
  CHANNEL_NOT_ALLOWED USER_LIMIT USER_DAY_LIMIT USER_WEEK_LIMIT USER_MONTH_LIMIT
  CAMPAIGN_RATE_LIMIT CAMPAIGN_DAY_LIMIT BUDGET_EXHAUSTED SOLD_OUT
]]

local request = cmsgpack.unpack(ARGV[1])
local now, wallet = batch.at(request[1]), keys.wallet(request[2])
local packed = redis.call('HGET', wallet, 'u')
local user = packed and people.read(packed)
local offers = {}
for i, id in ipairs(request[5]) do
  local share = campaigns.share(id)
  if share then
    local counted = redis.call('HGET', wallet, 'n' .. id)
    -- By invitation or in groups alone, or for nobody: by no channel that a caller can name.
    local channels = share.issue[ISSUE.channels]
    local only = channels and (channels[1] or ' ')
    local channel = request[4] or only and string.find(only, ' ', 1, true) and '' or nil
    local person = { handle = request[2], wallet = wallet, user = user, now = now,
      counts = { [id] = counted and cmsgpack.unpack(counted) or nil }, channel = channel,
      offset = request[3] }
    local outcome, opens = orders.may_have(person, share, {}, 1)
    if outcome > OUTCOME.CHANNEL_NOT_ALLOWED and orders.offer(person, share) then
      outcome, opens = OUTCOME.DONE, nil
    end
    local left, mine = orders.really(person, share)
    offers[i] = pack.array(outcome, mine, left, opens or 0, share.issue[ISSUE.price] or 0,
      share.issue[ISSUE.points_price] or 0)
  else
    offers[i] = '\192'  -- nil
  end
end
return pack.header(2) .. cmsgpack.pack(now) .. pack.join(offers)
