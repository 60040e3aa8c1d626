-- include: arithmetic, keys
-- A person's purchases, by serials that derive from transaction ids (Points.purchase_serial).
-- For parking: `purchases.get(handle, serial)` is nil when it is not theirs; `purchases.net(p)` is
-- what stays of it in fen after refunds (0 while only a refund is known); p[PURCHASE.used] names
-- the stay that it has freed a car for, "" = none; after the line, set it and `purchases.put`.
local purchases = {}

-- records.PurchaseRecord and as it is packed, or nil.
function purchases.get(handle, serial)
  local packed = redis.call('GET', keys.purchase(handle, serial))
  return packed and cmsgpack.unpack(packed), packed
end

function purchases.put(handle, serial, record)
  local packed = cmsgpack.pack(record)
  redis.call('SET', keys.purchase(handle, serial), packed)
  return packed
end

-- What stays of it after refunds, in fen.
function purchases.net(record)
  return math.max(0, record[PURCHASE.amount] - record[PURCHASE.refunded])
end

-- How many of the points earned its refunds so far take back: in proportion, half up.
function purchases.due(record)
  local amount = record[PURCHASE.amount]
  local refunded = math.min(amount, record[PURCHASE.refunded])
  if refunded == 0 then return 0 end
  local due, rest = arithmetic.muldiv(record[PURCHASE.earned], refunded, amount)
  return 2 * rest >= amount and due + 1 or due
end
