--[[
Tell the books that holds have lapsed. The clock decided long ago; this only tidies.

flags:    allow-oom
include:  batch, redemptions
keys:
  1 cell      hash    epoch, seq and definitions of the cell
derived:
  wallet      hash    the person's live state
  campaign    hash    the campaign's share in this cell
  quotas      hash    the quotas of its event
  redemption  string  the hold
  holds       zset    open holds by the time they lapse
  points      string  entries whose lots expire meanwhile
  points_due  zset    people by the time their next lot expires
  opens       zset    open holds on a limited campaign
  facts       stream  the outbox
arguments:
  1 batch     msgpack array of commands.Lapse
outcomes:
  DONE REPEATED NOT_FOUND
]]

return batch.run(function(op)
  local handle, serial = op[LAPSE.handle], op[LAPSE.redemption]
  local now = batch.at(op[LAPSE.now])
  local record = redemptions.get(handle, serial)
  if not record then return batch.answer(OUTCOME.NOT_FOUND, now) end
  if record[REDEMPTION.state] ~= REDEMPTION_STATE.HELD or now < record[REDEMPTION.until] then
    return batch.answer(OUTCOME.REPEATED, now)
  end
  -- After this point the act must succeed.
  redemptions.give_up(handle, serial, record, REDEMPTION_STATE.LAPSED, now, '', op[LAPSE.who])
  return batch.answer(OUTCOME.DONE, now)
end)
