--[[
A car entered, a stay found its person, or it left. What is told again changes nothing; a stay that
nobody saw enter begins with what is told of it first. The person first recorded for it stays.

include:  batch, stays, stores
keys:
  1 cell      hash    epoch, seq and definitions of the cell
derived:
  stay        string  the stay
  facts       stream  the outbox
arguments:
  1 batch     msgpack array of commands.Attend
outcomes:
  DONE REPEATED NOT_FOUND PLATE_CONFLICT
]]

return batch.run(function(op)
  local now, what, handle = batch.at(op[ATTEND.now]), op[ATTEND.what], op[ATTEND.handle]
  local stay, packed = stays.get(handle)
  local changed = not stay
  if not stay then
    if not stores.lot(op[ATTEND.lot_id]) then return batch.answer(OUTCOME.NOT_FOUND, now) end
    stay = { op[ATTEND.lot_id], op[ATTEND.session_id], op[ATTEND.plate], op[ATTEND.entered], now,
      0, 0, '', '', {}, {} }
  elseif op[ATTEND.plate] ~= '' then
    local corrections = stay[STAY.corrections]
    local read = corrections[1] and corrections[1][CORRECTION.before] or stay[STAY.plate]
    if stay[STAY.plate] == '' and #corrections == 0 then
      stay[STAY.plate], changed = op[ATTEND.plate], true
    elseif what == 'entered' and op[ATTEND.plate] ~= read
      and op[ATTEND.plate] ~= stay[STAY.plate] then
      return batch.answer(OUTCOME.PLATE_CONFLICT, now)
    end
  end
  if stay[STAY.entered] == 0 and op[ATTEND.entered] > 0 then  -- it began before anybody knew
    stay[STAY.entered], changed = op[ATTEND.entered], true
  end
  if what == 'owned' and stay[STAY.owner] == '' and op[ATTEND.owner] ~= '' then
    stay[STAY.user_id], stay[STAY.owner] = op[ATTEND.user_id], op[ATTEND.owner]
    changed = true
  elseif what == 'left' and stay[STAY.closed] == 0 then
    stay[STAY.closed], stay[STAY.exited] = now, op[ATTEND.exited]
    changed = true
  end
  if not changed then return batch.record(OUTCOME.REPEATED, now, packed) end
  -- After this point the act must succeed.
  packed = stays.put(handle, stay, now, op[ATTEND.who], what, '', '')
  return batch.record(OUTCOME.DONE, now, packed)
end)
