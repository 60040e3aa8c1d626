"""Reading a cell in Redis, of one server or of a cluster, without stopping it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from enum import Enum
from typing import Any, NamedTuple

from engine import keys

_SCAN_COUNT = 1000
BATCH = 250  # keys that are read and compared at once


class Cell(NamedTuple):
    """A cell and the hash tag of its keys."""

    number: int
    tag: str


class Kind(Enum):
    """What a key holds."""

    WALLET = "w"
    REDEMPTION = "r"
    CAMPAIGN = "g"
    OPENS = "o"
    HOLDERS = "h"
    ENTRY = "p"
    PURCHASE = "b"
    TRANSACTION = "t"
    VEHICLE = "v"
    STAY = "s"
    POCKET = "k"
    ORDER = "q"
    PENDING = "l"
    STAY_USE = "y"
    TIER_USE = "d"
    POOL = "x"
    GIFT = "i"
    MOVING = "z"
    CHECKIN = "c"
    ATTENDANCE = "j"
    QUOTAS = "e"
    LAPSING = "m"
    LINE = "u"
    LINE_ORDER = "n"
    NOTE = "a"
    UNKNOWN = ""


class Live:
    """The Redis side. Every method reads only."""

    def __init__(self, redis: Any) -> None:
        self._redis = redis
        self._cluster = hasattr(redis, "get_node_from_key")

    def _at(self, cell: Cell) -> dict[str, Any]:
        if not self._cluster:
            return {}
        return {"target_nodes": self._redis.get_node_from_key(keys.cell_key(cell.tag))}

    async def many(self, commands: Sequence[tuple[Any, ...]]) -> list[Any]:
        """The replies to many commands on one cell, in order."""
        if not commands:
            return []
        pipe = self._redis.pipeline(transaction=False)
        for command in commands:
            pipe.execute_command(*command)
        replies: list[Any] = await pipe.execute()
        return replies

    async def place(self, cell: Cell) -> tuple[int, int]:
        """(epoch, seq) of the cell."""
        epoch, seq = await self._redis.hmget(keys.cell_key(cell.tag), ["epoch", "seq"])
        return int(epoch or 1), int(seq or 0)

    async def clock(self, cell: Cell) -> int:
        """The cell's clock in ms: the server's, or the latest one that a rehearsal has told."""
        told = await self._redis.hget(keys.cell_key(cell.tag), "clock")
        seconds, micros = await self._redis.execute_command("TIME", **self._at(cell))
        return int(told or 0) or int(seconds) * 1000 + int(micros) // 1000

    async def scan(self, cell: Cell) -> AsyncIterator[tuple[Kind, list[bytes]]]:
        """Every key of the cell in batches of a kind; not those that it has one of.

        A key may come twice, as SCAN has it.
        """
        own = {
            name.encode()
            for name in (
                keys.cell_key(cell.tag),
                keys.facts_key(cell.tag),
                keys.holds_key(cell.tag),
                keys.orders_key(cell.tag),
                keys.frozen_key(cell.tag),
                keys.points_due_key(cell.tag),
                keys.sent_key(cell.tag),
                keys.gifts_key(cell.tag),
                keys.takes_key(cell.tag),
                keys.lines_key(cell.tag),
            )
        }
        at = len(cell.tag) + 1
        batches: dict[Kind, list[bytes]] = {kind: [] for kind in Kind}
        found = self._redis.scan_iter(match=f"{cell.tag}:*", count=_SCAN_COUNT, **self._at(cell))
        async for key in found:
            if key in own:
                continue
            kind = _KINDS.get(key[at : at + 2], Kind.UNKNOWN)
            batch = batches[kind]
            batch.append(key)
            if len(batch) >= BATCH:
                yield kind, batch
                batches[kind] = []
        for kind, batch in batches.items():
            if batch:
                yield kind, batch


_KINDS = {f"{kind.value}:".encode(): kind for kind in Kind if kind.value}


def pairs(members: list[Any]) -> list[tuple[bytes, Any]]:
    """RESP3 gives pairs, RESP2 a flat list; a pipeline leaves either as it came."""
    if members and not isinstance(members[0], list | tuple):
        return list(zip(members[::2], members[1::2], strict=True))
    return [(name, score) for name, score in members]
