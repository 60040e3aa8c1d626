--[[
Put a user into an audience, or take them out.

include:  batch, keys, people
keys:
  1 cell      hash    epoch, seq and definitions of the cell
derived:
  wallet      hash    the person's live state
  facts       stream  the outbox
arguments:
  1 batch     msgpack array of commands.Member
outcomes:
  DONE REPEATED
]]

return batch.run(function(op)
  local wallet, now = keys.wallet(op[MEMBER.handle]), batch.at(op[MEMBER.now])
  local field, present = 'a' .. op[MEMBER.audience_id], op[MEMBER.present] == 1
  local row = redis.call('HMGET', wallet, 'u', field)
  local user = row[1] and cmsgpack.unpack(row[1])
  if user and user[USER.user_id] ~= op[MEMBER.user_id] then error('two users share a handle') end
  if present == (row[2] ~= false) then return batch.answer(OUTCOME.REPEATED, now) end
  -- After this point the act must succeed.
  if not user then
    redis.call('HSET', wallet, 'u', people.new(op[MEMBER.user_id]))
  end
  if present then redis.call('HSET', wallet, field, 1) else redis.call('HDEL', wallet, field) end
  batch.fact('member_told', now, op[MEMBER.handle], '', op[MEMBER.who], op[MEMBER.user_id],
    op[MEMBER.audience_id], op[MEMBER.present])
  return batch.answer(OUTCOME.DONE, now)
end)
