-- include: keys
-- The definitions of this cell: stores and settings, read once a batch.
local stores = { known = {} }

-- records.StoreRecord, or nil when there is no such store.
function stores.get(id)
  if stores.known[id] == nil then
    local packed = redis.call('HGET', keys.cell, 's' .. id)
    stores.known[id] = packed and cmsgpack.unpack(packed) or false
  end
  return stores.known[id] or nil
end

-- The least that must stay to pay, in fen.
function stores.payable_floor()
  if not stores.floor then
    local packed = redis.call('HGET', keys.cell, 'settings')
    stores.floor = packed and cmsgpack.unpack(packed)[SETTINGS.payable_floor] or 0
  end
  return stores.floor
end
