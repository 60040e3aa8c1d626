"""The books' database: one wrapper over SQLite and PostgreSQL, and the way to its newest schema.

SQLite runs with a write-ahead log and ``synchronous=FULL`` (a committed act survives a power cut);
all its writers queue up by BEGIN IMMEDIATE, so a transaction that writes never fails half-way for
want of the lock. PostgreSQL is spoken to by asyncpg.
"""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, event, text
from sqlalchemy.engine import make_url
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from engine.errors import CannotStart

if TYPE_CHECKING:
    from alembic.config import Config

MIGRATIONS = Path(__file__).parent / "migrations"
_WRITES = "hexiao_writes"
_MIGRATION_LOCK = 0x68657869616F  # "hexiao": the same number in every process
_BUSY_SECONDS = 30.0
_BUSY_PAUSE_SECONDS = 0.01
_CONNECT_SECONDS = 10.0
_COMMAND_SECONDS = 300.0  # a database that answers nothing for so long is away


class Books:
    """An open database of the books. Made by ``open_books``, closed by ``close``."""

    def __init__(self, engine: AsyncEngine) -> None:
        self.engine = engine
        self.sqlite = engine.dialect.name == "sqlite"
        # Tasks of one process wait for each other here instead of polling SQLite's lock.
        self._turn = asyncio.Lock()

    @contextlib.asynccontextmanager
    async def connect(self) -> AsyncIterator[AsyncConnection]:
        """A connection whose reads see one snapshot (SQLite) or committed rows (PostgreSQL)."""
        async with self.engine.connect() as connection:
            yield connection

    @contextlib.asynccontextmanager
    async def begin(self) -> AsyncIterator[AsyncConnection]:
        """A transaction: committed at the end of the block, rolled back when it raises.

        On SQLite it holds the one write lock from its first statement on: keep it short.
        """
        async with contextlib.AsyncExitStack() as stack:
            if self.sqlite:
                await stack.enter_async_context(self._turn)
            connection = await stack.enter_async_context(self.engine.connect())
            connection = await connection.execution_options(**{_WRITES: True})
            await stack.enter_async_context(connection.begin())
            yield connection

    async def checkpoint(self) -> None:
        """Bring SQLite's log into the database as far as no reader is in the way.

        It keeps the disk busy: for quiet moments. PostgreSQL sees to that by itself.
        """
        if self.sqlite:
            async with self.engine.connect() as connection:
                raw: Any = await connection.get_raw_connection()
                await raw.driver_connection.execute_fetchall("PRAGMA wal_checkpoint(PASSIVE)")

    async def close(self) -> None:
        """Give all connections back."""
        await self.engine.dispose()


def open_books(url: str, *, pool_size: int = 5) -> Books:
    """The books at ``url`` (``sqlite+aiosqlite://`` or ``postgresql+asyncpg://``), not yet touched.

    ``pool_size``: connections kept; as many again may be opened for a moment.
    """
    parsed = make_url(url)
    options: dict[str, Any] = {"pool_size": pool_size, "max_overflow": pool_size}
    if parsed.get_backend_name() == "sqlite":
        if parsed.database:
            Path(parsed.database).parent.mkdir(parents=True, exist_ok=True)
        options["connect_args"] = {"timeout": _BUSY_SECONDS}
    else:
        options["pool_pre_ping"] = True  # a restarted server costs nobody an error
        options["connect_args"] = {
            "timeout": _CONNECT_SECONDS,
            "command_timeout": _COMMAND_SECONDS,
        }
    engine = create_async_engine(url, **options)
    if engine.dialect.name == "sqlite":
        event.listen(engine.sync_engine, "connect", _prepare_sqlite)
        event.listen(engine.sync_engine, "begin", _begin_sqlite)
    return Books(engine)


def _prepare_sqlite(connection: Any, _record: Any) -> None:
    connection.isolation_level = None  # no BEGIN but ours
    connection.run_async(_prepare)


async def _prepare(connection: Any) -> None:
    await _write_ahead(connection)
    # The cache (32 MiB) is what keeps scattered ids quick once the books are large: 57 against
    # 49 µs of CPU a fact at 300,000 facts.
    # A checkpoint holds up the disk that Redis syncs to, and the larger the log, the less there is
    # to write: at 780 MiB the slowest hundredth of claims at 70 % of the peak took 22 ms, at 250
    # it took 31 (means of eight and twelve runs, 0.3 to 1.3 million coupons). In quiet moments the
    # writer calls ``Books.checkpoint``, so that a sale begins with an empty log.
    for pragma in (
        "synchronous=FULL", "foreign_keys=ON", "cache_size=-32768", "wal_autocheckpoint=200000",
    ):  # fmt: skip
        await connection.execute_fetchall(f"PRAGMA {pragma}")


async def _write_ahead(connection: Any) -> None:
    # The one statement for which SQLite does not wait its turn: of processes that open new books
    # at the same moment, it answers all but one "locked" at once.
    deadline = time.monotonic() + _BUSY_SECONDS
    while True:
        try:
            await connection.execute_fetchall("PRAGMA journal_mode=WAL")
            return
        except sqlite3.OperationalError as error:
            busy = error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_BUSY  # or a kind of it
            if not busy or time.monotonic() > deadline:
                raise
            await asyncio.sleep(_BUSY_PAUSE_SECONDS)


def _begin_sqlite(connection: Connection) -> None:
    writes = connection.get_execution_options().get(_WRITES)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def alembic_config() -> Config:
    """Alembic's settings; nothing outside the package is read."""
    from alembic.config import Config  # a quarter of a process's start, so only where needed

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    return config


async def migrate(url: str, *, to: str = "head") -> None:
    """Bring the schema to this version, in one transaction; CannotStart when it is newer.

    Any number of processes may do it at once: one does the work, the others find it done. ``to``:
    an older revision, for who wants to see books grow up.
    """
    books = open_books(url, pool_size=1)
    try:
        async with books.begin() as connection:
            if not books.sqlite:  # SQLite has only one writer anyhow
                await connection.execute(
                    text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _MIGRATION_LOCK}
                )
            await connection.run_sync(_upgrade, to)
    finally:
        await books.close()


def _upgrade(connection: Connection, to: str) -> None:
    from alembic import command
    from alembic.runtime.migration import MigrationContext
    from alembic.script import ScriptDirectory
    from alembic.util import CommandError

    config = alembic_config()
    scripts = ScriptDirectory.from_config(config)
    for revision in MigrationContext.configure(connection).get_current_heads():
        try:
            scripts.get_revision(revision)
        except CommandError:
            raise CannotStart(
                f"The books were migrated by a newer hexiao (revision {revision}); "
                "start that version, or restore a backup made by this one."
            ) from None
    config.attributes["connection"] = connection
    command.upgrade(config, to)
