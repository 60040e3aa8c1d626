"""The pieces that every scan and every act pay for, in two twins that mean the same.

`_code_c` and `_sign_c` (Cython over OpenSSL's libcrypto), `_best_c` and `_request_c` are taken when
all of them were built, the `_py` of each otherwise or when HEXIAO_NO_EXTENSIONS=1.
HEXIAO_REQUIRE_EXTENSIONS=1 refuses to start on a pure twin.
"""

import os
from typing import TYPE_CHECKING

from engine.fastpath._best_py import MOST as MOST_OFFERS
from engine.fastpath._best_py import Offer
from engine.fastpath._code_py import (
    ALPHABET,
    CODE_LENGTH,
    INVALID,
    MEMBER,
    OK,
    ROTATING,
    STALE,
    STATIC,
    STEP_MS,
    b32_decode,
    b32_encode,
)
from engine.fastpath._sign_py import OFFLINE, SIGNED_LENGTH, event_tag

IMPL = "pure"
if TYPE_CHECKING:
    from engine.fastpath._best_py import search
    from engine.fastpath._code_py import KeyRing, handle_of, serial_of
    from engine.fastpath._request_py import read as read_request
    from engine.fastpath._sign_py import Signer, Verifier
else:
    from engine.fastpath import _best_py as _best
    from engine.fastpath import _code_py as _twin
    from engine.fastpath import _request_py as _request
    from engine.fastpath import _sign_py as _sign

    if os.environ.get("HEXIAO_NO_EXTENSIONS") != "1":
        try:
            from engine.fastpath import _best_c, _code_c, _request_c, _sign_c
        except ImportError:
            if os.environ.get("HEXIAO_REQUIRE_EXTENSIONS") == "1":
                raise
        else:
            _best, _twin, _request, _sign = _best_c, _code_c, _request_c, _sign_c
            IMPL = "compiled"
    read_request = _request.read
    search = _best.search
    Signer, Verifier = _sign.Signer, _sign.Verifier
    KeyRing, handle_of, serial_of = _twin.KeyRing, _twin.handle_of, _twin.serial_of

__all__ = [
    "ALPHABET",
    "CODE_LENGTH",
    "IMPL",
    "INVALID",
    "MEMBER",
    "MOST_OFFERS",
    "OFFLINE",
    "OK",
    "ROTATING",
    "SIGNED_LENGTH",
    "STALE",
    "STATIC",
    "STEP_MS",
    "KeyRing",
    "Offer",
    "Signer",
    "Verifier",
    "b32_decode",
    "b32_encode",
    "event_tag",
    "handle_of",
    "read_request",
    "search",
    "serial_of",
]
