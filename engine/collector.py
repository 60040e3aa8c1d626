"""Python's collector of cycles, in a process that makes many objects and hardly a cycle."""

from __future__ import annotations

import gc

_OBJECTS = 50_000  # more of them than what was let go, before cycles are looked for


def spare_the_collector() -> None:
    """What is there after the start stays, and an act leaves no cycles: look for them seldom.

    By default Python looks every 700 objects, which is a few requests, and was a fifth of the
    time of a claim, a twentieth of the writer's.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(_OBJECTS)
