"""The pieces that every scan and every act pay for, in two twins that mean the same.

`_code_c` (Cython over OpenSSL's libcrypto) is taken when it was built, `_code_py` otherwise or
when HEXIAO_NO_EXTENSIONS=1. HEXIAO_REQUIRE_EXTENSIONS=1 refuses to start on the pure twin.
"""

import os
from typing import TYPE_CHECKING

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
    from engine.fastpath._code_py import KeyRing, handle_of, serial_of
else:
    from engine.fastpath import _code_py as _twin

    if os.environ.get("HEXIAO_NO_EXTENSIONS") != "1":
        try:
            from engine.fastpath import _code_c as _twin

            IMPL = "compiled"
        except ImportError:
            if os.environ.get("HEXIAO_REQUIRE_EXTENSIONS") == "1":
                raise
    KeyRing, handle_of, serial_of = _twin.KeyRing, _twin.handle_of, _twin.serial_of

__all__ = [
    "ALPHABET",
    "CODE_LENGTH",
    "IMPL",
    "INVALID",
    "MEMBER",
    "OK",
    "ROTATING",
    "STALE",
    "STATIC",
    "STEP_MS",
    "KeyRing",
    "b32_decode",
    "b32_encode",
    "handle_of",
    "serial_of",
]
