"""Outbox → books: reads the facts of the cells it has a lease on, saves them, acknowledges.

The order is what makes an effect happen once: read, commit, acknowledge, and only much later trim.
Whatever dies between two steps, the facts are read again and the books know them. Several writers
share the cells (``books.leases``); a cell has one active writer.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import signal
import socket
import sqlite3
import time
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import asyncpg
import structlog
from redis.exceptions import RedisError
from sqlalchemy import select
from sqlalchemy.exc import SQLAlchemyError

from engine.books import receipts, schema
from engine.books.arrivals import BEGINNING, Entry, Position, position_of, read_entries
from engine.books.db import Books, migrate, open_books
from engine.books.ingest import Ingest, Ingested, Lease, LeaseLost
from engine.books.leases import Leases
from engine.books.retaking import retake
from engine.collector import spare_the_collector
from engine.failpoints import failpoint
from engine.outbox import CellState, Client, Outbox, open_client

if TYPE_CHECKING:
    from engine.config import Settings

# What going on later may mend: a server that is away, restarting or refusing for now.
TROUBLE = (
    RedisError,
    SQLAlchemyError,
    sqlite3.Error,
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    OSError,
)

CLOSE_SECONDS = 10.0  # for connections to the books to be closed

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class WriterOptions:
    """What may be tuned; the defaults are measured (benchmarks/writer.py)."""

    batch_facts: int = 4000  # a transaction takes about so many, when so many wait
    read_entries: int = 128  # at once from the stream
    gather_ms: int = 50  # a small batch waits so long for company; at 20, a fifth more work a fact
    busy_facts: int = 128  # so many at once are a rush: then more company is worth waiting for
    busy_ms: int = 500  # in a rush so long from batch to batch; at 250, half as much to write more
    checkpoint_facts: int = 1000  # so many saved: the log goes into the books when nothing comes
    wait_ms: int = 1000  # a read waits so long for an entry; then the cell is idle
    lease_ms: int = 6000
    share_ms: int = 1500  # leases are renewed and new tenants noticed so often
    trim_ms: int = 2000
    prune_ms: int = 3_600_000  # receipts that nobody may repeat any more are struck off so often
    keep_ms: int = 24 * 3600 * 1000  # facts younger than this stay in the outbox
    backoff_ms: int = 5000  # longest pause after a failure
    rehearsal: bool = False

    @classmethod
    def of(cls, settings: Settings) -> WriterOptions:
        """As the environment asks."""
        return cls(keep_ms=int(settings.outbox_hours * 3_600_000), rehearsal=settings.rehearsal)


@dataclass(slots=True)
class CellStatus:
    """One cell as this writer has worked on it; counts since it has the lease."""

    place: Position = BEGINNING  # the books hold everything up to here
    facts: int = 0
    batches: int = 0
    repeated: int = 0
    refused: int = 0  # set aside in refused_facts: an alarm
    gap: Position | None = None  # the outbox goes on here, something before it is missing: alarm
    error: str = ""  # what it is waiting to get over


@dataclass(slots=True)
class WriterStatus:
    """Plain numbers for people and tests."""

    owner: str
    cells: dict[tuple[str, int], CellStatus] = field(default_factory=dict)
    error: str = ""  # about the leases


class OutboxGap(Exception):  # noqa: N818 - what was found, not a mistake
    """Facts are missing between what the books hold and what the stream still has."""


class Writer:
    """Carries facts from ``connect``'s Redis into ``books`` until ``stop`` is called."""

    def __init__(
        self,
        books: Books,
        connect: Callable[[], Awaitable[Client]],
        options: WriterOptions | None = None,
    ) -> None:
        self.options = options or WriterOptions()
        self.books = books
        owner = f"{socket.gethostname()[:24]}.{os.getpid()}.{secrets.token_hex(6)}"
        self.status = WriterStatus(owner)
        self._connect = connect
        self._leases = Leases(books, owner, self.options.lease_ms)
        self._ingests: dict[str, Ingest] = {}
        self._at_work: dict[Lease, tuple[_Cell, asyncio.Task[None]]] = {}
        self._stopping = asyncio.Event()
        self._pruned_at = float("-inf")

    def stop(self) -> None:
        """Finish what is being saved, hand the leases back, end ``run``."""
        self._stopping.set()

    async def run(self) -> None:
        """Work until ``stop``. A server that is away is waited for."""
        client = await self._client()
        try:
            while not self._stopping.is_set() and client is not None:
                try:
                    self._adjust(client, await self._leases.share_out())
                    await self._complete()
                    await self._prune()
                    self.status.error = ""
                except TROUBLE as error:
                    self.status.error = _name(error)
                    log.warning("leases_unreachable", error=_name(error))
                await _pause(self._stopping, self.options.share_ms)
        finally:
            await self._end(client)

    async def migrate(self, database_url: str) -> None:
        """Bring the books to this version before ``run``, waiting for a database that is away."""
        while not self._stopping.is_set():
            try:
                return await migrate(database_url)
            except TROUBLE as error:
                log.warning("books_unreachable", error=_name(error))
                await _pause(self._stopping, 1000)
        return None

    async def _client(self) -> Client | None:
        while not self._stopping.is_set():
            try:
                return await self._connect()
            except (RedisError, OSError) as error:
                log.warning("redis_unreachable", error=_name(error))
                await _pause(self._stopping, 1000)
        return None

    def _adjust(self, client: Client, leases: Iterable[Lease]) -> None:
        """Work on exactly these cells."""
        wanted = set(leases)
        for lease, (cell, task) in list(self._at_work.items()):
            if task.done():
                del self._at_work[lease]
                if not task.cancelled() and task.exception() is not None:
                    log.error("cell_crashed", cell=lease.cell, exc_info=task.exception())
            elif lease not in wanted:
                cell.stop()
        for lease in wanted - self._at_work.keys():
            status = self.status.cells[lease.tenant, lease.cell] = CellStatus()
            ingest = self._ingests.setdefault(lease.tenant, Ingest(self.books, lease.tenant))
            outbox = Outbox(client, lease.tenant, lease.cell, lease.cells)
            cell = _Cell(lease, outbox, ingest, self.options, status)
            self._at_work[lease] = cell, asyncio.create_task(cell.run())

    async def _complete(self) -> None:
        """Tell the books up to when idle cells are complete, all in one transaction."""
        told = [
            (lease, *cell.complete)
            for lease, (cell, _) in self._at_work.items()
            if cell.complete is not None
        ]
        if told:
            await self._leases.complete(told)
            for cell, _ in self._at_work.values():
                cell.complete = None

    async def _prune(self) -> None:
        """Not on a rehearsal server, where nothing is retired by the wall's clock."""
        options, now = self.options, time.monotonic()
        if options.rehearsal or now - self._pruned_at < options.prune_ms / 1000:
            return
        # One batch a round: the leases are renewed between them.
        gone = await receipts.prune(self.books, time.time_ns() // 1_000_000, batches=1)
        if gone < receipts.AT_ONCE:
            self._pruned_at = now
        if gone:
            log.info("receipts_pruned", receipts=gone)

    async def _end(self, client: Client | None) -> None:
        for cell, _ in self._at_work.values():
            cell.stop()
        tasks = [task for _, task in self._at_work.values()]
        await asyncio.gather(*tasks, return_exceptions=True)
        with contextlib.suppress(*TROUBLE):
            await self._complete()
            await self._leases.leave(list(self._at_work))
        if client is not None:
            with contextlib.suppress(*TROUBLE):
                await client.aclose()


class _Cell:
    """The work on one cell, from lease to loss."""

    def __init__(
        self,
        lease: Lease,
        outbox: Outbox,
        ingest: Ingest,
        options: WriterOptions,
        status: CellStatus,
    ) -> None:
        self.complete: tuple[int, int] | None = None  # (seq, ms): found idle, not yet in the books
        self._lease = lease
        self._outbox = outbox
        self._ingest = ingest
        self._options = options
        self._status = status
        self._stopping = asyncio.Event()
        self._waiting: asyncio.Task[None] | None = None
        self._trimmed_at = 0.0
        self._read_at = float("-inf")  # when the last batch was whole
        self._in_log = 0  # facts saved since the last checkpoint
        self._log = log.bind(tenant=lease.tenant, cell=lease.cell)

    def stop(self) -> None:
        """End soon: a batch being saved is finished, a read that waits is not."""
        self._stopping.set()
        if self._waiting is not None:
            self._waiting.cancel()

    async def run(self) -> None:
        """Until stopped or the lease is lost; trouble is waited out."""
        pause_ms = 100
        while not self._stopping.is_set():
            try:
                await self._work()
            except LeaseLost:
                self._log.info("lease_lost")
                return
            except (*TROUBLE, OutboxGap) as error:
                self._status.error = _name(error)
                self._log.warning("writer_waits", error=_name(error))
                await _pause(self._stopping, pause_ms)
                pause_ms = min(2 * pause_ms, self._options.backoff_ms)
            else:
                pause_ms = 100

    async def _work(self) -> None:
        await self._outbox.open()
        await self._save([])  # where the books are, and whether the lease still holds
        await retake(self._ingest, self._lease.cell, self._lease)
        await self._finish_pending()
        self._status.error = ""
        while not self._stopping.is_set():
            entries = await self._read()
            if entries:
                await self._save(entries)
            elif not self._stopping.is_set():
                await self._rest()
                await self._checkpoint()
            if time.monotonic() - self._trimmed_at > self._options.trim_ms / 1000:
                await self._trim()
            self._status.error = ""

    async def _finish_pending(self) -> None:
        """What an earlier writer of this cell took and did not acknowledge."""
        after = "0"
        while True:
            taken = await self._outbox.pending(after, self._options.read_entries)
            ids = [*taken.trimmed, *(entry.id for entry in taken.entries)]
            if not ids:
                return
            after = max(ids, key=position_of)
            # Only what the books hold is ever trimmed; else _save finds the gap.
            await self._outbox.acknowledge(
                [i for i in taken.trimmed if position_of(i) <= self._status.place]
            )
            await self._save(taken.entries)

    async def _read(self) -> list[Entry]:
        """New entries; a small batch gathers for a moment, a large one is as large as allowed.

        In a rush batches follow each other at a steady pace, whatever saving takes of it.
        """
        options = self._options
        self._waiting = asyncio.current_task()
        try:
            entries = await self._outbox.new(options.read_entries, options.wait_ms)
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if not self._stopping.is_set() or task is None:
                raise
            task.uncancel()
            return []  # what was taken is pending, for whoever comes next
        finally:
            self._waiting = None
        if not entries:
            return []
        if len(entries) == options.read_entries:
            await self._read_on(entries)
        wait = options.gather_ms / 1000
        if _facts_in(entries) >= options.busy_facts:
            wait = max(wait, self._read_at + options.busy_ms / 1000 - time.monotonic())
        if not self._is_full(entries):
            await asyncio.sleep(wait)
            await self._read_on(entries)
        self._read_at = time.monotonic()
        return entries

    async def _read_on(self, entries: list[Entry]) -> None:
        """Add what is there by now, as far as the batch has room."""
        most = self._options.read_entries
        while not self._is_full(entries):
            more = await self._outbox.new(most, 0)
            entries += more
            if len(more) < most:
                return

    def _is_full(self, entries: list[Entry]) -> bool:
        most = self._options.batch_facts
        return len(entries) >= most or _facts_in(entries) >= most

    async def _save(self, entries: list[Entry]) -> None:
        """Commit, then acknowledge."""
        if entries:
            failpoint("after_read")
        result = await self._commit(entries, None)
        if result.gap is not None:
            await self._catch_up()
        if entries:
            failpoint("before_ack")
            done = [entry.id for entry in entries if position_of(entry.id) <= self._status.place]
            await self._outbox.acknowledge(done)
            failpoint("after_ack")

    async def _commit(self, entries: list[Entry], after: Position | None) -> Ingested:
        arrivals = read_entries(entries, after)
        result = await self._ingest(
            self._lease.cell, arrivals, self._lease, watermark=not self._options.rehearsal
        )
        status = self._status
        status.place = result.place
        status.batches += bool(entries)
        status.facts += result.new
        self._in_log += result.new
        status.repeated += result.repeated
        status.refused += len(result.refused)
        return result

    async def _catch_up(self) -> None:
        """Read what follows the books' place from the stream itself, whoever took it.

        Needed where another writer took entries and lost its lease, where the books were restored
        from a backup, and to tell which facts an undecodable entry stands for. OutboxGap when the
        stream has no longer what follows.
        """
        while True:
            entries = await self._outbox.following(self._status.place, self._options.read_entries)
            if not entries:
                return
            result = await self._commit(entries, self._status.place)
            if result.gap is not None:
                self._status.gap = result.gap
                self._log.error("outbox_gap", place=result.place, found=result.gap)
                raise OutboxGap(f"nothing between {result.place} and {result.gap}")
            self._status.gap = None
            await self._outbox.acknowledge([entry.id for entry in entries])

    async def _rest(self) -> None:
        """Nothing came: then the books are complete up to now, unless Redis says otherwise."""
        state = await self._outbox.state()
        if state.place > self._status.place:
            await self._catch_up()
        elif state.place < self._status.place:
            # The engine is fenced for as long as this is so.
            self._log.error("redis_behind", redis=state.place, books=self._status.place)
        else:
            until = state.clock if self._options.rehearsal else state.now
            self.complete = state.place.seq, until

    async def _checkpoint(self) -> None:
        if self._in_log >= self._options.checkpoint_facts:
            self._in_log = 0
            await self._ingest.books.checkpoint()

    async def _trim(self) -> None:
        self._trimmed_at = time.monotonic()
        state = await self._outbox.state()
        now = state.clock if self._options.rehearsal else state.now
        dropped = await self._outbox.trim(self._status.place, now - self._options.keep_ms)
        if dropped:
            self._log.info("outbox_trimmed", entries=dropped)


def _facts_in(entries: list[Entry]) -> int:
    """How many facts they hold, by their ids."""
    return position_of(entries[-1].id).seq - position_of(entries[0].id).seq + 1


def _name(error: BaseException) -> str:
    text = str(error).partition("\n")[0][:200]
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


async def _pause(stopping: asyncio.Event, ms: int) -> None:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(ms / 1000):
            await stopping.wait()


async def run_writer(settings: Settings) -> None:
    """A writer process: works until SIGTERM or SIGINT, then ends in good order.

    CannotStart when the books are of a newer version.
    """
    if settings.redis_url is None:
        raise ValueError("a writer needs the URL of a Redis")
    url = settings.redis_url
    books = open_books(settings.database_url)
    writer = Writer(books, lambda: open_client(url), WriterOptions.of(settings))
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, writer.stop)
    log.info("writer_started", owner=writer.status.owner)
    try:
        await writer.migrate(settings.database_url)
        spare_the_collector()
        await writer.run()
    finally:
        with contextlib.suppress(TimeoutError):  # all is committed: what hangs here holds nothing
            async with asyncio.timeout(CLOSE_SECONDS):
                await books.close()
    log.info("writer_stopped")


@dataclass(frozen=True, slots=True)
class CellLag:
    """How far the books are behind one cell."""

    cell: int
    facts: int
    age_ms: int  # of the oldest fact that is missing; 0 when none is


async def lag(books: Books, client: Client, tenant: str) -> list[CellLag]:
    """Of each cell of a tenant, by Redis's seq and the books'."""
    cells = schema.cells.c
    query = (
        select(cells.cell, cells.epoch, cells.seq, schema.tenants.c.cells)
        .join(schema.tenants, schema.tenants.c.id == cells.tenant)
        .where(cells.tenant == tenant)
        .order_by(cells.cell)
    )
    async with books.connect() as connection:
        rows = (await connection.execute(query)).all()
    return [
        await _lag_of(Outbox(client, tenant, cell, count), cell, Position(epoch, seq))
        for cell, epoch, seq, count in rows
    ]


async def _lag_of(outbox: Outbox, cell: int, booked: Position) -> CellLag:
    state: CellState = await outbox.state()
    if state.place <= booked:
        return CellLag(cell, 0, 0)
    begun_anew = state.place.epoch != booked.epoch and state.place.seq <= booked.seq
    missing = state.place.seq if begun_anew else state.place.seq - booked.seq
    oldest = await outbox.oldest_ms(booked)
    return CellLag(cell, missing, max(0, state.now - oldest) if oldest is not None else 0)
