"""Places where a test lets the process die as by a power cut: HEXIAO_FAILPOINT=name or name:n.

The nth pass of that name kills the process (SIGKILL). Unset, a pass costs one comparison.
"""

from __future__ import annotations

import os
import signal

_name, _, _count = os.environ.get("HEXIAO_FAILPOINT", "").partition(":")
_left = int(_count or 1)


def failpoint(name: str) -> None:
    """Die here when the environment asks for it."""
    global _left
    if name == _name:
        _left -= 1
        if _left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
