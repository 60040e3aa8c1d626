"""What stands under the picture of a printed coupon: thirteen characters that a person can type.

Twelve spell 60 bits, the number of the print (28) and a tag over it (32, HMAC-SHA-256), one is a
check digit: Damm's scheme over GF(32), which finds every wrong character and every two that are
swapped (H. M. Damm, "Total anti-symmetrische Quasigruppen", 2004). The number names all there is
to know: owner, cell and coupon derive from it; nothing is looked up, a guess costs no Redis call.
"""

from __future__ import annotations

import hmac
import unicodedata
from collections.abc import Sequence
from typing import Final

from engine.fastpath import ALPHABET, b32_decode, b32_encode, handle_of, serial_of
from engine.keys import PRINTED

MOST_NUMBER: Final = (1 << 28) - 1
LENGTH: Final = 13
_TAG_BITS: Final = 32
_LONGEST_INPUT: Final = 64
_POLYNOMIAL: Final = 0b100101  # of GF(32)
_VALUES = {character: value for value, character in enumerate(ALPHABET)}
_VALUES |= {"I": 1, "L": 1, "O": 0}  # as people read them (Crockford)


def place_of(handle_key: bytes, number: int) -> tuple[str, str]:
    """(handle, serial) of the printed coupon of a number."""
    handle = handle_of(handle_key, f"{PRINTED}{number}")
    return handle, serial_of(handle_key, "print", handle, "", 0)


class TypedCodes:
    """The typed codes of one tenant. Secret and key ids as for ``Codes``."""

    def __init__(
        self,
        secret: bytes,
        tenant: str,
        handle_key: bytes,
        key_ids: Sequence[int] = (1,),
        active: int = 1,
    ) -> None:
        self._keys = {key_id: _key(secret, tenant, key_id) for key_id in key_ids}
        self._active = active
        self._handle_key = handle_key

    def code(self, number: int) -> str:
        """The code of a print. ValueError: a number out of range."""
        if not 0 < number <= MOST_NUMBER:
            raise ValueError("a print's number has 28 bits")
        body = b32_encode(number << _TAG_BITS | _tag(self._keys[self._active], number), LENGTH - 1)
        return body + ALPHABET[_damm(body)]

    def read(self, text: str) -> tuple[str, str] | None:
        """(handle, serial) of the coupon that a typed text names; None for anything else."""
        if len(text) > _LONGEST_INPUT:
            return None
        plain = unicodedata.normalize("NFKC", text).upper()
        typed = [one for one in plain if not (one.isspace() or one in "-‐‑–—")]
        if len(typed) != LENGTH or any(one not in _VALUES for one in typed):
            return None
        body = "".join(ALPHABET[_VALUES[one]] for one in typed)
        if _damm(body) != 0:
            return None
        value = b32_decode(body[:-1])
        number, tag = value >> _TAG_BITS, value & ((1 << _TAG_BITS) - 1)
        given, good = tag.to_bytes(4, "big"), False
        for key in self._keys.values():
            good |= hmac.compare_digest(given, _tag(key, number).to_bytes(4, "big"))
        return place_of(self._handle_key, number) if good and number else None


def shown(code: str) -> str:
    """As it is printed, in groups: ``ABCD-EFGH-JKLMN``."""
    return f"{code[:4]}-{code[4:8]}-{code[8:]}"


def _damm(text: str) -> int:
    """The check digit of a text; 0 of one that ends with its own."""
    check = 0
    for character in text:
        check = (check ^ _VALUES[character]) << 1
        if check > 31:
            check ^= _POLYNOMIAL
    return check


def _tag(key: bytes, number: int) -> int:
    return int.from_bytes(hmac.digest(key, number.to_bytes(4, "big"), "sha256")[:4], "big")


def _key(secret: bytes, tenant: str, key_id: int) -> bytes:
    info = b"hexiao typed v1|" + tenant.encode() + b"|" + bytes([key_id])
    return hmac.digest(secret, info, "sha256")
