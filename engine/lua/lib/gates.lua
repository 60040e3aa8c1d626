-- include: arithmetic, keys, records, stacking
-- Who came and went with a ticket, and whether it lets somebody through a gate now.
local gates = { most = 60 }  -- passings that are kept of a ticket

-- records of attendance as they stand: none where the redemption of the first entry was reversed.
local function attendance(handle, item)
  local packed = redis.call('GET', keys.attendance(handle, item.serial))
  local seen = packed and cmsgpack.unpack(packed)
  local first = seen and seen[ATTENDANCE.redemption]
  if seen and (first == '' or first == item.record[COUPON.redemption]) then return seen end
  return { '', 0, {} }
end

-- Whether a passing at that moment runs into another one, and which: in where one is in already or
-- has been in for good, out where nobody is in.
local function clash(passings, at, out, reentry)
  local last, following, entry
  for _, passing in ipairs(passings) do
    local before = passing[PASSING.at] <= at
    if before then last = passing else following = following or passing end
    if passing[PASSING.out] == 0 and (before or not entry) then entry = passing end
  end
  if out == 1 then return not last or last[PASSING.out] == 1, last end
  if last and last[PASSING.out] == 0 then return true, last end
  if entry and not reentry then return true, entry end
  if following and following[PASSING.out] == 0 then return true, following end
  return false
end

-- The first entry: as any redemption of an empty basket, at this gate's store.
local function first_entry(item, at)
  local accepted, refused = stacking.judge({ item }, arithmetic.basket({}, 0), at)
  if not accepted[1] then return refused[1].outcome end
  if records.is_held(item.record, at.real) then return OUTCOME.HELD end
  item.redeems = true
  return OUTCOME.DONE
end

local function outcome_of(item, event, at)
  if item.stale or at.member_stale then return OUTCOME.CODE_EXPIRED end
  if not event or (at.event ~= '' and at.event ~= event[EVENT.id]) then
    return OUTCOME.WRONG_EVENT
  end
  local clashes, other = clash(item.seen[ATTENDANCE.passings], at.now, at.out,
    event[EVENT.reentry])
  local used = at.member_used
    or (item.step > 0 and item.step <= (item.record[COUPON.step] or 0))
  if at.out == 1 then  -- no freeze and no hour keeps anybody in
    if clashes then return OUTCOME.NOT_IN, other end
    return used and OUTCOME.CODE_USED or OUTCOME.DONE
  end
  if item.status == 'frozen' then return OUTCOME.CAMPAIGN_FROZEN end
  if at.user_frozen then return OUTCOME.USER_FROZEN end
  if clashes then return OUTCOME.ALREADY_IN, other end
  if item.seen[ATTENDANCE.redemption] == '' then
    local outcome = first_entry(item, at)
    if outcome ~= OUTCOME.DONE then return outcome end
  else
    if used then return OUTCOME.CODE_USED end
    local ends = records.valid_until(item.record)
    if ends and at.now >= ends then return OUTCOME.EXPIRED end
  end
  if at.now < event[EVENT.entry_from] then
    return OUTCOME.TOO_EARLY, nil, event[EVENT.entry_from]
  end
  if at.now >= event[EVENT.entry_until] then
    return OUTCOME.TOO_LATE, nil, event[EVENT.entry_until]
  end
  return OUTCOME.DONE
end

-- Judge one ticket in a scene: it gets `outcome`, `other` (the passing that it runs into), `opens`
-- (the end of the entry that it missed), `seen`, and `redeems` where it would be used up by it.
function gates.judge(handle, item, at)
  item.seen = attendance(handle, item)
  local outcome, other, opens = outcome_of(item, item.terms[TERMS.event], at)
  item.outcome, item.other, item.opens = outcome, other, opens or 0
end

-- Somebody went through: keep it with the ticket, by its time. `spent`: so is the picture.
function gates.pass(handle, item, serial, record, spent)
  local passings, at = item.seen[ATTENDANCE.passings], record[SCAN.scanned]
  local place = #passings + 1
  while place > 1 and passings[place - 1][PASSING.at] > at do place = place - 1 end
  table.insert(passings, place, { at, record[SCAN.out], record[SCAN.gate], serial })
  if #passings > gates.most then table.remove(passings, 1) end
  if record[SCAN.out] == 0 then
    item.seen[ATTENDANCE.entries] = item.seen[ATTENDANCE.entries] + 1
    record[SCAN.entries] = item.seen[ATTENDANCE.entries]
  end
  redis.call('SET', keys.attendance(handle, item.serial), cmsgpack.pack(item.seen))
  if spent and item.step > 0 and not item.redeems then
    item.record[COUPON.step] = item.step
    redis.call('HSET', keys.wallet(handle), 'C' .. item.serial, records.coupon(item.record))
  end
end
