--[[
Ask for a coupon that is given on: whether this person may have it. What is asked for counts among
what they have from then on, until their giver's cell has said who gets it (gift_receive).

include:  batch, campaigns, gifts, issuing, keys, orders, people
keys:
  1 cell        hash    epoch, seq and definitions of the cell
derived:
  wallet        hash    the receiver's live state: their counts, and what is on its way in field t
  campaign      hash    the campaign's share in this cell
  lapsing       zset    open orders of a quota; lapsed ones give way as well
  quotas        hash    the quotas of its event
  takes         zset    coupons on their way by the time they were asked for
  order         string  lapsed orders that count among what the person has
  orders        zset    open orders by the time they lapse
  pending       zset    open orders of a campaign; lapsed ones give way to this act
  redemption    string  lapsed holds that set part of the budget aside
  opens         zset    open holds on a limited campaign
  points        string  entries of points; those whose lots expire
  points_due    zset    people by the time their next lot expires
  facts         stream  the outbox; of the asking nothing is told
arguments:
  1 batch       msgpack array of commands.Ask
outcomes:
  DONE REPEATED NOT_FOUND IDEMPOTENCY_KEY_REUSED CAMPAIGN_FROZEN CAMPAIGN_PAUSED CAMPAIGN_ENDED
  NOT_STARTED USER_FROZEN NOT_ELIGIBLE CHANNEL_NOT_ALLOWED USER_LIMIT USER_DAY_LIMIT
  USER_WEEK_LIMIT USER_MONTH_LIMIT CAMPAIGN_RATE_LIMIT CAMPAIGN_DAY_LIMIT BUDGET_EXHAUSTED SOLD_OUT
  WINDOW_MOVED
]]

-- What this key has brought, or is about to: the answer, or nil.
local function known(op, row, now)
  local takes = gifts.takes(row[3])
  for i, serial in ipairs({ op[ASK.serial], op[ASK.serial_before] }) do
    local coupon = row[i] and cmsgpack.unpack(row[i])
    local _, take = gifts.find_take(takes, serial)
    if coupon or take then
      if (coupon or take)[coupon and COUPON.fingerprint or TAKE.fingerprint]
        ~= op[ASK.fingerprint] then
        return batch.answer(OUTCOME.IDEMPOTENCY_KEY_REUSED, now)
      end
      return batch.answer(coupon and OUTCOME.REPEATED or OUTCOME.DONE, now, nil, serial)
    end
  end
end

return batch.run(function(op)
  local handle, now = op[ASK.handle], batch.at(op[ASK.now])
  local wallet, id, offset = keys.wallet(handle), op[ASK.campaign_id], op[ASK.offset]
  if batch.window_moved(now, op[ASK.window]) then
    return batch.answer(OUTCOME.WINDOW_MOVED, now)
  end
  local row = redis.call('HMGET', wallet, 'C' .. op[ASK.serial], 'C' .. op[ASK.serial_before], 't')
  local before = known(op, row, now)
  if before then return before end
  local share, freed = campaigns.share(id), {}
  if not share then return batch.answer(OUTCOME.NOT_FOUND, now) end
  local person = orders.person(handle, op[ASK.user_id], nil, now, offset, { id })
  local outcome = orders.judge(person, share, freed, function(view, count)
    return gifts.ladder(view, person.user, count, wallet, now, offset)
  end)
  if outcome ~= OUTCOME.DONE then return batch.answer(outcome, now) end
  local takes = gifts.takes(row[3])
  takes[#takes + 1] = { op[ASK.serial], op[ASK.source], op[ASK.gift], id, now, offset,
    op[ASK.fingerprint], op[ASK.who] }
  -- After this point the act must succeed.
  orders.tidy(freed, now)
  if not person.user then
    redis.call('HSET', wallet, 'u', people.new(op[ASK.user_id]))
  end
  orders.recount(handle, id, issuing.more, now, offset, 1)
  gifts.write_takes(handle, takes)
  redis.call('ZADD', keys.takes(), now, handle .. op[ASK.serial])
  return batch.answer(OUTCOME.DONE, now, nil, op[ASK.serial])
end)
