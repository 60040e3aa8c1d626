-- include: issuing, keys, pack
-- Waiting lines: who waits for a campaign, in their order, in the cell that its name leads to.
local lines = { ranks = 4398046511104, top = 1000 }  -- places of a priority; the highest one

-- The line (version, open, last place given) and, packed, the entry of a person in it.
function lines.get(id, person)
  local row = redis.call('HMGET', keys.line(id), 'version', 'last', 'e' .. person)
  local version = tonumber(row[1]) or 0
  return { version = version, open = version % 2 == 1, last = tonumber(row[2]) or 0 }, row[3]
end

-- What a claim of somebody of no tier who holds nothing would be told of the campaign.
function lines.closed(share, now, offset)
  local outcome, opens = issuing.ladder(share, nil, nil, nil, nil, now, offset)
  if outcome == OUTCOME.NOT_STARTED then  -- unless it has begun for some
    for _, early in ipairs(share.issue[ISSUE.early]) do
      if now >= early[2] and share.issue[ISSUE.status] ~= 'draft' then return OUTCOME.DONE end
    end
  end
  if outcome > OUTCOME.NOT_STARTED then outcome = OUTCOME.DONE end
  return outcome, opens
end

-- Whether the campaign is over, and its line with it.
function lines.ended(share, now, offset)
  return lines.closed(share, now, offset) == OUTCOME.CAMPAIGN_ENDED
end

-- Where somebody stands: as a text, since a number in Lua is written with 14 digits.
function lines.score(waiter)
  return string.format('%.0f',
    (lines.top - waiter[WAITER.priority]) * lines.ranks + waiter[WAITER.place])
end

-- An entry as it is packed (waiting_records.Waiter) begins with its state and the party, a byte
-- each after that of the array; then comes how they joined, whose serial is first.
function lines.state(packed) return string.byte(packed, 2) end
function lines.party(packed) return string.byte(packed, 3) end
function lines.serial(packed) return string.sub(packed, 6, 16) end

-- An entry of somebody who waits, with what became of them. Until then it ends with three bytes: no
-- order, until 0, why 0.
function lines.turned(packed, state, order, ends, why)
  return string.sub(packed, 1, 1) .. string.char(state) .. string.sub(packed, 3, -4)
    .. pack.heads[#order] .. order .. pack.numbers[ends] .. pack.numbers[why]
end
