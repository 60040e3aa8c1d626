--[[
The validations of a stay, a plate or a person that a stay has, or may take, in force now; with
take they are that stay's from then on. Those of a frozen campaign are out of reach as long as it
is. The books learn of it from the payment.

include:  batch, campaigns, keys
keys:
  1 cell      hash    epoch, seq and definitions of the cell
derived:
  pocket      string  what was given
  campaign    hash    whether it is frozen
  quotas      hash    the quotas of its event
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
    local share = campaigns.share(one[VALIDATION.campaign_id])
    local frozen = share and share.issue[ISSUE.status] == 'frozen'
    local free = one[VALIDATION.stay] == '' and now >= one[VALIDATION.valid_from]
      and (ends == 0 or now < ends)
    free = free and not frozen
    if free and op[POCKET.take] == 1 then one[VALIDATION.stay], taken = stay, true end
    if free or (one[VALIDATION.stay] == stay and not frozen) then found[#found + 1] = one end
  end
  -- After this point the act must succeed.
  if taken then redis.call('SET', key, cmsgpack.pack(pocket)) end
  return batch.record(OUTCOME.DONE, now, cmsgpack.pack(found))
end)
