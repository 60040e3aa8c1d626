"""The way of an act to its cell: what every verb of the engine stands on (engine.py and others)."""

from __future__ import annotations

from binascii import b2a_base64
from dataclasses import dataclass
from datetime import datetime
from hashlib import blake2b
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import orjson
from redis.exceptions import NoScriptError, RedisError

from engine import commands, keys, scripts
from engine.batching import Fence, Lane, Observer, Reply
from engine.errors import Unavailable
from engine.fastpath import handle_of, serial_of
from engine.outcomes import Outcome
from engine.segments import Segments
from engine.server import Server

_pack = msgspec.msgpack.encode
# What the next day, week or month mends: scripts know the zone's distance from UTC as it is now.
_DAYS = frozenset(
    {
        Outcome.USER_DAY_LIMIT,
        Outcome.USER_WEEK_LIMIT,
        Outcome.USER_MONTH_LIMIT,
        Outcome.CAMPAIGN_DAY_LIMIT,
    }
)


@dataclass(slots=True, frozen=True)
class Mall:
    """What the engine needs to know of a tenant."""

    id: str
    cells: int
    timezone: str
    handle_key: bytes


class Acting:
    """One tenant's cells as the verbs see them: ids, clocks, and the way of an act to its cell."""

    def __init__(
        self, mall: Mall, server: Server, fence: Fence, observe: Observer | None = None
    ) -> None:
        self.mall = mall
        self._server = server
        self.fence = fence
        self._zone = ZoneInfo(mall.timezone)
        self._offsets: dict[int, int] = {}
        self.tags = [keys.cell_tag(mall.id, cell, mall.cells) for cell in range(mall.cells)]
        self._lanes = [
            Lane(server, fence, cell, keys.cell_key(tag), observe)
            for cell, tag in enumerate(self.tags)
        ]
        self.segments = Segments(self)

    @property
    def server(self) -> Server:
        """The Redis side, for questions about whole cells (how far they are, their clock)."""
        return self._server

    def lane(self, cell: int) -> Lane:
        """The way to a cell."""
        return self._lanes[cell]

    async def drain(self) -> None:
        """Wait until nothing is queued or in flight."""
        await self.segments.drain()
        for lane in self._lanes:
            await lane.drain()

    # ---- ids and clocks ----------------------------------------------------------------------

    def handle_of(self, user_id: str) -> str:
        """The handle that stands for a person inside; names their cell and wallet."""
        return handle_of(self.mall.handle_key, user_id)

    def cell_of(self, handle: str) -> int:
        """The cell of a person."""
        return keys.cell_of(handle, self.mall.cells)

    def tag_of(self, handle: str) -> str:
        """The hash tag of a person's cell."""
        return self.tags[self.cell_of(handle)]

    def clock(self) -> int:
        """The Redis server's clock now (ms), by this process's last known offset to it."""
        return self._server.clock()

    async def trust(self, handle: str) -> None:
        """Compare the person's cell with the books and load scripts; raises Unavailable."""
        self.fence.doubt()
        await self.fence.verify(self.cell_of(handle))

    def offset(self, now: int) -> int:
        """The tenant's distance from UTC at ``now``, ms. Zones change at full quarters only."""
        quarter = now // 900_000
        found = self._offsets.get(quarter)
        if found is None:
            if len(self._offsets) > 4096:
                self._offsets.clear()
            delta = datetime.fromtimestamp(quarter * 900, self._zone).utcoffset()
            found = self._offsets[quarter] = int(delta.total_seconds() * 1000) if delta else 0
        return found

    def opens(self, outcome: int, opens: int | None, at: int) -> int | None:
        """When a refusal told ``at`` that moment ends: at a midnight, by the zone of then."""
        if not opens or outcome not in _DAYS:
            return opens
        return opens + self.offset(at) - self.offset(opens)

    def serials(self, kind: str, handle: str, key: str, now: int) -> tuple[str, str, int]:
        """(serial, serial of the window before, window) that an Idempotency-Key stands for."""
        window = keys.window_of(now)
        secret = self.mall.handle_key
        return (
            serial_of(secret, kind, handle, key, window),
            serial_of(secret, kind, handle, key, window - 1),
            window,
        )

    async def read_script(self, cell: int, verb: str, request: object) -> bytes:
        """Ask a cell by a script that writes nothing; Unavailable where it does not answer."""
        key, script, packed = keys.cell_key(self.tags[cell]), scripts.load(verb), _pack(request)
        try:
            try:
                return await self._server.read(key, script, packed)
            except NoScriptError:
                self.fence.doubt()
                await self.fence.verify(cell)
                return await self._server.read(key, script, packed)
        except (RedisError, OSError) as error:  # a TimeoutError is one
            raise Unavailable(f"Redis does not answer ({type(error).__name__})") from error

    async def read_wallet(self, handle: str, *names: str) -> list[bytes | None]:
        """Fields of a person's wallet; Unavailable where Redis does not answer."""
        try:
            return await self._server.fields(keys.wallet_key(self.tag_of(handle), handle), *names)
        except (RedisError, OSError) as error:
            raise Unavailable("Redis does not answer") from error

    async def read_key(self, key: str) -> bytes | None:
        """The string at a key; Unavailable where Redis does not answer."""
        try:
            return await self._server.get(key)
        except (RedisError, OSError) as error:
            raise Unavailable("Redis does not answer") from error

    async def act(self, verb: str, command: commands.Operation) -> Reply:
        """Send one operation to the person's cell; Unavailable when nobody knows what became."""
        lane = self._lanes[self.cell_of(command.handle)]
        reply = await lane.submit(verb, _pack(command))
        if command.now == 0:
            self._server.saw(reply.now)
        return reply

    async def keyed(self, verb: str, now: int, build: Any) -> Reply:
        """An act whose id comes from its key; asked again where our clock was a window off."""
        reply = await self.act(verb, build(now or self.clock()))
        if reply.outcome == Outcome.WINDOW_MOVED:
            reply = await self.act(verb, build(reply.now))
        return reply


def to_json(value: dict[str, Any] | None) -> str:
    """An object as facts carry it; "" for none."""
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS).decode() if value else ""


def fingerprint_of(*parts: Any) -> str:
    """48 bits that tell one request from another under the same key, as 8 characters."""
    return b2a_base64(blake2b(_pack(parts), digest_size=6).digest(), newline=False).decode()
