-- include: keys, pack
-- Runs a batch: each operation decided and answered on its own, the facts of all in one entry.
local batch = { facts = {}, flush = {} }

local server_time = redis.call('TIME')
batch.now = server_time[1] * 1000 + math.floor(server_time[2] / 1000)

-- The clock of an operation: the server's, or on a rehearsal server the one it carries.
function batch.at(now)
  if now == 0 then return batch.now end
  if now > (batch.clock or 0) then batch.clock = now end
  return now
end

-- Ids derive from the 30-day window of the act; a caller whose clock is elsewhere asks again.
function batch.window_moved(now, window)
  return math.floor(now / 2592000000) ~= window
end

-- The seq of the next fact, gapless within the cell and epoch.
function batch.next()
  if not batch.seq then
    local state = redis.call('HMGET', keys.cell, 'epoch', 'seq')
    batch.epoch = state[1] or '1'
    batch.seq = tonumber(state[2]) or 0
  end
  batch.seq = batch.seq + 1
  return batch.seq
end

-- Append a fact (engine/facts.py).
function batch.fact(kind, at, act, fingerprint, who, ...)
  batch.facts[#batch.facts + 1] = pack.array(kind, batch.next(), at, act, fingerprint, who, ...)
end

-- An answer: the outcome, the moment it was decided, and what else there is to say.
function batch.answer(outcome, now, ...)
  return pack.array(outcome, now, ...)
end

-- What an answer begins with that carries a record as it is packed. Most of a batch begin alike.
function batch.opening(outcome, now)
  local made = batch.opened
  if not made or made.outcome ~= outcome or made.now ~= now then
    made = { outcome = outcome, now = now,
      packed = pack.header(3) .. cmsgpack.pack(outcome, now) }
    batch.opened = made
  end
  return made.packed
end

function batch.record(outcome, now, record)
  return batch.opening(outcome, now) .. record
end

-- The first answer again, of an act whose record is the receipt of its Idempotency-Key; nil = the
-- key is new. The record is found under the serial of this 30-day window or of the one before;
-- at: the position of its fingerprint.
function batch.again(now, fingerprint, at, serial, key, before, key_before)
  local row = redis.call('MGET', key, key_before)
  local packed = row[1] or row[2]
  if not packed then return nil end
  if cmsgpack.unpack(packed)[at] ~= fingerprint then
    return batch.answer(OUTCOME.IDEMPOTENCY_KEY_REUSED, now)
  end
  return pack.header(4) .. cmsgpack.pack(OUTCOME.REPEATED, now) .. packed
    .. cmsgpack.pack(row[1] and serial or before)
end

-- Write what was gathered: counters, seq, one entry with all facts, the rehearsal clock.
function batch.finish()
  for _, write in ipairs(batch.flush) do write() end
  if #batch.facts > 0 then
    redis.call('HSET', keys.cell, 'epoch', batch.epoch, 'seq', batch.seq)
    redis.call('XADD', keys.facts(), batch.epoch .. '-' .. string.format('%.0f', batch.seq),
      'f', pack.join(batch.facts))
  end
  if batch.clock and batch.clock > (tonumber(redis.call('HGET', keys.cell, 'clock')) or 0) then
    redis.call('HSET', keys.cell, 'clock', string.format('%.0f', batch.clock))
  end
end

-- Decide every operation; a fault in one is its own answer (-1, message) and nobody else's. An act
-- answers with one string or, in two parts, with two.
function batch.run(act)
  local ops, parts, n = cmsgpack.unpack(ARGV[1]), {}, 0
  for i = 1, #ops do
    local ok, answer, record = pcall(act, ops[i])
    n = n + 1
    parts[n] = ok and answer or pack.array(-1, batch.now, tostring(answer))
    if ok and record then
      n = n + 1
      parts[n] = record
    end
  end
  batch.finish()
  return pack.join(parts, #ops)
end
