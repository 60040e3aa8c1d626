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

from engine.books.db import Books
from engine.reconcile import reconcile
from tests.books.mall import MINUTE, Mall, march, open_mall
from tests.books.outbox_story import Story, check_books, found_tenant
from tests.books.test_writer import drained, writing
from tests.books.writer_process import OPTIONS

ROOT = Path(__file__).parents[2]
TEN = {"type": "amount_off", "amount": 1000}
STEPS = [
    "after_read",
    "mid_transaction",
    "before_commit",
    "after_commit",
    "before_ack",
    "after_ack",
]


@pytest.fixture
def books(own_books: Books) -> Books:
    """Books of this test alone."""
    return own_books


@contextlib.asynccontextmanager
async def process(
    own_books_url: str, redis_url: str, failpoint: str = ""
) -> AsyncIterator[asyncio.subprocess.Process]:
    """A writer process; what is left of it is killed at the end."""
    started = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.books.writer_process", own_books_url, redis_url, cwd=ROOT,
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
    books: Books, own_books_url: str, redis_client: Redis, redis_url: str, tenant: str
) -> None:
    await found_tenant(books, tenant, cells=2)
    story = Story(tenant, cells=2)
    for step in STEPS:
        story.live(150)
        await story.send(redis_client, most=8)
        async with process(own_books_url, redis_url, f"{step}:{random.randint(1, 3)}") as killed:
            await dies(killed)
    async with process(own_books_url, redis_url) as last:
        await drained(books, story)
        last.terminate()
        async with asyncio.timeout(20):
            assert await last.wait() == 0
    await check_books(books, story)


@pytest.mark.servers("valkey")
@pytest.mark.databases("postgres")
@pytest.mark.slow
async def test_killed_at_each_step_beside_one_that_lives_while_the_engine_works(
    books: Books, own_books_url: str, redis_url: str, tenant: str
) -> None:
    """Real acts, two writers on two cells: the cells of the dead go to the living and back."""
    async with (
        open_mall(redis_url, own_books_url, tenant, cells=2) as mall,
        writing(books, redis_url, OPTIONS),
    ):
        await mall.campaign("ten", TEN, stock={"total": None}, funding={"mall": 30, "merchant": 70})
        for number, step in enumerate(STEPS[::2]):
            async with process(own_books_url, redis_url, step) as killed:
                dying = asyncio.create_task(dies(killed))
                user = 1000 * number
                while not dying.done():  # as soon as its share of the cells has something new
                    await asyncio.gather(*(shop(mall, f"u{user + n}") for n in range(3)))
                    await asyncio.sleep(0.1)
                    user += 3
                await dying
        report = await reconcile(mall.books, mall.redis, tenant)
        assert report.differences == []
        assert report.checked["redemptions"] >= 9


async def shop(mall: Mall, user: str) -> None:
    """A person claims three coupons: one is returned, one held and used, one held and let go."""
    coupons = [await mall.claim(user, "ten", march(2)) for _ in range(3)]
    lines = [("a", 4000), ("b", 5000)]
    first = await mall.redeem(coupons[:1], "s1", lines, march(3))
    second = await mall.redeem(coupons[1:2], "s2", lines, march(3), hold_seconds=900)
    third = await mall.redeem(coupons[2:], "s3", lines, march(3), hold_seconds=900)
    await mall.reverse(first, march(4), [("a", 4000)])
    await mall.finish("commit", second, march(3) + MINUTE)
    await mall.finish("release", third, march(3) + MINUTE)
    await mall.reverse(first, march(5))
    await mall.void(coupons[2], march(6))
