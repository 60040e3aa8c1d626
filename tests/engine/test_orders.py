"""Orders beside claims, against a plain model with a moving clock: stock is conserved each step."""

from __future__ import annotations

import asyncio
import itertools
import os
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from engine import keys, lots
from engine.books.db import Books
from engine.definitions import Campaign
from engine.outcomes import Outcome
from engine.server import Server
from tests.engine.harness import WHO, Running, mall_on, open_ground, open_mall, reconciled, together
from tests.unit.rules_language import campaign, ms

LONG = os.environ.get("HEXIAO_LONG") == "1"
USERS = ["ann", "bob"]
TOTALS = {"few": 3, "dear": 2, "daily": 5, "score": 4}
PRICES = {"few": 0, "dear": 70, "daily": 0, "score": 5}
SCORES = {"few": 0, "dear": 0, "daily": 0, "score": 30}  # points
PURSE = 100
PER_USER = {"few": 2}
PER_DAY = {"daily": 1}
LASTS = 3 * 1440 * 60_000
DAY_MS, OFFSET = 86_400_000, 8 * 3_600_000
users = st.sampled_from(USERS)
names = st.sampled_from(sorted(TOTALS))


@dataclass
class Coupon:
    """One that was issued; ``counted``: when it was claimed or set aside."""

    user: str
    campaign: str
    issued: int
    counted: int
    order: bool
    state: str = "issued"


@dataclass
class Order:
    """One that was placed."""

    user: str
    items: list[tuple[str, int]]
    until: int
    counted: int
    amount: int
    state: str = "pending"
    payment: str = ""
    coupons: list[str] = field(default_factory=list)


class Shop(RuleBasedStateMachine):
    """Acts on one cell."""

    runner: asyncio.Runner
    server: Server
    books: Books
    tenants: itertools.count[int]
    name: str

    def __init__(self) -> None:
        super().__init__()
        self.turn = itertools.count()
        self.orders: dict[str, Order] = {}
        self.coupons: dict[str, Coupon] = {}
        self.failed: dict[str, str] = {}  # coupon: ref of its refund

    def run(self, act: Any) -> Any:
        return self.runner.run(act)

    def key(self) -> str:
        return f"k{next(self.turn)}"

    @initialize()
    def open(self) -> None:
        tenant = f"{self.name}-{next(self.tenants)}"
        opening = mall_on(self.server, self.books, tenant, handle_key=b"k" * 32)
        self.mall: Running = self.run(opening)
        self.now = self.mall.clock = ms("2026-02-06 22:50")
        for name, total in TOTALS.items():
            issue = {
                "per_user": PER_USER.get(name), "per_user_per_day": PER_DAY.get(name),
                "price": PRICES[name], "points_price": SCORES[name],
            }  # fmt: skip
            self.run(self.mall.publish(self.campaign(name, total, issue)))
        for user in USERS:
            self.run(self.mall.engine.points.credit(
                user_id=user, kind="earn", points=PURSE, key="k", who=WHO, now=self.now
            ))  # fmt: skip

    def campaign(self, name: str, total: int, issue: dict[str, Any]) -> Campaign:
        validity = {"type": "relative", "minutes": LASTS // 60_000}
        return campaign(
            "amount_off amount=100", id=name, stock={"total": total}, issue=issue,
            validity=validity,
        )

    # ---- the model ----------------------------------------------------------------------------

    def is_open(self, order: Order) -> bool:
        return order.state == "pending" and self.now < order.until

    def out(self, campaign: str) -> list[tuple[str, int, int]]:
        """(user, how many, when) of all that is issued or set aside."""
        issued = [
            (c.user, 1, c.counted)
            for c in self.coupons.values()
            if c.campaign == campaign and c.state != "refunded"
        ]
        aside = [
            (o.user, n, o.counted)
            for o in self.orders.values()
            for name, n in o.items
            if name == campaign and self.is_open(o)
        ]
        return issued + aside

    def left(self, campaign: str) -> int:
        return TOTALS[campaign] - sum(n for _, n, _ in self.out(campaign))

    def may_have(self, user: str, campaign: str, n: int) -> Outcome:
        mine = [(many, at) for who, many, at in self.out(campaign) if who == user]
        day = (self.now + OFFSET) // DAY_MS
        today = sum(many for many, at in mine if (at + OFFSET) // DAY_MS == day)
        if campaign in PER_USER and sum(m for m, _ in mine) + n > PER_USER[campaign]:
            return Outcome.USER_LIMIT
        if campaign in PER_DAY and today + n > PER_DAY[campaign]:
            return Outcome.USER_DAY_LIMIT
        return Outcome.DONE if n <= self.left(campaign) else Outcome.SOLD_OUT

    def points(self, user: str) -> int:
        """What is neither spent nor set aside."""
        return PURSE - sum(
            SCORES[name] * n
            for name in TOTALS
            for who, n, _ in self.out(name)
            if who == user
        )

    def may_have_all(self, user: str, items: list[tuple[str, int]]) -> Outcome:
        outcomes = [self.may_have(user, name, n) for name, n in items]
        if sum(SCORES[name] * n for name, n in items) > self.points(user):
            outcomes.append(Outcome.POINTS_INSUFFICIENT)
        return next((one for one in outcomes if one is not Outcome.DONE), Outcome.DONE)

    # ---- acts ---------------------------------------------------------------------------------

    @rule(user=users, name=names)
    def claim(self, user: str, name: str) -> None:
        act = self.mall.engine.claim(
            user_id=user, campaign_id=name, channel="a", key=self.key(), who=WHO, now=self.now
        )
        expected = Outcome.INVALID_REQUEST if PRICES[name] else self.may_have(user, name, 1)
        answer = self.run(act)
        assert answer.outcome is expected
        if answer.value:
            self.coupons[answer.value.id] = Coupon(user, name, self.now, self.now, order=False)

    @rule(
        user=users, hold=st.sampled_from([60, 60, 600]),
        items=st.dictionaries(names, st.integers(1, 2), min_size=1),
    )  # fmt: skip
    def order(self, user: str, hold: int, items: dict[str, int]) -> None:
        wanted, key = list(items.items()), self.key()

        def act() -> Any:
            return self.mall.engine.orders.place(
                user_id=user, items=wanted, channel="a", key=key, who=WHO, hold_seconds=hold,
                now=self.now,
            )

        expected = self.may_have_all(user, wanted)
        answer = self.run(act())
        assert answer.outcome is expected
        if answer.value:
            amount = sum(PRICES[name] * n for name, n in wanted)
            assert answer.value.record.amount == amount
            until = self.now + hold * 1000
            self.orders[answer.value.id] = Order(user, wanted, until, self.now, amount)
            again = self.run(act())
            assert again.outcome is Outcome.REPEATED
            assert again.value.id == answer.value.id

    @precondition(lambda self: self.orders)
    @rule(data=st.data(), wrong=st.sampled_from([0, 0, 0, 1]))
    def pay(self, data: st.DataObject, wrong: int) -> None:
        ident, order = self.draw_order(data)
        ref = order.payment if order.payment and data.draw(st.booleans()) else self.key()

        def act() -> Any:
            return self.mall.engine.orders.pay(
                order_id=ident, payment_ref=ref, paid_amount=order.amount + wrong, key=self.key(),
                who=WHO, now=self.now,
            )

        expected = Outcome.DONE
        if order.state == "paid":
            same = ref == order.payment and not wrong
            expected = Outcome.REPEATED if same else Outcome.AMOUNT_MISMATCH
        elif order.state == "cancelled":
            expected = Outcome.ORDER_CANCELLED
        elif not self.is_open(order) and self.may_have_all(order.user, order.items):
            expected = Outcome.ORDER_EXPIRED
        elif wrong:
            expected = Outcome.AMOUNT_MISMATCH
        late = not self.is_open(order)
        answer = self.run(act())
        assert answer.outcome is expected
        if expected is Outcome.DONE:
            order.state, order.payment = "paid", ref
            order.counted = self.now if late else order.counted
            handle = answer.value.place[0]
            kinds = [name for name, n in order.items for _ in range(n)]
            for serial, name in zip(answer.value.record.coupons, kinds, strict=True):
                coupon = Coupon(order.user, name, self.now, order.counted, order=True)
                self.coupons[keys.make_id("C", handle, serial)] = coupon
            assert self.run(act()).outcome is Outcome.REPEATED

    @precondition(lambda self: self.orders)
    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        ident, order = self.draw_order(data)
        act = self.mall.engine.orders.cancel(
            order_id=ident, key=self.key(), who=WHO, now=self.now
        )
        expected = Outcome.DONE if self.is_open(order) else Outcome.ORDER_EXPIRED
        if order.state == "paid":
            expected = Outcome.NOT_REFUNDABLE
        elif order.state == "cancelled":
            expected = Outcome.ORDER_CANCELLED
        assert self.run(act).outcome is expected
        if expected is Outcome.DONE:
            order.state = "cancelled"

    @precondition(lambda self: self.coupons)
    @rule(data=st.data())
    def refund(self, data: st.DataObject) -> None:
        ident = data.draw(st.sampled_from(list(self.coupons)))
        coupon, ref = self.coupons[ident], self.key()
        act = self.mall.engine.orders.refund(
            coupon_id=ident, reason="r", refund_ref=ref, key=self.key(), who=WHO, now=self.now
        )
        expected = Outcome.DONE
        if not coupon.order:
            expected = Outcome.NOT_REFUNDABLE
        elif coupon.state == "refunded":
            expected = Outcome.REFUNDED
        elif self.now >= coupon.issued + LASTS:
            expected = Outcome.EXPIRED
        answer = self.run(act)
        assert answer.outcome is expected
        if expected is Outcome.DONE:
            assert answer.value.record.amount == PRICES[coupon.campaign]
            assert answer.value.record.points == SCORES[coupon.campaign]
            coupon.state, self.failed[ident] = "refunded", ref

    @precondition(lambda self: self.failed)
    @rule(data=st.data())
    def fail(self, data: st.DataObject) -> None:
        ident = data.draw(st.sampled_from(list(self.failed)))
        coupon = self.coupons[ident]
        act = self.mall.engine.orders.refund_failed(
            coupon_id=ident, refund_ref=self.failed[ident], key=self.key(), who=WHO, now=self.now
        )
        expected = Outcome.REPEATED
        if coupon.state == "refunded":
            expected = self.may_have_all(coupon.user, [(coupon.campaign, 1)])
        assert self.run(act).outcome is expected
        if expected is Outcome.DONE:
            coupon.state = "issued"
            del self.failed[ident]

    @precondition(lambda self: self.orders)
    @rule(data=st.data())
    def sweep(self, data: st.DataObject) -> None:
        """What lapsed is told to the books; nothing else changes."""
        ident, order = self.draw_order(data)
        self.run(self.mall.engine.orders.lapse(order_id=ident, who=WHO, now=self.now))
        if order.state == "pending" and not self.is_open(order):
            order.state = "lapsed"

    @rule(seconds=st.sampled_from([1, 59, 60, 60, 600, 3600, 86_400]))
    def later(self, seconds: int) -> None:
        self.now += seconds * 1000
        self.mall.clock = self.now

    def draw_order(self, data: st.DataObject) -> tuple[str, Order]:
        known = list(self.orders.items())
        return data.draw(st.sampled_from(known[-2:]) | st.sampled_from(known))

    # ---- what always holds --------------------------------------------------------------------

    @invariant()
    def stock_is_conserved(self) -> None:
        self.run(self._compare())

    async def _compare(self) -> None:
        engine = self.mall.engine
        for name, total in TOTALS.items():
            row = await self.mall.hash_of(keys.campaign_key(engine.tags[0], name))
            issued = sum(
                c.campaign == name and c.state != "refunded" for c in self.coupons.values()
            )
            left, aside = int(row[b"left"]), int(row.get(b"aside", 0))
            assert int(row[b"issued"]) == issued
            assert left + aside + issued == total
            assert left >= 0
            assert aside >= 0
        for user in USERS:
            _, offers = await engine.offers(
                user_id=user, campaign_ids=list(TOTALS), channel="a", now=self.now
            )
            mine = Counter(
                {name: sum(n for who, n, _ in self.out(name) if who == user) for name in TOTALS}
            )
            for offer in offers:
                assert offer is not None
                assert offer.left == self.left(offer.campaign_id)
                assert offer.mine == mine[offer.campaign_id]
                assert offer.outcome is self.may_have(user, offer.campaign_id, 1)
            purse = await engine.points.purse(user, now=self.now)
            mine_points = lots.available(purse.record, self.now)
            assert mine_points == self.points(user)
        for ident, order in self.orders.items():
            found = await engine.orders.read(ident, now=self.now)
            assert found is not None
            lapsed = order.state == "lapsed" or (
                order.state == "pending" and not self.is_open(order)
            )
            assert found.status == ("expired" if lapsed else order.state)

    def teardown(self) -> None:
        self.run(self.mall.check_facts())


def test_orders_are_as_the_model_says(redis_url: str, tenant: str, books_file: Path) -> None:
    drive(Shop, 12, redis_url, tenant, books_file)


def drive(
    machine: type[RuleBasedStateMachine],
    examples: int,
    redis_url: str,
    tenant: str,
    books_file: Path,
) -> None:
    """Run so many examples on malls of their own (300 with HEXIAO_LONG), then reconcile."""
    with asyncio.Runner() as runner:
        ground = open_ground(redis_url, books_file)
        server, books = runner.run(ground.__aenter__())
        numbers = itertools.count()
        parts = {
            "runner": runner, "server": server, "books": books, "tenants": numbers, "name": tenant,
        }  # fmt: skip
        try:
            run_state_machine_as_test(
                type("Here", (machine,), parts),
                settings=settings(
                    max_examples=300 if LONG else examples, stateful_step_count=30, deadline=None,
                    derandomize=not LONG, database=None, report_multiple_bugs=False,
                    suppress_health_check=list(HealthCheck), phases=[Phase.generate, Phase.shrink],
                ),
            )
            done = [f"{tenant}-{n}" for n in range(next(numbers))]
            runner.run(reconciled(books, redis_url, *done[-4:]))
        finally:
            runner.run(ground.__aexit__(None, None, None))


@pytest.mark.parametrize("cells", [1, 3])
async def test_forty_orders_at_once_never_oversell(
    tenant: str, redis_url: str, books_file: Path, cells: int
) -> None:
    async with open_mall(tenant, redis_url, books_file, cells=cells) as mall:
        body = campaign(
            "amount_off amount=100", id="c", stock={"total": 30}, issue={"price": 5, "per_user": 4}
        )
        await mall.publish(body)
        orders, now = mall.engine.orders, ms("2026-02-06 12:00")
        placed = await together(*(
            orders.place(user_id=f"u{n % 20}", items=[("c", 2)], channel="a", key=f"k{n}",
                         who=WHO, hold_seconds=60, now=now)
            for n in range(40)
        ))  # fmt: skip
        done = [one.value for one in placed if one.ok]
        assert 10 <= len(done) <= 15
        assert {one.outcome for one in placed} <= {Outcome.DONE, Outcome.SOLD_OUT}
        if cells == 1:
            assert len(done) == 15
        # Every notice five times, some of them after the time is over: one effect each.
        paid = await together(*(
            orders.pay(order_id=order.id, payment_ref=f"p{n}", paid_amount=10, key=f"y{n}.{copy}",
                       who=WHO, now=now + (61_000 if n % 2 else 1000))
            for n, order in enumerate(done) for copy in range(5)
        ))  # fmt: skip
        assert Counter(one.outcome for one in paid) == {
            Outcome.DONE: len(done), Outcome.REPEATED: 4 * len(done)
        }
        shares = await mall.shares("c")
        assert sum(issued for *_, issued in shares) == 2 * len(done)
        await reconciled(mall.books, redis_url, tenant)
