-- include: batch, pack
-- Telling the books of a waiting line.
local line_facts = {}
local names = { [WAITER_STATE.WAITING] = 'waiting', [WAITER_STATE.OFFERED] = 'offered',
  [WAITER_STATE.SKIPPED] = 'skipped', [WAITER_STATE.LEFT] = 'left',
  [WAITER_STATE.ENDED] = 'ended' }

-- What a fact of this entry (facts.LineTold) begins with, packed.
function line_facts.head(person, serial, now)
  return pack.header(16) .. pack.texts.line_told .. cmsgpack.pack(batch.next())
    .. pack.numbers[now] .. pack.heads[1 + #person + #serial] .. 'W' .. person .. serial
end

-- What somebody's entry says now, put together of what is packed already.
function line_facts.tell(id, person, waiter, now, who)
  local joined, order, texts, numbers = waiter[WAITER.joined], waiter[WAITER.order], pack.texts,
    pack.numbers
  local fingerprint, user = joined[JOINED.fingerprint], waiter[WAITER.user_id]
  order = order ~= '' and 'O' .. person .. order or ''
  batch.facts[#batch.facts + 1] = line_facts.head(person, joined[JOINED.serial], now)
    .. pack.heads[#fingerprint] .. fingerprint .. texts[who] .. pack.heads[#user] .. user
    .. texts[id] .. numbers[waiter[WAITER.party]] .. numbers[waiter[WAITER.priority]]
    .. cmsgpack.pack(waiter[WAITER.place]) .. numbers[waiter[WAITER.at]]
    .. texts[names[waiter[WAITER.state]]] .. pack.heads[#order] .. order
    .. numbers[waiter[WAITER.until]] .. numbers[waiter[WAITER.why]]
end
