"""Grants and recalls as jobs, on a real engine: outcomes, crashes, two workers at once."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from sqlalchemy import update

import engine.jobs
from engine import keys
from engine.books import jobs, schema
from engine.books.jobs import Item, Job
from engine.jobs import Jobs
from tests.books.mall import MARCH, WHO, Mall, march

TEN = {"type": "amount_off", "amount": 1000}


async def asked(mall: Mall, kind: str, campaign: str, asked: dict[str, Any], *users: str) -> Job:
    """A new job, as the office makes it."""
    job = Job(mall.id, f"J{mall.key()}", kind, "queued", campaign, asked, WHO, march(2),
              len(users) if users else None, 0, {}, "", MARCH)  # fmt: skip
    async with mall.books.begin() as connection:
        await jobs.add(connection, job, [Item(n, user) for n, user in enumerate(users)])
    return job


def worker(mall: Mall) -> Jobs:
    return Jobs(mall.books, lambda: {mall.id: mall.engine})


async def finished(mall: Mall, job: Job) -> tuple[Job, list[Item]]:
    found = await jobs.find(mall.books, mall.id, job.id)
    assert found is not None
    return found, await jobs.items_of(mall.books, found, 0, 10_000)


async def to_the_end(*workers: Jobs) -> None:
    for _ in range(20):
        if not any([await one.round() for one in workers]):
            return


GRANT = {"channel": "office", "source": {"entry": "birthday"}}


async def test_a_grant_says_what_became_of_each(mall: Mall) -> None:
    """The rules of a claim hold, stock and limits included; ids are the wallet's."""
    await mall.campaign("ten", TEN, stock={"total": 3}, issue={"per_user": 1})
    await mall.claim("u2", "ten", march(1))
    await mall.engine.set_profile(user_id="u3", who=WHO, frozen=True)
    job = await asked(mall, "grant", "ten", GRANT, "u1", "u2", "u3", "u4", "u5")

    await to_the_end(worker(mall))

    job, items = await finished(mall, job)
    assert (job.state, job.done, job.total) == ("done", 5, 5)
    assert job.counts == {"issued": 2, "user_limit": 1, "user_frozen": 1, "sold_out": 1}
    by_user = {item.user_id: item for item in items}
    assert [by_user[u].code for u in ("u2", "u3")] == ["user_limit", "user_frozen"]
    issued = [item for item in items if item.status == "issued"]
    for item in issued:
        wallet = await mall.engine.wallet(mall.engine.handle_of(item.user_id))
        assert [wallet.view(serial).id for serial in wallet.coupons] == [item.coupon_id]
    await mall.drain()
    row = (await mall.rows(schema.coupons, schema.coupons.c.id == issued[0].coupon_id))[0]
    assert (row.channel, row.entry, row.issued_ms) == ("office", "birthday", march(2))


async def test_a_crash_and_two_workers_issue_once(
    mall: Mall, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever is done twice has one effect: a slice cut off, two that both think it is theirs."""
    monkeypatch.setattr(engine.jobs, "LEASE_MS", -1)  # run out at once: anybody may take it
    users = [f"u{n}" for n in range(700)]
    await mall.campaign("ten", TEN, issue={"per_user": 5})
    job = await asked(mall, "grant", "ten", GRANT, *users)
    dying = asyncio.create_task(worker(mall).round())
    live = 0
    while not live:
        await asyncio.sleep(0)
        left = (await mall.server.fields(_campaign_key(mall, "ten"), "issued"))[0]
        live = int(left or 0)
    dying.cancel()
    await asyncio.gather(dying, return_exceptions=True)
    assert (await finished(mall, job))[0].done == 0, "outcomes were kept before the crash"

    for _ in range(10):
        await asyncio.gather(worker(mall).round(), worker(mall).round())

    job, items = await finished(mall, job)
    assert (job.state, job.counts) == ("done", {"issued": 700})
    assert len({item.coupon_id for item in items}) == 700
    assert (await mall.server.fields(_campaign_key(mall, "ten"), "issued"))[0] == b"700"


def _campaign_key(mall: Mall, campaign: str) -> str:
    return keys.campaign_key(mall.engine.tags[0], campaign)


async def test_a_recall_takes_what_is_unused(mall: Mall) -> None:
    """All that was issued before it was asked for; what is used, held or over is told."""
    await mall.campaign("ten", TEN, issue={"per_user": 5})
    fresh, used, held, void = [await mall.claim(f"u{n}", "ten", march(1)) for n in range(4)]
    await mall.redeem([used], "s1", 5000, march(1, 13))
    await mall.redeem([held], "s1", 5000, march(2), hold_seconds=900)
    await mall.void(void, march(1, 13))
    await mall.campaign("short", TEN, validity={"type": "relative", "minutes": 60})
    over = await mall.claim("u9", "short", march(1))
    epoch, seq = await mall.server.fields(keys.cell_key(mall.engine.tags[0]), "epoch", "seq")
    places = {"reason": "wrong price", "places": [(int(epoch or 1), int(seq or 0))]}
    job = await asked(mall, "recall", "ten", places)
    other = await asked(mall, "recall", "short", places)
    one = worker(mall)

    await to_the_end(one)
    assert (await finished(mall, job))[0].total is None, "the books did not hold all of it yet"
    await mall.drain()
    async with mall.books.begin() as connection:  # as the writer does with each batch
        at = schema.cells.c.tenant == mall.id
        await connection.execute(update(schema.cells).where(at).values(seq=int(seq or 0)))
    late = await mall.claim("u5", "ten", march(2))  # after it was asked for
    await to_the_end(one)

    job, items = await finished(mall, job)
    assert (job.state, job.total) == ("done", 3)
    assert job.counts == {"voided": 1, "already_redeemed": 1, "held": 1}
    told = {item.coupon_id: item.code or item.status for item in items}
    assert told == {fresh: "voided", used: "already_redeemed", held: "held"}
    found = await mall.engine.coupon(late)
    assert found is not None
    assert found.view(late[-keys.SERIAL_LENGTH :]).status == "issued"
    other, items = await finished(mall, other)
    assert [(item.coupon_id, item.code) for item in items] == [(over, "expired")]
