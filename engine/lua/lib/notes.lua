-- include: keys
-- What a person uses an Idempotency-Key for, where the record that it makes has a name of its own.
local notes = { kept = 60 * 86400 }  -- seconds that a key may be asked again: two windows

-- What it was used for, or nil: by the notes of this window of keys and of the one before.
function notes.used(handle, serial, before)
  local row = redis.call('MGET', keys.note(handle, serial), keys.note(handle, before))
  return row[1] or row[2] or nil
end

function notes.keep(handle, serial, use)
  redis.call('SET', keys.note(handle, serial), use, 'EX', notes.kept)
end

function notes.forget(handle, serial, before)
  redis.call('DEL', keys.note(handle, serial), keys.note(handle, before))
end
