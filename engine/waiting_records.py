"""Waiting lines as they lie in Redis (MessagePack arrays; field order is the format)."""

from __future__ import annotations

from enum import IntEnum

import msgspec


class WaiterState(IntEnum):
    """What became of somebody's place last. What became of an offer stands in its order."""

    WAITING = 0
    OFFERED = 1
    SKIPPED = 2  # it was their turn, and they may not have one
    LEFT = 3
    ENDED = 4  # with the campaign


class Joined(msgspec.Struct, array_like=True):
    """How somebody joined: what the receipt of their Idempotency-Key answers."""

    serial: str
    fingerprint: str
    rank: int  # from 1; 0: there was room at once
    order: str  # serial of what they were offered then, "" else
    until: int


class Waiter(msgspec.Struct, array_like=True):
    """Field ``e<handle>`` of a line: somebody who joined it.

    What changes when the line moves stands first and last: so it is read and written in the text,
    without unpacking the rest (lua/lib/lines.lua).
    """

    state: int
    party: int  # up to 100: one byte, as the state is
    joined: Joined
    user_id: str
    at: int
    priority: int
    place: int  # number of their coming; 0: there was room at once
    earlier: list[Joined]
    order: str  # serial of the offer, "" = none was made
    until: int
    why: int  # an outcome, where they were skipped
