"""The outbox of a cell as its reader sees it: a stream of facts with one consumer group.

The group is ``books``. Its consumer has one fixed name, because a cell has one active writer: what
a writer took and never acknowledged is the next one's to finish.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, NamedTuple

import msgspec
from redis.asyncio import Redis, RedisCluster
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ResponseError

from engine import facts, keys
from engine.books.arrivals import Entry, Position, position_of

GROUP = "books"
CONSUMER = "writer"
PATIENCE_SECONDS = 10.0
_TRIM_ENTRIES = 100

Client = Redis | RedisCluster


class CellState(NamedTuple):
    """A cell as Redis has it; ``now`` was read first: all acts up to then are in ``place``."""

    now: int  # of its server, ms
    place: Position  # of the last fact
    clock: int  # of a rehearsal server: the latest Hexiao-Now seen in this cell


class Taken(NamedTuple):
    """Entries that were read, in order, and the ids of those that the stream no longer holds."""

    entries: list[Entry]
    trimmed: list[str]


async def open_client(url: str) -> Client:
    """A client for reading outboxes, on one server or a cluster; redis-py's error without an
    answer. It has no time-out a command (reads block) and repeats nothing by itself."""
    async with Redis.from_url(url, socket_connect_timeout=PATIENCE_SECONDS) as probe:
        info = await probe.info("server")
    cluster = "cluster" in (info.get("redis_mode"), info.get("server_mode"))
    kind: Any = RedisCluster if cluster else Redis
    client: Client = kind.from_url(
        url,
        protocol=2,  # one shape of XREADGROUP's reply on every server
        retry=Retry(NoBackoff(), 0),
        socket_timeout=None,
        socket_connect_timeout=PATIENCE_SECONDS,
    )
    return client


class Outbox:
    """One cell's stream. Errors are those of redis-py; TimeoutError when a server hangs."""

    def __init__(self, client: Client, tenant: str, cell: int, cells: int) -> None:
        tag = keys.cell_tag(tenant, cell, cells)
        self._client: Any = client
        self._stream = keys.facts_key(tag)
        self._cell = keys.cell_key(tag)

    async def open(self) -> None:
        """Make the group, at the stream's beginning, unless it is there."""
        try:
            await self._do("XGROUP CREATE", self._stream, GROUP, "0", "MKSTREAM")
        except ResponseError as error:
            if "BUSYGROUP" not in str(error):
                raise

    async def pending(self, after: str, most: int) -> Taken:
        """What was taken before and not acknowledged, with ids beyond ``after`` ("0" = all)."""
        return await self._take(after, most, None)

    async def new(self, most: int, wait_ms: int) -> list[Entry]:
        """What nobody took yet; waits for it up to ``wait_ms`` (0 = not at all)."""
        return (await self._take(">", most, wait_ms or None)).entries

    async def _take(self, after: str, most: int, wait_ms: int | None) -> Taken:
        words: list[Any] = ["XREADGROUP", "GROUP", GROUP, CONSUMER, "COUNT", most]
        if wait_ms is not None:
            words += ["BLOCK", wait_ms]
        words += ["STREAMS", self._stream, after]
        reply = await self._do(*words, patience=PATIENCE_SECONDS + (wait_ms or 0) / 1000)
        found = reply[0][1] if reply else []
        return Taken(
            [_entry(entry_id, fields) for entry_id, fields in found if fields],
            [entry_id.decode() for entry_id, fields in found if not fields],
        )

    async def following(self, place: Position, most: int) -> list[Entry]:
        """What directly follows ``place``, whether somebody took it or not."""
        start = f"({place.epoch}-{place.seq}"
        found = await self._do("XRANGE", self._stream, start, "+", "COUNT", most)
        return [_entry(entry_id, fields) for entry_id, fields in found]

    async def acknowledge(self, ids: Sequence[str]) -> None:
        """The books hold these, for good."""
        if ids:
            await self._do("XACK", self._stream, GROUP, *ids)

    async def state(self) -> CellState:
        """Where the cell is."""
        seconds, micros = await self._do("TIME")
        epoch, seq, clock = await self._do("HMGET", self._cell, "epoch", "seq", "clock")
        now = int(seconds) * 1000 + int(micros) // 1000
        return CellState(now, Position(int(epoch or 1), int(seq or 0)), int(clock or 0))

    async def trim(self, place: Position, before_ms: int) -> int:
        """Drop facts older than ``before_ms`` that the books hold (up to ``place``); how many
        entries went. By MINID and never by length: what is not in the books always stays."""
        dropped = 0
        most = 1  # nearly always the first is young enough already
        while True:
            found = await self._do("XRANGE", self._stream, "-", "+", "COUNT", most)
            entries = [_entry(*e) for e in found]
            past = 0
            while past < len(entries) and _is_past(entries[past], place, before_ms):
                past += 1
            if past == 0:
                return dropped
            last = position_of(entries[past - 1].id)
            limit = f"{last.epoch}-{last.seq + 1}"
            dropped += int(await self._do("XTRIM", self._stream, "MINID", "=", limit))
            if past < len(entries):
                return dropped
            most = _TRIM_ENTRIES

    async def oldest_ms(self, place: Position) -> int | None:
        """When the first act beyond ``place`` happened; None when there is none to read."""
        for entry in await self.following(place, 1):
            try:
                return facts.decode(entry.body)[0].at
            except (msgspec.DecodeError, IndexError):
                return None
        return None

    async def _do(self, *words: Any, patience: float = PATIENCE_SECONDS) -> Any:
        client = self._client
        async with asyncio.timeout(patience):
            if isinstance(client, RedisCluster) and words[0] == "TIME":
                node = client.get_node_from_key(self._stream)
                return await client.execute_command(*words, target_nodes=node)
            return await client.execute_command(*words)


def _entry(entry_id: bytes, fields: Any) -> Entry:
    # XRANGE and XREADGROUP are parsed by redis-py into a dict of fields.
    return Entry(entry_id.decode(), fields.get(b"f", b""))


def _is_past(entry: Entry, place: Position, before_ms: int) -> bool:
    if position_of(entry.id) > place:
        return False
    try:
        return facts.decode_one(facts.split(entry.body)[-1]).at < before_ms
    except (msgspec.DecodeError, IndexError):  # set aside in the books; as old as what is around it
        return True
