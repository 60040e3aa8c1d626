"""Facts into the books: each effect once, whatever arrives twice, out of order or broken."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Sequence
from itertools import pairwise
from typing import Any

import msgspec
import pytest
from sqlalchemy import update

from engine import facts
from engine.books import schema
from engine.books.arrivals import BEGINNING, Arrival, Entry, Position, read_entries
from engine.books.db import Books, open_books
from engine.books.ingest import Ingest, Lease, LeaseLost
from tests.books.outbox_story import START, WHO, Story, check_books, found_tenant, kept_facts, rows


@pytest.fixture
async def books(books_url: str) -> AsyncIterator[Books]:
    opened = open_books(books_url)
    yield opened
    await opened.close()


@pytest.fixture
async def ingest(books: Books, tenant: str) -> Ingest:
    await found_tenant(books, tenant, cells=2)
    return Ingest(books, tenant)


def arrivals(story: Story, cell: int = 0, most: int = 32) -> list[Arrival]:
    return read_entries(story.unsent(story.cells[cell], most))


def entry(batch: Sequence[facts.AnyFact]) -> Entry:
    return Entry(f"1-{batch[-1].seq}", msgspec.msgpack.encode(batch))


@pytest.mark.parametrize("seed", range(3))
async def test_the_books_equal_the_facts(
    books: Books, ingest: Ingest, tenant: str, seed: int
) -> None:
    story = Story(tenant, cells=2, seed=seed)
    for acts in (1, 400, 30, 3):
        story.live(acts)
        for cell in story.cells:
            for batch in story.unsent(cell, most=200):
                came = await ingest(cell.number, read_entries([batch]))
                assert (came.refused, came.gap) == ([], None)
    await check_books(books, story)


async def test_one_batch_of_a_whole_life(books: Books, ingest: Ingest, tenant: str) -> None:
    """Acts on the same coupon and redemption in one transaction, folded in their order."""
    story = Story(tenant, cells=2, seed=7)
    story.live(1600)  # large enough to be staged on PostgreSQL
    for cell in story.cells:
        assert (await ingest(cell.number, arrivals(story, cell.number))).refused == []
    await check_books(books, story)


async def test_twice_shuffled_and_overlapping(books: Books, ingest: Ingest, tenant: str) -> None:
    story = Story(tenant, cells=2, seed=3)
    story.live(300)
    for cell in range(2):
        batch = arrivals(story, cell)
        half = len(batch) // 2
        draw = random.Random(5)
        draw.shuffle(first := batch[:half])
        assert (await ingest(cell, first)).new == half
        draw.shuffle(everything := batch + batch[:half])
        came = await ingest(cell, everything)
        assert (came.new, came.repeated) == (len(batch) - half, 2 * half)
        assert (came.refused, came.gap) == ([], None)
    await check_books(books, story)


async def test_a_gap_ends_the_batch_and_is_told(books: Books, ingest: Ingest, tenant: str) -> None:
    story = Story(tenant, cells=2)
    for n in range(10):
        story.claim(f"u{n}")
    batch = arrivals(story, 0)
    missing = batch.pop(2)
    came = await ingest(0, batch)
    assert (came.place, came.gap, came.new) == (Position(1, 2), Position(1, 4), 2)
    came = await ingest(0, batch)  # still
    assert (came.place, came.gap, came.repeated) == (Position(1, 2), Position(1, 4), 2)
    came = await ingest(0, [*batch, missing])
    assert (came.gap, came.place.seq) == (None, len(story.cells[0].facts))
    await ingest(1, arrivals(story, 1))
    await check_books(books, story)


async def test_facts_that_the_books_hold_beyond_their_place_are_left_alone(
    books: Books, ingest: Ingest, tenant: str
) -> None:
    story = Story(tenant)
    story.live(40)
    told = arrivals(story)
    await ingest(0, told[:15])
    async with books.begin() as connection:
        place = update(schema.cells).where(schema.cells.c.tenant == tenant)
        await connection.execute(place.values(seq=0))
    came = await ingest(0, told)
    assert (came.repeated, came.new, came.refused) == (15, len(told) - 15, [])
    await check_books(books, story)


async def test_another_fact_in_a_place_is_an_alarm_and_the_first_stays(
    books: Books, ingest: Ingest, tenant: str
) -> None:
    story = Story(tenant)
    coupon = story.claim("u1")
    await ingest(0, arrivals(story))
    forged = msgspec.structs.replace(story.cells[0].facts[0], act="C" + "9" * 27)
    [came] = [await ingest(0, read_entries([entry([forged])]))]
    assert came.refused == [
        (Position(1, 1), "another fact in the place of one that the books hold")
    ]
    [fact] = (await kept_facts(books, tenant)).values()
    assert fact.act == coupon
    [aside] = await rows(books, schema.refused_facts, tenant)
    assert aside.raw == msgspec.msgpack.encode(forged)
    assert [c.id for c in await rows(books, schema.coupons, tenant)] == [coupon]
    again = await ingest(0, read_entries([entry([forged])]))  # known by now
    assert (again.refused, again.repeated) == ([], 1)


def poisons(story: Story) -> list[tuple[str, Any]]:
    """Facts of one cell that cannot be taken in, appended to the story; why, and the fact."""
    cell = story.cells[0]
    coupon = story.claim("u1")
    redemption = story.redeem([coupon], cell, "u1")
    held = story.redemptions[redemption].fact
    common = {"fingerprint": "f", "who": WHO}

    def add(kind: Any, **more: Any) -> Any:
        seq = len(cell.facts) + 1
        cell.facts.append(kind(seq=seq, at=START, **common, **more))
        return cell.facts[-1]

    whole = {name: getattr(held, name) for name in facts.Redeemed.__struct_fields__[5:]}
    claim = {name: getattr(cell.facts[0], name) for name in facts.Claimed.__struct_fields__[5:]}
    unknown = msgspec.structs.replace(held.coupons[0], campaign_id="nobody-knows")
    return [
        ("the same coupon again", add(facts.Claimed, act=coupon, **claim)),
        ("the same redemption again", add(facts.Redeemed, act=redemption, **whole)),
        ("no such terms", add(facts.Redeemed, act="R2", **whole | {"coupons": [unknown]})),
        ("a negative amount", add(facts.Redeemed, act="R3", **whole | {"payable": -5})),
        ("beyond 64 bits", add(facts.Claimed, act="C9", **claim | {"valid_until": 2**64 - 1})),
        ("no such redemption", add(
            facts.Reversed, act="V9", redemption_id="R0", redeemed_at=0, user_id="u", store_id="s1",
            merchant_id="m1", reversed_at_store="", order_ref="", reason="", lines=[], coupons=[],
            gross_before=1, gross_after=0, payable_before=1, payable_after=0, whole=1,
        )),
    ]  # fmt: skip


@pytest.mark.parametrize("together", [True, False], ids=["one-batch", "one-by-one"])
async def test_what_cannot_be_taken_in_is_set_aside_and_the_rest_goes_on(
    books: Books, ingest: Ingest, tenant: str, together: bool
) -> None:
    story = Story(tenant, seed=11)
    acts = 400 if together else 40
    story.live(acts)
    bad = poisons(story)
    story.live(acts)
    batch = arrivals(story)
    for part in [batch] if together else [[one] for one in batch]:
        came = await ingest(0, part)
        assert came.gap is None
    again = await ingest(0, batch)
    assert (again.new, again.refused, again.repeated) == (0, [], len(batch))
    await check_books(books, story, refused=[(0, fact.seq) for _, fact in bad])
    aside = {a.seq: a for a in await rows(books, schema.refused_facts, tenant)}
    for _why, fact in bad:
        assert aside[fact.seq].raw == msgspec.msgpack.encode(fact)
        assert aside[fact.seq].error


@pytest.mark.databases("postgres")
async def test_what_only_postgresql_refuses(books: Books, ingest: Ingest, tenant: str) -> None:
    story = Story(tenant, seed=2)
    story.live(10)
    bad = story.claim("x" * 65), story.claim("nul\x00"), story.claim("u1")
    story.live(10)
    seqs = [f.seq for f in story.cells[0].facts if f.act in bad[:2]]
    await ingest(0, arrivals(story))
    await check_books(books, story, refused=[(0, seq) for seq in seqs])


@pytest.mark.parametrize(
    "body",
    [b"", b"\xc1", b"\x90", msgspec.msgpack.encode({"a": 1}), b"\x92\xc0"],
    ids=["empty", "never-used", "no-facts", "map", "cut-short"],
)
async def test_an_undecodable_entry_stands_for_the_facts_it_must_hold(
    books: Books, ingest: Ingest, tenant: str, body: bytes
) -> None:
    story = Story(tenant, seed=4)
    for n in range(9):
        story.claim(f"u{n}")
    told = story.cells[0].facts
    entries = [entry(told[:3]), Entry("1-6", body), entry(told[6:])]
    assert (await ingest(0, read_entries(entries))).gap == Position(1, 6)  # how many is not known
    came = await ingest(0, read_entries(entries, BEGINNING))
    assert (came.gap, came.place) == (None, Position(1, 9))
    await check_books(books, story, refused=[(0, 4), (0, 5), (0, 6)])


async def test_one_undecodable_fact_among_good_ones(
    books: Books, ingest: Ingest, tenant: str
) -> None:
    story = Story(tenant, seed=4)
    for n in range(5):
        story.claim(f"u{n}")
    packed: list[Any] = [msgspec.Raw(msgspec.msgpack.encode(f)) for f in story.cells[0].facts]
    packed[1] = ["never_heard_of", 2, START]
    packed[3] = story.cells[0].facts[0]  # calls itself number 1
    await ingest(0, read_entries([Entry("1-5", msgspec.msgpack.encode(packed))]))
    await check_books(books, story, refused=[(0, 2), (0, 4)])


async def test_a_writer_that_lost_its_lease_writes_nothing(
    books: Books, ingest: Ingest, tenant: str
) -> None:
    story = Story(tenant)
    story.claim("u1")
    mine = Lease(tenant, 0, 2, "me", 5)
    cells = schema.cells
    for owner, fence in (("other", 5), ("me", 6), (None, 5)):
        async with books.begin() as connection:
            await connection.execute(
                update(cells).where(cells.c.tenant == tenant, cells.c.cell == 0)
                .values(lease_owner=owner, fence=fence)
            )  # fmt: skip
        with pytest.raises(LeaseLost):
            await ingest(0, arrivals(story), mine)
        assert await kept_facts(books, tenant) == {}
        story.cells[0].sent = 0


async def test_the_cell_says_up_to_when_it_is_complete(
    books: Books, ingest: Ingest, tenant: str
) -> None:
    story = Story(tenant, cells=2)
    for n in range(4):
        story.claim(f"u{n}")
    batches = [arrivals(story, cell) for cell in range(2)]
    await ingest(0, batches[0])
    await ingest(1, batches[1], watermark=False)
    [first, second] = await rows(books, schema.cells, tenant)
    assert (first.complete_ms, second.complete_ms) == (story.cells[0].facts[-1].at, 0)


async def test_a_new_epoch_counts_on_or_anew(books: Books, ingest: Ingest, tenant: str) -> None:
    story = Story(tenant, cells=2)
    for n in range(8):
        story.claim(f"u{n}")
    for cell, first in ((0, 3), (1, 1)):
        told = story.cells[cell].facts
        await ingest(cell, read_entries([entry(told[:2])]))
        rest = [msgspec.structs.replace(f, seq=n) for n, f in enumerate(told[2:4], first)]
        packed = Entry(f"2-{rest[-1].seq}", msgspec.msgpack.encode(rest))
        came = await ingest(cell, read_entries([packed]))
        assert (came.new, came.gap, came.place) == (2, None, Position(2, first + 1))
        versions = [c.version for c in await rows(books, schema.coupons, tenant) if c.cell == cell]
        assert len(set(versions)) == 4
    skipped = Entry("3-9", msgspec.msgpack.encode([msgspec.structs.replace(rest[0], seq=9)]))
    assert (await ingest(0, read_entries([skipped]))).gap == Position(3, 9)


async def test_a_hold_that_takes_the_place_of_another_frees_it(
    books: Books, ingest: Ingest, tenant: str
) -> None:
    story = Story(tenant)
    cell = story.cells[0]
    kept, let_go = story.claim("u1"), story.claim("u1")
    old = story.redeem([kept, let_go], cell, "u1", hold=True)
    new = story.redeem([kept], cell, "u1", hold=True)
    cell.facts[-1] = msgspec.structs.replace(cell.facts[-1], replaces=old)
    await ingest(0, arrivals(story))
    coupons = {c.id: (c.state, c.redemption_id) for c in await rows(books, schema.coupons, tenant)}
    assert coupons == {kept: ("held", new), let_go: ("issued", None)}
    states = {r.id: r.state for r in await rows(books, schema.redemptions, tenant)}
    assert states == {old: "released", new: "held"}


async def test_tier_at_the_claim_follows_the_clock(
    books: Books, ingest: Ingest, tenant: str
) -> None:
    story = Story(tenant)
    until = START + 25  # the facts are told at START + 10, 20, 30
    story._add(story.cells[0], facts.ProfileTold, "h", user_id="u1", tier="gold",
               tier_until=until, frozen=0)  # fmt: skip
    golden, common = story.claim("u1"), story.claim("u1")
    for one in arrivals(story):
        await ingest(0, [one])
    tiers = {c.id: c.tier for c in await rows(books, schema.coupons, tenant)}
    assert tiers == {golden: "gold", common: ""}


def test_places_follow_each_other() -> None:
    chain = [Position(1, 0), Position(1, 1), Position(1, 2), Position(2, 3), Position(3, 1)]
    assert all(a.is_followed_by(b) for a, b in pairwise(chain))
    for a, b in [((1, 1), (1, 3)), ((1, 1), (1, 1)), ((2, 1), (1, 2)), ((1, 5), (2, 7))]:
        assert not Position(*a).is_followed_by(Position(*b))
