"""The format of a code, written a third time, slowly and only from its description.

It signs whatever fields it is given, sensible or not, so that a test can tell a refusal of the
fields from a refusal of the tag.
"""

import hashlib
import hmac

ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"


# What the tests sign and name with.
KEY = bytes(range(32))
OTHER_KEY = bytes(range(1, 33))
HANDLE = "0123456789ABCDEF"
SERIAL = "0000000001A"
NO_SERIAL = "00000000000"
NOW = 59_666_666  # a step of September 2026
REFUSED = (2, 0, "", "", 0)


def spell(value: int, length: int) -> str:
    characters = ""
    for _ in range(length):
        value, digit = divmod(value, 32)
        characters = ALPHABET[digit] + characters
    assert value == 0
    return characters


def number(text: str) -> int:
    value = 0
    for character in text:
        value = value * 32 + ALPHABET.index(character)
    return value


def signed(
    key: bytes,
    *,
    version: int = 1,
    form: int = 0,
    key_id: int = 1,
    handle: int = 0x0123456789ABCDEF0123,
    serial: int = 42,
    step: int = 0,
    low: int | None = None,
    pad: int = 0,
) -> str:
    """A code with these fields and a right tag. `low`: when it is not that of `step`."""
    bits = f"{version:02b}{form:02b}{key_id:04b}{handle:080b}{serial:056b}"
    message = int(bits, 2).to_bytes(18, "big") + step.to_bytes(8, "big")
    tag = hmac.new(key, message, hashlib.sha256).hexdigest()[:32]
    bits += f"{step % 65536 if low is None else low:016b}{int(tag, 16):0128b}{pad:02b}"
    assert len(bits) == 290
    return spell(int(bits, 2), 58)
