--[[
Send part of what this cell has of a campaign's stock or of a quota to another cell: half of it, or
as much as is wanted there if that is more. What is on its way stands in `sent` until it is received
there.

include:  batch, keys, orders, segments
keys:
  1 cell      hash    epoch, seq and definitions of the cell
derived:
  wallet      hash    people whose orders have lapsed
  campaign    hash    the campaign's share in this cell
  quotas      hash    the quotas of its event
  lapsing     zset    open orders of a quota
  order       string  lapsed orders that set stock aside: they give way
  orders      zset    open orders by the time they lapse
  pending     zset    open orders of a campaign
  pool        list    codes of a third party
  moving      list    those that are on their way to the other cell
  points      string  entries of points; those whose lots expire
  points_due  zset    people by the time their next lot expires
  sent        zset    what was sent where, by when, for the sweeper
  facts       stream  the outbox
arguments:
  1 batch     msgpack array of commands.StockSend
outcomes:
  DONE REPEATED NOT_FOUND SOLD_OUT
]]

local most_codes = 1000  -- of third parties, that go along at once

return batch.run(function(op)
  local now, to = batch.at(op[STOCKSEND.now]), op[STOCKSEND.to]
  local what, id, wanted = op[STOCKSEND.what], op[STOCKSEND.id], op[STOCKSEND.wanted]
  local part = segments.read(what, id)
  if not part then return batch.answer(OUTCOME.NOT_FOUND, now) end
  local sent = part.sent[to + 1] or 0
  if sent ~= op[STOCKSEND.sent] then return batch.answer(OUTCOME.REPEATED, now, sent) end
  local lapsed, free = segments.lapsed(part, now)
  local room = segments.left(part) + free - segments.kept_now(part)
  local n = math.min(room, math.max(wanted, math.floor(room / 2)))
  if segments.with_codes(part) then n = math.min(n, most_codes) end
  if n < 1 then return batch.answer(OUTCOME.SOLD_OUT, now) end
  local freed = segments.in_the_way(part, lapsed, n)
  -- After this point the act must succeed.
  orders.tidy(freed, now)
  segments.put(part.sent, to, sent + n)
  if segments.with_codes(part) then segments.send_codes(part, to, n) end
  local share = segments.move(part, -n, 'sent')
  redis.call('ZADD', keys.sent(), batch.now, to .. ':' .. what .. ':' .. id)
  batch.fact('stock_sent', now, id, '', orders.engine, what, to, n, sent + n, share)
  return batch.answer(OUTCOME.DONE, now, sent + n)
end)
