--[[
Join a campaign's waiting line, behind all who have as much priority and came before.

include:  batch, campaigns, keys, line_facts, lines, notes, pack
keys:
  1 cell        hash    epoch, seq and definitions of the cell
derived:
  campaign      hash    the campaign's share in this cell, for its rules
  line          hash    the waiting line: the person's entry is the receipt of their key
  line_order    zset    who waits, first come first
  note          string  the campaign whose line the key is used for, of people of this cell
  redemption    string  lapsed holds that set part of the budget aside
  opens         zset    open holds on a limited campaign
  facts         stream  the outbox
  quotas        hash    the quotas that it shares with others
arguments:
  1 batch       msgpack array of line_commands.LineJoin
outcomes:
  DONE REPEATED NOT_FOUND IDEMPOTENCY_KEY_REUSED CAMPAIGN_FROZEN CAMPAIGN_PAUSED CAMPAIGN_ENDED
  NOT_STARTED USER_FROZEN NOT_ELIGIBLE CHANNEL_NOT_ALLOWED USER_LIMIT USER_DAY_LIMIT
  USER_WEEK_LIMIT USER_MONTH_LIMIT CAMPAIGN_RATE_LIMIT CAMPAIGN_DAY_LIMIT BUDGET_EXHAUSTED SOLD_OUT
  ALREADY_EXISTS WINDOW_MOVED LINE_CLOSED LINE_UNMARKED
]]

local most_earlier = 100

-- The receipt of this key among how the person has joined before, or nil.
local function receipt(op, before, now)
  local known = before and { before[WAITER.joined], unpack(before[WAITER.earlier]) } or {}
  for _, joined in ipairs(known) do
    local serial = joined[JOINED.serial]
    if serial == op[LINEJOIN.serial] or serial == op[LINEJOIN.serial_before] then
      if joined[JOINED.fingerprint] ~= op[LINEJOIN.fingerprint] then
        return batch.answer(OUTCOME.IDEMPOTENCY_KEY_REUSED, now)
      end
      return batch.answer(OUTCOME.REPEATED, now, joined)
    end
  end
end

-- How they joined before, as far as anybody may ask again.
local function earlier(before, now)
  if not before then return {} end
  local found = {}
  if now - before[WAITER.at] < notes.kept * 1000 then found[1] = before[WAITER.joined] end
  for _, joined in ipairs(before[WAITER.earlier]) do
    if #found < most_earlier then found[#found + 1] = joined end
  end
  return found
end

return batch.run(function(op)
  local id, person, now = op[LINEJOIN.campaign_id], op[LINEJOIN.person], batch.at(op[LINEJOIN.now])
  if batch.window_moved(now, op[LINEJOIN.window]) then
    return batch.answer(OUTCOME.WINDOW_MOVED, now)
  end
  local line, packed = lines.get(id, person)
  local before = packed and cmsgpack.unpack(packed)
  local again = receipt(op, before, now)
  if again then return again end
  local near = op[LINEJOIN.key] ~= ''
  local other = near and notes.used(person, op[LINEJOIN.key], op[LINEJOIN.key_before])
  if other and other ~= id and other ~= op[LINEJOIN.free_of] then
    return batch.answer(OUTCOME.IDEMPOTENCY_KEY_REUSED, now, other)
  end
  local share = campaigns.share(id)
  if not share or op[LINEJOIN.handle] == '' then return batch.answer(OUTCOME.NOT_FOUND, now) end
  if before and before[WAITER.user_id] ~= op[LINEJOIN.user_id] then
    error('two users share a handle')
  end
  local order = op[LINEJOIN.order]
  local at_once = order ~= ''
  local outcome, opens = lines.closed(share, now, op[LINEJOIN.offset])
  local most = share.issue[ISSUE.per_user]
  if outcome == OUTCOME.DONE and most >= 0 and op[LINEJOIN.party] > most then
    outcome = OUTCOME.USER_LIMIT
  elseif outcome == OUTCOME.DONE and op[LINEJOIN.total] >= 0
    and op[LINEJOIN.party] > op[LINEJOIN.total] then
    outcome = OUTCOME.SOLD_OUT
  end
  if outcome ~= OUTCOME.DONE and not at_once then return batch.answer(outcome, now, nil, opens) end
  local over = before and (before[WAITER.state] > WAITER_STATE.OFFERED
    or before[WAITER.joined][JOINED.serial] == op[LINEJOIN.replaces]
    and before[WAITER.state] == WAITER_STATE.OFFERED)
  if before and not over then return batch.record(OUTCOME.ALREADY_EXISTS, now, packed) end
  if not at_once and not line.open then return batch.answer(OUTCOME.LINE_CLOSED, now) end
  if not at_once and line.version ~= op[LINEJOIN.marked] then
    return batch.answer(OUTCOME.LINE_UNMARKED, now, line.version)
  end
  local place = at_once and 0 or line.last + 1
  local waiter = { at_once and WAITER_STATE.OFFERED or WAITER_STATE.WAITING, op[LINEJOIN.party],
    { op[LINEJOIN.serial], op[LINEJOIN.fingerprint], 0, order, op[LINEJOIN.until] },
    op[LINEJOIN.user_id], now, op[LINEJOIN.priority], place, earlier(before, now), order,
    op[LINEJOIN.until], 0 }
  -- After this point the act must succeed.
  if near then notes.keep(person, op[LINEJOIN.key], id) end
  if not at_once then
    redis.call('ZADD', keys.line_order(id), lines.score(waiter), person)
    waiter[WAITER.joined][JOINED.rank] = redis.call('ZRANK', keys.line_order(id), person) + 1
    redis.call('HSET', keys.line(id), 'last', place, 'e' .. person, cmsgpack.pack(waiter))
  else
    redis.call('HSET', keys.line(id), 'e' .. person, cmsgpack.pack(waiter))
  end
  line_facts.tell(id, person, waiter, now, op[LINEJOIN.who])
  return pack.array(OUTCOME.DONE, now, waiter[WAITER.joined])
end)
