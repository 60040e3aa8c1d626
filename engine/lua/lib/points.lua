-- include: batch, keys, pack, stores
-- A person's points: lots that expire one by one, points set aside, and debt. The clock decides:
-- an expired lot and a lapsed hold are gone when the record is read, swept or not.
-- Law: balance = lots + set aside - debt = the sum of all entries told so far.
--
-- How to spend them in a script (all on tables; nothing is written before `points.put`):
--   local record = points.read(redis.call('HGET', wallet, 'p'), now)  -- the field may be missing
--   points.available(record, now)          what can be spent: lots that are usable now
--   local parts = points.take(record, n, now)   n <= available: earliest end first; keep the parts
--                                          with what took them (each a records.PointsLot)
--   local kept = points.give_back(record, parts, n)  n of them go back to their lots, the last taken
--                                          first; what stays taken. An expired lot stays expired.
--   points.hold(record, serial, till, parts)  set taken parts aside for a redemption
--   local parts = points.unhold(record, serial)  they are taken now: keep them, or give them back;
--                                          nil when no such hold is open (it lapsed)
-- and after the line: points.put(handle, user_id, record, now), before the act's own fact: it
-- writes, tells the books what expired, and returns the balance (record[POINTS.balance]).
local points = { engine = '{"key":"","label":"engine","role":"engine"}' }

local function before(a, b)
  local x, y = a[PART.expires], b[PART.expires]
  if x ~= y then return x > 0 and (y == 0 or x < y) end
  return a[PART.available] < b[PART.available]
end

-- Add to the lot of that serial, or put it in its place: by its end, then by when it is usable.
function points.add(record, lot)
  local lots = record[POINTS.lots]
  local at = #lots + 1
  for i, other in ipairs(lots) do
    if other[PART.serial] == lot[PART.serial] then
      other[PART.points] = other[PART.points] + lot[PART.points]
      return
    end
    if at > i and before(lot, other) then at = i end
  end
  table.insert(lots, at, { lot[PART.serial], lot[PART.points], lot[PART.available],
    lot[PART.expires] })
end

-- Up to n points of the lots for which `wanted` is true; the parts and how many they are.
local function draw(record, n, wanted)
  local parts, left, lots = {}, n, {}
  for _, lot in ipairs(record[POINTS.lots]) do
    if left > 0 and wanted(lot) then
      local part = math.min(left, lot[PART.points])
      left, lot[PART.points] = left - part, lot[PART.points] - part
      parts[#parts + 1] = { lot[PART.serial], part, lot[PART.available], lot[PART.expires] }
    end
    if lot[PART.points] > 0 then lots[#lots + 1] = lot end
  end
  record[POINTS.lots] = lots
  return parts, n - left
end

-- What the clock and the debt take: ended lots, and lots for as much as is owed.
local function settle(record, now)
  local lots = {}
  for _, lot in ipairs(record[POINTS.lots]) do
    if lot[PART.expires] > 0 and now >= lot[PART.expires] then
      record.expired[#record.expired + 1] = lot
    else
      lots[#lots + 1] = lot
    end
  end
  record[POINTS.lots] = lots
  if record[POINTS.debt] > 0 then
    local _, paid = draw(record, record[POINTS.debt], function() return true end)
    record[POINTS.debt] = record[POINTS.debt] - paid
  end
end

function points.read(packed, now)
  local record = packed and cmsgpack.unpack(packed) or { 0, 0, {}, {}, {} }
  record.expired = {}
  local holds, lapsed = {}, {}
  for _, hold in ipairs(record[POINTS.holds]) do
    if now < hold[POINTS_HOLD.until] then holds[#holds + 1] = hold
    else lapsed[#lapsed + 1] = hold end
  end
  record[POINTS.holds] = holds
  for _, hold in ipairs(lapsed) do
    for _, part in ipairs(hold[POINTS_HOLD.parts]) do points.add(record, part) end
  end
  settle(record, now)
  return record
end

function points.available(record, now)
  local sum = 0
  for _, lot in ipairs(record[POINTS.lots]) do
    if now >= lot[PART.available] then sum = sum + lot[PART.points] end
  end
  return sum
end

-- All that is in lots, usable now or later.
function points.unspent(record)
  local sum = 0
  for _, lot in ipairs(record[POINTS.lots]) do sum = sum + lot[PART.points] end
  return sum
end

function points.take(record, n, now)
  return (draw(record, n, function(lot) return now >= lot[PART.available] end))
end

-- Take up to n from one lot; how many it had.
function points.take_lot(record, serial, n)
  local _, taken = draw(record, n, function(lot) return lot[PART.serial] == serial end)
  return taken
end

-- Take up to n from any lot, usable or not; how many there were.
function points.take_any(record, n)
  local _, taken = draw(record, n, function() return true end)
  return taken
end

function points.give_back(record, parts, n)
  local kept, left = {}, n
  for i = #parts, 1, -1 do
    local part = parts[i]
    local back = math.min(left, part[PART.points])
    left = left - back
    local function cut(number)
      return { part[PART.serial], number, part[PART.available], part[PART.expires] }
    end
    if back > 0 then points.add(record, cut(back)) end
    if back < part[PART.points] then table.insert(kept, 1, cut(part[PART.points] - back)) end
  end
  return kept
end

function points.hold(record, serial, till, parts)
  local holds, sum = record[POINTS.holds], 0
  for _, part in ipairs(parts) do sum = sum + part[PART.points] end
  holds[#holds + 1] = { serial, till, sum, parts }
end

function points.unhold(record, serial)
  for i, hold in ipairs(record[POINTS.holds]) do
    if hold[POINTS_HOLD.serial] == serial then
      table.remove(record[POINTS.holds], i)
      return hold[POINTS_HOLD.parts]
    end
  end
end

-- How many points are worth one yuan.
function points.per_yuan()
  return stores.settings()[SETTINGS.points_per_yuan] or 100
end

function points.put(handle, user_id, record, now)
  settle(record, now)
  local told, balance = record[POINTS.balance], points.unspent(record) - record[POINTS.debt]
  for _, hold in ipairs(record[POINTS.holds]) do balance = balance + hold[POINTS_HOLD.points] end
  record[POINTS.balance] = balance
  redis.call('HSET', keys.wallet(handle), 'p', pack.array(unpack(record, 1, 5)))
  local first = record[POINTS.lots][1]
  if first and first[PART.expires] > 0 then
    redis.call('ZADD', keys.points_due(), first[PART.expires], handle)
  else
    redis.call('ZREM', keys.points_due(), handle)
  end
  for _, lot in ipairs(record.expired) do
    told = told - lot[PART.points]
    batch.fact('points_expired', now, 'P' .. handle .. lot[PART.serial], '', points.engine, user_id,
      lot[PART.points], lot[PART.expires], told, points.per_yuan())
  end
  record.expired = {}
  return balance
end
