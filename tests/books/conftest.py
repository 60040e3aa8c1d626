"""Books that many tests share: migrated once; each test has a tenant of its own in them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from engine.books.db import migrate
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


@pytest.fixture
async def mall(redis_url: str, books_url: str, tenant: str) -> AsyncIterator[Mall]:
    """A mall of one cell with four shops, and no writer at work."""
    async with open_mall(redis_url, books_url, tenant) as opened:
        yield opened
