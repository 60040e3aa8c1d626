"""The engine without HTTP, as a way to claim (benchmarks/contest.py)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import redis.asyncio

from api import logs
from benchmarks.contest import UNLIMITED
from engine import keys, scripts
from engine.batching import Reply, pack_array
from engine.books.db import migrate
from engine.embedded import EmbeddedRedis
from engine.outcomes import Outcome
from tests.engine.harness import WHO, Running, open_mall, reconciled
from tests.unit.rules_language import campaign as described

TENANT = "bench"
WORDS = "amount_off amount=2000 min_spend=10000"
_replies = msgspec.msgpack.Decoder(list[Reply]).decode
ISSUE = {"per_user": 2, "per_user_per_day": 1}  # limits that are looked at in every claim


class Ours:
    """Receipts, limits, counters and the fact included."""

    name = "hexiao engine"

    def __init__(self, mall: Running, client: redis.asyncio.Redis, server: EmbeddedRedis) -> None:
        self.mall = mall
        self.client = client
        self.server = server.pid
        self.url = server.url

    async def open(self, campaign: str, stock: int) -> None:
        total = None if stock >= UNLIMITED else stock
        more: dict[str, Any] = {"stock": {"total": total}, "issue": ISSUE}
        await self.mall.publish(described(WORDS, id=campaign, **more))

    async def claim(self, campaign: str, person: int) -> bool:
        answer = await self.mall.engine.claim(
            user_id=f"member:{person:010d}", campaign_id=campaign, channel="app",
            key=f"{person:016d}", who=WHO,
        )  # fmt: skip
        return answer.outcome is Outcome.DONE

    async def given(self, campaign: str) -> int:
        self.mall.engine.forget_live(campaign)
        live = await self.mall.engine.live(campaign)
        assert live is not None
        return live.issued

    async def script(self) -> tuple[int, int]:
        return await scripts_of(self.client)

    async def reconciled(self) -> None:
        """Live state equals the books, once a writer has brought them everything."""
        await reconciled(self.mall.books, self.url, TENANT)


class Ungathered:
    """Instead of a lane (engine/batching.py): each act is an EVALSHA of its own, by redis-py."""

    def __init__(self, url: str, key: str) -> None:
        self.client = redis.asyncio.Redis.from_url(url)  # a connection for each that is in flight
        self._key = key

    async def submit(self, verb: str, operation: bytes, *, shed: bool = False) -> Reply:
        script = scripts.load(verb)
        packed = await self.client.evalsha(script.sha, 1, self._key, pack_array([operation]))
        return _replies(packed)[0]

    async def drain(self) -> None:
        """Nothing is ever queued."""


class OneByOne(Ours):
    """All the same, but nobody waits for company: what group commit is compared with."""

    name = "hexiao's script, one EVALSHA each"

    def __init__(self, ours: Ours, lane: Ungathered) -> None:
        self.mall, self.client = ours.mall, ours.client
        self.server, self.url = ours.server, ours.url
        self.lane = lane

    @classmethod
    @asynccontextmanager
    async def beside(cls, ours: Ours) -> AsyncIterator[OneByOne]:
        """On the mall of ours; the engine goes back to its own lane afterwards."""
        engine = ours.mall.engine
        lane = Ungathered(ours.url, keys.cell_key(engine.tags[0]))
        one = cls(ours, lane)
        before = engine._lanes
        engine._lanes = [lane]  # type: ignore[list-item]
        try:
            yield one
        finally:
            engine._lanes = before
            await lane.client.aclose()


async def scripts_of(client: redis.asyncio.Redis) -> tuple[int, int]:
    """(microseconds, calls) of EVALSHA so far."""
    stats = (await client.info("commandstats")).get("cmdstat_evalsha", {})
    return int(stats.get("usec", 0)), int(stats.get("calls", 0))


@asynccontextmanager
async def ours_on(server: EmbeddedRedis, directory: Path, cells: int = 1) -> AsyncIterator[Ours]:
    """A mall of its own on that server, books in SQLite; no writer runs."""
    logs.set_up("warning")
    books = directory / "hexiao.db"
    await migrate(f"sqlite+aiosqlite:///{books}")
    client = redis.asyncio.Redis.from_url(server.url)
    async with client, open_mall(TENANT, server.url, books, cells=cells) as mall:
        yield Ours(mall, client, server)
