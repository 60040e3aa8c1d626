"""Codes, handles and serials in pure Python: the twin of `_code_c.pyx`, and what it means.

A code is 36 bytes, spelled as 58 base32 characters with two zero bits at the end:

    byte 0      version (2 bits, = 1) | form (2 bits) | key id (4 bits)
    bytes 1-10  handle of the person
    bytes 11-17 serial of the coupon, top bit 0; all zero for a member's own code
    bytes 18-19 low 16 bits of the 30 s step; zero in a static code
    bytes 20-35 first 16 bytes of HMAC-SHA-256(key, bytes 0..17 || full step, 8 bytes big-endian)

The full step is not in the code. The verifier takes the newest one with those low bits that is
not ahead of the next step, so a picture does not come round again after 65,536 steps (22 days).
"""

import hmac
from collections.abc import Iterable, Mapping, Sequence
from hashlib import blake2b
from typing import Final

ROTATING: Final = 0  # forms
STATIC: Final = 1
MEMBER: Final = 2
OK: Final = 0  # statuses
STALE: Final = 1
INVALID: Final = 2
STEP_MS: Final = 30_000
CODE_LENGTH: Final = 58
ALPHABET: Final = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"  # Crockford's, without its aliases

Verdict = tuple[int, int, str, str, int]

_VERSION = 1
_HANDLE_LENGTH = 16
_SERIAL_LENGTH = 11
_HANDLE_BYTES = 10
_SERIAL_BYTES = 7
_TAG_BYTES = 16
_KEY_BYTES_MIN = 16
_STEP_END = 1 << 48
_INPUT_MAX = 256  # characters: a code with every blank a scanner may put in is far shorter
_UTF8_MAX = 4  # bytes a character
_REFUSED: Verdict = (INVALID, 0, "", "", 0)

# Base32 by tables: 10 bits at a time on the way out, int(…, 32) on the way in. What the alphabet
# lacks becomes "!", so that nothing else that int() would take ("_", "+", blanks) gets through.
_PAIRS = [a + b for a in ALPHABET for b in ALPHABET]
_DIGITS = b"0123456789ABCDEFGHIJKLMNOPQRSTUV"


def _table(*spellings: str) -> bytes:
    table = bytearray(b"!" * 256)
    for spelling in spellings:
        for digit, character in zip(_DIGITS, spelling, strict=True):
            table[ord(character)] = digit
    return bytes(table)


_STRICT = _table(ALPHABET)
_SCANNED = _table(ALPHABET, ALPHABET.lower())
_ASCII_BLANKS = bytes(c for c in range(128) if chr(c).isspace())
# Beyond ASCII: blanks go (the last one of Unicode is U+3000), full-width forms become ASCII.
_WIDE: dict[int, int | None] = {c: None for c in range(0x80, 0x3001) if chr(c).isspace()}
_WIDE |= {c: c - 0xFEE0 for c in range(0xFF01, 0xFF5F)}


def b32_encode(value: int, length: int) -> str:
    """Spell `value` as exactly `length` base32 characters, most significant first.

    ValueError: it does not fit, or is negative.
    """
    if value < 0 or value >> (5 * length):
        raise ValueError(f"value does not fit {length} base32 characters")
    shifts = range(10 * ((length + 1) // 2) - 10, -1, -10)
    return "".join([_PAIRS[value >> shift & 1023] for shift in shifts])[-length:]


def b32_decode(text: str) -> int:
    """The number that `text` spells. ValueError: a character outside the alphabet, or no text."""
    return int(text.encode("ascii").translate(_STRICT), 32)


def handle_of(key: bytes, user_id: str) -> str:
    """The handle of a person: 80 bits of keyed BLAKE2b (RFC 7693) as 16 base32 characters.

    ValueError: a key shorter than 16 or longer than 64 bytes.
    """
    _check_key(key)
    digest = blake2b(user_id.encode(), digest_size=_HANDLE_BYTES, key=key).digest()
    return b32_encode(int.from_bytes(digest, "big"), _HANDLE_LENGTH)


def serial_of(key: bytes, kind: str, handle: str, idempotency_key: str, window: int) -> str:
    """The serial of an act in a wallet: 55 bits of keyed BLAKE2b as 11 base32 characters.

    `window` counts 30-day windows. Never serial 0, which means "no coupon" in a code.
    ValueError: a key shorter than 16 or longer than 64 bytes.
    """
    _check_key(key)
    data = "\x1f".join((kind, handle, str(window), idempotency_key)).encode()
    digest = blake2b(data, digest_size=_SERIAL_BYTES, key=key).digest()
    return b32_encode(int.from_bytes(digest, "big") & ((1 << 55) - 1) or 1, _SERIAL_LENGTH)


class KeyRing:
    """Signs codes with one key and verifies them with any key of the ring.

    `keys`: key id (0 to 15) -> key, at least 16 bytes. `active`: the id that signs.
    ValueError: a key id out of range, a short key, or no key under `active`.
    """

    def __init__(self, keys: Mapping[int, bytes], active: int) -> None:
        if active not in keys:
            raise ValueError(f"the ring has no key {active} to sign with")
        for key_id, key in keys.items():
            if not 0 <= key_id <= 15:
                raise ValueError(f"key id {key_id} is not in 0..15")
            _check_key(key)
        self._prepared = {key_id: _prepare(key) for key_id, key in keys.items()}
        self._active = active

    def encode(self, form: int, handle: str, serial: str, step: int) -> str:
        """The code of a coupon (`serial` not 0) or of a member (`serial` 0), 58 characters.

        `step`: unix time // 30 s, 0 for a static code. ValueError: anything out of its range.
        """
        handle_value = part(handle, _HANDLE_LENGTH, "handle")
        serial_value = part(serial, _SERIAL_LENGTH, "serial")
        if not isinstance(form, int):
            raise TypeError("a form is an int")
        if form not in (ROTATING, STATIC, MEMBER):
            raise ValueError("form is not one of ROTATING, STATIC, MEMBER")
        if (form == MEMBER) != (serial_value == 0):
            raise ValueError("serial 0 belongs to member codes, and only to them")
        _check_step(step)
        if form == STATIC and step:
            raise ValueError("a static code has step 0")
        named = (
            bytes((_VERSION << 6 | form << 4 | self._active,))
            + handle_value.to_bytes(_HANDLE_BYTES, "big")
            + serial_value.to_bytes(_SERIAL_BYTES, "big")
        )
        low = (step & 0xFFFF).to_bytes(2, "big")
        packed = named + low + _tag(self._prepared[self._active], named, step)
        return b32_encode(int.from_bytes(packed, "big") << 2, CODE_LENGTH)

    def encode_many(self, items: Iterable[tuple[int, str, str, int]]) -> list[str]:
        """The codes of many (form, handle, serial, step), in their order. Errors as `encode`."""
        return [self.encode(*item) for item in items]

    def verify(self, code: str | bytes, now_step: int) -> Verdict:
        """Judge a scanned code: (status, form, handle, serial, step).

        OK: authentic, of this step or a neighbour. STALE: authentic, older. INVALID: anything
        else, with the same empty answer whatever the cause. No text raises; bytes count as the
        UTF-8 text they spell. TypeError: `code` is neither. ValueError: `now_step` out of range.
        """
        _check_step(now_step)
        raw = unpack(code)
        return _REFUSED if raw is None else self._judge(raw, now_step)

    def verify_many(self, codes: Sequence[str | bytes], now_step: int) -> list[Verdict]:
        """`verify` for each, in their order (the compiled twin: without the GIL)."""
        _check_step(now_step)
        return [self.verify(code, now_step) for code in codes]

    def _judge(self, raw: bytes, now_step: int) -> Verdict:
        version, form, key_id = raw[0] >> 6, raw[0] >> 4 & 3, raw[0] & 15
        serial = int.from_bytes(raw[11:18], "big")
        low = int.from_bytes(raw[18:20], "big")
        prepared = self._prepared.get(key_id)
        if prepared is None or version != _VERSION or form > MEMBER or serial >> 55:
            return _REFUSED
        if (form == MEMBER) != (serial == 0) or (form == STATIC and low):
            return _REFUSED
        behind = 0 if form == STATIC else (now_step + 1 - low) & 0xFFFF
        step = 0 if form == STATIC else now_step + 1 - behind
        if step < 0 or not hmac.compare_digest(_tag(prepared, raw[:18], step), raw[20:]):
            return _REFUSED
        handle = b32_encode(int.from_bytes(raw[1:11], "big"), _HANDLE_LENGTH)
        status = OK if behind <= 2 else STALE
        return status, form, handle, b32_encode(serial, _SERIAL_LENGTH), step


def _check_key(key: bytes) -> None:
    if not isinstance(key, bytes):
        raise TypeError("a key is bytes")
    if len(key) < _KEY_BYTES_MIN:
        raise ValueError(f"a key has at least {_KEY_BYTES_MIN} bytes")


def _check_step(step: int) -> None:
    if not isinstance(step, int):
        raise TypeError("a step is an int")
    if not 0 <= step < _STEP_END:
        raise ValueError("step out of range")


def part(text: str, length: int, name: str) -> int:
    if not isinstance(text, str):
        raise TypeError(f"{name} is not a str")
    try:
        if len(text) == length:
            return b32_decode(text)
    except ValueError:
        pass
    raise ValueError(f"{name} is not {length} base32 characters")


def unpack(code: str | bytes, length: int = CODE_LENGTH) -> bytes | None:
    """The bytes that a scanned text of so many characters spells; None when it is not canonical.

    What is left over of the last character is zero bits. TypeError: `code` is no text.
    """
    if isinstance(code, bytes):
        if len(code) > _UTF8_MAX * _INPUT_MAX:
            return None
        code = code.decode("utf-8", "replace")
    elif not isinstance(code, str):
        raise TypeError("a code is a str")
    if len(code) > _INPUT_MAX:
        return None
    if not code.isascii():
        code = code.translate(_WIDE)
    digits = code.encode("ascii", "replace").translate(_SCANNED, _ASCII_BLANKS)
    if len(digits) != length:
        return None
    try:
        value = int(digits, 32)
    except ValueError:
        return None
    size, left = divmod(5 * length, 8)
    return None if value & (1 << left) - 1 else (value >> left).to_bytes(size, "big")


def _prepare(key: bytes) -> "hmac.HMAC":
    return hmac.new(key, digestmod="sha256")


def _tag(prepared: "hmac.HMAC", named: bytes, step: int) -> bytes:
    mac = prepared.copy()
    mac.update(named + step.to_bytes(8, "big"))
    return mac.digest()[:_TAG_BYTES]


def _hmac_sha256(key: bytes, message: bytes) -> bytes:
    """The primitive alone, for the known-answer tests (RFC 4231)."""
    mac = _prepare(key).copy()
    mac.update(message)
    return mac.digest()
