"""The schema comes from migrations alone, on both databases, whoever runs them and how many."""

from __future__ import annotations

import asyncio
import sqlite3
import sys
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Connection, text

from engine.books import schema
from engine.books.db import migrate, open_books
from engine.books.projections import place_of
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


async def test_opening_new_books_waits_for_another_that_is_at_it(tmp_path: Path) -> None:
    url = f"sqlite+aiosqlite:///{tmp_path}/hexiao.db"
    at_it = sqlite3.connect(tmp_path / "hexiao.db", isolation_level=None)
    at_it.execute("BEGIN IMMEDIATE")  # not yet with a log: the other sets out to give it one
    opening = asyncio.create_task(migrate(url))
    await asyncio.sleep(0.2)
    at_it.execute("ROLLBACK")
    at_it.close()
    await opening
    with sqlite3.connect(tmp_path / "hexiao.db") as books:
        assert books.execute("PRAGMA journal_mode").fetchone() == ("wal",)


async def test_claims_of_older_books_are_found_by_their_coupons(database_url: str) -> None:
    """Revision 0022 tells each coupon where the fact that made it is."""
    await migrate(database_url, to="0021")
    books = open_books(database_url)
    async with books.begin() as connection:
        for cell, epoch, seq, kind, act in (
            (0, 1, 7, "claimed", "C1"), (0, 1, 8, "voided", "C1"),
            (1, 3, 9, "received", "C2"), (1, 3, 10, "claimed", "C3"),
        ):  # fmt: skip
            await connection.execute(text(
                "INSERT INTO facts (tenant, cell, epoch, seq, type, act, fingerprint, at_ms,"
                f" digest, body) VALUES ('m', {cell}, {epoch}, {seq}, '{kind}', '{act}', '', 0,"
                " '', '{}')"
            ))  # fmt: skip
        for name, cell in (("C1", 0), ("C2", 1), ("C3", 1)):
            await connection.execute(text(
                "INSERT INTO coupons (tenant, id, cell, campaign_id, terms_revision, user_id,"
                " state, issued_ms, valid_from_ms, valid_until_ms, channel, entry, tier, source,"
                f" metadata, changed_ms, version) VALUES ('m', '{name}', {cell}, 'c', 1, 'u',"
                " 'issued', 0, 0, 0, 'app', '', '', '', '', 0, 1)"
            ))  # fmt: skip
    await migrate(database_url)
    async with books.connect() as connection:
        born = (await connection.execute(text("SELECT id, born FROM coupons ORDER BY id"))).all()
        plan = (await connection.execute(
            text(f"EXPLAIN {'QUERY PLAN' if books.sqlite else ''} SELECT 1 FROM facts"
                 f" WHERE tenant = 'm' AND act IN ('C1') AND {schema.NO_CLAIM.text}")
        )).all()  # fmt: skip
    await books.close()
    assert [(name, *place_of(version)) for name, version in born] == [
        ("C1", 1, 7), ("C2", 3, 9), ("C3", 3, 10),
    ]  # fmt: skip
    if books.sqlite:  # PostgreSQL reads so few rows at once
        assert "facts_act" in str(plan)
