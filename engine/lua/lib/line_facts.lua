-- include: batch
-- Telling the books of a waiting line.
local line_facts = {}
local names = { [WAITER_STATE.WAITING] = 'waiting', [WAITER_STATE.OFFERED] = 'offered',
  [WAITER_STATE.SKIPPED] = 'skipped', [WAITER_STATE.LEFT] = 'left',
  [WAITER_STATE.ENDED] = 'ended' }

-- What somebody's entry says now.
function line_facts.tell(id, person, waiter, now, who)
  local joined, order = waiter[WAITER.joined], waiter[WAITER.order]
  batch.fact('line_told', now, 'W' .. person .. joined[JOINED.serial], joined[JOINED.fingerprint],
    who, waiter[WAITER.user_id], id, waiter[WAITER.party], waiter[WAITER.priority],
    waiter[WAITER.place], waiter[WAITER.at], names[waiter[WAITER.state]],
    order ~= '' and 'O' .. person .. order or '', waiter[WAITER.until], waiter[WAITER.why])
end
