"""Whether this process can serve: Redis, books, the fence, and how far the books are behind."""

from __future__ import annotations

import asyncio
import time
from importlib import metadata
from typing import TYPE_CHECKING, Literal

import msgspec
from redis.exceptions import RedisError
from sqlalchemy.exc import SQLAlchemyError

from engine.definitions import format_time
from engine.errors import HexiaoError
from engine.fastpath import IMPL
from engine.writer import CellLag, lag

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
        used = [max(t.control.budgets_used.values(), default=0.0)
                for t in service.tenants.by_id.values()]  # fmt: skip
        if any(used):
            service.metrics.budget_used.set(max(used))
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
        found = await lag(self._service.books, self._service.outbox, tenant.id)
        return [Lag(one.cell, one.facts, self._age(tenant, one)) for one in found]

    def _age(self, tenant: Tenant, found: CellLag) -> int:
        """For how long the books have been behind, ms."""
        place = tenant.id, found.cell
        if not found.facts:
            self._behind_since.pop(place, None)
            return 0
        if not self._service.settings.rehearsal:
            return found.age_ms
        # There the facts' times are not the wall's: count from when it was first seen.
        since = self._behind_since.setdefault(place, time.monotonic())
        return int((time.monotonic() - since) * 1000)
