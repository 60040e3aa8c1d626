--[[
The validations of a stay, a plate or a person that a stay has, or may take, in force now; with
take they are that stay's from then on. The books learn of it from the payment.

include:  batch, keys
keys:
  1 cell      hash    epoch, seq and definitions of the cell
derived:
  pocket      string  what was given
  facts       stream  the outbox; nothing is told
arguments:
  1 batch     msgpack array of commands.Pocket
outcomes:
  DONE
]]

return batch.run(function(op)
  local now, key, stay = batch.at(op[POCKET.now]), keys.pocket(op[POCKET.handle]), op[POCKET.stay]
  local packed = redis.call('GET', key)
  local pocket, found, taken = packed and cmsgpack.unpack(packed) or {}, {}, false
  for _, one in ipairs(pocket) do
    local ends = one[VALIDATION.valid_until]
    local free = one[VALIDATION.stay] == '' and now >= one[VALIDATION.valid_from]
      and (ends == 0 or now < ends)
    if free and op[POCKET.take] == 1 then one[VALIDATION.stay], taken = stay, true end
    if free or one[VALIDATION.stay] == stay then found[#found + 1] = one end
  end
  -- After this point the act must succeed.
  if taken then redis.call('SET', key, cmsgpack.pack(pocket)) end
  return batch.record(OUTCOME.DONE, now, cmsgpack.pack(found))
end)
