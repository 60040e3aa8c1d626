"""Malls for the tests of the engine: one cell on a plain server, five on a real cluster."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import NamedTuple

import pytest

from engine.books.db import migrate
from tests.engine.harness import Running, copy_books, open_mall

CELLS = 5  # not a multiple of the three nodes


class Place(NamedTuple):
    """Where a mall lives."""

    url: str
    cells: int


@pytest.fixture(scope="session")
def migrated_books(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A SQLite file with the newest schema and nothing in it, to be copied."""
    path = tmp_path_factory.mktemp("books") / "migrated.db"
    asyncio.run(migrate(f"sqlite+aiosqlite:///{path}"))
    return path


@pytest.fixture
def books_file(migrated_books: Path, tmp_path: Path) -> Path:
    """Empty books of one's own."""
    return copy_books(migrated_books, tmp_path)


# Not of the session's scope: pytest would then sort by place and start each server twice.
@pytest.fixture(params=["one-cell", pytest.param("cluster", marks=pytest.mark.cluster)])
def place(request: pytest.FixtureRequest, redis_kind: str) -> Place:
    """One cell on the plain server, and several cells on the three-node cluster."""
    if request.param == "one-cell":
        return Place(request.getfixturevalue("redis_url"), 1)
    return Place(request.getfixturevalue("redis_cluster").url, CELLS)


@pytest.fixture
async def mall(place: Place, tenant: str, books_file: Path) -> AsyncIterator[Running]:
    """A mall on each place."""
    async with open_mall(tenant, place.url, books_file, cells=place.cells) as running:
        yield running


@pytest.fixture
async def small_mall(redis_url: str, tenant: str, books_file: Path) -> AsyncIterator[Running]:
    """A mall of one cell on the session's plain server."""
    async with open_mall(tenant, redis_url, books_file) as running:
        yield running
