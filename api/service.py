"""What one API process holds open: books, Redis, the malls, its numbers."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Coroutine
from typing import Any, Self

import structlog
from redis.exceptions import RedisError

from api.frame import Gate
from api.metrics import Metrics
from api.readiness import Readiness
from api.refusals import Refusals
from api.tenants import Parts, Tenants
from engine.acting import Mall
from engine.books.db import Books, open_books
from engine.config import Settings, load_secret
from engine.control import Control
from engine.engine import Engine
from engine.errors import HexiaoError
from engine.jobs import Jobs
from engine.outbox import Client, open_client
from engine.refunding import Refunding
from engine.server import Server

DRAIN_SECONDS = 3.0  # for what the engines have in flight when everybody has been answered
CANCEL_SECONDS = 1.0  # for a watcher to end, before it is cancelled again
QUIET_SECONDS = 5.0  # after the last change of a definition, before all cells are gone over

log = structlog.get_logger()


class Service:
    """Made by ``await Service.open(settings)``, ended by ``close``.

    ``first``: whether this is the process that also looks after the cells (of several workers
    one is enough): lapsed holds, definitions that a crash kept from reaching a cell, and jobs.
    """

    def __init__(
        self, settings: Settings, books: Books, server: Server, outbox: Client, *, first: bool
    ) -> None:
        self.settings = settings
        self.outbox = outbox  # for looking only
        self.books = books
        self.server = server
        self.first = first
        self.metrics = Metrics()
        self.tenants = Tenants(settings, books, load_secret(settings), self._build)
        self.gate = Gate(self.tenants.auth, self.metrics, rehearsal=settings.rehearsal)
        self.gate.readiness = Readiness(self)
        self.gate.refresh = self.tenants.catch_up
        self.gate.refusals = Refusals(books, self.gate.stamp)
        self._tasks: set[asyncio.Task[None]] = set()

    @classmethod
    async def open(cls, settings: Settings, *, first: bool = True) -> Self:
        """Connect, read the malls, compare their cells with the books, publish what they lack.

        CannotStart when the server may lose or evict what it is told.
        """
        assert settings.redis_url is not None, "the embedded server has been started before"
        server = await Server.open(settings.redis_url)
        if settings.test_acts_per_second:
            server.slowed = 1 / settings.test_acts_per_second
        outbox = await open_client(settings.redis_url)
        service = cls(settings, open_books(settings.database_url), server, outbox, first=first)
        try:
            await server.check()
            await service.tenants.refresh()
            service._start(service.tenants.watch())
            service._start(service.gate.refusals.watch(trims=first, rehearsal=settings.rehearsal))
            if first:
                await service._publish()
                service._start(service._keep_published())
                service._start(Jobs(service.books, service._engines).watch())
                refunding = Refunding(
                    service.books, service._engines, rehearsal=settings.rehearsal
                )
                service._start(refunding.watch())
        except BaseException:
            await service.close()
            raise
        return service

    async def close(self) -> None:
        """Wait for what is in flight, then close everything."""
        await _end(set(self._tasks))
        await self.gate.refusals.close()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(DRAIN_SECONDS):
                for tenant in self.tenants.by_id.values():
                    await tenant.engine.drain()
        for close in (self.server.close, self.outbox.aclose, self.books.close):
            with contextlib.suppress(RedisError, OSError):  # one that hangs leaves the others open
                await close()

    def _build(self, mall: Mall) -> Parts:
        control = Control(mall.id, mall.cells, self.server, self.books)
        engine = Engine(mall, self.server, control, self.metrics.batch)
        engine.doors.closing = not self.settings.rehearsal
        self._start(control.watch(engine, self._sweeping))
        self._start(engine.waiting.watch(self._sweeping))
        return Parts(engine, control)

    def _engines(self) -> dict[str, Engine]:
        return {tenant.id: tenant.engine for tenant in self.tenants.by_id.values()}

    def _sweeping(self) -> bool:
        # A rehearsal's clock is what operators say: nothing lapses by the wall's.
        return self.first and not self.settings.rehearsal

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(_ended)

    async def _publish(self) -> bool:
        """Bring every mall's definitions to its cells; what fails is tried again later."""
        whole = True
        for tenant in list(self.tenants.by_id.values()):
            try:
                await tenant.control.publish_all()
            except HexiaoError as error:
                whole = False
                log.warning("not_published", tenant=tenant.id, reason=str(error))
        return whole

    async def _keep_published(self) -> None:
        """Go over all cells again once definitions have changed and been quiet for a while.

        Whoever changes one publishes it before answering; this is for what a crash cut off.
        """
        done = seen = self._versions()
        while True:
            await asyncio.sleep(QUIET_SECONDS)
            now = self._versions()
            if now != done and now == seen and await self._publish():
                done = now
            seen = now

    def _versions(self) -> dict[str, int]:
        return {tenant.id: tenant.definitions for tenant in self.tenants.by_id.values()}


async def _end(tasks: set[asyncio.Task[None]]) -> None:
    """Cancel them until they have ended, each as often as it takes.

    redis-py waits by asyncio.wait_for, which before Python 3.12 loses a cancellation that arrives
    together with what it waits for: a watcher would go on for ever. Not again at once: one that is
    cut off from the books closes its connection first, and should be let.
    """
    while tasks:
        for task in tasks:
            task.cancel()
        _, tasks = await asyncio.wait(tasks, timeout=CANCEL_SECONDS)


def _ended(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and task.exception() is not None:
        log.error("background_task_ended", error=repr(task.exception()))
