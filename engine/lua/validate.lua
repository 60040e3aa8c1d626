--[[
A shop gives parking of one of its campaigns to a stay, a plate or a person, at its own cost. One
of the campaign's stock is given out, under its rules of giving out.

include:  batch, calendar, campaigns, issuing, keys, pack, people, stays, stores
keys:
  1 cell      hash    epoch, seq and definitions of the cell
derived:
  stay        string  the stay, where it is for one
  pocket      string  what was given to it so far; its own receipts
  wallet      hash    the person, where it is for one
  campaign    hash    the campaign's share in this cell
  quotas      hash    the quotas of its event
  holders     string  who was given one
  redemption  string  lapsed holds that set part of the budget aside
  opens       zset    open holds on a limited campaign
  facts       stream  the outbox
arguments:
  1 batch     msgpack array of commands.Validate
outcomes:
  DONE REPEATED NOT_FOUND IDEMPOTENCY_KEY_REUSED CAMPAIGN_FROZEN CAMPAIGN_PAUSED CAMPAIGN_ENDED
  NOT_STARTED USER_FROZEN NOT_ELIGIBLE CHANNEL_NOT_ALLOWED USER_LIMIT USER_DAY_LIMIT
  USER_WEEK_LIMIT USER_MONTH_LIMIT CAMPAIGN_RATE_LIMIT CAMPAIGN_DAY_LIMIT BUDGET_EXHAUSTED SOLD_OUT
  STORE_LIMIT STAY_CLOSED WINDOW_MOVED
]]

-- What the pocket had of a campaign, as records.CountRecord.
local function counted(pocket, campaign_id, now, offset)
  local day, week, month = calendar.of(now, offset)
  local count = { 0, day, 0, week, 0, month, 0 }
  for _, one in ipairs(pocket) do
    if one[VALIDATION.campaign_id] == campaign_id then
      local d, w, m = calendar.of(one[VALIDATION.at], offset)
      count[COUNT.total] = count[COUNT.total] + 1
      if d == day then count[COUNT.day_count] = count[COUNT.day_count] + 1 end
      if w == week then count[COUNT.week_count] = count[COUNT.week_count] + 1 end
      if m == month then count[COUNT.month_count] = count[COUNT.month_count] + 1 end
    end
  end
  return count
end

-- Minutes, and the most it takes off in fen (-1 = all), of what the campaign gives; nil = neither.
local function given(terms)
  local benefit = terms[TERMS.benefit]
  if benefit == 'parking_minutes' then return terms[TERMS.amount], 0 end
  if benefit == 'parking_free' then return 0, terms[TERMS.max_amount] end
  if benefit == 'amount_off' and terms[TERMS.amount] > 0 then return 0, terms[TERMS.amount] end
end

-- How many a store gave today by one of its counts in the cell: of all campaigns, or of one.
local function today(field, day)
  local uses = redis.call('HGET', keys.cell, field)
  uses = uses and cmsgpack.unpack(uses)
  return uses and uses[USES.day] == day and uses[USES.count] or 0
end

-- What was taken or has ended is kept as its own receipt, and as long as a month may count it.
local function forgotten(one, now)
  local ends = one[VALIDATION.valid_until]
  local over = one[VALIDATION.stay] ~= '' or (ends > 0 and now >= ends)
  return over and now - one[VALIDATION.at] > 62 * 86400000
end

return batch.run(function(op)
  local now, offset, handle = batch.at(op[VALIDATE.now]), op[VALIDATE.offset], op[VALIDATE.handle]
  if batch.window_moved(now, op[VALIDATE.window]) then
    return batch.answer(OUTCOME.WINDOW_MOVED, now)
  end
  local key, serial = keys.pocket(handle), op[VALIDATE.serial]
  local packed = redis.call('GET', key)
  local pocket = packed and cmsgpack.unpack(packed) or {}
  for _, one in ipairs(pocket) do
    if one[VALIDATION.serial] == serial or one[VALIDATION.serial] == op[VALIDATE.serial_before] then
      if one[VALIDATION.fingerprint] ~= op[VALIDATE.fingerprint] then
        return batch.answer(OUTCOME.IDEMPOTENCY_KEY_REUSED, now)
      end
      return batch.answer(OUTCOME.REPEATED, now, one)
    end
  end
  local store = stores.get(op[VALIDATE.store_id])
  if not store then return batch.answer(OUTCOME.NOT_FOUND, now, nil, 'store_id') end
  local share = campaigns.share(op[VALIDATE.campaign_id])
  if not share then return batch.answer(OUTCOME.NOT_FOUND, now, nil, 'campaign_id') end
  local stay = op[VALIDATE.stay] == 1 and stays.get(handle) or nil
  if op[VALIDATE.stay] == 1 and not stay then
    return batch.answer(OUTCOME.NOT_FOUND, now, nil, 'session_id')
  end
  if stay and stay[STAY.closed] > 0 then return batch.answer(OUTCOME.STAY_CLOSED, now) end
  local wallet, user = keys.wallet(handle), nil
  if op[VALIDATE.user_id] ~= '' then
    local known = redis.call('HGET', wallet, 'u')
    user = known and people.read(known)
  end
  local outcome, opens = issuing.judge(share, user, counted(pocket, share.id, now, offset), wallet,
    nil, now, offset)
  if outcome ~= OUTCOME.DONE then return batch.answer(outcome, now, nil, opens) end
  local issue = share.issue
  local terms = campaigns.terms(share, issue[ISSUE.revision])
  local minutes, amount = given(terms)
  if issue[ISSUE.kind] ~= 'parking' or not minutes then
    return batch.answer(OUTCOME.NOT_ELIGIBLE, now)
  end
  local day, field = (calendar.of(now, offset)), 'v' .. op[VALIDATE.store_id]
  local counts = { [field] = op[VALIDATE.per_day] }  -- the mall's limit, and the campaign's own
  if (terms[TERMS.per_store_per_day] or -1) >= 0 then
    counts[field .. '/' .. share.id] = terms[TERMS.per_store_per_day]
  end
  for name, most in pairs(counts) do
    if most >= 0 and today(name, day) >= campaigns.part(share, most, day) then
      return batch.answer(OUTCOME.STORE_LIMIT, now)
    end
  end
  local from, to = issuing.validity(issue, now)
  local one = { serial, op[VALIDATE.fingerprint], now, share.id, issue[ISSUE.revision],
    op[VALIDATE.store_id], store[STORE.merchant_id], minutes, amount, from, to,
    stay and handle or '' }
  local kept = {}
  for _, had in ipairs(pocket) do
    if not forgotten(had, now) then kept[#kept + 1] = had end
  end
  kept[#kept + 1] = one
  -- After this point the act must succeed.
  redis.call('SET', key, cmsgpack.pack(kept))
  for name in pairs(counts) do
    redis.call('HSET', keys.cell, name, pack.array(day, today(name, day) + 1))
  end
  campaigns.take_one(share, handle, math.floor((now + offset) / 60000), day)
  batch.fact('validated', now, 'K' .. handle .. serial, op[VALIDATE.fingerprint],
    op[VALIDATE.who], op[VALIDATE.lot_id], op[VALIDATE.session_id], op[VALIDATE.plate],
    op[VALIDATE.user_id], share.id, issue[ISSUE.revision], op[VALIDATE.store_id],
    store[STORE.merchant_id], minutes, amount, to)
  return batch.answer(OUTCOME.DONE, now, one)
end)
