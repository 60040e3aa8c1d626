--[[
Put a coupon that was given on into its receiver's wallet, or give up asking for it. What a giver's
cell has let go is always taken in, asked for or not; nothing that has come is ever given up.

include:  batch, campaigns, gifts, issuing, keys, orders, people, records
keys:
  1 cell      hash    epoch, seq and definitions of the cell
derived:
  wallet      hash    the receiver's live state
  takes       zset    coupons on their way by the time they were asked for
  holders     string  who was given one
  facts       stream  the outbox
arguments:
  1 batch     msgpack array of commands.Receive
outcomes:
  DONE REPEATED
]]

return batch.run(function(op)
  local handle, serial, now = op[RECEIVE.handle], op[RECEIVE.serial], batch.at(op[RECEIVE.now])
  local wallet, id, ends = keys.wallet(handle), op[RECEIVE.campaign_id], op[RECEIVE.valid_until]
  local row = redis.call('HMGET', wallet, 'C' .. serial, 't', 'u')
  if row[1] then return batch.record(OUTCOME.REPEATED, now, row[1]) end
  local takes = gifts.takes(row[2])
  local position, take = gifts.find_take(takes, serial)
  if not take and op[RECEIVE.won] == 0 then return batch.answer(OUTCOME.REPEATED, now) end
  local at = take and take[TAKE.at] or now
  local offset = take and take[TAKE.offset] or op[RECEIVE.offset]
  if ends > 0 then at = math.min(at, ends - 1) end
  local coupon = records.coupon({ id, op[RECEIVE.terms_revision], COUPON_STATE.ISSUED, at,
    op[RECEIVE.valid_from] - at, ends > 0 and ends - at or 0, op[RECEIVE.fingerprint],
    op[RECEIVE.channel], op[RECEIVE.extra], [COUPON.paid] = op[RECEIVE.paid],
    [COUPON.came_from] = op[RECEIVE.source], [COUPON.used] = op[RECEIVE.used],
    [COUPON.spent] = op[RECEIVE.spent], [COUPON.came_used] = op[RECEIVE.used],
    [COUPON.came_spent] = op[RECEIVE.spent] })
  -- After this point the act must succeed.
  if take then
    table.remove(takes, position)
    gifts.write_takes(handle, takes)
    redis.call('ZREM', keys.takes(), handle .. serial)
  end
  if op[RECEIVE.won] == 0 then
    orders.recount(handle, id, issuing.less, at, offset, 1)
    return batch.answer(OUTCOME.DONE, now)
  end
  if not take then orders.recount(handle, id, issuing.more, at, offset, 1) end
  if not row[3] then
    redis.call('HSET', wallet, 'u', people.new(op[RECEIVE.user_id]))
  end
  redis.call('HSET', wallet, 'C' .. serial, coupon)
  redis.call('APPEND', keys.holders(id), string.sub(handle, 1, campaigns.holder))
  batch.fact('received', now, 'C' .. handle .. serial, op[RECEIVE.fingerprint], op[RECEIVE.who],
    op[RECEIVE.user_id], id, op[RECEIVE.terms_revision], at, op[RECEIVE.valid_from], ends,
    op[RECEIVE.channel], op[RECEIVE.told_source], op[RECEIVE.told_metadata], op[RECEIVE.source],
    op[RECEIVE.paid], op[RECEIVE.used], op[RECEIVE.spent])
  return batch.record(OUTCOME.DONE, now, coupon)
end)
