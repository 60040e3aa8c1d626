"""Books that many tests share: migrated once; each test has a tenant of its own in them."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from engine.books.db import Books, migrate, open_books
from tests.books.mall import Mall, open_mall


@pytest.fixture(scope="session")
def books_url(
    request: pytest.FixtureRequest, database_kind: str, tmp_path_factory: pytest.TempPathFactory
) -> str:
    """Migrated books, on each database of the matrix; not to be stopped or emptied."""
    if database_kind == "postgres":
        postgres = request.getfixturevalue("postgres")
        url: str = postgres.url(postgres.create())
    else:
        url = f"sqlite+aiosqlite:///{tmp_path_factory.mktemp('books')}/hexiao.db"
    asyncio.run(migrate(url))
    return url


@pytest.fixture(scope="session")
def migrated(
    request: pytest.FixtureRequest, database_kind: str, tmp_path_factory: pytest.TempPathFactory
) -> str:
    """Migrated books that nobody opens: the name of a database, or a file, to copy."""
    if database_kind == "postgres":
        postgres = request.getfixturevalue("postgres")
        name: str = postgres.create()
        asyncio.run(migrate(postgres.url(name)))
        return name
    path = f"{tmp_path_factory.mktemp('migrated')}/hexiao.db"
    asyncio.run(migrate(f"sqlite+aiosqlite:///{path}"))
    return path


@pytest.fixture
def own_books_url(
    request: pytest.FixtureRequest, database_kind: str, migrated: str, tmp_path: Path
) -> Iterator[str]:
    """Migrated books of this test alone: a writer, for one, serves all tenants in them."""
    if database_kind == "postgres":
        postgres = request.getfixturevalue("postgres")
        name = postgres.create(template=migrated)
        yield postgres.url(name)
        postgres.drop(name)
    else:
        yield f"sqlite+aiosqlite:///{shutil.copy(migrated, tmp_path / 'own.db')}"


@pytest.fixture
async def own_books(own_books_url: str) -> AsyncIterator[Books]:
    """Those books, open."""
    opened = open_books(own_books_url)
    yield opened
    await opened.close()


@pytest.fixture
async def mall(redis_url: str, books_url: str, tenant: str) -> AsyncIterator[Mall]:
    """A mall of one cell with four shops, and no writer at work."""
    async with open_mall(redis_url, books_url, tenant) as opened:
        yield opened
