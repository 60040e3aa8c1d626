--[[
Receive what another cell has sent of a campaign's stock or of a quota, up to the total that it has
ever sent here: what was received before does not come twice.

include:  batch, orders, segments
keys:
  1 cell      hash    epoch, seq and definitions of the cell
derived:
  campaign    hash    the campaign's share in this cell
  pool        list    codes of a third party: where coupons take one along, they are told too
  quotas      hash    the quotas of its event
  facts       stream  the outbox
arguments:
  1 batch     msgpack array of commands.StockReceive
outcomes:
  DONE REPEATED NOT_FOUND INVALID_REQUEST
]]

return batch.run(function(op)
  local now, from = batch.at(op[STOCKRECEIVE.now]), op[STOCKRECEIVE.sender]
  local what, id, total = op[STOCKRECEIVE.what], op[STOCKRECEIVE.id], op[STOCKRECEIVE.total]
  local part = segments.read(what, id)
  if not part then return batch.answer(OUTCOME.NOT_FOUND, now) end
  local n = total - (part.received[from + 1] or 0)
  if n <= 0 then return batch.answer(OUTCOME.REPEATED, now, 0) end
  local codes = op[STOCKRECEIVE.codes]
  if segments.with_codes(part) and not codes then
    return batch.answer(OUTCOME.INVALID_REQUEST, now)
  end
  -- After this point the act must succeed.
  segments.put(part.received, from, total)
  if segments.with_codes(part) then segments.receive_codes(part, codes, n) end
  local share = segments.move(part, n, 'received')
  segments.keep(part, math.min(n, op[STOCKRECEIVE.wanted]))
  batch.fact('stock_received', now, id, '', orders.engine, what, from, n, total, share)
  return batch.answer(OUTCOME.DONE, now, n)
end)
