"""The writer killed (SIGKILL) at each step of its loop: the books equal the facts afterwards."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from redis.asyncio import Redis

from engine.books.db import Books, migrate, open_books
from engine.outbox import open_client
from engine.writer import Writer
from tests.books.outbox_story import Story, check_books, found_tenant
from tests.books.test_writer import drained
from tests.books.writer_process import OPTIONS

ROOT = Path(__file__).parents[2]
STEPS = [
    "after_read",
    "mid_transaction",
    "before_commit",
    "after_commit",
    "before_ack",
    "after_ack",
]


@pytest.fixture
async def books(database_url: str) -> AsyncIterator[Books]:
    """Books of this test alone."""
    await migrate(database_url)
    opened = open_books(database_url)
    yield opened
    await opened.close()


@contextlib.asynccontextmanager
async def process(
    database_url: str, redis_url: str, failpoint: str = ""
) -> AsyncIterator[asyncio.subprocess.Process]:
    """A writer process; what is left of it is killed at the end."""
    started = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.books.writer_process", database_url, redis_url, cwd=ROOT,
        env={**os.environ, "HEXIAO_FAILPOINT": failpoint}, stdout=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    try:
        yield started
    finally:
        if started.returncode is None:
            started.kill()
            await started.wait()


async def dies(killed: asyncio.subprocess.Process) -> None:
    async with asyncio.timeout(30):
        assert await killed.wait() == -signal.SIGKILL


async def test_killed_at_each_step_and_started_again(
    books: Books, database_url: str, redis_client: Redis, redis_url: str, tenant: str
) -> None:
    await found_tenant(books, tenant, cells=2)
    story = Story(tenant, cells=2)
    for step in STEPS:
        story.live(150)
        await story.send(redis_client, most=8)
        async with process(database_url, redis_url, f"{step}:{random.randint(1, 3)}") as killed:
            await dies(killed)
    async with process(database_url, redis_url) as last:
        await drained(books, story)
        last.terminate()
        async with asyncio.timeout(20):
            assert await last.wait() == 0
    await check_books(books, story)


@pytest.mark.servers("valkey")
@pytest.mark.databases("postgres")
async def test_killed_at_each_step_beside_one_that_lives(
    books: Books, database_url: str, redis_client: Redis, redis_url: str, tenant: str
) -> None:
    """Two writers share two cells; the cells of the dead go to the living and back."""
    await found_tenant(books, tenant, cells=2)
    story = Story(tenant, cells=2)
    living = Writer(books, lambda: open_client(redis_url), OPTIONS)
    working = asyncio.create_task(living.run())
    for step in STEPS:
        async with process(database_url, redis_url, step) as killed:
            dying = asyncio.create_task(dies(killed))
            while not dying.done():  # it dies as soon as its share of the cells has something new
                story.live(20)
                await story.send(redis_client, most=8)
                await asyncio.sleep(0.05)
            await dying
    await drained(books, story)
    living.stop()
    await working
    await check_books(books, story)
