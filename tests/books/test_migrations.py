"""The schema comes from migrations alone, on both databases, whoever runs them and how many."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Connection, text

from engine.books.db import migrate, open_books
from engine.books.schema import metadata
from engine.errors import CannotStart

ROOT = Path(__file__).parents[2]


async def test_migrations_make_exactly_the_schema(database_url: str) -> None:
    await migrate(database_url)

    def differences(connection: Connection) -> list[object]:
        context = MigrationContext.configure(
            connection, opts={"compare_type": True, "compare_server_default": True}
        )
        return list(compare_metadata(context, metadata))

    books = open_books(database_url)
    async with books.connect() as connection:
        assert await connection.run_sync(differences) == []
    await books.close()


@pytest.mark.slow
async def test_processes_that_migrate_at_once(database_url: str) -> None:
    program = (
        "import asyncio, sys; from engine.books.db import migrate;"
        " asyncio.run(migrate(sys.argv[1]))"
    )
    processes = [
        await asyncio.create_subprocess_exec(
            sys.executable, "-c", program, database_url, cwd=ROOT,
            stderr=asyncio.subprocess.PIPE,
        )
        for _ in range(3)
    ]  # fmt: skip
    outcomes = [await process.communicate() for process in processes]
    assert [p.returncode for p in processes] == [0, 0, 0], outcomes
    books = open_books(database_url)
    async with books.connect() as connection:
        versions = (await connection.execute(text("SELECT version_num FROM alembic_version"))).all()
    await books.close()
    assert len(versions) == 1


async def test_books_of_a_newer_version_are_refused(database_url: str) -> None:
    await migrate(database_url)
    books = open_books(database_url)
    async with books.begin() as connection:
        await connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    await books.close()
    with pytest.raises(CannotStart, match="newer hexiao"):
        await migrate(database_url)


async def test_sqlite_survives_power_cuts_and_queues_its_writers(tmp_path: Path) -> None:
    url = f"sqlite+aiosqlite:///{tmp_path}/deep/down/hexiao.db"
    await migrate(url)
    books = open_books(url)
    async with books.connect() as connection:
        pragmas = {
            name: (await connection.execute(text(f"PRAGMA {name}"))).scalar()
            for name in ("journal_mode", "synchronous", "foreign_keys")
        }
    assert pragmas == {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1}
    other = open_books(url)

    async def count_up() -> None:
        # Reads, waits, writes: without BEGIN IMMEDIATE the second would lose or fail.
        for from_books in (books, other):
            async with from_books.begin() as connection:
                n = (await connection.execute(text("SELECT count(*) FROM writers"))).scalar()
                await asyncio.sleep(0.001)
                await connection.execute(text(f"INSERT INTO writers VALUES ('w{n}', 0)"))

    await asyncio.gather(*(count_up() for _ in range(10)))
    async with books.connect() as connection:
        assert (await connection.execute(text("SELECT count(*) FROM writers"))).scalar() == 20
    await books.close()
    await other.close()
