"""Quotas of campaigns over several cells: room is found wherever it lies, never oversold."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

import pytest
from redis.asyncio import Redis

from engine import facts, keys
from engine.outcomes import Outcome
from tests.engine.harness import WHO, Running, mall_on, reconciled
from tests.engine.test_quotas import ticket
from tests.engine.test_segments import CELLS, claim, crowd, order, people
from tests.engine.test_segments import wide as wide


async def test_the_last_places_are_had_wherever_people_are(
    wide: Running, tenant: str, redis_url: str
) -> None:
    """Two campaigns share a hall; one has no stock of its own to end."""
    await wide.publish(ticket("stalls", 30, {"hall": 24}, issue={"per_user": 1}))
    await wide.publish(ticket("standing", None, {"hall": 24, "floor": 9}, issue={"per_user": 1}))
    other = await mall_on(wide.server, wide.books, tenant, cells=CELLS)
    here, there = people(wide, 3, 30), people(wide, 6, 30)
    standing = await crowd((wide, other), here, "standing")
    assert standing == {Outcome.DONE: 9, Outcome.SOLD_OUT: 21}
    stalls = await crowd((wide, other), there, "stalls")
    assert stalls == {Outcome.DONE: 15, Outcome.SOLD_OUT: 15}
    told = [fact for cell in await wide.facts() for fact in cell]
    sent = Counter(one.what for one in told if isinstance(one, facts.StockSent))
    assert sent["quota"] > 0
    assert sent["stock"] > 0
    await other.engine.drain()
    await reconciled(wide.books, redis_url, tenant)


async def test_a_place_that_comes_back_is_had_in_another_cell(
    wide: Running, tenant: str, redis_url: str
) -> None:
    """An order that has lapsed in one cell gives way to a party in another, through its quota."""
    await wide.publish(ticket("c", 50, {"hall": 4}))
    start = wide.server.clock()
    (ann,), (bob, eve) = people(wide, 2, 1), people(wide, 7, 2)
    assert (await order(wide, ann, 4, now=start)).ok
    assert await claim(wide, bob, now=start + 59_999) is Outcome.SOLD_OUT
    assert (await order(wide, bob, 5, now=start + 60_000)).outcome is Outcome.SOLD_OUT
    assert (await order(wide, bob, 4, now=start + 60_000)).ok
    assert await claim(wide, eve, now=start + 60_001) is Outcome.SOLD_OUT
    assert await claim(wide, eve, now=start + 120_000) is Outcome.DONE
    await reconciled(wide.books, redis_url, tenant)


async def test_a_full_hall_is_no_storm_and_a_cut_transfer_is_named(
    wide: Running, tenant: str, redis_url: str, redis_client: Redis
) -> None:
    await wide.publish(ticket("c", 50, {"hall": 1}, issue={"tiers": ["gold"]}))
    await wide.engine.segments._send("quota", "fair/hall", 0, 7, 0, 1, 0)  # cut off here
    users = people(wide, 5, 8)
    for user in users:
        await wide.engine.set_profile(user_id=user, who="{}", tier="gold")
    assert await claim(wide, users[0]) is Outcome.DONE

    async def calls() -> int:
        stats = await redis_client.info("commandstats")
        return int(stats["cmdstat_evalsha"]["calls"])

    before, began = await calls(), asyncio.get_running_loop().time()
    for n in range(200):
        assert await claim(wide, users[1 + n % 7]) is Outcome.SOLD_OUT
    looks = 2 * ((asyncio.get_running_loop().time() - began) / 0.04 + 2)
    assert await calls() - before < 200 + CELLS * looks
    await reconciled(wide.books, redis_url, tenant)
    key = keys.quotas_key(wide.engine.tags[4], "fair")
    await redis_client.hincrby(key, "mhall", 1)
    with pytest.raises(AssertionError, match="quota law"):
        await reconciled(wide.books, redis_url, tenant)


async def test_a_party_of_two_kinds_has_its_seats_from_other_cells(
    wide: Running, tenant: str, redis_url: str
) -> None:
    """Neither item needs more than is in the cell, both together do."""
    await wide.publish(ticket("adult", None, {"hall": 2 * CELLS}))
    await wide.publish(ticket("child", 2, {"hall": 2 * CELLS}))
    (ann,), (bob,) = people(wide, 2, 1), people(wide, 7, 1)

    async def party(user: str, adults: int, children: int, now: int) -> Any:
        return await wide.engine.orders.place(
            user_id=user, items=[("adult", adults), ("child", children)], channel="a",
            key=f"{adults}", who=WHO, now=now, hold_seconds=60,
        )  # fmt: skip

    start = wide.server.clock()
    too_many = await party(ann, 2 * CELLS - 1, 2, start)
    assert too_many.outcome is Outcome.SOLD_OUT
    placed = await party(ann, 2 * CELLS - 2, 2, start)
    assert placed.outcome is Outcome.DONE
    other = await party(bob, 1, 1, start + 60_000)  # what has lapsed gives way
    assert other.outcome is Outcome.DONE
    late = await wide.engine.orders.pay(
        order_id=placed.value.id, payment_ref="p", paid_amount=0, key="k", who=WHO,
        now=start + 60_001,
    )  # fmt: skip
    assert late.outcome is Outcome.ORDER_EXPIRED
    assert [quota.left for quota in await wide.engine.quotas("fair")] == [2 * CELLS - 2]
    await reconciled(wide.books, redis_url, tenant)
