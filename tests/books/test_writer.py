"""The writer between a real outbox and real books: what it carries, and what it lets go of when."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import signal
import sqlite3
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest
from redis.asyncio import Redis
from sqlalchemy import delete, text, update

from engine import facts, keys
from engine.books import schema
from engine.books.arrivals import Entry, Position
from engine.books.db import Books, migrate, open_books
from engine.outbox import GROUP, Outbox, open_client
from engine.writer import Writer, WriterOptions, lag
from tests.books.outbox_story import START, Story, append, check_books, found_tenant, rows
from tests.conftest import OwnRedis
from tests.servers import Cluster, Postgres

# The stories' facts are months old: a window of a day would let go of them at once.
QUICK = WriterOptions(
    wait_ms=50, gather_ms=5, lease_ms=1000, share_ms=50, backoff_ms=200, keep_ms=10**12
)


@pytest.fixture
def books(own_books: Books) -> Books:
    """Books of this test alone."""
    return own_books


@contextlib.asynccontextmanager
async def writing(books: Books, url: str, options: WriterOptions = QUICK) -> AsyncIterator[Writer]:
    """A writer at work inside the block; its stop must be clean."""
    writer = Writer(books, lambda: open_client(url), options)
    task = asyncio.create_task(writer.run())
    try:
        yield writer
    finally:
        writer.stop()
        async with asyncio.timeout(20):
            await task


async def until(true: Callable[[], Awaitable[bool]], patience_s: float = 20) -> None:
    deadline = time.monotonic() + patience_s
    while not await true():
        assert time.monotonic() < deadline, f"not within {patience_s} s"
        await asyncio.sleep(0.02)


async def drained(books: Books, story: Story) -> None:
    """Wait until the books have come as far as the story."""

    async def level() -> bool:
        kept = await rows(books, schema.cells, story.tenant)
        return [c.seq for c in kept] == [len(cell.facts) for cell in story.cells]

    await until(level)


async def pending(redis: Redis, story: Story) -> int:
    stream = keys.facts_key(story.cells[0].tag)
    return int((await redis.xpending(stream, GROUP))["pending"])


async def test_what_was_there_before_and_what_comes(
    books: Books, redis_client: Redis, redis_url: str, tenant: str
) -> None:
    await found_tenant(books, tenant, cells=2)
    story = Story(tenant, cells=2)
    story.live(200)
    await story.send(redis_client)
    async with writing(books, redis_url) as writer:
        await drained(books, story)
        for _ in range(5):
            story.live(60)
            await story.send(redis_client)
        await drained(books, story)
        await check_books(books, story)
        await until(lambda: _is(pending(redis_client, story), 0))
        status = writer.status.cells[tenant, 0]
        assert (status.place.seq, status.facts) == (len(story.cells[0].facts),) * 2
        assert (status.refused, status.repeated, status.error) == (0, 0, "")
    assert [c.lease_owner for c in await rows(books, schema.cells, tenant)] == [None, None]


async def test_in_a_quiet_moment_the_log_of_sqlite_goes_into_the_books(
    tmp_path: Path, redis_client: Redis, redis_url: str, tenant: str
) -> None:
    kept, alone = tmp_path / "kept.db", tmp_path / "alone.db"
    url = f"sqlite+aiosqlite:///{kept}"
    await migrate(url)
    books = open_books(url)
    await found_tenant(books, tenant)
    story = Story(tenant)
    story.live(30)
    await story.send(redis_client)

    async def without_its_log() -> bool:
        shutil.copy(kept, alone)
        with contextlib.closing(sqlite3.connect(alone)) as database:
            try:
                held = database.execute("SELECT seq FROM cells WHERE tenant = ?", (tenant,))
                return held.fetchall() == [(len(story.cells[0].facts),)]
            except sqlite3.DatabaseError:  # copied while it was written to
                return False

    async with writing(books, redis_url, replace(QUICK, checkpoint_facts=1)):
        await until(without_its_log)
    await books.close()


async def _is(found: Awaitable[Any], wanted: object) -> bool:
    return bool(await found == wanted)


@pytest.mark.slow
async def test_cells_on_a_real_cluster(books: Books, redis_cluster: Cluster, tenant: str) -> None:
    await found_tenant(books, tenant, cells=6)
    story = Story(tenant, cells=6)
    client: Any = await open_client(redis_cluster.url)
    async with writing(books, redis_cluster.url):
        for _ in range(3):
            story.live(150)
            await story.send(client)
        await drained(books, story)
        await check_books(books, story)

        async def complete() -> bool:
            kept = await rows(books, schema.cells, tenant)
            return all(c.complete_ms > START + 10**9 for c in kept)

        await until(complete)
    assert {lag_.facts for lag_ in await lag(books, client, tenant)} == {0}
    await client.aclose()


@pytest.mark.slow
async def test_two_writers_at_once_share_and_take_over(
    books: Books, redis_client: Redis, redis_url: str, tenant: str
) -> None:
    await found_tenant(books, tenant, cells=4)
    story = Story(tenant, cells=4)
    async with writing(books, redis_url) as first:
        story.live(100)
        await story.send(redis_client)
        async with writing(books, redis_url) as second:
            for _ in range(10):
                story.live(60)
                await story.send(redis_client, most=4)
                await asyncio.sleep(0.03)
            await until(lambda: _shares(books, tenant, {first: 2, second: 2}))
            story.live(100)
            await story.send(redis_client)
            await drained(books, story)
        story.live(100)
        await story.send(redis_client)
        await drained(books, story)
    await check_books(books, story)


async def _shares(books: Books, tenant: str, wanted: dict[Writer, int]) -> bool:
    owners = [c.lease_owner for c in await rows(books, schema.cells, tenant)]
    return all(owners.count(writer.status.owner) == n for writer, n in wanted.items())


@pytest.mark.slow
async def test_a_writer_whose_lease_was_taken_by_force(
    books: Books, redis_client: Redis, redis_url: str, tenant: str
) -> None:
    """The worst case of two writers on one cell: both read, one may write, nothing is lost."""
    await found_tenant(books, tenant)
    story = Story(tenant)
    cells = schema.cells
    async with writing(books, redis_url), writing(books, redis_url):
        for n in range(30):
            story.live(20)
            await story.send(redis_client, most=2)
            if n % 3 == 0:  # as if it had run out
                async with books.begin() as connection:
                    await connection.execute(update(cells).values(lease_until_ms=0))
            await asyncio.sleep(0.02)
        await drained(books, story)
    await check_books(books, story)


async def test_entries_that_another_reader_took_are_found(
    books: Books, redis_client: Redis, redis_url: str, tenant: str
) -> None:
    """Also what a restored backup of the books asks for: the group is ahead of the books."""
    await found_tenant(books, tenant)
    story = Story(tenant)
    story.live(100)
    async with writing(books, redis_url):
        await story.send(redis_client, most=8)
        await drained(books, story)
        story.live(50)
        await _steal(story, redis_client)
        story.live(50)
        await story.send(redis_client, most=8)
        await drained(books, story)
        story.live(20)
        await _steal(story, redis_client)  # and nothing follows it
        await drained(books, story)
    await check_books(books, story)


async def _steal(story: Story, redis: Redis) -> None:
    """Append and take in one go, so that the writer's own read never sees it."""
    stream, cell = keys.facts_key(story.cells[0].tag), keys.cell_key(story.cells[0].tag)
    async with redis.pipeline(transaction=True) as pipe:
        for entry in story.unsent(story.cells[0], 8):
            pipe.xadd(stream, {"f": entry.body}, id=entry.id)
            pipe.hset(cell, "seq", entry.id.partition("-")[2])
        pipe.xreadgroup(GROUP, "thief", {stream: ">"}, count=1000)
        await pipe.execute()


async def test_a_real_gap_stops_the_cell_and_is_told(
    books: Books, redis_client: Redis, redis_url: str, tenant: str
) -> None:
    await found_tenant(books, tenant)
    story = Story(tenant)
    story.live(30)
    entries = list(story.unsent(story.cells[0], 3))
    lost = entries.pop(len(entries) // 2)
    for entry in entries:
        await append(redis_client, story.cells[0].tag, entry)
    async with writing(books, redis_url) as writer:

        async def told() -> bool:
            status = writer.status.cells.get((tenant, 0))
            return status is not None and status.gap is not None

        await until(told)
        [cell] = await rows(books, schema.cells, tenant)
        before = entries[len(entries) // 2 - 1].id
        assert f"1-{cell.seq}" == before  # everything before the gap, nothing beyond it
        assert lost.id not in {e.id for e in entries}


async def test_an_undecodable_entry_does_not_stop_the_rest(
    books: Books, redis_client: Redis, redis_url: str, tenant: str
) -> None:
    await found_tenant(books, tenant)
    story = Story(tenant)
    for n in range(9):
        story.claim(f"u{n}")
    entries = list(story.unsent(story.cells[0], 1))
    broken = Entry(entries[4].id, b"\xc1 not MessagePack")
    async with writing(books, redis_url) as writer:
        for entry in [*entries[:2], broken, *entries[5:]]:
            await append(redis_client, story.cells[0].tag, entry)
        await drained(books, story)
        # The broken one came after number 2, so it stands for 3, 4 and 5.
        await check_books(books, story, refused=[(0, 3), (0, 4), (0, 5)])
        assert writer.status.cells[tenant, 0].refused == 3
        await until(lambda: _is(pending(redis_client, story), 0))


async def test_the_group_vanishes(
    books: Books, redis_client: Redis, redis_url: str, tenant: str
) -> None:
    await found_tenant(books, tenant)
    story = Story(tenant)
    async with writing(books, redis_url):
        story.live(50)
        await story.send(redis_client)
        await drained(books, story)
        await redis_client.xgroup_destroy(keys.facts_key(story.cells[0].tag), GROUP)
        story.live(50)
        await story.send(redis_client)
        await drained(books, story)
    await check_books(books, story)


async def test_an_idle_cell_is_complete_up_to_now(
    books: Books, redis_client: Redis, redis_url: str, tenant: str
) -> None:
    await found_tenant(books, tenant)
    seconds, _ = await redis_client.time()
    async with writing(books, redis_url):

        async def complete() -> bool:
            [cell] = await rows(books, schema.cells, tenant)
            return bool(cell.complete_ms >= seconds * 1000)

        await until(complete)


async def test_on_a_rehearsal_server_it_is_complete_up_to_its_clock(
    books: Books, redis_client: Redis, redis_url: str, tenant: str
) -> None:
    await found_tenant(books, tenant)
    story = Story(tenant)
    story.live(5)
    await story.send(redis_client)
    clock = START + 123_456
    await redis_client.hset(keys.cell_key(story.cells[0].tag), "clock", clock)
    options = WriterOptions(wait_ms=50, share_ms=50, rehearsal=True)
    async with writing(books, redis_url, options):

        async def complete() -> bool:
            [cell] = await rows(books, schema.cells, tenant)
            return bool(cell.complete_ms)

        await until(complete)
    [cell] = await rows(books, schema.cells, tenant)
    assert cell.complete_ms == clock


async def test_only_what_is_old_and_in_the_books_is_trimmed(
    books: Books, redis_client: Redis, redis_url: str, tenant: str
) -> None:
    await found_tenant(books, tenant)
    story = Story(tenant)
    story.live(300)
    stream = keys.facts_key(story.cells[0].tag)
    told = story.cells[0].facts
    await story.send(redis_client, most=4)
    middle = told[len(told) // 2].at
    outbox = Outbox(redis_client, tenant, 0, 1)
    await outbox.open()
    assert await outbox.trim(Position(1, 0), START + 10**9) == 0  # the books have nothing yet
    async with writing(books, redis_url):
        await drained(books, story)
    assert await outbox.trim(Position(1, len(told)), START) == 0  # all too young
    assert await outbox.trim(Position(1, len(told)), middle) > 0
    first = await _first(outbox)
    assert first[0].at <= middle <= first[-1].at
    place = Position(1, told[-20].seq)
    await outbox.trim(place, START + 10**9)
    assert (await _first(outbox))[-1].seq > place.seq
    # A writer with no window lets go of everything that it has saved, a later one minds no hole.
    story.live(20)
    await story.send(redis_client)
    options = WriterOptions(wait_ms=50, share_ms=50, trim_ms=0, keep_ms=0)
    async with writing(books, redis_url, options):
        await until(lambda: _is(redis_client.xlen(stream), 0))
        story.live(20)
        await story.send(redis_client)
        await drained(books, story)
    await check_books(books, story)


async def _first(outbox: Outbox) -> list[facts.AnyFact]:
    """What the stream begins with."""
    [entry] = await outbox.following(Position(0, 0), 1)
    return facts.decode(entry.body)


async def test_trimmed_entries_that_were_never_acknowledged(
    books: Books, redis_client: Redis, redis_url: str, tenant: str
) -> None:
    await found_tenant(books, tenant)
    story = Story(tenant)
    story.live(50)
    await story.send(redis_client)
    stream = keys.facts_key(story.cells[0].tag)
    async with writing(books, redis_url):
        await drained(books, story)
    await redis_client.xgroup_setid(stream, GROUP, "0")
    await redis_client.xreadgroup(GROUP, "writer", {stream: ">"}, count=5)
    await redis_client.xtrim(stream, maxlen=0)
    story.live(50)
    await story.send(redis_client)
    async with writing(books, redis_url):
        await drained(books, story)
        await until(lambda: _is(pending(redis_client, story), 0))
    await check_books(books, story)


@pytest.mark.databases("sqlite")
async def test_redis_killed_and_started_again(
    books: Books, own_redis: OwnRedis, tenant: str
) -> None:
    server = own_redis()
    await found_tenant(books, tenant)
    story = Story(tenant)
    async with writing(books, server.url):
        for _ in range(3):
            story.live(80)
            async with Redis.from_url(server.url) as client:
                await story.send(client)
            server.kill()
            await asyncio.sleep(0.1)
            server.start()
        await drained(books, story)
    await check_books(books, story)


@pytest.mark.databases("sqlite")
async def test_sqlite_locked_by_another(
    books: Books, redis_client: Redis, redis_url: str, tenant: str
) -> None:
    """The outbox fills while somebody holds the write lock, and drains afterwards."""
    await found_tenant(books, tenant)
    story = Story(tenant)
    other = open_books(str(books.engine.url))
    async with writing(books, redis_url):
        story.live(20)
        await story.send(redis_client)
        await drained(books, story)
        async with other.begin() as connection:
            await connection.execute(text("SELECT 1"))
            story.live(200)
            await story.send(redis_client)
            await asyncio.sleep(0.5)
            [behind] = await lag(books, redis_client, tenant)
            assert behind.facts > 100
            assert behind.age_ms > 0
        await drained(books, story)
        assert [c.facts for c in await lag(books, redis_client, tenant)] == [0]
    await other.close()
    await check_books(books, story)


async def test_postgresql_stopped_killed_and_started_again(
    own_postgres: Postgres, redis_server: Any, tenant: str
) -> None:
    url = own_postgres.url(own_postgres.create())
    await migrate(url)
    books = open_books(url)
    await found_tenant(books, tenant)
    story = Story(tenant)
    async with (
        Redis.from_url(redis_server.url) as client,
        writing(books, redis_server.url) as writer,
    ):
        for how in (signal.SIGINT, signal.SIGQUIT):
            story.live(100)
            await story.send(client, most=3)
            await asyncio.sleep(0.05)
            await asyncio.to_thread(own_postgres.stop, how)
            story.live(200)
            await story.send(client)

            async def waits() -> bool:
                return bool(writer.status.cells[tenant, 0].error)

            await until(waits)
            await asyncio.to_thread(own_postgres.start)
            await drained(books, story)
        await until(lambda: _is(_error(writer, tenant), ""))
    await check_books(books, story)
    await books.close()


async def _error(writer: Writer, tenant: str) -> str:
    return writer.status.cells[tenant, 0].error


async def test_books_restored_from_an_older_backup(
    books: Books, redis_client: Redis, redis_url: str, tenant: str
) -> None:
    """The stream refills them as far back as its window reaches."""
    await found_tenant(books, tenant)
    story = Story(tenant)
    story.live(120)
    await story.send(redis_client)
    async with writing(books, redis_url):
        await drained(books, story)
    async with books.begin() as connection:  # all that followed from facts is gone
        for table in (schema.facts, schema.claim_runs, schema.coupons, schema.redemptions,
                      schema.redemption_coupons, schema.reversals, schema.entries,
                      schema.fundings, schema.postings, schema.counters, schema.users,
                      schema.audience_members):  # fmt: skip
            await connection.execute(delete(table).where(table.c.tenant == tenant))
        await connection.execute(update(schema.cells).values(seq=0))
    async with writing(books, redis_url):
        await drained(books, story)
    await check_books(books, story)


async def test_lag_tells_facts_and_their_age(
    books: Books, redis_client: Redis, tenant: str
) -> None:
    await found_tenant(books, tenant)
    assert [(c.facts, c.age_ms) for c in await lag(books, redis_client, tenant)] == [(0, 0)]
    story = Story(tenant)
    for n in range(7):
        story.claim(f"u{n}")
    seconds, _ = await redis_client.time()
    recent = [msgspec.structs.replace(f, at=seconds * 1000 - 5000) for f in story.cells[0].facts]
    story.cells[0].facts = recent
    await story.send(redis_client)
    [behind] = await lag(books, redis_client, tenant)
    assert behind.facts == 7
    assert 5000 <= behind.age_ms < 60_000


async def test_stop_hands_a_waiting_read_back_at_once(
    books: Books, redis_url: str, tenant: str
) -> None:
    await found_tenant(books, tenant)
    patient = WriterOptions(wait_ms=60_000, share_ms=50)
    async with writing(books, redis_url, patient) as writer:

        async def reads() -> bool:
            return (tenant, 0) in writer.status.cells

        await until(reads)
        await asyncio.sleep(0.1)
        began = time.monotonic()
    assert time.monotonic() - began < 10
