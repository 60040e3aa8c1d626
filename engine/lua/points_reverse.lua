--[[
Reverse an entry of points, in part or whole, by an entry of its own: what was spent goes back to
its lots, what was earned is taken back as the policy allows.

include:  batch, keys, points
keys:
  1 cell        hash    epoch, seq and definitions of the cell
derived:
  wallet        hash    the person's live state, their points in field p
  points        string  both entries, and those whose lots expire
  points_due    zset    people by the time their next lot expires
  facts         stream  the outbox
arguments:
  1 batch       msgpack array of commands.Undo
outcomes:
  DONE REPEATED NOT_FOUND IDEMPOTENCY_KEY_REUSED POINTS_INSUFFICIENT ALREADY_REVERSED
  NOTHING_TO_REVERSE MORE_THAN_REDEEMED WINDOW_MOVED
]]

return batch.run(function(op)
  local handle, serial = op[UNDO.handle], op[UNDO.serial]
  local now = batch.at(op[UNDO.now])
  if batch.window_moved(now, op[UNDO.window]) then
    return batch.answer(OUTCOME.WINDOW_MOVED, now)
  end
  local entry = points.entry(handle, op[UNDO.entry])
  if not entry then return batch.answer(OUTCOME.NOT_FOUND, now) end
  local found, packed = points.entry(handle, serial)
  if not found then found, packed = points.entry(handle, op[UNDO.serial_before]) end
  if found then
    if found[ENTRY.fingerprint] ~= op[UNDO.fingerprint] then
      return batch.answer(OUTCOME.IDEMPOTENCY_KEY_REUSED, now)
    end
    return batch.record(OUTCOME.REPEATED, now, packed)
  end
  if entry[ENTRY.of] ~= '' then return batch.answer(OUTCOME.NOTHING_TO_REVERSE, now) end
  local asked, number = op[UNDO.points], entry[ENTRY.points]
  if math.abs(number) == entry[ENTRY.reversed] then
    return batch.answer(OUTCOME.ALREADY_REVERSED, now)
  end
  local record = points.read(redis.call('HGET', keys.wallet(handle), 'p'), now)
  local rest = points.rest(record, op[UNDO.entry], entry)
  if rest == 0 then return batch.answer(OUTCOME.NOTHING_TO_REVERSE, now) end
  if asked > rest then return batch.answer(OUTCOME.MORE_THAN_REDEEMED, now) end
  local most = rest
  if number > 0 then
    most = points.reclaimable(record, op[UNDO.entry], entry, op[UNDO.policy])
  end
  local wanted = asked >= 0 and asked or math.min(rest, most)
  if wanted > most or wanted == 0 then
    local short = (asked >= 0 and asked or rest) - most
    return batch.answer(OUTCOME.POINTS_INSUFFICIENT, now, nil, short)
  end
  if number > 0 then
    points.reclaim(record, op[UNDO.entry], entry, wanted)
  else
    entry[ENTRY.parts] = points.give_back(record, entry[ENTRY.parts], wanted)
    entry[ENTRY.reversed] = entry[ENTRY.reversed] + wanted
  end
  local reversal = points.new_entry(entry[ENTRY.kind] .. '_reversal',
    number > 0 and -wanted or wanted, now,
    entry[ENTRY.user_id], op[UNDO.fingerprint], op[UNDO.reason],
    entry[ENTRY.ref], nil, op[UNDO.entry])
  -- After this point the act must succeed.
  points.keep(handle, op[UNDO.entry], entry)  -- first: put adds to it what expired
  local balance = points.put(handle, entry[ENTRY.user_id], record, now)
  return batch.record(OUTCOME.DONE, now,
    points.tell(handle, serial, reversal, balance, op[UNDO.who]))
end)
