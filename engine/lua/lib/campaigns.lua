-- include: batch, keys, pack, quotas, records
-- A campaign's share in this cell: read once a batch, its counters written once at the end.
local campaigns = { known = {}, holder = 6 }  -- holder: keys.HOLDER_LENGTH

-- The share, or nil when there is no such campaign here. left is nil when stock is unlimited; codes
-- is nil unless each coupon takes a code of a third party with it.
function campaigns.share(id)
  local share = campaigns.known[id]
  if share == nil then
    local row = redis.call('HMGET', keys.campaign(id), 'issue', 'left', 'issued', 'redeemed',
      'rate', 'budget_left', 'uses', 'promise', 'aside', 'codes', 'waiting')
    share = row[1] and {
      id = id, packed = row[1], issue = cmsgpack.unpack(row[1]), left = tonumber(row[2]),
      issued = tonumber(row[3]) or 0, redeemed = tonumber(row[4]) or 0, terms = {},
      aside = tonumber(row[9]) or 0, codes = tonumber(row[10]),
      waiting = row[11] and tonumber(row[11]) % 2 == 1,
      limited = row[6] or row[7], budget_left = tonumber(row[6]),
      uses = row[7] and cmsgpack.unpack(row[7]) or { 0, 0 },
      promise = row[8] and cmsgpack.unpack(row[8]) or { 0, 0 },
      rate = row[5] and cmsgpack.unpack(row[5]) or { 0, 0, 0, 0 },
    } or false
    if share and share.issue[ISSUE.quotas] then share.quotas = quotas.of(share.issue) end
    campaigns.known[id] = share
  end
  return share or nil
end

-- The terms of one revision, or nil.
function campaigns.terms(share, revision)
  local terms = share.terms[revision]
  if not terms then
    local packed = redis.call('HGET', keys.campaign(share.id), 't' .. revision)
    terms = packed and cmsgpack.unpack(packed)
    share.terms[revision] = terms
  end
  return terms
end

-- This cell's part of a limit in one window (a minute, a day). The remainder goes round with the
-- number of the window: all parts sum to the limit, and no cell has none for good.
function campaigns.part(share, limit, window)
  local cells = share.issue[ISSUE.cells] or 1
  if limit < 0 or cells == 1 then return limit end
  local turn = (share.issue[ISSUE.cell] + window) % cells
  return math.floor(limit / cells) + (turn < limit % cells and 1 or 0)
end

-- How many were given out in this window so far; at, number: positions in RateRecord.
function campaigns.given_out(share, at, number, window)
  return share.rate[at] == window and share.rate[number] or 0
end

local function touch(share)
  if share.touched then return end
  share.touched = true
  batch.flush[#batch.flush + 1] = function()
    local set = { 'issued', share.issued, 'redeemed', share.redeemed }
    local function put(field, value) set[#set + 1], set[#set + 2] = field, value end
    if share.rated then put('rate', pack.array(unpack(share.rate, 1, 4))) end
    if share.left then put('left', share.left) end
    if share.ordered then put('aside', share.aside) end
    if share.popped then put('codes', share.codes) end
    if share.spent then put('budget_left', share.budget_left) end
    if share.used then put('uses', pack.array(unpack(share.uses, 1, 2))) end
    redis.call('HSET', keys.campaign(share.id), unpack(set))
  end
end

-- n were given out in this local minute and day.
local function pace(share, n, minute, day)
  local rate = share.rate
  if rate[RATE.minute] ~= minute then rate[RATE.minute], rate[RATE.minute_count] = minute, 0 end
  if rate[RATE.day] ~= day then rate[RATE.day], rate[RATE.day_count] = day, 0 end
  rate[RATE.minute_count] = rate[RATE.minute_count] + n
  rate[RATE.day_count] = rate[RATE.day_count] + n
  share.rated = true
end

-- n were given out to this person.
local function gave(share, handle, n)
  if not share.given then
    share.given = {}
    batch.flush[#batch.flush + 1] = function()
      redis.call('APPEND', keys.holders(share.id), table.concat(share.given))
    end
  end
  local known = string.sub(handle, 1, campaigns.holder)
  for _ = 1, n do share.given[#share.given + 1] = known end
end

-- n leave the stock and the quotas; negative: come back.
local function take(share, n)
  if share.left then share.left = share.left - n end
  if share.quotas then quotas.take(share.quotas, n) end
end

-- One is given out to this person, in this local minute and day.
function campaigns.take_one(share, handle, minute, day)
  take(share, 1)
  share.issued = share.issued + 1
  pace(share, 1, minute, day)
  touch(share)
  gave(share, handle, 1)
end

-- n are set aside for an order of this person, in this local minute and day.
function campaigns.set_aside(share, handle, n, minute, day)
  take(share, n)
  share.aside, share.ordered = share.aside + n, true
  pace(share, n, minute, day)
  touch(share)
  gave(share, handle, n)
end

-- n that were set aside in this local minute and day are free again: on a share, or on a copy of it
-- that only asks what would be. The quotas are left to the caller.
function campaigns.free(share, n, minute, day)
  if share.left then share.left = share.left + n end
  share.aside = share.aside - n
  local rate = { unpack(share.rate, 1, 4) }
  if rate[RATE.minute] == minute then rate[RATE.minute_count] = rate[RATE.minute_count] - n end
  if rate[RATE.day] == day then rate[RATE.day_count] = rate[RATE.day_count] - n end
  share.rate = rate
end

-- Write what `campaigns.free` changed; n: so many are free in the quotas as well.
function campaigns.freed(share, n)
  if n and share.quotas then quotas.take(share.quotas, -n) end
  share.ordered, share.rated = true, true
  touch(share)
end

-- n that were set aside are given out.
function campaigns.issue(share, n)
  share.aside, share.issued, share.ordered = share.aside - n, share.issued + n, true
  touch(share)
end

-- How many more its stock has; nil = any number. What is set aside has a code each.
function campaigns.in_stock(share)
  if not share.codes then return share.left end
  local codes = share.codes - share.aside
  return share.left and math.min(share.left, codes) or codes
end

-- How many more can be given out or set aside, by its stock and its quotas; nil = any number.
function campaigns.room(share)
  local left = campaigns.in_stock(share)
  return share.quotas and quotas.room(share.quotas, left) or left
end

-- n codes of third parties more (or fewer) are in this cell.
function campaigns.recode(share, n)
  share.codes, share.popped = share.codes + n, true
  touch(share)
end

-- The next code of a third party, and the coupon (packed) that has it from now on: it is nobody
-- else's ever, whatever becomes of the coupon.
function campaigns.coded(share, packed)
  local code = redis.call('LPOP', keys.pool(share.id))
  campaigns.recode(share, -1)
  local coupon, told = cmsgpack.unpack(packed), '{"external_code":' .. cjson.encode(code)
  local extra = coupon[COUPON.extra] or ''
  coupon[COUPON.extra] = extra == '' and told .. '}' or told .. ',' .. string.sub(extra, 2)
  return code, records.coupon(coupon)
end

-- One that was given out comes back to the stock (change 1), or leaves it again (-1).
function campaigns.restock(share, change)
  take(share, -change)
  share.issued = share.issued - change
  touch(share)
end

function campaigns.count_redeemed(share, change)
  share.redeemed = share.redeemed + change
  touch(share)
end

-- Money is taken from the budget, or comes back to it (a negative number).
function campaigns.spend(share, money)
  if not share.budget_left or money == 0 then return end
  share.budget_left, share.spent = share.budget_left - money, true
  touch(share)
end

-- How many uses a store has of this local day.
function campaigns.used_in(share, store, day)
  local packed = redis.call('HGET', keys.campaign(share.id), 'd' .. store)
  local uses = packed and cmsgpack.unpack(packed)
  return uses and uses[USES.day] == day and uses[USES.count] or 0
end

-- Count a use on its day (change 1), or take it back (-1) as long as that day lasts.
function campaigns.use(share, counted, store, day, change)
  if counted % 2 == 1 and (change > 0 or share.uses[USES.day] == day) then
    local before = share.uses[USES.day] == day and share.uses[USES.count] or 0
    share.uses, share.used = { day, before + change }, true
    touch(share)
  end
  if counted >= 2 then
    local before = campaigns.used_in(share, store, day)
    if change > 0 or before > 0 then
      share.used, share.limited = true, true
      touch(share)
      redis.call('HSET', keys.campaign(share.id), 'd' .. store, pack.array(day, before + change))
    end
  end
end
