"""The pieces that every scan and every act pay for, in two twins that mean the same.

`_code_c` (Cython over OpenSSL's libcrypto) and `_best_c` are taken when they were built, `_code_py`
and `_best_py` otherwise or when HEXIAO_NO_EXTENSIONS=1. HEXIAO_REQUIRE_EXTENSIONS=1 refuses to
start on a pure twin.
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

IMPL = "pure"
if TYPE_CHECKING:
    from engine.fastpath._best_py import search
    from engine.fastpath._code_py import KeyRing, handle_of, serial_of
else:
    from engine.fastpath import _best_py as _best
    from engine.fastpath import _code_py as _twin

    if os.environ.get("HEXIAO_NO_EXTENSIONS") != "1":
        try:
            from engine.fastpath import _best_c as _best
            from engine.fastpath import _code_c as _twin

            IMPL = "compiled"
        except ImportError:
            if os.environ.get("HEXIAO_REQUIRE_EXTENSIONS") == "1":
                raise
    search = _best.search
    KeyRing, handle_of, serial_of = _twin.KeyRing, _twin.handle_of, _twin.serial_of

__all__ = [
    "ALPHABET",
    "CODE_LENGTH",
    "IMPL",
    "INVALID",
    "MEMBER",
    "MOST_OFFERS",
    "OK",
    "ROTATING",
    "STALE",
    "STATIC",
    "STEP_MS",
    "KeyRing",
    "Offer",
    "b32_decode",
    "b32_encode",
    "handle_of",
    "search",
    "serial_of",
]
