-- include: pack
-- Who a wallet is of: its field 'u' (records.UserRecord). Of most nothing is known but the name, so
-- the rest is written only where there is something to say: it is in every wallet.
local people = {}

-- The packed record of somebody of whom nothing is told yet.
function people.new(user_id)
  return '\145' .. pack.heads[#user_id] .. user_id
end

-- What is written of somebody.
function people.pack(user)
  if user[USER.tier] == '' and user[USER.tier_until] == 0 and user[USER.frozen] == 0
    and user[USER.member_step] == 0 then
    return people.new(user[USER.user_id])
  end
  return pack.array(unpack(user, 1, 5))
end

function people.read(packed)
  local user = cmsgpack.unpack(packed)
  if not user[USER.tier] then
    user[USER.tier], user[USER.tier_until], user[USER.frozen], user[USER.member_step] = '', 0, 0, 0
  end
  return user
end
