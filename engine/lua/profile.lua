--[[
Tell a user's tier and whether they are frozen; what is nil stays as it is.

include:  batch, keys, people
keys:
  1 cell      hash    epoch, seq and definitions of the cell
derived:
  wallet      hash    the person's live state
  frozen      set     handles of frozen members; the cell counts its changes (freezes)
  facts       stream  the outbox
arguments:
  1 batch     msgpack array of commands.Profile
outcomes:
  DONE
]]

return batch.run(function(op)
  local wallet, now = keys.wallet(op[PROFILE.handle]), batch.at(op[PROFILE.now])
  local packed = redis.call('HGET', wallet, 'u')
  local user = people.read(packed or people.new(op[PROFILE.user_id]))
  if user[USER.user_id] ~= op[PROFILE.user_id] then error('two users share a handle') end
  user[USER.tier] = op[PROFILE.tier] or user[USER.tier]
  user[USER.tier_until] = op[PROFILE.tier_until] or user[USER.tier_until]
  local frozen = op[PROFILE.frozen] or user[USER.frozen]
  local turned = frozen ~= user[USER.frozen]
  user[USER.frozen] = frozen
  local new = people.pack(user)
  -- After this point the act must succeed.
  if turned then
    redis.call(frozen == 1 and 'SADD' or 'SREM', keys.frozen(), op[PROFILE.handle])
    redis.call('HINCRBY', keys.cell, 'freezes', 1)
  end
  if new ~= packed then
    redis.call('HSET', wallet, 'u', new)
    batch.fact('profile_told', now, op[PROFILE.handle], '', op[PROFILE.who],
      user[USER.user_id], user[USER.tier], user[USER.tier_until], user[USER.frozen])
  end
  return batch.record(OUTCOME.DONE, now, new)
end)
