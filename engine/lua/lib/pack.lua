-- MessagePack arrays that may hold nil and may embed what is packed already (cmsgpack's own
-- encoding of a Lua table turns an array with a hole into a map).
local pack = {}

-- The header of an array of n elements (msgpack specification: fixarray, array 16, array 32).
function pack.header(n)
  if n < 16 then return string.char(0x90 + n) end
  if n < 65536 then return string.char(0xdc, math.floor(n / 256), n % 256) end
  return string.char(0xdd, math.floor(n / 16777216), math.floor(n / 65536) % 256,
    math.floor(n / 256) % 256, n % 256)
end

-- An array of the arguments.
function pack.array(...)
  return pack.header(select('#', ...)) .. cmsgpack.pack(...)
end

-- An array of what is packed already.
function pack.join(parts)
  return pack.header(#parts) .. table.concat(parts)
end
