--[[
Move a waiting line on: note what became of those who were its first, name those who are now, as
many as there is room for. Strictly in order: nobody is passed because they are many. A line that
is empty is closed; with its campaign it ends.

include:  batch, campaigns, keys, line_facts, lines, pack
keys:
  1 cell        hash    epoch, seq and definitions of the cell
derived:
  campaign      hash    the campaign's share in this cell, for its rules
  line          hash    the waiting line and who joined it
  line_order    zset    who waits, first come first
  lines         zset    campaigns whose line is open
  redemption    string  lapsed holds that set part of the budget aside
  opens         zset    open holds on a limited campaign
  facts         stream  the outbox
  quotas        hash    the quotas that it shares with others
arguments:
  1 batch       msgpack array of line_commands.LineMove
outcomes:
  DONE NOT_FOUND CAMPAIGN_FROZEN CAMPAIGN_PAUSED CAMPAIGN_ENDED NOT_STARTED USER_FROZEN NOT_ELIGIBLE
  CHANNEL_NOT_ALLOWED USER_LIMIT USER_DAY_LIMIT USER_WEEK_LIMIT USER_MONTH_LIMIT
  CAMPAIGN_RATE_LIMIT CAMPAIGN_DAY_LIMIT BUDGET_EXHAUSTED SOLD_OUT
]]

-- The entries of these people, packed.
local function entries(id, people)
  local fields = {}
  for i, person in ipairs(people) do fields[i] = 'e' .. person end
  return #fields > 0 and redis.call('HMGET', keys.line(id), unpack(fields)) or {}
end

-- What the results say. Those who wait no more: `people`, `fields` (their entries as HSET takes
-- them), `results` (what their facts tell); and `strays`, orders that nobody waits for.
local function decided(id, results)
  local people, gone, fields, told, strays = {}, {}, {}, {}, {}
  for i, result in ipairs(results) do people[i] = result[1] end
  for i, packed in ipairs(entries(id, people)) do
    local person, serial, order, ends, why = unpack(results[i], 1, 5)
    local same = packed and lines.serial(packed) == serial
    if same and lines.state(packed) == WAITER_STATE.WAITING then
      local state, n = order ~= '' and WAITER_STATE.OFFERED or WAITER_STATE.SKIPPED, #gone + 1
      gone[n], told[n], fields[2 * n - 1] = person, results[i], 'e' .. person
      fields[2 * n] = lines.turned(packed, state, order, ends, why)
    elseif order ~= '' and not (same and cmsgpack.unpack(packed)[WAITER.order] == order) then
      strays[#strays + 1] = { person, order }
    end
  end
  return { people = gone, fields = fields, results = told, strays = strays }
end

-- Keep entries that are not waiting any more.
local function put(id, people, fields)
  if #people > 0 then
    redis.call('HSET', keys.line(id), unpack(fields))
    redis.call('ZREM', keys.line_order(id), unpack(people))
  end
end

-- The line ends for these people.
local function close(id, people, now, who)
  local fields = {}
  for i, packed in ipairs(entries(id, people)) do
    local waiter = cmsgpack.unpack(packed)
    waiter[WAITER.state] = WAITER_STATE.ENDED
    fields[2 * i - 1], fields[2 * i] = 'e' .. people[i], cmsgpack.pack(waiter)
    line_facts.tell(id, people[i], waiter, now, who)
  end
  put(id, people, fields)
end

-- The first of the line as far as they fit, {person, entry} each, packed; and whether there is
-- room that the next one is too many for. The first `named` of them in any case: what they
-- are offered may be set aside already, by somebody who did not come back. And who is more than
-- there will ever be, to be passed.
local function heads(id, first, free, named, total)
  local found, short = {}, 0
  for i, packed in ipairs(entries(id, first)) do
    local party = lines.party(packed)
    local never = total >= 0 and party > total
    if i > named and not never and free >= 0 and party > free then
      short = free > 0 and 1 or 0
      break
    end
    if free > 0 and not never then free = math.max(0, free - party) end
    found[i] = '\146' .. pack.heads[#first[i]] .. first[i] .. packed
  end
  return found, short
end

return batch.run(function(op)
  local id, now, who = op[LINEMOVE.campaign_id], batch.at(op[LINEMOVE.now]), op[LINEMOVE.who]
  local key = keys.line(id)
  local row = redis.call('HMGET', key, 'version', 'why', 'named')
  local version, why = tonumber(row[1]) or 0, tonumber(row[2]) or 0
  local before = tonumber(row[3]) or 0  -- how many were named
  local named = before
  local share = campaigns.share(id)
  if not share or op[LINEMOVE.handle] == '' then return batch.answer(OUTCOME.NOT_FOUND, now) end
  local changed = decided(id, op[LINEMOVE.results])
  local over = lines.ended(share, now, op[LINEMOVE.offset])
  -- After this point the act must succeed.
  put(id, changed.people, changed.fields)
  for _, result in ipairs(changed.results) do
    batch.facts[#batch.facts + 1] = line_facts.head(result[1], result[2], now) .. result[6]
  end
  local most, free = op[LINEMOVE.most], op[LINEMOVE.free]
  if op[LINEMOVE.handled] == 1 then named = 0 end
  if free >= 0 and not over then most = math.min(most, math.max(free, named, 1)) end
  local first = redis.call('ZRANGE', keys.line_order(id), 0, most - 1)
  if over then
    close(id, first, now, who)
    first = redis.call('ZRANGE', keys.line_order(id), 0, 0)
  end
  if #first == 0 and version % 2 == 1 then
    version = version + 1
    redis.call('HSET', key, 'version', version)
  end
  if #first == 0 and version == op[LINEMOVE.unmarked] then redis.call('ZREM', keys.lines(), id) end
  if op[LINEMOVE.why] ~= -1 and op[LINEMOVE.why] ~= why then
    why = op[LINEMOVE.why]
    redis.call('HSET', key, 'why', why)
  end
  local next, short = heads(id, over and {} or first, free, named, op[LINEMOVE.total])
  if #next ~= before then redis.call('HSET', key, 'named', #next) end
  return pack.header(3) .. cmsgpack.pack(OUTCOME.DONE, now) .. pack.header(8)
    .. cmsgpack.pack(version, #first > 0 and 1 or 0, over and 1 or 0) .. pack.join(next)
    .. cmsgpack.pack(changed.strays, short, why, (named > 0 or share.quotas) and 1 or 0)
end)
