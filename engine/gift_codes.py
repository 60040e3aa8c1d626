"""What names a gift: a code that nobody can guess, to be sent by chat or shown as a picture.

It is spelled and signed like a static code of a coupon (``fastpath``), with keys of its own: no
coupon's code means a gift, and no gift's code a coupon. A forged one costs no Redis call.
"""

from __future__ import annotations

import hmac
from collections.abc import Sequence
from typing import Final

from engine.fastpath import INVALID, STATIC, KeyRing

_GIFT: Final = "G"  # gift id = "G" + handle (16 characters) + serial (11)
_HANDLE_END: Final = 17


class GiftCodes:
    """The gift codes of one tenant. Secret and key ids as for ``Codes``."""

    def __init__(
        self, secret: bytes, tenant: str, key_ids: Sequence[int] = (1,), active: int = 1
    ) -> None:
        self._ring = KeyRing({key_id: _key(secret, tenant, key_id) for key_id in key_ids}, active)

    def code(self, gift_id: str) -> str:
        """The code of a gift, always the same."""
        return self._ring.encode(STATIC, gift_id[1:_HANDLE_END], gift_id[_HANDLE_END:], 0)

    def read(self, code: str) -> str | None:
        """The id of the gift that it names; None for anything that is not a gift code of ours."""
        status, form, handle, serial, _ = self._ring.verify(code, 0)
        return _GIFT + handle + serial if status != INVALID and form == STATIC else None


def _key(secret: bytes, tenant: str, key_id: int) -> bytes:
    info = b"hexiao gift v1|" + tenant.encode() + b"|" + bytes([key_id])
    return hmac.digest(secret, info, "sha256")
