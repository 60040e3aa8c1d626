--[[
Take in a purchase that the mall's payment platform reports, and let it earn points, once; refunds
that were reported before it are netted.

include:  batch, earning, keys, notes, people, points, purchases, stores
keys:
  1 cell        hash    epoch, seq and definitions of the cell
derived:
  wallet        hash    the person's live state, their points in field p
  purchase      string  the purchase: its transaction names it
  note          string  which transaction the Idempotency-Key is used for
  points        string  the entry it makes, and those whose lots expire
  points_due    zset    people by the time their next lot expires
  facts         stream  the outbox
arguments:
  1 batch       msgpack array of commands.Buy
outcomes:
  DONE REPEATED NOT_FOUND IDEMPOTENCY_KEY_REUSED
]]

return batch.run(function(op)
  local handle, serial, user_id = op[BUY.handle], op[BUY.serial], op[BUY.user_id]
  local now, wallet, amount = batch.at(op[BUY.now]), keys.wallet(handle), op[BUY.amount]
  local key, key_before, use = unpack(op[BUY.key])
  local noted = notes.used(handle, key, key_before)
  if noted and noted ~= use then return batch.answer(OUTCOME.IDEMPOTENCY_KEY_REUSED, now) end
  local known, packed = purchases.get(handle, serial)
  if known and known[PURCHASE.known] == 1 then
    if known[PURCHASE.fingerprint] ~= op[BUY.fingerprint] then
      return batch.answer(OUTCOME.IDEMPOTENCY_KEY_REUSED, now)
    end
    return batch.record(OUTCOME.REPEATED, now, packed)
  end
  local store = stores.get(op[BUY.store_id])
  if not store then return batch.answer(OUTCOME.NOT_FOUND, now) end
  local row = redis.call('HMGET', wallet, 'u', 'p')
  local user = row[1] and people.read(row[1])
  if user and user[USER.user_id] ~= user_id then error('two users share a handle') end
  local record = points.read(row[2], now)
  local earned, reason = earning.points(user, record, op[BUY.store_id], amount, op[BUY.day], now)
  earning.count(record, op[BUY.day], earned)
  local new = { 1, op[BUY.transaction_id], user_id, op[BUY.store_id], store[STORE.merchant_id],
    amount, op[BUY.occurred], now, op[BUY.channel], op[BUY.receipt_no], op[BUY.fingerprint],
    earned, 0, 0, reason, known and known[PURCHASE.refunded] or 0,
    known and known[PURCHASE.refunds] or {}, '' }
  local net = earned - purchases.due(new)
  if net < earned then new[PURCHASE.reason] = 'refunded' end
  local entry, available, expires
  if net > 0 then
    available, expires = earning.times(now, op[BUY.offset])
    local lot = { serial, net, available, expires }
    points.add(record, lot)
    entry = points.new_entry('purchase', net, now, user_id, op[BUY.fingerprint],
      'purchase', op[BUY.transaction_id], lot, '')
  end
  -- After this point the act must succeed.
  if not noted then notes.keep(handle, key, use) end
  if not user then redis.call('HSET', wallet, 'u', people.new(user_id)) end
  local balance = points.put(handle, user_id, record, now)
  if entry then
    entry[ENTRY.balance] = balance
    points.keep(handle, serial, entry)
  end
  new[PURCHASE.points], new[PURCHASE.balance] = net, balance
  batch.fact('purchased', now, 'P' .. handle .. serial, op[BUY.fingerprint], op[BUY.who], user_id,
    op[BUY.transaction_id], op[BUY.store_id], new[PURCHASE.merchant_id], amount, op[BUY.occurred],
    op[BUY.channel], op[BUY.receipt_no], new[PURCHASE.refunded], earned, net, balance,
    new[PURCHASE.reason], available or 0, expires or 0, points.per_yuan())
  return batch.record(OUTCOME.DONE, now, purchases.put(handle, serial, new))
end)
