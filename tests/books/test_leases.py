"""Cells are shared by the writers that are alive; a change of owner raises the fence."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from sqlalchemy import insert, update

from engine.books import schema
from engine.books.db import Books
from engine.books.ingest import Ingest, Lease, LeaseLost
from engine.books.leases import Leases
from tests.books.outbox_story import found_tenant, rows

LONG_MS = 60_000


@pytest.fixture
def books(own_books: Books) -> Books:
    """Books of this test alone."""
    return own_books


def held(leases: list[Lease]) -> list[tuple[str, int]]:
    return [(lease.tenant, lease.cell) for lease in leases]


async def test_one_writer_has_all_cells_of_all_tenants(books: Books) -> None:
    await found_tenant(books, "t1", cells=2)
    await found_tenant(books, "t2", cells=1)
    only = Leases(books, "a", LONG_MS)
    first = await only.share_out()
    assert held(first) == [("t1", 0), ("t1", 1), ("t2", 0)]
    assert [(lease.cells, lease.fence) for lease in first] == [(2, 1), (2, 1), (1, 1)]
    assert await only.share_out() == first


async def test_cells_of_a_new_tenant_appear_by_themselves(books: Books) -> None:
    only = Leases(books, "a", LONG_MS)
    assert await only.share_out() == []
    async with books.begin() as connection:
        await connection.execute(
            insert(schema.tenants).values(
                id="t9", cells=3, timezone="UTC", currency="CNY", handle_key=b"k", settings="{}",
                created_ms=0,
            )
        )  # fmt: skip
    assert held(await only.share_out()) == [("t9", 0), ("t9", 1), ("t9", 2)]


async def test_writers_share_evenly_and_hand_over(books: Books) -> None:
    await found_tenant(books, "t1", cells=5)
    a, b = Leases(books, "a", LONG_MS), Leases(books, "b", LONG_MS)
    assert len(await a.share_out()) == 5
    assert await b.share_out() == []  # a does not know of b yet
    of_a = await a.share_out()
    of_b = await b.share_out()
    assert (len(of_a), len(of_b)) == (3, 2)
    assert sorted(held(of_a + of_b)) == [("t1", n) for n in range(5)]
    assert {lease.fence for lease in of_b} == {2}
    await a.leave(of_a)
    assert len(await b.share_out()) == 5
    assert [row.id for row in await _writers(books)] == ["b"]


async def test_more_writers_than_cells_leave_some_in_waiting(books: Books) -> None:
    await found_tenant(books, "t1", cells=1)
    writers = [Leases(books, name, LONG_MS) for name in "abc"]
    assert [len(await writer.share_out()) for writer in writers] == [1, 0, 0]
    assert [len(await writer.share_out()) for writer in writers] == [1, 0, 0]


async def test_a_lease_that_ran_out_is_taken_and_its_fence_rises(books: Books) -> None:
    await found_tenant(books, "t1", cells=1)
    gone, heir = Leases(books, "gone", 50), Leases(books, "heir", LONG_MS)
    [old] = await gone.share_out()
    await asyncio.sleep(0.1)
    [new] = await heir.share_out()
    assert (old.fence, new.fence) == (1, 2)
    ingest = Ingest(books, "t1")
    with pytest.raises(LeaseLost):
        await ingest(0, [], old)
    assert (await ingest(0, [], new)).gap is None
    assert await gone.share_out() == []
    await gone.leave([old])  # gives back nothing that is another's
    assert await heir.share_out() == [new]


async def test_a_lease_that_ran_out_but_nobody_took_goes_on(books: Books) -> None:
    await found_tenant(books, "t1", cells=1)
    slow = Leases(books, "slow", 50)
    before = await slow.share_out()
    await asyncio.sleep(0.1)
    assert await slow.share_out() == before


async def test_only_the_owner_says_that_an_idle_cell_is_complete(books: Books) -> None:
    await found_tenant(books, "t1", cells=1)
    owner = Leases(books, "a", LONG_MS)
    [lease] = await owner.share_out()
    stale = Lease("t1", 0, 1, "b", lease.fence - 1)
    await owner.complete([(stale, 0, 500)])
    await owner.complete([(lease, 7, 600)])  # the books moved on since
    assert await _complete(books) == 0
    await owner.complete([(lease, 0, 700)])
    await owner.complete([(lease, 0, 650)])  # never back
    assert await _complete(books) == 700


async def test_writers_of_long_ago_are_struck_off(books: Books) -> None:
    await found_tenant(books, "t1", cells=2)
    a, b = Leases(books, "a", LONG_MS), Leases(books, "b", LONG_MS)
    await a.share_out()
    await b.share_out()
    async with books.begin() as connection:
        ago = update(schema.writers).where(schema.writers.c.id == "b")
        await connection.execute(ago.values(seen_ms=1))
    assert len(await a.share_out()) == 2
    assert [row.id for row in await _writers(books)] == ["a"]


async def test_writers_that_share_out_at_once(books: Books) -> None:
    await found_tenant(books, "t1", cells=8)
    writers = [Leases(books, name, LONG_MS) for name in "abcd"]
    for _ in range(4):
        shares = await asyncio.gather(*(writer.share_out() for writer in writers))
        owned = [place for share in shares for place in held(share)]
        kept = {(c.tenant, c.cell): c.lease_owner for c in await rows(books, schema.cells, "t1")}
        assert set(owned) <= kept.keys()
    for writer, share in zip(writers, shares, strict=True):
        assert len(share) == 2
        assert all(kept[place] == writer.owner for place in held(share))


async def _complete(books: Books) -> int:
    [cell] = await rows(books, schema.cells, "t1")
    return int(cell.complete_ms)


async def _writers(books: Books) -> list[Any]:
    async with books.connect() as connection:
        return list((await connection.execute(schema.writers.select())).all())
