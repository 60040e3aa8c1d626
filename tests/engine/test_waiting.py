"""Waiting lines: first come first, offers that lapse, what a crash leaves half done."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from engine import keys
from engine.outcomes import Outcome
from engine.views import Answer
from engine.waiting import Place
from tests.engine.harness import WHO, Running, open_mall, reconciled, together
from tests.servers import Cluster
from tests.unit.rules_language import campaign, ms

NOON = ms("2026-02-06 12:00")
MINUTE = 60_000


class Line:
    """A campaign and the people who want it, with a clock."""

    def __init__(self, mall: Running, name: str = "c") -> None:
        self.mall, self.name, self.now, self.number = mall, name, NOON, 0
        mall.clock = NOON

    def key(self) -> str:
        self.number += 1
        return f"k{self.number}"

    async def publish(self, total: int | None, **parts: Any) -> None:
        await self.mall.publish(
            campaign("amount_off amount=100", id=self.name, stock={"total": total}, **parts)
        )

    async def join(self, user: str, party: int = 1, **more: Any) -> Answer[Place]:
        more.setdefault("key", self.key())
        return await self.mall.engine.waiting.join(
            user_id=user, campaign_id=self.name, party=party, who=WHO, now=self.now, **more
        )

    async def place(self, user: str) -> tuple[str, int]:
        found = await self.mall.engine.waiting.place(
            user_id=user, campaign_id=self.name, now=self.now
        )
        assert found
        return found.status, found.position

    async def why(self, user: str) -> tuple[Outcome | None, bool]:
        found = await self.mall.engine.waiting.place(
            user_id=user, campaign_id=self.name, now=self.now
        )
        assert found
        return found.why, found.too_many

    async def leave(self, user: str) -> str:
        answer = await self.mall.engine.waiting.leave(
            user_id=user, campaign_id=self.name, who=WHO, now=self.now
        )
        return answer.value.status if answer.value else answer.outcome.code

    async def claim(self, user: str, key: str = "") -> Outcome:
        answer = await self.mall.engine.claim(
            user_id=user, campaign_id=self.name, channel="app", key=key or self.key(), who=WHO,
            now=self.now,
        )  # fmt: skip
        return answer.outcome

    @staticmethod
    def id_of(answer: Answer[Any]) -> str:
        """Of the order that was made."""
        assert answer.value is not None
        return str(answer.value.id)

    async def order(self, user: str, quantity: int = 1) -> Answer[Any]:
        return await self.mall.engine.orders.place(
            user_id=user, items=[(self.name, quantity)], channel="app", key=self.key(), who=WHO,
            now=self.now,
        )  # fmt: skip

    async def offer(self, user: str) -> str:
        found = await self.mall.engine.waiting.place(
            user_id=user, campaign_id=self.name, now=self.now
        )
        assert found
        assert found.offer, found
        return found.offer[0]

    async def marks(self) -> set[bool]:
        """Whether the cells think that somebody waits."""
        found = [
            await self.mall.hash_of(keys.campaign_key(tag, self.name))
            for tag in self.mall.engine.tags
        ]
        return {int(row.get(b"waiting", 0)) % 2 == 1 for row in found}


@pytest.fixture
async def line(small_mall: Running) -> Line:
    return Line(small_mall)


async def test_whoever_comes_first_is_offered_first(line: Line, redis_url: str) -> None:
    await line.publish(2, issue={"per_user": 1})
    joined = await line.join("early")  # there is room, and nobody waits
    assert joined.value
    assert joined.value.status == "offered"
    assert await line.marks() == {False}
    assert await line.claim("ann") is Outcome.DONE
    for user, priority in (("bob", 0), ("eve", 0), ("vip", 5), ("dan", 0)):
        answer = await line.join(user, priority=priority)
        assert answer.value
        assert answer.value.status == "waiting", answer
    assert await line.marks() == {True}
    places = [await line.place(user) for user in ("vip", "bob", "eve", "dan")]
    assert places == [("waiting", n) for n in (1, 2, 3, 4)]
    assert (await line.join("bob")).outcome is Outcome.ALREADY_EXISTS

    assert await line.leave("early") == "declined"
    assert await line.place("vip") == ("offered", 0)
    assert await line.place("bob") == ("waiting", 1)
    assert await line.claim("zoe") is Outcome.SOLD_OUT
    line.now += 15 * MINUTE  # the offer lapses, and is bob's in that instant
    assert await line.claim("zoe") is Outcome.SOLD_OUT
    assert await line.place("bob") == ("offered", 0)
    assert await line.place("vip") == ("lapsed", 0)
    assert await line.claim("bob", "b") is Outcome.DONE
    assert await line.claim("bob", "b") is Outcome.REPEATED
    assert await line.place("bob") == ("taken", 0)
    assert await line.claim("bob") is Outcome.USER_LIMIT

    assert await line.leave("eve") == "left"
    assert await line.leave("eve") == "left"
    assert await line.place("dan") == ("waiting", 1)
    await line.mall.add_stock("c", 2)
    await line.mall.engine.waiting.published("c", line.now)
    assert await line.place("dan") == ("offered", 0)
    assert await line.marks() == {False}
    assert await line.claim("zoe") is Outcome.DONE  # what nobody waits for is anybody's
    assert await line.leave("nobody") == "not_found"
    await line.mall.check_facts()
    await reconciled(line.mall.books, redis_url, line.mall.id)


async def test_a_party_waits_in_its_place_and_is_told_why(line: Line, redis_url: str) -> None:
    await line.publish(3, issue={"per_user": 3})
    first, second, third = [await line.order(user) for user in ("a", "b", "c")]
    assert (await line.join("many", 4)).outcome is Outcome.USER_LIMIT
    await line.mall.patch("c", {"issue": {"per_user": None}})
    assert (await line.join("many", 4)).outcome is Outcome.SOLD_OUT  # there will never be so many
    await line.join("two", 2)
    await line.join("one")
    await line.mall.engine.orders.cancel(order_id=line.id_of(first), key="x", who=WHO, now=line.now)
    assert await line.place("two") == ("waiting", 1)
    assert await line.why("two") == (Outcome.SOLD_OUT, True)
    assert await line.place("one") == ("waiting", 2)
    assert await line.claim("zoe") is Outcome.SOLD_OUT  # not past the line, though one is free
    await line.mall.engine.orders.cancel(
        order_id=line.id_of(second), key="x", who=WHO, now=line.now
    )
    assert await line.place("two") == ("offered", 0)
    assert await line.claim("two") is Outcome.DONE  # for both of them
    wallet = await line.mall.engine.wallet(line.mall.engine.handle_of("two"), now=line.now)
    assert len(wallet.coupons) == 2
    assert await line.mall.shares("c") == [(3, 0, 2)]
    assert third.ok
    await reconciled(line.mall.books, redis_url, line.mall.id)


async def test_who_may_not_have_one_is_passed_and_can_ask_why(line: Line) -> None:
    await line.publish(1, issue={"per_user": 1})
    taken = await line.order("ann")
    await line.join("cold")
    await line.join("ann")
    await line.join("eve")
    await line.mall.engine.set_profile(user_id="cold", frozen=True, who=WHO, now=line.now)
    await line.mall.engine.orders.pay(
        order_id=line.id_of(taken), payment_ref="p", paid_amount=0, key="p", who=WHO, now=line.now
    )
    await line.mall.add_stock("c", 1)
    await line.mall.engine.waiting.published("c", line.now)
    assert await line.place("cold") == ("skipped", 0)
    assert await line.why("cold") == (Outcome.USER_FROZEN, False)
    assert await line.why("ann") == (Outcome.USER_LIMIT, False)
    assert await line.place("eve") == ("offered", 0)
    assert (await line.join("cold")).outcome is Outcome.USER_FROZEN  # nobody waits any more
    # Declined is over: whoever declined may come again, behind the others.
    await line.join("dan")
    assert await line.leave("eve") == "declined"
    again = await line.join("eve")
    assert again.value
    assert again.value.status == "waiting"
    assert await line.place("dan") == ("offered", 0)


async def test_a_key_answers_as_it_did_first(line: Line) -> None:
    await line.publish(1, issue={"per_user": 1})
    at_once = await line.join("ann", key="a")
    waiting = await line.join("bob", key="b")
    assert at_once.value
    assert waiting.value
    await line.leave("ann")
    for user, first in (("ann", at_once), ("bob", waiting)):
        again = await line.join(user, key=user[0])
        assert (again.outcome, again.value) == (Outcome.REPEATED, first.value)
        other = await line.join(user, party=2, key=user[0])
        assert other.outcome in (Outcome.IDEMPOTENCY_KEY_REUSED, Outcome.SOLD_OUT)
    again = await line.join("ann")  # and after joining anew, too
    assert again.value
    assert again.value.status == "waiting"
    assert (await line.join("ann", key="a")).value == at_once.value
    answers = await together(*(line.join("eve", key="same") for _ in range(8)))
    assert len({repr(answer.value) for answer in answers}) == 1
    assert [answer.outcome for answer in answers].count(Outcome.DONE) == 1


async def test_a_key_is_of_one_line(line: Line, redis_url: str) -> None:
    await one_line_a_key(line, redis_url)


@pytest.mark.slow
async def test_a_key_is_of_one_line_over_several_cells(
    redis_url: str, tenant: str, books_file: Path
) -> None:
    async with open_mall(tenant, redis_url, books_file, cells=3) as mall:
        await one_line_a_key(Line(mall), redis_url)


async def one_line_a_key(line: Line, redis_url: str) -> None:
    other = Line(line.mall, "d")
    await line.publish(0, issue={"per_user": 1})
    await other.publish(0, issue={"per_user": 1})
    first = await line.join("ann", key="a")
    assert (await other.join("ann", key="a")).outcome is Outcome.IDEMPOTENCY_KEY_REUSED
    again = await line.join("ann", key="a")
    assert (again.outcome, again.value) == (Outcome.REPEATED, first.value)
    assert (await other.join("bob", key="a")).outcome is Outcome.DONE  # another person's key
    # Who was refused has not used it; nor has who died before they joined.
    assert (await line.join("eve", party=2, key="e")).outcome is Outcome.USER_LIMIT
    assert (await other.join("eve", key="e")).outcome is Outcome.DONE
    assert (await line.join("eve", key="e")).outcome is Outcome.IDEMPOTENCY_KEY_REUSED
    for user in ("dan", "fay", "gus", "hal"):
        handle = line.mall.engine.handle_of(user)
        assert await line.mall.engine.waiting._lines.used("c", handle, user, line.now) == ""
        assert (await other.join(user, key=user)).outcome is Outcome.DONE
        assert (await line.join(user, key=user)).outcome is Outcome.IDEMPOTENCY_KEY_REUSED
    await reconciled(line.mall.books, redis_url, line.mall.id)


async def test_the_line_ends_with_its_campaign(line: Line, redis_url: str) -> None:
    await line.publish(1, issue={"per_user": 1, "end": "2026-02-06T13:00:00+08:00"})
    await line.claim("ann")
    for number in range(70):  # more than end in one go
        await line.join(f"u{number}")
    line.now += 60 * MINUTE
    assert await line.place("u69") == ("ended", 0)
    assert (await line.join("zoe")).outcome is Outcome.CAMPAIGN_ENDED
    assert await line.marks() == {False}
    await reconciled(line.mall.books, redis_url, line.mall.id)


async def test_a_pause_keeps_the_line(line: Line) -> None:
    await line.publish(1, issue={"per_user": 1})
    await line.claim("ann")
    await line.join("bob")
    await line.mall.patch("c", {"status": "paused"})
    await line.mall.add_stock("c", 1)
    await line.mall.engine.waiting.published("c", line.now)
    assert await line.why("bob") == (Outcome.CAMPAIGN_PAUSED, False)
    assert (await line.join("eve")).outcome is Outcome.CAMPAIGN_PAUSED
    await line.mall.patch("c", {"status": "active"})
    assert await line.place("bob") == ("offered", 0)


async def test_a_winner_who_gives_it_back_frees_the_seat(line: Line, redis_url: str) -> None:
    await line.publish(1, issue={"per_user": 1, "price": 500})
    await line.join("ann")
    await line.join("bob")
    assert await line.claim("ann") is Outcome.INVALID_REQUEST  # it is paid for
    paid = await line.mall.engine.orders.pay(
        order_id=await line.offer("ann"), payment_ref="p", paid_amount=500, key="p", who=WHO,
        now=line.now,
    )  # fmt: skip
    assert paid.value
    assert await line.place("ann") == ("taken", 0)
    coupon = keys.make_id("C", paid.value.place[0], paid.value.record.coupons[0])
    await line.mall.engine.orders.refund(
        coupon_id=coupon, reason="r", refund_ref="r1", key="r", who=WHO, now=line.now
    )
    assert await line.place("bob") == ("offered", 0)
    assert await line.place("ann") == ("taken", 0)  # and does not win again
    await reconciled(line.mall.books, redis_url, line.mall.id)


async def test_what_a_crash_left_is_finished(line: Line) -> None:
    """The process died between the halves: opened and nobody joined; offered and not noted."""
    waiting, lines = line.mall.engine.waiting, line.mall.engine.waiting._lines
    await line.publish(1, issue={"per_user": 1})
    await lines.open(lines.handle("c"), "c", line.now)
    await lines.mark("c", 1, line.now)
    assert await line.claim("ann") is Outcome.SOLD_OUT
    await waiting.sweep(line.now)
    assert await line.marks() == {False}
    order = await line.order("ann")
    await line.join("bob")
    await line.join("eve")
    await line.mall.engine.orders.cancel(
        order_id=line.id_of(order), key="x", who=WHO, now=line.now, moves_on=False
    )
    moved = await lines.step("c", None, 1, 9, -1, line.now)
    await waiting._offer_all("c", moved.heads, 0, line.now)  # and here it dies
    await waiting.sweep(line.now)
    assert await line.place("bob") == ("offered", 0)
    assert await line.place("eve") == ("waiting", 1)
    # Left just when the offer was made: it goes to the next one.
    await line.leave("bob")
    assert await line.place("eve") == ("offered", 0)
    await line.join("dan")
    await line.join("zoe")
    await line.mall.engine.orders.cancel(
        order_id=await line.offer("eve"), key="x", who=WHO, now=line.now, moves_on=False
    )
    moved = await lines.step("c", None, 1, 9, -1, line.now)
    results, _ = await waiting._offer_all("c", moved.heads, 0, line.now)
    assert await line.leave("dan") == "left"
    assert await line.place("zoe") == ("offered", 0)
    late = await lines.step("c", results, 0, 9, -1, line.now)  # the first mover comes back
    assert [name for name, _ in late.strays] == [line.mall.engine.handle_of("dan")]
    assert await line.place("dan") == ("left", 0)


async def test_nothing_moves_once_it_has_drained(line: Line) -> None:
    waiting = line.mall.engine.waiting
    await line.publish(1)
    waiting._later("c")
    (again,) = waiting._once_more.values()
    task = waiting._push("c", line.now)
    await waiting.drain()
    assert again.cancelled()
    assert task.done()


async def test_over_several_cells_the_order_is_one(
    redis_url: str, tenant: str, books_file: Path
) -> None:
    await _over_several_cells(redis_url, tenant, books_file)


@pytest.mark.cluster
async def test_on_a_cluster_too(redis_cluster: Cluster, tenant: str, books_file: Path) -> None:
    await _over_several_cells(redis_cluster.url, tenant, books_file)


async def _over_several_cells(redis_url: str, tenant: str, books_file: Path) -> None:
    """The line is in one cell, the stock wherever it is: it goes to whose turn it is."""
    async with open_mall(tenant, redis_url, books_file, cells=5) as mall:
        line = Line(mall)
        await line.publish(3, issue={"per_user": 3})
        taken = [await line.order(f"t{n}") for n in range(3)]
        people = [f"u{n}" for n in range(7)]
        for user in people:
            await line.join(user)
        assert await line.marks() == {True}
        assert await line.claim("zoe") is Outcome.SOLD_OUT
        for number, order in enumerate(taken):
            await mall.engine.orders.cancel(
                order_id=line.id_of(order), key="x", who=WHO, now=line.now
            )
            places = [await line.place(user) for user in people]
            offered = [("offered", 0)] * (number + 1)
            assert places == offered + [("waiting", n + 1) for n in range(6 - number)]
            assert await line.claim("zoe") is Outcome.SOLD_OUT
        line.now += 15 * MINUTE
        states = [(await line.place(user))[0] for user in people]
        assert states == ["lapsed"] * 3 + ["offered"] * 3 + ["waiting"]
        assert await line.claim("u4") is Outcome.DONE
        await mall.add_stock("c", 2)
        await mall.engine.waiting.published("c", line.now)
        assert await line.place("u6") == ("offered", 0)
        assert await line.marks() == {False}
        assert await line.claim("zoe") is Outcome.DONE
        await mall.check_facts()
        await reconciled(mall.books, redis_url, tenant)
