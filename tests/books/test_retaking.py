"""What was set aside is taken in again, as if it had never been; receipts that are past go."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
from sqlalchemy import delete, func, insert, select

from engine.books import receipts, schema
from engine.books.db import Books
from engine.books.ingest import Ingest
from engine.books.retaking import retake
from tests.books.outbox_story import Story, check_books, found_tenant, rows
from tests.books.test_ingest import arrivals, poisons
from tests.books.test_ingest import books as books
from tests.books.test_ingest import ingest as ingest


@pytest.mark.parametrize("seed", range(3))
async def test_facts_that_an_older_writer_did_not_know(
    books: Books, ingest: Ingest, tenant: str, seed: int
) -> None:
    """A fifth of a life was unreadable, and what built on it could not be settled."""
    story = Story(tenant, seed=seed)
    story.live(300)
    chosen, sent = random.Random(seed), arrivals(story)
    batch = [
        replace(one, fact=None, error="undecodable fact") if chosen.random() < 0.2 else one
        for one in sent
    ]
    came = await ingest(0, batch)
    unreadable = sum(one.fact is None for one in batch)
    assert len(came.refused) >= unreadable > 10

    done = await retake(ingest, 0)

    assert (done.taken, done.left) == (len(came.refused), 0)
    await check_books(books, story)
    assert (await ingest(0, sent)).repeated == len(sent)
    assert (await retake(ingest, 0)).taken == 0


async def test_terms_that_were_missing(books: Books, ingest: Ingest, tenant: str) -> None:
    story = Story(tenant, seed=11)
    terms = schema.campaign_terms
    mine = (terms.c.tenant == tenant, terms.c.campaign_id == "shared")
    kept = [dict(row._mapping) for row in await rows(books, terms, tenant)]
    async with books.begin() as connection:
        await connection.execute(delete(terms).where(*mine))
    bad = poisons(story)
    story.live(200)
    came = await ingest(0, arrivals(story))
    assert len(came.refused) > len(bad)
    assert (await retake(ingest, 0)).taken == 0  # not mended yet
    async with books.begin() as connection:
        missing = [row for row in kept if row["campaign_id"] == "shared"]
        await connection.execute(insert(terms), missing)

    done = await retake(ingest, 0)

    assert done.left == len(bad)  # what is wrong in itself stays
    await check_books(books, story, refused=[(0, fact.seq) for _, fact in bad])


async def test_receipts_that_are_past_go(own_books: Books, tenant: str) -> None:
    await found_tenant(own_books, tenant)
    now = 10**12
    old = [{"scope": "s", "key": f"old{n}", "created_ms": n} for n in range(4100)]
    young = [{"scope": "s", "key": "young", "created_ms": now - receipts.KEPT_MS}]
    row = {"tenant": tenant, "fingerprint": "f", "status": 200, "body": "{}"}
    async with own_books.begin() as connection:
        await connection.execute(insert(schema.receipts), [{**row, **one} for one in old + young])

    assert await receipts.prune(own_books, now) == 4100

    async with own_books.connect() as connection:
        left = await connection.scalar(select(func.count()).select_from(schema.receipts))
    assert left == 1
