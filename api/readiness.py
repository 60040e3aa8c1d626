"""Whether this process can serve: Redis, books, the fence, and how far the books are behind."""

from __future__ import annotations

import asyncio
import time
from importlib import metadata
from typing import TYPE_CHECKING, Literal

import msgspec
from redis.exceptions import RedisError
from sqlalchemy import select
from sqlalchemy.exc import SQLAlchemyError

from engine import keys
from engine.books import schema
from engine.definitions import format_time
from engine.errors import HexiaoError
from engine.fastpath import IMPL

if TYPE_CHECKING:
    from api.service import Service
    from api.tenants import Tenant

FRESH_SECONDS = 0.5  # how old an answer may be: whoever asks how often costs the servers nothing
PATIENCE_SECONDS = 2.0

try:
    VERSION = metadata.version("hexiao")
except metadata.PackageNotFoundError:  # run from sources that were never installed
    VERSION = "0"


class Lag(msgspec.Struct):
    """How far the books are behind one cell: the worst mall's."""

    cell: int
    facts: int
    ms: int


class Ready(msgspec.Struct, kw_only=True):
    """Whether it can serve; ``problems`` says what is in the way, a sentence each."""

    status: Literal["ready", "not_ready"]
    problems: list[str]
    durability: str
    cells: int
    writer_lag: list[Lag]
    versions: dict[str, str]
    rehearsal: bool
    as_of: str


class Readiness:
    """Measured when asked, at most twice a second."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._lock = asyncio.Lock()
        self._last: tuple[float, Ready] | None = None
        self._behind_since: dict[tuple[str, int], float] = {}

    async def state(self) -> Ready:
        """The state of half a second ago at most."""
        async with self._lock:
            now = time.monotonic()
            if self._last is None or now - self._last[0] > FRESH_SECONDS:
                self._last = now, await self._measure()
            return self._last[1]

    async def _measure(self) -> Ready:
        service = self._service
        problems: list[str] = []
        if service.gate.draining:
            problems.append("The process is about to stop.")
        durability = await self._redis(problems)
        lags = await self._books(problems)
        fences = (tenant.control.behind for tenant in service.tenants.by_id.values())
        problems.extend(reason for reason in fences if reason)
        limit = service.settings.writer_lag_limit_ms
        if any(lag.ms > limit for lag in lags):
            worst = max(lag.ms for lag in lags)
            problems.append(f"The books are {worst} ms behind, more than {limit} ms.")
        home = service.tenants.by_id.get(service.settings.tenant)
        return Ready(
            status="not_ready" if problems else "ready",
            problems=problems,
            durability=durability,
            cells=home.cells if home else 0,
            writer_lag=lags,
            versions={"hexiao": VERSION, "redis": service.server.version, "fastpath": IMPL},
            rehearsal=service.settings.rehearsal,
            as_of=format_time(time.time_ns() // 1_000_000),
        )

    async def _redis(self, problems: list[str]) -> str:
        service = self._service
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                service.metrics.ping.set(await service.server.ping())
                service.metrics.clock_offset.set(service.server.offset)
                return await service.server.durability()
        except (RedisError, OSError) as error:  # TimeoutError is an OSError
            problems.append(f"Redis does not answer ({type(error).__name__}).")
            return "unknown"

    async def _books(self, problems: list[str]) -> list[Lag]:
        worst: dict[int, Lag] = {}
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                for tenant in list(self._service.tenants.by_id.values()):
                    for lag in await self._lags(tenant):
                        known = worst.get(lag.cell)
                        if known is None or (lag.ms, lag.facts) > (known.ms, known.facts):
                            worst[lag.cell] = lag
        except (SQLAlchemyError, HexiaoError, OSError) as error:
            problems.append(f"The books do not answer ({type(error).__name__}).")
        except RedisError:
            pass  # told already
        for lag in worst.values():
            self._service.metrics.writer_lag.labels(str(lag.cell)).set(lag.facts)
            self._service.metrics.writer_lag_ms.labels(str(lag.cell)).set(lag.ms)
        return [worst[cell] for cell in sorted(worst)]

    async def _lags(self, tenant: Tenant) -> list[Lag]:
        columns = schema.cells.c
        query = select(columns.cell, columns.epoch, columns.seq, columns.complete_ms)
        async with self._service.books.connect() as connection:
            rows = (await connection.execute(query.where(columns.tenant == tenant.id))).all()
        booked = {row.cell: row for row in rows}
        lags = []
        for cell, tag in enumerate(tenant.engine.tags):
            epoch, seq = await self._service.server.fields(keys.cell_key(tag), "epoch", "seq")
            row = booked.get(cell)
            at = (int(epoch or 1), int(seq or 0))
            known = (row.epoch, row.seq) if row is not None else (1, 0)
            facts = at[1] - (known[1] if known[0] == at[0] else 0) if at > known else 0
            ms = self._age(tenant, cell, facts, row.complete_ms if row is not None else 0)
            lags.append(Lag(cell, facts, ms))
        return lags

    def _age(self, tenant: Tenant, cell: int, facts: int, complete_ms: int) -> int:
        """For how long the books have been behind, ms."""
        if not facts:
            self._behind_since.pop((tenant.id, cell), None)
            return 0
        since = self._behind_since.setdefault((tenant.id, cell), time.monotonic())
        seen_ms = int((time.monotonic() - since) * 1000)
        if self._service.settings.rehearsal or not complete_ms:
            return seen_ms  # there the facts' times are not the wall's
        return max(seen_ms, tenant.engine.clock() - complete_ms)
