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
--   local kept = points.give_back(record, parts, n)  n of them go back to their lots, last taken
--                                          first; kept stays taken. In a lot that has ended they
--                                          are gone with the next read.
--   points.hold(record, serial, till, parts)  set taken parts aside for a redemption
--   local parts = points.unhold(record, serial)  they are taken now: keep them, or give them back;
--                                          nil when no such hold is open (it lapsed)
-- and after the line: points.put(handle, user_id, record, now), before the act's own fact: it
-- writes, tells the books what expired, and returns the balance (record[POINTS.balance]).
local points = { engine = '{"key":"","label":"engine","role":"engine"}', most_lots = 400 }

local function before(a, b)
  local x, y = a[PART.expires], b[PART.expires]
  if x ~= y then return x > 0 and (y == 0 or x < y) end
  return a[PART.available] < b[PART.available]
end

-- A purse stays small: of too many lots two that end together become one, else the first two, in
-- the owner's favour: they keep the earlier start and the later end.
local function merge(lots)
  local at = 1
  for i = 1, #lots - 1 do
    if lots[i][PART.expires] == lots[i + 1][PART.expires] then at = i break end
  end
  local first, second = table.remove(lots, at), lots[at]
  second[PART.points] = second[PART.points] + first[PART.points]
  second[PART.available] = math.min(first[PART.available], second[PART.available])
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
  if #lots > points.most_lots then merge(lots) end
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

-- Lots that have ended are gone.
local function expire(record, now)
  local lots = {}
  for _, lot in ipairs(record[POINTS.lots]) do
    if lot[PART.expires] > 0 and now >= lot[PART.expires] then
      record.expired[#record.expired + 1] = lot
    else
      lots[#lots + 1] = lot
    end
  end
  record[POINTS.lots] = lots
end

-- What is owed is repaid by whatever there is.
local function repay(record)
  if record[POINTS.debt] == 0 then return end
  local _, paid = draw(record, record[POINTS.debt], function() return true end)
  record[POINTS.debt] = record[POINTS.debt] - paid
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
  expire(record, now)
  repay(record)
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

-- records.EntryRecord of that serial and as it is packed, or nil.
function points.entry(handle, serial)
  local packed = redis.call('GET', keys.points(handle, serial))
  return packed and cmsgpack.unpack(packed), packed
end

function points.keep(handle, serial, entry)
  local packed = cmsgpack.pack(entry)
  redis.call('SET', keys.points(handle, serial), packed)
  return packed
end

function points.put(handle, user_id, record, now)
  repay(record)
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
    local entry = points.entry(handle, lot[PART.serial])
    if entry then  -- so that nobody takes back what is gone already
      entry[ENTRY.expired] = entry[ENTRY.expired] + lot[PART.points]
      points.keep(handle, lot[PART.serial], entry)
    end
    batch.fact('points_expired', now, 'P' .. handle .. lot[PART.serial], '', points.engine, user_id,
      lot[PART.points], lot[PART.expires], told, points.per_yuan())
  end
  record.expired = {}
  return balance
end

-- The fields of an entry, in the order of records.EntryRecord.
function points.new_entry(kind, number, now, user_id, fingerprint, reason, ref, lot, of)
  return { kind, number, now, user_id, fingerprint, reason, ref, lot and lot[PART.available] or 0,
    lot and lot[PART.expires] or 0, of, 0, {}, 0, 0 }
end

-- Tell the books of an entry; after points.put, whose balance it keeps and tells.
function points.tell(handle, serial, entry, balance, who)
  entry[ENTRY.balance] = balance
  batch.fact('points_changed', entry[ENTRY.at], 'P' .. handle .. serial, entry[ENTRY.fingerprint],
    who, entry[ENTRY.user_id], entry[ENTRY.kind], entry[ENTRY.points], balance,
    entry[ENTRY.reason], entry[ENTRY.ref], entry[ENTRY.available], entry[ENTRY.expires],
    entry[ENTRY.of] ~= '' and 'P' .. handle .. entry[ENTRY.of] or '', points.per_yuan())
  return points.keep(handle, serial, entry)
end

-- How many points of an entry can still be reversed: never what expired of it (a part may have
-- been taken back from other lots first, and its own have ended since: then nothing).
function points.rest(record, serial, entry)
  local rest = math.abs(entry[ENTRY.points]) - entry[ENTRY.reversed] - entry[ENTRY.expired]
  for _, lot in ipairs(record.expired) do  -- not told yet
    if lot[PART.serial] == serial then rest = rest - lot[PART.points] end
  end
  return math.max(0, rest)
end

-- How many points that an entry brought in can be taken back. Policies: only_unspent takes what is
-- left of its own lot, within_balance other lots as well, and allow_negative leaves a debt, which
-- the next points that come in repay.
function points.reclaimable(record, serial, entry, policy)
  local rest = points.rest(record, serial, entry)
  if policy == 'allow_negative' then return rest end
  if policy == 'within_balance' then return math.min(rest, points.unspent(record)) end
  for _, lot in ipairs(record[POINTS.lots]) do
    if lot[PART.serial] == serial then return math.min(rest, lot[PART.points]) end
  end
  return 0
end

-- Take n of them, n <= reclaimable: from its own lot first, then from the others, then as debt.
function points.reclaim(record, serial, entry, n)
  local left = n - points.take_lot(record, serial, n)
  left = left - points.take_any(record, left)
  record[POINTS.debt] = record[POINTS.debt] + left
  entry[ENTRY.reversed] = entry[ENTRY.reversed] + n
end
