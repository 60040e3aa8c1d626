--[[
Order coupons: stock and limits are set aside at once, all or nothing, until they are paid or the
time is over.

include:  batch, campaigns, keys, orders, pack, points
keys:
  1 cell        hash    epoch, seq and definitions of the cell
derived:
  wallet        hash    the person's live state: counts, and their open orders in field q
  campaign      hash    the campaigns' shares in this cell
  quotas        hash    the quotas of its event
  lapsing       zset    open orders of a quota; lapsed ones give way as well
  order         string  the record: its id comes from the Idempotency-Key, so it is the receipt
  orders        zset    open orders by the time they lapse
  pending       zset    open orders of a campaign; lapsed ones give way to this act
  redemption    string  lapsed holds that set part of the budget aside
  opens         zset    open holds on a limited campaign
  holders       string  who was given one
  points        string  entries of points; those whose lots expire
  points_due    zset    people by the time their next lot expires
  facts         stream  the outbox
arguments:
  1 batch       msgpack array of commands.Reserve
outcomes:
  DONE REPEATED NOT_FOUND IDEMPOTENCY_KEY_REUSED CAMPAIGN_FROZEN CAMPAIGN_PAUSED CAMPAIGN_ENDED
  NOT_STARTED USER_FROZEN NOT_ELIGIBLE CHANNEL_NOT_ALLOWED USER_LIMIT USER_DAY_LIMIT
  USER_WEEK_LIMIT USER_MONTH_LIMIT CAMPAIGN_RATE_LIMIT CAMPAIGN_DAY_LIMIT BUDGET_EXHAUSTED SOLD_OUT
  POINTS_INSUFFICIENT WINDOW_MOVED
]]

-- The parts of an order, packed: an array of one is as it was made.
local function joined(items, name)
  if #items == 1 then return '\145' .. items[1][name] end
  local parts = {}
  for i, item in ipairs(items) do parts[i] = item[name] end
  return pack.join(parts)
end

-- The fact (facts.Ordered) and the record (order_records.OrderRecord), put together of what is
-- packed already.
local function told(op, now, lapses, items, amount, score)
  local heads, texts, numbers = pack.heads, pack.texts, pack.numbers
  local handle, serial, spare = op[RESERVE.handle], op[RESERVE.serial], op[RESERVE.spare]
  local fingerprint, user = op[RESERVE.fingerprint], op[RESERVE.user_id]
  fingerprint, user = heads[#fingerprint] .. fingerprint, heads[#user] .. user
  local sold = texts[op[RESERVE.channel]] .. texts[op[RESERVE.source]] .. numbers[amount]
    .. numbers[score]
  local fact = '\158' .. texts.ordered .. cmsgpack.pack(batch.next()) .. numbers[now]
    .. heads[#handle + #serial + 1] .. 'O' .. handle .. serial .. fingerprint
    .. texts[op[RESERVE.who]] .. user .. sold .. numbers[lapses] .. joined(items, 'told')
    .. (spare and '\1' or '\0')
  -- Nothing has become of it yet: acts [], coupons [], payment_ref "", paid_at 0, refunds [].
  local record = pack.header(19) .. numbers[ORDER_STATE.PENDING] .. numbers[now]
    .. numbers[lapses] .. fingerprint .. user .. sold .. numbers[now]
    .. numbers[op[RESERVE.offset]] .. joined(items, 'packed') .. '\144\144\160\0\144'
    .. numbers[op[RESERVE.waits]]
    .. (not spare and '\192' or #spare == 0 and '\144' or cmsgpack.pack(spare))
  return fact, record
end

return batch.run(function(op)
  local handle, serial, now = op[RESERVE.handle], op[RESERVE.serial], batch.at(op[RESERVE.now])
  if batch.window_moved(now, op[RESERVE.window]) then
    return batch.answer(OUTCOME.WINDOW_MOVED, now)
  end
  local before, place = op[RESERVE.serial_before], keys.order(handle, serial)
  local again = batch.again(now, op[RESERVE.fingerprint], ORDER.fingerprint, serial, place, before,
    keys.order(handle, before))
  if again then return again end
  local ids, freed, items, amount, score = {}, {}, {}, 0, 0
  for i, wanted in ipairs(op[RESERVE.items]) do ids[i] = wanted[1] end
  local person = orders.person(handle, op[RESERVE.user_id], op[RESERVE.channel], now,
    op[RESERVE.offset], ids)
  if op[RESERVE.spare] then person.channel = nil end  -- of a waiting line: by no channel
  if op[RESERVE.head] == 1 then person.head = true end
  local lapses = now + op[RESERVE.hold_seconds] * 1000
  for i, wanted in ipairs(op[RESERVE.items]) do
    local id, n = wanted[1], wanted[2]
    local share = campaigns.share(id)
    if not share then return batch.answer(OUTCOME.NOT_FOUND, now, nil, id) end
    local outcome, opens = orders.may_have(person, share, freed, n)
    if outcome ~= OUTCOME.DONE then return batch.answer(outcome, now, opens, id) end
    local item = orders.item(share, n)
    items[i], amount, score = item, amount + item.amount, score + item.score
    -- What is paid at the last moment must not have expired by then.
    if item.last > 0 then lapses = math.min(lapses, item.last) end
  end
  local mine = score > 0 and orders.purse(handle, now)
  local short = mine and score - points.available(mine, now) or 0
  if short > 0 then return batch.answer(OUTCOME.POINTS_INSUFFICIENT, now, short) end
  -- After this point the act must succeed.
  if #freed > 0 then
    orders.tidy(freed, now)
    orders.look(person, ids)
  end
  orders.open(person, serial, op[RESERVE.user_id], items, lapses, now, op[RESERVE.offset])
  if mine then
    points.hold(mine, serial, lapses, points.take(mine, score, now))
    points.put(handle, op[RESERVE.user_id], mine, now)
  end
  local fact, record = told(op, now, lapses, items, amount, score)
  batch.facts[#batch.facts + 1] = fact
  redis.call('SET', place, record)
  return pack.header(4) .. cmsgpack.pack(OUTCOME.DONE, now) .. record .. pack.heads[#serial]
    .. serial
end)
