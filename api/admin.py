"""What the command line does besides running processes: keys, malls, checks, copies.

Each function prints what it found and returns whether all is well.
"""

from __future__ import annotations

import os
import secrets
import shutil
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from redis.exceptions import RedisError
from rich.console import Console
from rich.table import Table
from sqlalchemy.exc import SQLAlchemyError

from api.auth import digest_of, key_text
from api.readiness import VERSION
from api.tenants import add_tenant, list_tenants
from engine.books import definitions_directory as directory
from engine.books.db import Books, alembic_config, migrate, open_books
from engine.books.definitions import By
from engine.books.ingest import Ingest
from engine.books.retaking import retake
from engine.config import Settings, load_secret
from engine.control import Control
from engine.errors import CannotStart, HexiaoError, Unavailable
from engine.fastpath import IMPL
from engine.outbox import open_client
from engine.reconcile import reconcile
from engine.server import Server
from engine.writer import lag

console = Console(highlight=False, soft_wrap=True)

LARGEST_CLOCK_GAP_MS = 1000
LEAST_FREE_BYTES = 1 << 30


@asynccontextmanager
async def books_of(settings: Settings) -> AsyncIterator[Books]:
    """The books, brought to this version's schema."""
    await migrate(settings.database_url)
    books = open_books(settings.database_url, pool_size=2)
    try:
        yield books
    finally:
        await books.close()


async def malls(books: Books, only: str | None) -> list[str]:
    """Ids of all malls, or the one asked for; CannotStart when it is not there."""
    ids = [str(row["id"]) for row in await list_tenants(books)]
    if only is None:
        return ids
    if only not in ids:
        raise CannotStart(f"There is no tenant {only}; `hexiao tenants list` shows them.")
    return [only]


def table(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Print rows under headings."""
    shown = Table(*columns, box=None, pad_edge=False)
    for row in rows:
        shown.add_row(*("" if cell is None else str(cell) for cell in row))
    console.print(shown)


# ---- keys and malls ----------------------------------------------------------------------------


def _by() -> By:
    user = os.environ.get("USER") or "command line"
    return By(user[:128], "", "command line", "operator", time.time_ns() // 1_000_000)


async def add_key(settings: Settings, tenant: str, role: str, label: str, bindings: Any) -> bool:
    """Make a key; its text is printed once, alone on a line."""
    async with books_of(settings) as books:
        await malls(books, tenant)
        key_id = f"k{secrets.token_hex(8)}"
        text = key_text(load_secret(settings), tenant, key_id)
        bound = {name: value for name, value in bindings.items() if value}
        key = {"id": key_id, "role": role, "label": label, "digest": digest_of(text), **bound}
        await directory.add_key(books, tenant, _by(), None, key)
    sys.stdout.write(f"{text}\n")
    return True


async def list_keys(settings: Settings, tenant: str) -> bool:
    """All keys of a mall, never their texts."""
    async with books_of(settings) as books:
        await malls(books, tenant)
        rows = await directory.list_keys(books, tenant, limit=100_000)
    columns = ("id", "role", "label", "store_id", "merchant_id", "lot_id", "event_id")
    shown = [
        [*(row[name] for name in columns), "revoked" if row["revoked_ms"] else "good"]
        for row in rows
    ]
    table((*columns, "is"), shown)
    return True


async def revoke_key(settings: Settings, tenant: str, key_id: str) -> bool:
    """Revoke a key: within a second it opens nothing."""
    async with books_of(settings) as books:
        await malls(books, tenant)
        answer = await directory.revoke_key(books, tenant, _by(), key_id)
    console.print(f"{key_id} is revoked." if answer.ok else f"There is no key {key_id}.")
    return answer.ok


async def make_tenant(settings: Settings, tenant: str) -> bool:
    """Make a mall; its number of cells, time zone and currency stay as they are now."""
    async with books_of(settings) as books:
        made = await add_tenant(
            books,
            tenant,
            cells=settings.cells,
            timezone=settings.timezone,
            currency=settings.currency,
        )
    text = f"{tenant} is made: {settings.cells} cells, {settings.timezone}, {settings.currency}."
    console.print(text if made else f"There is a tenant {tenant} already.")
    return made


async def show_tenants(settings: Settings) -> bool:
    """All malls."""
    async with books_of(settings) as books:
        rows = await list_tenants(books)
    columns = ("id", "cells", "timezone", "currency")
    table(columns, [[row[name] for name in columns] for row in rows])
    return True


# ---- checks ------------------------------------------------------------------------------------


async def run_reconcile(settings: Settings, only: str | None) -> bool:
    """Compare live state with the books; print each difference."""
    assert settings.redis_url is not None
    well = True
    async with books_of(settings) as books:
        redis = await open_client(settings.redis_url)
        try:
            for tenant in await malls(books, only):
                report = await reconcile(books, redis, tenant)
                checked = ", ".join(f"{count:,} {what}" for what, count in report.checked.items())
                console.print(f"{tenant}: {checked or 'nothing to compare'}")
                if report.ok:
                    console.print(f"{tenant}: no difference ({report.seconds:.1f} s)")
                    continue
                well = False
                table(("what", "where", "live", "books"), report.differences)
                total = len(report.differences) + report.dropped
                console.print(f"{tenant}: {total} differences ({report.seconds:.1f} s)")
        finally:
            await redis.aclose()
    return well


async def run_recover(settings: Settings, only: str | None) -> bool:
    """Compare each mall's cells with the books, load the scripts, publish all definitions.

    Facts that were set aside are tried again; those that still can't be taken in are told.

    A Redis that is behind the books stays fenced: this version does not replay what it lost.
    """
    assert settings.redis_url is not None
    well = True
    async with books_of(settings) as books:
        server = await Server.open(settings.redis_url)
        outbox = await open_client(settings.redis_url)
        try:
            await server.check()
            rows = {str(row["id"]): row for row in await list_tenants(books)}
            for tenant in await malls(books, only):
                control = Control(tenant, int(rows[tenant]["cells"]), server, books)
                try:
                    await control.publish_all()
                except Unavailable as error:
                    well = False
                    console.print(f"{tenant}: {error}", style="red")
                    continue
                ingest = Ingest(books, tenant)
                again = [await retake(ingest, cell) for cell in range(control.cells)]
                if any(one.taken or one.left for one in again):
                    taken, left = (sum(one.taken for one in again), sum(one.left for one in again))
                    well = well and not left
                    console.print(
                        f"{tenant}: {taken} facts that were set aside are taken in, {left} are not."
                    )
                behind = sum(one.facts for one in await lag(books, outbox, tenant))
                console.print(
                    f"{tenant}: in step, definitions published; {behind} facts for the writer."
                )
        finally:
            await server.close()
            await outbox.aclose()
    return well


Check = Callable[[], Awaitable[str]]


async def doctor(settings: Settings, redis_url: str | None) -> bool:
    """Look at everything this machine needs and say what is in the way."""
    server: Server | None = None

    async def the_server() -> Server:
        nonlocal server
        if server is None:
            if redis_url is None:
                raise CannotStart("it does not run: start `hexiao serve`, or set HEXIAO_REDIS_URL")
            server = await Server.open(redis_url)
        return server

    async def redis() -> str:
        found = await the_server()
        await found.check()
        kind = "cluster" if found.cluster else "one server"
        return f"{found.version}, {kind}, {await found.durability()}"

    async def clock() -> str:
        gap = (await the_server()).offset
        if abs(gap) > LARGEST_CLOCK_GAP_MS:
            raise CannotStart(f"Redis's clock is {gap} ms off this machine's: set both by NTP")
        return f"{gap} ms from Redis's"

    checks: list[tuple[str, Check]] = [
        ("hexiao", _version),
        ("signing secret", lambda: _secret(settings)),
        ("data directory", lambda: _data_dir(settings)),
        ("Redis", redis),
        ("clock", clock),
        ("books", lambda: _books(settings)),
    ]
    well = True
    for name, check in checks:
        try:
            console.print(f"[green]ok[/]    {name}: {await check()}")
        except (HexiaoError, ValueError, RedisError, SQLAlchemyError, OSError) as error:
            well = False
            console.print(f"[red]wrong[/] {name}: {error}")
    if server is not None:
        await server.close()
    return well


async def _version() -> str:
    return f"{VERSION} on Python {sys.version.split()[0]}, fast path {IMPL}"


async def _secret(settings: Settings) -> str:
    load_secret(settings)
    return "from HEXIAO_SECRET" if settings.secret else f"kept in {settings.data_dir}"


async def _data_dir(settings: Settings) -> str:
    settings.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    free = shutil.disk_usage(settings.data_dir).free
    if not os.access(settings.data_dir, os.W_OK):
        raise CannotStart(f"{settings.data_dir} can't be written")
    if free < LEAST_FREE_BYTES:
        raise CannotStart(f"only {free >> 20} MiB are free under {settings.data_dir}")
    return f"{settings.data_dir}, {free >> 30} GiB free"


async def _books(settings: Settings) -> str:
    books = open_books(settings.database_url, pool_size=1)
    try:
        async with books.connect() as connection:
            heads = await connection.run_sync(
                lambda sync: MigrationContext.configure(sync).get_current_heads()
            )
    finally:
        await books.close()
    wanted = tuple(ScriptDirectory.from_config(alembic_config()).get_heads())
    kind = "SQLite" if books.sqlite else "PostgreSQL"
    if heads == wanted:
        return f"{kind}, schema {', '.join(heads)}"
    found = ", ".join(heads) or "none yet"
    return f"{kind}, schema {found}; the next start brings it to {wanted[0]}"
