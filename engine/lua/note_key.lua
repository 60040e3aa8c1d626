--[[
Note what an Idempotency-Key is used for, before the act in another cell; or tell what else it has
been used for. What was refused used it for nothing.

include:  batch, notes
keys:
  1 cell        hash    epoch, seq and definitions of the cell
derived:
  note          string  what the key is used for
  facts         stream  the outbox; nothing is told
arguments:
  1 batch       msgpack array of line_commands.NoteKey
outcomes:
  DONE REPEATED ALREADY_EXISTS
]]

return batch.run(function(op)
  local handle, use, now = op[NOTEKEY.handle], op[NOTEKEY.use], batch.at(op[NOTEKEY.now])
  local serial, before = op[NOTEKEY.serial], op[NOTEKEY.serial_before]
  local other, refused = notes.used(handle, serial, before), op[NOTEKEY.refused] == 1
  if refused and other ~= use then return batch.answer(OUTCOME.DONE, now) end
  if not refused and other == use then return batch.answer(OUTCOME.REPEATED, now, use) end
  if other and not refused and other ~= op[NOTEKEY.free_of] then
    return batch.answer(OUTCOME.ALREADY_EXISTS, now, other)
  end
  -- After this point the act must succeed.
  if refused then notes.forget(handle, serial, before) else notes.keep(handle, serial, use) end
  return batch.answer(OUTCOME.DONE, now)
end)
