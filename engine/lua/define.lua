--[[
Publish a definition (a store, a lot, the settings) to this cell; an older version changes nothing.

include:  keys
keys:
  1 cell      hash    epoch, seq and definitions of the cell
arguments:
  1 field     text    s<store>, l<lot> or settings
  2 version   int     of the definition in the books
  3 record    msgpack its record, the version first: StoreRecord, LotRecord, SettingsRecord
outcomes:
  DONE REPEATED
]]

local packed = redis.call('HGET', keys.cell, ARGV[1])
if packed and cmsgpack.unpack(packed)[1] >= tonumber(ARGV[2]) then return OUTCOME.REPEATED end
-- After this point the act must succeed.
redis.call('HSET', keys.cell, ARGV[1], ARGV[3])
return OUTCOME.DONE
