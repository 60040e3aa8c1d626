--[[
Publish a campaign to this cell: its rules of giving out, its terms, its share of the stock.
An older version than the cell has changes nothing. An edit never resets a counter, and what has
moved between cells stays where it is.

include:  batch, keys, pack
keys:
  1 cell      hash    epoch, seq and definitions of the cell
derived:
  campaign    hash    the campaign's share in this cell
  facts       stream  the outbox
arguments:
  1 id        text    campaign id
  2 version   int     of the campaign in the books
  3 issue     msgpack records.Issue
  4 share     int     this cell's part of the stock before anything moved, "" = unlimited
  5 who       json    who did it
  6 now       int     0 = the server's clock
  7 budget    int     this cell's part of the budget in fen, -1 = unlimited
  8 terms     …       revision and msgpack records.Terms, in pairs
outcomes:
  DONE REPEATED SOLD_OUT BUDGET_EXHAUSTED
]]

local campaign, version = keys.campaign(ARGV[1]), tonumber(ARGV[2])
local now = batch.at(tonumber(ARGV[6]))
local row = redis.call('HMGET', campaign, 'version', 'share', 'left', 'issued', 'budget',
  'budget_left', 'aside', 'moved')
local share = ARGV[4] ~= '' and tonumber(ARGV[4]) + (tonumber(row[8]) or 0) or -1
if row[1] and tonumber(row[1]) >= version then
  return pack.array(OUTCOME.REPEATED, now, tonumber(row[3]))
end
local issued = tonumber(row[4]) or 0
local left = share >= 0 and share - issued - (tonumber(row[7]) or 0) or nil
if left and left < 0 and row[2] ~= false and tonumber(row[2]) ~= share then
  return pack.array(OUTCOME.SOLD_OUT, now, tonumber(row[3]))  -- less than is issued or set aside
end
local budget, had = tonumber(ARGV[7]), math.max(0, tonumber(row[5]) or 0)
local budget_left = budget >= 0 and (tonumber(row[6]) or 0) + budget - had or nil
if budget_left and budget_left < 0 and budget ~= had then
  return pack.array(OUTCOME.BUDGET_EXHAUSTED, now, budget_left)  -- less than is spent
end
local added = share >= 0 and share - math.max(0, tonumber(row[2]) or 0) or 0
-- After this point the act must succeed.
redis.call('HSET', campaign, 'version', version, 'issue', ARGV[3], 'share', share,
  'issued', issued)
if left then redis.call('HSET', campaign, 'left', left)
else redis.call('HDEL', campaign, 'left') end
if cmsgpack.unpack(ARGV[3])[ISSUE.pool] == 1 then redis.call('HSETNX', campaign, 'codes', 0) end
if budget_left then redis.call('HSET', campaign, 'budget', budget, 'budget_left', budget_left) end
for i = 8, #ARGV, 2 do redis.call('HSET', campaign, 't' .. ARGV[i], ARGV[i + 1]) end
batch.fact('published', now, ARGV[1], '', ARGV[5], version, share, added)
batch.finish()
return pack.array(OUTCOME.DONE, now, left)
