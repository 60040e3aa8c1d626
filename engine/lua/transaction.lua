--[[
Say whose purchase a transaction is, in the cell of the transaction's own id. Written before the
purchase itself, safe to repeat; the books learn it from the purchase.

include:  batch, keys, stores
keys:
  1 cell         hash    epoch, seq and definitions of the cell
derived:
  transaction    string  the user of this transaction
  facts          stream  the outbox; nothing is told
arguments:
  1 batch        msgpack array of commands.Named
outcomes:
  DONE REPEATED NOT_FOUND ALREADY_EXISTS
]]

return batch.run(function(op)
  local now, key = batch.at(op[NAMED.now]), keys.transaction(op[NAMED.handle])
  if op[NAMED.store_id] ~= '' and not stores.get(op[NAMED.store_id]) then
    return batch.answer(OUTCOME.NOT_FOUND, now)
  end
  local owner = redis.call('GET', key)
  if owner and owner ~= op[NAMED.user_id] then return batch.answer(OUTCOME.ALREADY_EXISTS, now) end
  if owner then return batch.answer(OUTCOME.REPEATED, now) end
  -- After this point the act must succeed.
  redis.call('SET', key, op[NAMED.user_id])
  return batch.answer(OUTCOME.DONE, now)
end)
