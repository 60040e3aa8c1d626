-- include: issuing, keys, records, uses
-- Gifts: a coupon that is offered is held by its gift until somebody takes it or its time is over.
local gifts = { printed = 'print/' }  -- keys.PRINTED

function gifts.get(handle, serial)
  local packed = redis.call('GET', keys.gift(handle, serial))
  return packed and cmsgpack.unpack(packed), packed
end

function gifts.put(handle, serial, record)
  local packed = cmsgpack.pack(record)
  redis.call('SET', keys.gift(handle, serial), packed)
  return packed
end

-- Why a coupon is not free to be given on, or DONE.
function gifts.state(coupon, now)
  if coupon[COUPON.state] == COUPON_STATE.REDEEMED then return OUTCOME.ALREADY_REDEEMED end
  uses.tidy(coupon, now)
  if records.is_held(coupon, now) or #coupon[COUPON.holds] > 0 then return OUTCOME.HELD end
  if coupon[COUPON.state] == COUPON_STATE.VOIDED then return OUTCOME.VOIDED end
  if coupon[COUPON.state] == COUPON_STATE.REFUNDED then return OUTCOME.REFUNDED end
  if coupon[COUPON.state] == COUPON_STATE.TRANSFERRED then return OUTCOME.TRANSFERRED end
  local ends = records.valid_until(coupon)
  if ends and now >= ends then return OUTCOME.EXPIRED end
  return OUTCOME.DONE
end

-- Whether the coupon is still held by this gift: another act may have moved it once it had lapsed.
function gifts.holds(serial, record, coupon)
  if uses.is_held_by(coupon, serial) then return true end
  return coupon[COUPON.state] == COUPON_STATE.HELD and (coupon[COUPON.redemption] or '') == ''
    and coupon[COUPON.held_until] == record[GIVEN.until]
end

-- The open gift that holds a coupon and nothing else does: its serial and record, or nil. What one
-- of several uses is held by is named in it; else it is the gift that lapses when it is free again.
function gifts.holding(handle, serial, coupon, now)
  local names, holds = {}, coupon[COUPON.holds] or {}
  if #holds > 0 then
    if #holds == 1 then names[1] = holds[1][COUPON_HOLD.redemption] end
  elseif records.is_held(coupon, now) and (coupon[COUPON.redemption] or '') == '' then
    local till = coupon[COUPON.held_until]
    for _, name in ipairs(redis.call('ZRANGEBYSCORE', keys.gifts(), till, till)) do
      if string.sub(name, 1, 16) == handle then names[#names + 1] = string.sub(name, 17) end
    end
  end
  for _, name in ipairs(names) do
    local record = gifts.get(handle, name)
    if record and record[GIVEN.coupon] == serial and record[GIVEN.state] == GIFT_STATE.OPEN then
      return name, record
    end
  end
end

-- Set a coupon aside for its gift.
function gifts.hold(coupon, serial, till, terms, now)
  if uses.many(terms) then
    local number, money = uses.left(coupon, terms, now)
    uses.hold(coupon, serial, till, number, money)
  else
    coupon[COUPON.state], coupon[COUPON.redemption] = COUPON_STATE.HELD, ''
    coupon[COUPON.held_until] = till
  end
end

-- The ladder of a claim as far as it is about the person: it was issued long ago.
function gifts.ladder(share, user, count, wallet, now, offset)
  if share.issue[ISSUE.status] == 'frozen' then return OUTCOME.CAMPAIGN_FROZEN end
  local view, issue = {}, {}
  for name, value in pairs(share) do view[name] = value end
  for position, value in pairs(share.issue) do issue[position] = value end
  view.left, view.codes, view.quotas, view.budget_left, view.issue = nil, nil, nil, nil, issue
  view.waiting = nil
  issue[ISSUE.status], issue[ISSUE.start], issue[ISSUE.early] = 'active', 0, {}
  issue[ISSUE.end], issue[ISSUE.valid_end] = 0, 0
  issue[ISSUE.per_minute], issue[ISSUE.per_day] = -1, -1
  return (issuing.ladder(view, user, count, wallet, nil, now, offset))
end

-- Coupons on their way to a person: field t of their wallet.
function gifts.takes(packed)
  return packed and cmsgpack.unpack(packed) or {}
end

function gifts.find_take(takes, serial)
  for i, take in ipairs(takes) do
    if take[TAKE.serial] == serial then return i, take end
  end
end

function gifts.write_takes(handle, takes)
  local wallet = keys.wallet(handle)
  if #takes == 0 then redis.call('HDEL', wallet, 't')
  else redis.call('HSET', wallet, 't', cmsgpack.pack(takes)) end
end
