"""What was paid for coupons comes back when they expire unused, where their terms say so.

The first API process looks for them in the books and makes a job of each campaign's; jobs are done
as all others are (jobs.py). On a rehearsal server the tenant's clock decides.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

import structlog
from redis.exceptions import RedisError
from sqlalchemy.exc import SQLAlchemyError

from engine import keys
from engine.books import expired_refunds
from engine.books.db import Books
from engine.books.expired_refunds import Revision
from engine.engine import Engine

LOOK_SECONDS = 5.0
REHEARSAL_SECONDS = 0.5
AT_ONCE = 1000  # revisions of terms in one question
LATE_MS = 3_600_000  # the books may be so far behind; what comes later is found at the next start

log = structlog.get_logger()


class Refunding:
    """Looks after all malls; ``engines``: those of this process, by tenant."""

    def __init__(
        self, books: Books, engines: Callable[[], Mapping[str, Engine]], *, rehearsal: bool
    ) -> None:
        self._books = books
        self._engines = engines
        self._rehearsal = rehearsal
        self._said: dict[str, tuple[int, list[Revision]]] = {}
        self._until: dict[str, int] = {}

    async def watch(self) -> None:
        """Look for as long as the process lives."""
        while True:
            await asyncio.sleep(REHEARSAL_SECONDS if self._rehearsal else LOOK_SECONDS)
            try:
                await self.look()
            except (SQLAlchemyError, RedisError, OSError) as error:
                log.warning("refunds_wait", error=repr(error)[:300])

    async def look(self) -> int:
        """Make jobs of what has expired by now; how many."""
        counts, made = await expired_refunds.counts_of_terms(self._books), 0
        for tenant, engine in list(self._engines().items()):
            known, number = self._said.get(tenant), counts.get(tenant, 0)
            if known is None or known[0] != number:
                said = await expired_refunds.revisions(self._books, tenant)
                known = self._said[tenant] = number, said
            if known[1]:
                made += await self._look(tenant, engine, known[1])
        return made

    async def _look(self, tenant: str, engine: Engine, said: list[Revision]) -> int:
        now, made = await self._clock(engine), 0
        # A rehearsal's clock leaps, whatever the books have come to.
        since = 0 if self._rehearsal else self._until.get(tenant, 0) - LATE_MS
        for start in range(0, len(said), AT_ONCE):
            made += await expired_refunds.make_jobs(
                self._books, tenant, said[start : start + AT_ONCE], now, since,
                now if self._rehearsal else 0,
            )  # fmt: skip
        if not made:  # else there may be more of them
            self._until[tenant] = max(now, self._until.get(tenant, 0))
        return made

    async def _clock(self, engine: Engine) -> int:
        """The server's, or the latest that a rehearsal was told; 0 = none yet."""
        if not self._rehearsal:
            return engine.clock()
        told = [(await engine.server.fields(keys.cell_key(tag), "clock"))[0] for tag in engine.tags]
        return max(int(one or 0) for one in told)
