"""Claims that lie packed in runs: each is found by its place, none is there twice."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from sqlalchemy import delete, event, insert, select, update

from engine import facts
from engine.books import claim_runs, schema
from engine.books.arrivals import BEGINNING, Entry, Position, read_entries
from engine.books.claim_runs import Told, told_after, told_at, told_between
from engine.books.db import Books
from engine.books.events import Event, feed
from engine.books.feeds import coupon_history
from engine.books.ingest import Ingest
from engine.books.proofs import proofs
from engine.books.retaking import retake
from tests.books.outbox_story import WHO, Story, check_books, kept_facts, rows
from tests.books.test_ingest import arrivals
from tests.books.test_ingest import books as books
from tests.books.test_ingest import ingest as ingest


def claims_of(story: Story) -> list[Told]:
    """The claims of a story's only cell, each in its place."""
    return [
        Told(Position(1, fact.seq), msgspec.Raw(msgspec.msgpack.encode(fact)))
        for fact in story.cells[0].facts
        if isinstance(fact, facts.Claimed)
    ]


async def test_runs_end_where_another_fact_stands_and_where_they_are_full(
    books: Books, ingest: Ingest, tenant: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(claim_runs, "MOST", 3)
    story = Story(tenant)
    coupons = [story.claim("u1") for _ in range(7)]
    story.redeem(coupons[:1], story.cells[0], "u1")
    coupons += [story.claim("u2") for _ in range(2)]
    await ingest(0, arrivals(story))
    runs = await rows(books, schema.claim_runs, tenant)
    assert [(run.first, run.seq) for run in runs] == [(1, 3), (4, 6), (7, 7), (9, 10)]
    [alone] = await rows(books, schema.facts, tenant)
    assert alone.type == "redeemed"
    await check_books(books, story)


async def test_each_claim_is_found_by_its_place(
    books: Books, ingest: Ingest, tenant: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(claim_runs, "MOST", 5)
    story = Story(tenant, seed=3)
    story.live(120)
    await ingest(0, arrivals(story))
    told = claims_of(story)
    places = {claim.place for claim in told}
    last = Position(1, len(story.cells[0].facts))
    async with books.connect() as conn:
        for seq in range(last.seq + 2):
            place = Position(1, seq)
            found = await told_at(conn, tenant, 0, place)
            assert (found is not None) == (place in places)
            assert found is None or found.seq == seq
            for most in (1, 4, 50):
                wanted = [claim for claim in told if claim.place > place][:most]
                assert await told_after(conn, tenant, 0, place, most) == wanted
            for end in (place, Position(1, seq + 1), Position(1, seq + 17)):
                wanted = [claim for claim in told if place <= claim.place <= end]
                assert await told_between(conn, tenant, 0, place, end) == wanted
        assert await told_between(conn, tenant, 1, BEGINNING, last) == []
        assert await told_between(conn, "another", 0, BEGINNING, last) == []


async def test_places_of_several_epochs(books: Books, ingest: Ingest, tenant: str) -> None:
    """After Redis was lost a cell counts in a new epoch, on or from 1."""
    del ingest  # the tenant is there
    claims = [facts.Claimed(
        seq=0, at=1, act=f"C{n}", fingerprint="", who=WHO, user_id="u", campaign_id="plain",
        terms_revision=1, valid_from=0, valid_until=0, channel="app", source="", metadata="",
    ) for n in range(9)]  # fmt: skip
    places = [(1, 1), (1, 2), (1, 3), (2, 1), (2, 2), (3, 3), (3, 4), (4, 5), (4, 6)]
    told = []
    runs: dict[int, list[msgspec.Raw]] = {}
    for (epoch, seq), claim in zip(places, claims, strict=True):
        packed = msgspec.Raw(msgspec.msgpack.encode(msgspec.structs.replace(claim, seq=seq)))
        told.append(Told(Position(epoch, seq), packed))
        runs.setdefault(epoch, []).append(packed)
    async with books.begin() as conn:
        for epoch, packed_run in runs.items():
            ends = [seq for e, seq in places if e == epoch]
            await conn.execute(insert(schema.claim_runs).values(
                tenant=tenant, cell=0, epoch=epoch, seq=ends[-1], first=ends[0],
                claims=msgspec.msgpack.encode(packed_run),
            ))  # fmt: skip
    every = [BEGINNING, *(claim.place for claim in told), Position(5, 1)]
    async with books.connect() as conn:
        for place in every:
            for most in (1, 3, 20):
                wanted = [claim for claim in told if claim.place > place][:most]
                assert await told_after(conn, tenant, 0, place, most) == wanted
            for end in every:
                wanted = [claim for claim in told if place <= claim.place <= end]
                assert await told_between(conn, tenant, 0, place, end) == wanted


async def test_a_claim_that_a_run_holds_is_not_taken_in_again(
    books: Books, ingest: Ingest, tenant: str
) -> None:
    """Something else that was set aside in its place stays aside, and is an alarm."""
    story = Story(tenant)
    for _ in range(3):
        story.claim("u1")
    await ingest(0, arrivals(story))
    forged = msgspec.structs.replace(story.cells[0].facts[1], act="C" + "9" * 27)
    batch = [story.cells[0].facts[0], forged, story.cells[0].facts[2]]
    came = await ingest(0, read_entries([Entry("1-3", msgspec.msgpack.encode(batch))]))
    assert (came.repeated, [place for place, _ in came.refused]) == (2, [Position(1, 2)])
    done = await retake(ingest, 0)
    assert (done.taken, done.left) == (0, 0)
    assert len(await kept_facts(books, tenant)) == len(await rows(books, schema.coupons, tenant))
    await check_books_but_for(books, story, aside=1)


async def check_books_but_for(books: Books, story: Story, aside: int) -> None:
    """All facts are there, and so many things were set aside."""
    assert len(await kept_facts(books, story.tenant)) == len(story.cells[0].facts)
    assert len(await rows(books, schema.refused_facts, story.tenant)) == aside


async def test_where_the_database_refuses_a_batch_what_runs_hold_is_known(
    books: Books, ingest: Ingest, tenant: str
) -> None:
    """Somebody put the cell back behind its own facts: claims come again beside new ones."""
    story = Story(tenant, seed=5)
    story.live(60)
    told = arrivals(story, most=100)
    await ingest(0, told[:37])
    async with books.begin() as connection:
        mine = schema.cells.c.tenant == tenant
        await connection.execute(update(schema.cells).where(mine).values(seq=11))
    came = await ingest(0, told[11:])
    assert (came.repeated, came.new, came.refused) == (26, len(told) - 37, [])
    await check_books(books, story)


async def test_claims_of_older_books_and_of_runs_are_told_alike(
    books: Books, ingest: Ingest, tenant: str
) -> None:
    """The feed of events and a coupon's history read both."""
    story = Story(tenant, seed=9)
    story.live(150)
    await ingest(0, arrivals(story))
    coupons = [row.id for row in await rows(books, schema.coupons, tenant)]

    async def told() -> tuple[list[Event], list[object]]:
        events: list[Event] = []
        place, more = None, True
        while more:
            page = await feed(books, tenant, place, None, 7, rehearsal=True)
            events += page.events
            place, more = page.position, page.more
        return events, [await coupon_history(books, tenant, name) for name in coupons]

    packed = await told()
    issued = [event for event in packed[0] if event.type == "issued"]
    assert len(issued) == len(coupons)
    async with books.begin() as conn:  # every second run as books from before have it
        for run in (await rows(books, schema.claim_runs, tenant))[::2]:
            one = schema.claim_runs.c
            mine = (one.tenant == tenant, one.cell == 0, one.seq == run.seq)
            await conn.execute(delete(schema.claim_runs).where(*mine))
            for seq, fact in enumerate(facts.decode(run.claims), run.first):
                await conn.execute(insert(schema.facts).values(
                    tenant=tenant, cell=0, epoch=1, seq=seq, type="claimed", act=fact.act,
                    fingerprint=fact.fingerprint, at_ms=fact.at, digest="",
                    body=msgspec.json.encode(msgspec.structs.asdict(fact)).decode(),
                ))  # fmt: skip
    assert await told() == packed


async def test_a_run_that_is_missing_is_found_out(
    books: Books, ingest: Ingest, tenant: str
) -> None:
    story = Story(tenant)
    for user in ("u1", "u2", "u1"):
        coupon = story.claim(user)
        story.redeem([coupon], story.cells[0], user)
    await ingest(0, arrivals(story))

    async def gaps() -> list[str]:
        found = [proof async for proof in proofs(books, tenant)]
        return [broken.what for broken in found[0].broken]

    assert await gaps() == []
    run = schema.claim_runs.c
    async with books.begin() as conn:
        await conn.execute(delete(schema.claim_runs).where(run.tenant == tenant, run.seq == 3))
        assert await conn.scalar(select(run.seq).where(run.tenant == tenant).limit(1))
    assert await gaps() == ["facts: gapless"]


async def test_what_lies_before_a_place_is_not_read(
    books: Books, ingest: Ingest, tenant: str
) -> None:
    """However long the books are: by both columns of the key, not by the epoch alone."""
    if not books.sqlite:
        return  # PostgreSQL plans by what is there, which here is little
    story = Story(tenant)
    story.live(20)
    await ingest(0, arrivals(story))
    asked: list[tuple[str, Any]] = []

    def note(_conn: Any, _cursor: Any, statement: str, values: Any, *_: Any) -> None:
        if "FROM facts" in statement or "FROM claim_runs" in statement:
            asked.append((statement, values))

    event.listen(books.engine.sync_engine, "before_cursor_execute", note)
    await feed(books, tenant, None, None, 10, rehearsal=True)
    async with books.connect() as conn:
        await told_at(conn, tenant, 0, Position(1, 1))
        event.remove(books.engine.sync_engine, "before_cursor_execute", note)
        assert len(asked) > 3
        for statement, values in asked:
            plan = (await conn.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", values)).all()
            assert "(epoch,seq)>" in str(plan), statement
