-- include: campaigns, keys, receipts
-- What a campaign's budget and its uses a day still take; a lapsed hold sets nothing aside, told
-- to the books or not.
local rooms = { engine = '{"key":"","label":"engine","role":"engine"}', most = 1000 }

-- The holds on a campaign whose time has passed and which nobody has tidied: {handle, serial,
-- record}.
function rooms.lapsed(id, now)
  local found = {}
  for i, name in ipairs(redis.call('ZRANGEBYSCORE', keys.opens(id), '-inf', now, 'LIMIT', 0,
    rooms.most)) do
    local handle, serial = string.sub(name, 1, 16), string.sub(name, 17)
    found[i] = { handle, serial, (receipts.get(handle, serial)) }
  end
  return found
end

-- Add to the room what a hold would give back.
function rooms.free(room, share, record, store, day)
  for _, part in ipairs(receipts.parts(record)) do
    if part.campaign == share.id then
      local counted = record[REDEMPTION.day] == day and part.counted or 0
      if room.budget and part.applied then
        room.budget = room.budget + receipts.cost(part.applied)
      end
      if counted % 2 == 1 then room.used = room.used - 1 end
      if counted >= 2 and receipts.place(record) == store then
        room.used_here = room.used_here - 1
      end
    end
  end
end

-- The room of a campaign on a local day in a store: {budget (nil = unlimited), used, used_here},
-- and the lapsed holds that it counts as free.
function rooms.of(share, store, now, day)
  local room = { budget = share.budget_left,
    used = share.uses[USES.day] == day and share.uses[USES.count] or 0,
    used_here = campaigns.used_in(share, store, day) }
  local lapsed = rooms.lapsed(share.id, now)
  for _, hold in ipairs(lapsed) do rooms.free(room, share, hold[3], store, day) end
  return room, lapsed
end
