-- include: batch, campaigns, issuing, keys, pack, people, points, quotas, records
-- Orders: stock and limits set aside until they are paid. What has lapsed sets nothing aside from
-- that instant on, told to the books or not: whoever needs the room gives it up.
local orders = { engine = '{"key":"","label":"engine","role":"engine"}', most = 1000 }

function orders.get(handle, serial)
  local packed = redis.call('GET', keys.order(handle, serial))
  return packed and cmsgpack.unpack(packed), packed
end

function orders.put(handle, serial, record)
  local packed = cmsgpack.pack(record)
  redis.call('SET', keys.order(handle, serial), packed)
  return packed
end

-- What an order sets aside of a campaign.
local function quantity(record, id)
  for _, item in ipairs(record[ORDER.items]) do
    if item[ITEM.campaign_id] == id then return item[ITEM.quantity] end
  end
  return 0
end

-- The local minute and day that an order counts on.
local function windows(record)
  local at = record[ORDER.counted] + record[ORDER.offset]
  return math.floor(at / 60000), math.floor(at / 86400000)
end

-- Lapsed orders that are still in the way of a campaign, of its quotas or of a person: {handle,
-- serial}.
local function lapsed(person, share)
  local found, lists = {}, { keys.pending(share.id) }
  for _, quota in ipairs(share.quotas or {}) do
    lists[#lists + 1] = keys.lapsing(quota.name)
  end
  local own = redis.call('HGET', person.wallet, 'q')
  for _, open in ipairs(own and cmsgpack.unpack(own) or {}) do
    if person.now >= open[OPEN_ORDER.until] then
      found[#found + 1] = { person.handle, open[OPEN_ORDER.serial] }
    end
  end
  for _, list in ipairs(lists) do
    for _, name in ipairs(redis.call('ZRANGEBYSCORE', list, '-inf', person.now, 'LIMIT', 0,
      orders.most)) do
      found[#found + 1] = { string.sub(name, 1, 16), string.sub(name, 17, 27) }
    end
  end
  return found
end

-- A copy of a share, to reckon with.
local function copied(share)
  local view = {}
  for name, value in pairs(share) do view[name] = value end
  if share.quotas then view.quotas = quotas.copy(share.quotas) end
  return view
end

-- The share and the person's count as they would be without an order that has lapsed.
local function without(share, count, person, order)
  local n = quantity(order.record, share.id)
  if n == 0 and not share.quotas then return share, count end
  local view = copied(share)
  for _, item in ipairs(share.quotas and order.record[ORDER.items] or {}) do
    local other = campaigns.share(item[ITEM.campaign_id])
    quotas.reckon(view.quotas, other.quotas or {}, item[ITEM.quantity])
  end
  if n == 0 then return view, count end
  campaigns.free(view, n, windows(order.record))
  if order.handle == person.handle then
    count = issuing.less(count, order.record[ORDER.counted], order.record[ORDER.offset], n)
  end
  return view, count
end

-- Whether room that a lapsed order gives back may turn a refusal.
local function in_the_way(outcome)
  return outcome >= OUTCOME.USER_LIMIT and outcome <= OUTCOME.SOLD_OUT
    and outcome ~= OUTCOME.BUDGET_EXHAUSTED
end

-- Whether an order may set part of it aside: of the share, or of a quota through another campaign.
local function bound(share)
  return share.aside > 0 or share.quotas
end

-- Judge a share by `rule(share, count, person, n)`, as if orders that have lapsed were given up: no
-- more of them than it takes. They join `freed` ({handle, serial, record} each), which earlier
-- calls of this act may have begun. person: {handle, wallet, now, counts (records.CountRecord by
-- campaign)}, and `taken`: what may_have allowed them in this act of campaigns that have quotas.
function orders.judge(person, share, freed, rule, n)
  local count, view = person.counts[share.id], share
  if share.quotas and person.taken then
    for id, had in pairs(person.taken) do
      if id ~= share.id then
        view = view == share and copied(share) or view
        quotas.reckon(view.quotas, had.list, -had.n)
      end
    end
  end
  for _, order in ipairs(freed) do view, count = without(view, count, person, order) end
  local outcome, opens = rule(view, count, person, n)
  if not in_the_way(outcome) or not bound(share) then return outcome, opens end
  if outcome == OUTCOME.SOLD_OUT and share.waiting and not person.head then return outcome end
  local chosen = {}
  for _, order in ipairs(freed) do chosen[order.handle .. order.serial] = true end
  for _, place in ipairs(lapsed(person, share)) do
    local name = place[1] .. place[2]
    if not chosen[name] then
      chosen[name] = true
      local order = { handle = place[1], serial = place[2],
        record = orders.get(place[1], place[2]) }
      freed[#freed + 1] = order
      view, count = without(view, count, person, order)
      outcome, opens = rule(view, count, person, n)
      if not in_the_way(outcome) then return outcome, opens end
    end
  end
  return outcome, opens
end

-- When the next order of a campaign or its quotas lapses, or has; nil = none is open.
function orders.next(share)
  local lists, soonest = { share.aside > 0 and keys.pending(share.id) or nil }, nil
  for _, quota in ipairs(share.quotas or {}) do
    lists[#lists + 1] = keys.lapsing(quota.name)
  end
  for _, list in ipairs(lists) do
    local first = tonumber(redis.call('ZRANGE', list, 0, 0, 'WITHSCORES')[2])
    soonest = first and math.min(first, soonest or first) or soonest
  end
  return soonest
end

-- Read of a person's wallet what an order needs: the user, their counts of these campaigns, and
-- `open`, field q as it is packed.
function orders.look(person, ids)
  local fields, counts = { 'u', 'q', 'n' .. ids[1] }, {}
  for i = 2, #ids do fields[i + 2] = 'n' .. ids[i] end
  local row = redis.call('HMGET', person.wallet, unpack(fields))
  for i, id in ipairs(ids) do counts[id] = row[i + 2] and cmsgpack.unpack(row[i + 2]) or nil end
  person.user, person.open, person.counts = row[1] and people.read(row[1]), row[2], counts
  return person
end

-- What judging an order or a claim needs of a person.
function orders.person(handle, user_id, channel, now, offset, ids)
  local person = orders.look({ handle = handle, wallet = keys.wallet(handle), channel = channel,
    now = now, offset = offset, user = false, open = false, counts = false }, ids)
  local user = person.user
  if user and user[USER.user_id] ~= user_id then error('two users share a handle') end
  return person
end

-- The ladder of a claim. To whoever is at the head of the waiting line it is not closed.
local function ladder(share, count, person, n)
  local waiting = share.waiting
  if person.head then share.waiting = false end
  local outcome, opens = issuing.judge(share, person.user, count, person.wallet, person.channel,
    person.now, person.offset, n)
  share.waiting = waiting
  return outcome, opens
end

-- Whether a person may have n of a campaign now: the ladder of a claim. What they may of a campaign
-- that has quotas counts for the next one that is judged in this act. person.head: it is their turn
-- in the campaign's waiting line.
function orders.may_have(person, share, freed, n)
  local outcome, opens = orders.judge(person, share, freed, ladder, n)
  if outcome == OUTCOME.DONE and share.quotas then
    person.taken = person.taken or {}
    person.taken[share.id] = { list = share.quotas, n = n }
  end
  return outcome, opens
end

-- What is left of a share and how many the person has, orders that have lapsed not counted.
function orders.really(person, share)
  local count, view, seen = person.counts[share.id], share, {}
  for _, place in ipairs(bound(share) and lapsed(person, share) or {}) do
    if not seen[place[1] .. place[2]] then
      seen[place[1] .. place[2]] = true
      view, count = without(view, count, person, { handle = place[1],
        record = orders.get(place[1], place[2]) })
    end
  end
  return campaigns.room(view), count and count[COUNT.total] or 0
end

-- A person's open offer of a waiting line for this campaign, to be had for nothing: its serial and
-- record, or nil.
function orders.offer(person, share)
  local own = share.aside > 0 and redis.call('HGET', person.wallet, 'q')
  for _, open in ipairs(own and cmsgpack.unpack(own) or {}) do
    if person.now < open[OPEN_ORDER.until] then
      local record = orders.get(person.handle, open[OPEN_ORDER.serial])
      if record[ORDER.spare] and record[ORDER.items][1][ITEM.campaign_id] == share.id
        and record[ORDER.amount] + record[ORDER.points] == 0 then
        return open[OPEN_ORDER.serial], record
      end
    end
  end
end

local function write_open(wallet, open)
  if #open == 0 then redis.call('HDEL', wallet, 'q')
  else redis.call('HSET', wallet, 'q', cmsgpack.pack(open)) end
end

-- Forget that an order is open.
local function close(handle, serial, record)
  local wallet, open = keys.wallet(handle), {}
  local packed = redis.call('HGET', wallet, 'q')
  for _, order in ipairs(packed and cmsgpack.unpack(packed) or {}) do
    if order[OPEN_ORDER.serial] ~= serial then open[#open + 1] = order end
  end
  write_open(wallet, open)
  redis.call('ZREM', keys.orders(), handle .. serial)
  for _, item in ipairs(record[ORDER.items]) do
    local id, n = item[ITEM.campaign_id], item[ITEM.quantity]
    redis.call('ZREM', keys.pending(id), handle .. serial .. ':' .. n)
    quotas.close(campaigns.share(id).quotas or {}, handle .. serial, id, n)
  end
end

-- Change a person's count of a campaign.
function orders.recount(handle, id, change, at, offset, n)
  local wallet = keys.wallet(handle)
  local packed = redis.call('HGET', wallet, 'n' .. id)
  local count = change(packed and cmsgpack.unpack(packed), at, offset, n)
  redis.call('HSET', wallet, 'n' .. id, pack.array(unpack(count, 1, 7)))
end

-- The campaigns of an order.
function orders.ids(record)
  local ids = {}
  for i, item in ipairs(record[ORDER.items]) do ids[i] = item[ITEM.campaign_id] end
  return ids
end

-- An item of an order, the same for all of a batch that ask for as many.
function orders.item(share, n)
  share.items = share.items or {}
  local made = share.items[n]
  if not made then
    local issue = share.issue
    local price, score = issue[ISSUE.price] or 0, issue[ISSUE.points_price] or 0
    local item = { share.id, n, price, score, issue[ISSUE.revision] }
    made = { id = share.id, n = n, amount = n * price, score = n * score,
      last = issuing.last(issue), told = cmsgpack.pack(item) }
    item[ITEM.validity] = issuing.rule(issue)
    made.packed = cmsgpack.pack(item)
    share.items[n] = made
  end
  return made
end

-- A person's open orders with one more, packed.
local function opened(person, serial, lapses)
  if not person.open then
    return '\145\146' .. pack.heads[#serial] .. serial .. pack.numbers[lapses]
  end
  local open = cmsgpack.unpack(person.open)
  open[#open + 1] = { serial, lapses }
  return cmsgpack.pack(open)
end

-- Set aside what an order asks for, until its time is over. person: as their wallet is now; items:
-- {id, n} each; the order counts on `at`.
function orders.open(person, serial, user_id, items, lapses, at, offset)
  local handle = person.handle
  local name, q = handle .. serial, opened(person, serial, lapses)
  local set = person.user and { 'q', q } or { 'q', q, 'u', people.new(user_id) }
  redis.call('ZADD', keys.orders(), lapses, name)
  local minute, day = math.floor((at + offset) / 60000), math.floor((at + offset) / 86400000)
  for _, item in ipairs(items) do
    local id, n = item.id, item.n
    local share, count = campaigns.share(id), person.counts[id]
    redis.call('ZADD', keys.pending(id), lapses, name .. ':' .. n)
    if share.quotas then quotas.open(share.quotas, name, id, n, lapses) end
    campaigns.set_aside(share, handle, n, minute, day)
    set[#set + 1] = 'n' .. id
    set[#set + 1] = n == 1 and issuing.counted(count, at, offset)
      or cmsgpack.pack(issuing.more(count, at, offset, n))
  end
  redis.call('HSET', person.wallet, unpack(set))
end

-- Give an order another time to be paid by, as far as its coupons last.
function orders.deadline(handle, serial, record, last)
  local wallet = keys.wallet(handle)
  for _, item in ipairs(record[ORDER.items]) do
    local ends, delay = item[ITEM.validity][3], item[ITEM.validity][4]
    if ends > 0 then last = math.min(last, math.max(1, ends - delay * 60000)) end
  end
  record[ORDER.until] = last
  local open = cmsgpack.unpack(redis.call('HGET', wallet, 'q'))
  for _, order in ipairs(open) do
    if order[OPEN_ORDER.serial] == serial then order[OPEN_ORDER.until] = last end
  end
  write_open(wallet, open)
  redis.call('ZADD', keys.orders(), last, handle .. serial)
  for _, item in ipairs(record[ORDER.items]) do
    local id, n = item[ITEM.campaign_id], item[ITEM.quantity]
    redis.call('ZADD', keys.pending(id), last, handle .. serial .. ':' .. n)
    quotas.open(campaigns.share(id).quotas or {}, handle .. serial, id, n, last)
  end
end

-- A person's points.
function orders.purse(handle, now)
  return points.read(redis.call('HGET', keys.wallet(handle), 'p'), now)
end

-- Spend the points of an order that is paid: those it had set aside, or others where it is late.
function orders.spend(handle, serial, record, now, fingerprint, who)
  local mine, user_id = orders.purse(handle, now), record[ORDER.user_id]
  local entry = points.new_entry('spend', -record[ORDER.points], now, user_id, fingerprint, '',
    'O' .. handle .. serial, nil, '')
  entry[ENTRY.parts] = points.unhold(mine, serial) or points.take(mine, record[ORDER.points], now)
  points.tell(handle, serial, entry, points.put(handle, user_id, mine, now), who)
end

-- End an order unpaid: what it set aside is free again, the books are told.
function orders.give_up(handle, serial, record, state, now, fingerprint, who)
  record[ORDER.state] = state
  close(handle, serial, record)
  for _, item in ipairs(record[ORDER.items]) do
    local id, n = item[ITEM.campaign_id], item[ITEM.quantity]
    local share = campaigns.share(id)
    campaigns.free(share, n, windows(record))
    campaigns.freed(share, n)
    orders.recount(handle, id, issuing.less, record[ORDER.counted], record[ORDER.offset], n)
  end
  if record[ORDER.points] > 0 and state == ORDER_STATE.CANCELLED then
    local mine = orders.purse(handle, now)  -- of a lapsed order the clock gives them back
    local parts = points.unhold(mine, serial)
    if parts then
      points.give_back(mine, parts, math.huge)
      points.put(handle, record[ORDER.user_id], mine, now)
    end
  end
  batch.fact('order_ended', now, 'O' .. handle .. serial, fingerprint, who, record[ORDER.user_id],
    state == ORDER_STATE.LAPSED and 1 or 0, record[ORDER.until], record[ORDER.spare] and 1 or 0)
  return orders.put(handle, serial, record)
end

-- Give up all that orders.judge found in the way.
function orders.tidy(freed, now)
  for _, order in ipairs(freed) do
    orders.give_up(order.handle, order.serial, order.record, ORDER_STATE.LAPSED, now, '',
      orders.engine)
  end
end

-- Issue the coupons of an order that is paid now; `serials` are theirs. claim: of an offer that is
-- taken by one, what it says of the first coupon: fingerprint, extra, source, metadata.
function orders.issue(handle, serial, record, serials, now, who, claim)
  close(handle, serial, record)
  local wallet, user_id, at = keys.wallet(handle), record[ORDER.user_id], 0
  local extra = record[ORDER.source] ~= '' and '{"source":' .. record[ORDER.source] .. '}' or ''
  for _, item in ipairs(record[ORDER.items]) do
    local id, revision = item[ITEM.campaign_id], item[ITEM.terms_revision]
    local share = campaigns.share(id)
    campaigns.issue(share, item[ITEM.quantity])
    local from, to = issuing.span(item[ITEM.validity], now)
    local function coupon(fingerprint, more)
      return records.coupon({ id, revision, COUPON_STATE.ISSUED, now, from - now,
        to > 0 and to - now or 0, fingerprint, record[ORDER.channel], more,
        [COUPON.order] = serial, [COUPON.paid] = item[ITEM.price],
        [COUPON.points_paid] = item[ITEM.points_price] })
    end
    local all = coupon(record[ORDER.fingerprint], extra)
    for _ = 1, item[ITEM.quantity] do
      at = at + 1
      local own = at == 1 and claim or nil
      table.insert(record[ORDER.coupons], serials[at])
      local code, packed = '', own and coupon(own.fingerprint, own.extra) or all
      if share.codes then code, packed = campaigns.coded(share, packed) end
      redis.call('HSET', wallet, 'C' .. serials[at], packed)
      batch.fact('claimed', now, 'C' .. handle .. serials[at],
        own and own.fingerprint or record[ORDER.fingerprint], who, user_id, id, revision, from, to,
        record[ORDER.channel], own and own.source or record[ORDER.source],
        own and own.metadata or '', 'O' .. handle .. serial, item[ITEM.price],
        item[ITEM.points_price], code)
    end
  end
end

-- An offer of a waiting line is taken by a claim: as if it were paid now.
function orders.take(handle, serial, record, now, claim)
  record[ORDER.state], record[ORDER.paid_at] = ORDER_STATE.PAID, now
  record[ORDER.channel] = claim.channel
  orders.issue(handle, serial, record, { claim.serial, unpack(record[ORDER.spare]) }, now,
    claim.who, claim)
  local ids = {}
  for i, coupon in ipairs(record[ORDER.coupons]) do ids[i] = 'C' .. handle .. coupon end
  batch.fact('order_paid', now, 'O' .. handle .. serial, claim.fingerprint, claim.who,
    record[ORDER.user_id], 0, 0, '', ids)
  orders.put(handle, serial, record)
end
