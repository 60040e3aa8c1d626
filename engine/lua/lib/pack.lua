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

-- An array of the arguments. cmsgpack makes a string of each argument before it joins them, of a
-- table only one: what holds no nil goes as a table.
function pack.array(...)
  local n, list = select('#', ...), { ... }
  for i = 1, n do
    if list[i] == nil then return pack.header(n) .. cmsgpack.pack(...) end
  end
  return cmsgpack.pack(list)
end

-- The header of a string of n bytes (fixstr, str 8, str 16, str 32), each made once.
pack.heads = setmetatable({}, { __index = function(heads, n)
  local head = n < 32 and string.char(0xa0 + n) or n < 256 and string.char(0xd9, n)
    or n < 65536 and string.char(0xda, math.floor(n / 256), n % 256)
    or string.char(0xdb, math.floor(n / 16777216), math.floor(n / 65536) % 256,
      math.floor(n / 256) % 256, n % 256)
  heads[n] = head
  return head
end })

-- A string as it is packed, each made once: for what many acts of a batch have in common.
pack.texts = setmetatable({}, { __index = function(texts, text)
  texts[text] = pack.heads[#text] .. text
  return texts[text]
end })

-- A number as it is packed, in the same way.
pack.numbers = setmetatable({}, { __index = function(numbers, number)
  numbers[number] = cmsgpack.pack(number)
  return numbers[number]
end })

-- An array of n elements (one a part unless said) that are packed already. Joined in one go: Lua
-- hashes every byte of each new string.
function pack.join(parts, n)
  parts[0] = pack.header(n or #parts)
  return table.concat(parts, '', 0)
end
