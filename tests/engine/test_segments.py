"""Stock goes where it is asked for: exactly all of it is issued, on any number of cells."""

from __future__ import annotations

import asyncio
import itertools
import json
import random
import time
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest
from redis.asyncio import Redis

from engine import facts, keys, segments
from engine.books import pools
from engine.books.definitions import By
from engine.errors import InvalidRequest
from engine.outcomes import Outcome
from engine.records import pack
from tests.engine.harness import WHO, Running, mall_on, open_ground, open_mall, reconciled
from tests.unit.rules_language import campaign

CELLS, MANY = 8, 16
_list = msgspec.msgpack.Decoder(list[int]).decode


@pytest.fixture
async def wide(redis_url: str, tenant: str, books_file: Path) -> AsyncIterator[Running]:
    """A mall of eight cells on the session's plain server."""
    async with open_mall(tenant, redis_url, books_file, cells=CELLS) as running:
        yield running


def people(mall: Running, cell: int, number: int) -> list[str]:
    """So many whose wallets are in one cell."""
    cell_of, handle_of = mall.engine.cell_of, mall.engine.handle_of
    assert cell < mall.cells
    found = (u for n in itertools.count() if cell_of(handle_of(u := f"p{n}")) == cell)
    return list(itertools.islice(found, number))


async def claim(mall: Running, user: str, name: str = "c", now: int = 0) -> Outcome:
    """As the storefront does."""
    if not now:
        here = mall.engine.refused_here(user, name, "app", f"k-{name}")
        if here is not None:
            return here.outcome
    answer = await mall.engine.claim(
        user_id=user, campaign_id=name, channel="app", key=f"k-{name}", who=WHO, now=now
    )
    return answer.outcome


async def order(mall: Running, user: str, n: int, key: str = "k", now: int = 0) -> Any:
    return await mall.engine.orders.place(
        user_id=user, items=[("c", n)], channel="app", key=key, who=WHO, hold_seconds=60, now=now
    )


async def crowd(
    malls: Sequence[Running], users: Sequence[str], name: str = "c"
) -> Counter[Outcome]:
    """Each through one of the processes, all at once."""
    asked = (claim(malls[n % len(malls)], user, name) for n, user in enumerate(users))
    return Counter(await asyncio.gather(*asked))


async def stocked(mall: Running, total: int, **issue: Any) -> None:
    """Campaign ``c``."""
    body = {"stock": {"total": total}, "issue": issue}
    await mall.publish(campaign("amount_off amount=1", id="c", **body))


async def law(mall: Running, total: int, name: str = "c") -> None:
    """In each cell left + aside + issued = share; shares and what is on its way = total."""
    shares = moving = 0
    for tag in mall.engine.tags:
        row = await mall.hash_of(keys.campaign_key(tag, name))
        number = {key: int(row.get(key, 0)) for key in (b"share", b"left", b"issued", b"aside")}
        assert number[b"left"] >= 0
        assert number[b"left"] + number[b"issued"] + number[b"aside"] == number[b"share"]
        shares += number[b"share"]
        sent, received = (row.get(key, b"\x90") for key in (b"sent", b"received"))
        moving += sum(_list(sent)) - sum(_list(received))
    assert shares + moving == total


async def test_all_of_it_goes_to_one_cell_through_two_processes(mall: Running, tenant: str) -> None:
    """Everybody who asks is in one cell; each process brings stock there from all the others."""
    total = 40
    await stocked(mall, total)
    other = await mall_on(mall.server, mall.books, tenant, cells=mall.cells)
    found = await crowd((mall, other), people(mall, 0, 55))
    assert found == {Outcome.DONE: total, Outcome.SOLD_OUT: 15}
    await law(mall, total)
    await other.engine.drain()
    await mall.check_facts()
    assert not mall.engine.segments._dry


async def test_sixteen_cells_and_a_crowd(tenant: str, redis_url: str, books_file: Path) -> None:
    """The last of a few, many at once, in two processes; what was moved is in the books."""
    async with (
        open_mall(tenant, redis_url, books_file, cells=MANY) as wide,
        open_ground(redis_url, books_file) as (server, books),
    ):
        other = await mall_on(server, books, tenant, cells=MANY)
        everywhere = [f"u{n}" for n in range(200)]
        uneven = people(wide, 4, 60) + people(wide, 11, 60)
        for name, total, users in (("one", 1, everywhere), ("many", 90, uneven)):
            await wide.publish(campaign("amount_off amount=1", id=name, stock={"total": total}))
            found = await crowd((wide, other), users, name)
            assert found == {Outcome.DONE: total, Outcome.SOLD_OUT: len(users) - total}
            await law(wide, total, name)
        await other.engine.drain()
        told = [fact for cell in await wide.facts() for fact in cell]
        assert any(isinstance(fact, facts.StockSent) for fact in told)
        await reconciled(wide.books, redis_url, tenant)


async def test_what_comes_back_in_one_cell_is_had_in_another(wide: Running) -> None:
    """A cancelled order's at once but for a moment's refusals; a lapsed one's by the clock."""
    await stocked(wide, 2)
    mine, others = people(wide, 3, 3), people(wide, 6, 40)
    placed = await order(wide, mine[0], 2)
    assert await crowd([wide], others[:20]) == {Outcome.SOLD_OUT: 20}
    await wide.engine.orders.cancel(order_id=placed.value.id, key="x", who=WHO)
    for _ in range(200):
        if await claim(wide, others[20]) is Outcome.DONE:
            break
        await asyncio.sleep(0.005)
    assert await claim(wide, others[21]) is Outcome.DONE
    assert await claim(wide, others[22]) is Outcome.SOLD_OUT
    await law(wide, 2)

    await wide.add_stock("c", 3)
    start = wide.server.clock()
    assert (await order(wide, mine[1], 3, now=start)).ok
    assert await claim(wide, others[30], now=start + 59_999) is Outcome.SOLD_OUT
    assert await claim(wide, others[30], now=start + 60_000) is Outcome.DONE
    more = await order(wide, others[31], 3, now=start + 60_000)  # two are left in all
    assert more.outcome is Outcome.SOLD_OUT
    assert (await order(wide, others[31], 2, now=start + 60_000)).ok
    await law(wide, 5)


async def test_a_transfer_that_was_cut_is_finished_by_whoever_comes(
    wide: Running, tenant: str, redis_url: str
) -> None:
    await stocked(wide, 1)  # in cell 0
    moving = wide.engine.segments
    await moving._send("stock", "c", 0, 7, 0, 1, 0)
    await law(wide, 1)
    await reconciled(wide.books, redis_url, tenant)  # on its way is no difference
    live = await wide.engine.live("c")
    assert live
    assert live.left == 1
    # Somebody of a third cell comes: it is brought in and then sent on to them.
    third = people(wide, 4, 4)
    assert await claim(wide, third[0]) is Outcome.DONE
    await law(wide, 1)
    assert await claim(wide, third[3]) is Outcome.SOLD_OUT
    await reconciled(wide.books, redis_url, tenant)


async def test_the_sweeper_finishes_it(wide: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    await stocked(wide, 3)
    moving, sent = wide.engine.segments, keys.sent_key(wide.engine.tags[0])
    await moving._send("stock", "c", 0, 7, 0, 1, 0)
    assert await moving.sweep() == 0  # too young: whoever sent it is at it
    monkeypatch.setattr(segments, "SETTLE_MS", -1)
    assert await moving.sweep() == 1
    assert (await wide.shares("c"))[7] == (1, 1, 0)
    assert await wide.server.due(sent, 1 << 50, 9) == []
    assert await moving.sweep() == 0


async def test_each_half_is_safe_to_repeat(wide: Running) -> None:
    await stocked(wide, 2 * CELLS)
    moving = wide.engine.segments
    assert await moving._send("stock", "c", 0, 1, 0, 2, 0) == 2
    assert await moving._send("stock", "c", 0, 1, 0, 2, 0) == 2  # another was faster: its total
    assert await moving._receive("stock", "c", 0, 1, 2, None, 0) == 2
    assert await moving._receive("stock", "c", 0, 1, 2, None, 0) == 0
    assert await moving._send("stock", "c", 2, 1, 0, 1, 0) == 1
    assert await moving._receive("stock", "c", 2, 1, 1, None, 0) == 1
    assert await moving._receive("stock", "c", 0, 1, 2, None, 0) == 0
    assert [share for share, _, _ in (await wide.shares("c"))[:3]] == [0, 5, 1]
    # What has just come is for this cell alone, the rest may go.
    assert await moving._send("stock", "c", 1, 4, 0, 9, 0) == 3
    assert await moving._send("stock", "none", 1, 4, 0, 9, 0) == 0
    await law(wide, 2 * CELLS)


async def test_stock_is_added_and_taken_away_where_it_has_gone(
    wide: Running, tenant: str, redis_url: str
) -> None:
    await stocked(wide, 7)
    users = people(wide, 7, 20)
    placed = await order(wide, users[0], 7)  # all of it goes to a cell that had none
    await wide.engine.orders.cancel(order_id=placed.value.id, key="x", who=WHO)
    assert await crowd([wide], users[:2]) == {Outcome.DONE: 2}
    with pytest.raises(InvalidRequest):
        await wide.add_stock("c", -6)
    await wide.add_stock("c", -4)  # and this one is given less than none by the books
    await law(wide, 3)
    await wide.patch("c", {"issue": {"per_user": 5}})
    assert await crowd([wide], users[2:6]) == {Outcome.DONE: 1, Outcome.SOLD_OUT: 3}
    await wide.add_stock("c", 2)
    assert await crowd([wide], users[6:10]) == {Outcome.DONE: 2, Outcome.SOLD_OUT: 2}
    await law(wide, 5)
    await reconciled(wide.books, redis_url, tenant)


async def test_offers_tell_of_all_cells(wide: Running) -> None:
    await stocked(wide, 3, per_user=1)
    (user,) = people(wide, 5, 1)
    _, (offer,) = await wide.engine.offers(user_id=user, campaign_ids=["c"])
    assert offer
    assert (offer.outcome, offer.left) == (Outcome.DONE, 3)
    assert await claim(wide, user) is Outcome.DONE
    await asyncio.sleep(segments.SHOWN_SECONDS)
    _, (offer,) = await wide.engine.offers(user_id=user, campaign_ids=["c"])
    assert offer
    assert (offer.outcome, offer.left) == (Outcome.USER_LIMIT, 2)


async def test_refusals_are_no_storm_of_questions(wide: Running, redis_client: Redis) -> None:
    """Many are refused one after the other, by campaigns that doors stay open for."""
    await stocked(wide, 0, tiers=["gold"])
    users = people(wide, 5, 8)
    for user in users:
        await wide.engine.set_profile(user_id=user, who=WHO, tier="gold")

    async def calls() -> int:
        stats = await redis_client.info("commandstats")
        return int(stats["cmdstat_evalsha"]["calls"])

    before, began = await calls(), time.monotonic()
    for n in range(400):
        assert await claim(wide, users[n % 8]) is Outcome.SOLD_OUT
    looks = (time.monotonic() - began) / segments.FRESH_SECONDS + 2
    assert await calls() - before < 400 + CELLS * looks


async def test_reconcile_names_what_moved_wrongly(
    wide: Running, tenant: str, redis_url: str, redis_client: Redis
) -> None:
    await stocked(wide, 6)
    assert await crowd([wide], people(wide, 7, 2)) == {Outcome.DONE: 2}
    key = keys.campaign_key(wide.engine.tags[7], "c")
    for field, n, named in (("moved", 1, "moved"), ("share", 1, "stock law")):
        await redis_client.hincrby(key, field, n)
        with pytest.raises(AssertionError, match=named):
            await reconciled(wide.books, redis_url, tenant)
        await redis_client.hincrby(key, field, -n)
    await redis_client.hset(key, "received", pack([9, 9]))
    with pytest.raises(AssertionError, match="stock received"):
        await reconciled(wide.books, redis_url, tenant)


@pytest.mark.parametrize(
    ("seed", "steps"), [(1, 50), *(pytest.param(n, 300, marks=pytest.mark.slow) for n in (2, 3))]
)
@pytest.mark.slow
async def test_random_acts_keep_the_law(
    wide: Running, tenant: str, redis_url: str, seed: int, steps: int
) -> None:
    """Orders, claims, cancellations, refusals and cut transfers by a moving clock: never more is
    given than there is, and whoever asks gets one as long as any cell has one."""
    dice, total, now = random.Random(seed), 12, wide.server.clock()
    await stocked(wide, total, per_user=None)
    users, given = [f"r{n}" for n in range(60)], 0
    open_orders: dict[str, tuple[int, int]] = {}
    for step in range(steps):
        open_orders = {name: (n, until) for name, (n, until) in open_orders.items() if now < until}
        free = total - given - sum(n for n, _ in open_orders.values())
        assert 0 <= free <= total
        user, kind = dice.choice(users), dice.choice("ccoooxtaw")
        if kind == "c":
            answer = await wide.engine.claim(
                user_id=user, campaign_id="c", channel="a", key=f"{step}", who=WHO, now=now
            )
            assert answer.outcome is (Outcome.DONE if free else Outcome.SOLD_OUT)
            given += answer.ok
        elif kind == "o":
            n = dice.randint(1, 4)
            placed = await order(wide, user, n, key=f"{step}", now=now)
            assert placed.outcome is (Outcome.DONE if free >= n else Outcome.SOLD_OUT)
            if placed.ok:
                open_orders[placed.value.id] = n, now + 60_000
        elif kind == "x" and open_orders:
            name = dice.choice(list(open_orders))
            del open_orders[name]
            gone = await wide.engine.orders.cancel(order_id=name, key="x", who=WHO, now=now)
            assert gone.ok
        elif kind == "t":  # a process dies between the halves
            a, b = dice.sample(range(CELLS), 2)
            look = await wide.engine.segments._look("stock", "c", now)
            sent = look.parts[a].sent
            known = sent[b] if b < len(sent) else 0
            await wide.engine.segments._send("stock", "c", a, b, known, 1, now)
        elif kind == "a" and total < 40:
            wide.clock, total = now, total + 1
            await wide.add_stock("c", 1)
        elif kind == "w":
            now += dice.choice([1000, 20_000, 61_000])
        await law(wide, total)
    await wide.check_facts()
    await reconciled(wide.books, redis_url, tenant)


@pytest.mark.slow
async def test_codes_of_a_third_party_go_along(wide: Running, tenant: str, redis_url: str) -> None:
    """As many winners as codes, each another one; a transfer cut in two keeps its codes."""
    codes = {f"x{n:02}": n for n in range(40)}
    await wide.publish(campaign("amount_off amount=100", id="c", stock={"pool": True}))
    await pools.mark(wide.books, tenant, By("ann", "", "", "", 0), "c")
    await pools.add_codes(wide.books, tenant, CELLS, "c", "upload", codes)
    await wide.control.load_codes()
    assert await wide.engine.segments._send("stock", "c", 0, 7, 0, 2, 0) == 2
    await reconciled(wide.books, redis_url, tenant)
    users = [user for cell in (3, 0, 6) for user in people(wide, cell, 20)]
    told = await asyncio.gather(*(claim(wide, user) for user in users))
    assert Counter(told) == {Outcome.DONE: 40, Outcome.SOLD_OUT: 20}
    given = []
    for user in users:
        wallet = await wide.engine.wallet(wide.engine.handle_of(user))
        given += [json.loads(one.extra)["external_code"] for one in wallet.coupons.values()]
    assert sorted(given) == sorted(codes)
    await reconciled(wide.books, redis_url, tenant)
