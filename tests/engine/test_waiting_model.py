"""Orders, claims and a waiting line against a plain model with a moving clock.

Each step: stock is conserved, everybody stands where the model has them, no seat lies idle while
the first of the line fits it, none is given twice.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

from engine import keys
from engine.books.db import Books
from engine.outcomes import Outcome
from engine.server import Server
from tests.engine.harness import WHO, Running, mall_on
from tests.engine.test_orders import drive
from tests.unit.rules_language import campaign, ms

USERS = ["ann", "bob", "cat", "dan", "eve"]
TOTAL, MINUTE = 3, 60_000
users = st.sampled_from(USERS)


@dataclass
class Order:
    """An order, or an offer of the line."""

    id: str
    user: str
    number: int
    until: int
    offer: bool
    state: str = "pending"


@dataclass
class Place:
    """Somebody's last place in the line."""

    party: int
    rank: tuple[int, int]  # minus the priority, when they came
    state: str  # waiting | left, or the order that was offered
    order: Order | None = None


class Line(RuleBasedStateMachine):
    """Acts on one campaign, on so many cells."""

    runner: Any
    server: Server
    books: Books
    tenants: itertools.count[int]
    name: str
    cells = 1

    def run(self, act: Any) -> Any:
        return self.runner.run(act)

    def key(self) -> str:
        return f"k{next(self.turn)}"

    @initialize()
    def open(self) -> None:
        self.turn = itertools.count()
        tenant = f"{self.name}-{next(self.tenants)}"
        opening = mall_on(self.server, self.books, tenant, handle_key=b"k" * 32, cells=self.cells)
        self.mall: Running = self.run(opening)
        self.now = self.mall.clock = ms("2026-02-06 12:00")
        self.total, self.issued = TOTAL, 0
        self.orders: list[Order] = []
        self.places: dict[str, Place] = {}
        self.coupons: list[tuple[str, str]] = []  # (user, id) that can be given back
        body = campaign("amount_off amount=100", id="c", stock={"total": TOTAL})
        self.run(self.mall.publish(body))

    # ---- the model ----------------------------------------------------------------------------

    def is_open(self, order: Order) -> bool:
        return order.state == "pending" and self.now < order.until

    @property
    def free(self) -> int:
        aside = sum(order.number for order in self.orders if self.is_open(order))
        return self.total - self.issued - aside

    @property
    def line(self) -> list[str]:
        waiting = [user for user, place in self.places.items() if place.state == "waiting"]
        return sorted(waiting, key=lambda user: self.places[user].rank)

    def move(self) -> None:
        """The line moves when somebody asks; nobody is passed."""
        self.run(self.mall.engine.waiting.push("c", self.now))
        while self.line and self.places[self.line[0]].party <= self.free:
            user = self.line[0]
            self.offered(user, self.places[user])

    def offered(self, user: str, place: Place) -> None:
        found = self.run(self.mall.engine.waiting.place(
            user_id=user, campaign_id="c", now=self.now
        ))  # fmt: skip
        assert found
        assert found.status == "offered", found
        until = self.now + 15 * MINUTE
        assert found.offer[1] == until
        place.state = "offered"
        place.order = Order(found.offer[0], user, place.party, until, True)
        self.orders.append(place.order)

    def offer_of(self, user: str) -> Order | None:
        place = self.places.get(user)
        order = place.order if place and place.state == "offered" else None
        return order if order and self.is_open(order) else None

    # ---- acts ---------------------------------------------------------------------------------

    @rule(user=users)
    def claim(self, user: str) -> None:
        answer = self.run(self.mall.engine.claim(
            user_id=user, campaign_id="c", channel="app", key=self.key(), who=WHO, now=self.now
        ))  # fmt: skip
        offer = self.offer_of(user)
        possible = offer is not None or (not self.line and self.free >= 1)
        assert answer.outcome is (Outcome.DONE if possible else Outcome.SOLD_OUT)
        if offer is not None:
            offer.state = "paid"
            self.issued += offer.number
        elif possible:
            self.issued += 1
        if answer.value and offer is not None:
            self.coupons.append((user, answer.value.id))
        self.move()

    @rule(user=users, number=st.integers(1, 2), minutes=st.integers(1, 20))
    def order(self, user: str, number: int, minutes: int) -> None:
        answer = self.run(self.mall.engine.orders.place(
            user_id=user, items=[("c", number)], channel="app", key=self.key(), who=WHO,
            hold_seconds=minutes * 60, now=self.now,
        ))  # fmt: skip
        possible = not self.line and self.free >= number
        assert answer.outcome is (Outcome.DONE if possible else Outcome.SOLD_OUT)
        if answer.value:
            until = self.now + minutes * MINUTE
            self.orders.append(Order(answer.value.id, user, number, until, False))
        self.move()

    @precondition(lambda self: self.orders)
    @rule(data=st.data())
    def pay(self, data: st.DataObject) -> None:
        order = data.draw(st.sampled_from(self.orders))
        answer = self.run(self.mall.engine.orders.pay(
            order_id=order.id, payment_ref=order.id, paid_amount=0, key=self.key(), who=WHO,
            now=self.now,
        ))  # fmt: skip
        late = not self.is_open(order) and order.state == "pending"
        if order.state == "cancelled":
            assert answer.outcome is Outcome.ORDER_CANCELLED
        elif order.state == "paid":
            assert answer.outcome in (Outcome.REPEATED, Outcome.AMOUNT_MISMATCH)
        elif late and (self.line or self.free < order.number):
            assert answer.outcome is Outcome.ORDER_EXPIRED  # not past those who wait
        else:
            assert answer.outcome is Outcome.DONE, answer
            order.state = "paid"
            self.issued += order.number
            handle = answer.value.place[0]
            serials = answer.value.record.coupons
            self.coupons += [(order.user, keys.make_id("C", handle, one)) for one in serials]
        self.move()

    @precondition(lambda self: self.orders)
    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        order = data.draw(st.sampled_from(self.orders))
        answer = self.run(self.mall.engine.orders.cancel(
            order_id=order.id, key=self.key(), who=WHO, now=self.now
        ))  # fmt: skip
        assert answer.ok == self.is_open(order)
        if answer.ok:
            order.state = "cancelled"
        self.move()

    @precondition(lambda self: self.coupons)
    @rule(data=st.data())
    def give_back(self, data: st.DataObject) -> None:
        user, coupon = data.draw(st.sampled_from(self.coupons))
        answer = self.run(self.mall.engine.orders.refund(
            coupon_id=coupon, reason="r", refund_ref=coupon, key=self.key(), who=WHO, now=self.now
        ))  # fmt: skip
        assert answer.outcome is Outcome.DONE
        self.coupons.remove((user, coupon))
        self.issued -= 1
        self.move()

    @rule(user=users, party=st.integers(1, 2), priority=st.sampled_from([0, 0, 7]))
    def join(self, user: str, party: int, priority: int) -> None:
        self.move()
        answer = self.run(self.mall.engine.waiting.join(
            user_id=user, campaign_id="c", key=self.key(), who=WHO, party=party,
            priority=priority, now=self.now,
        ))  # fmt: skip
        place = self.places.get(user)
        if self.offer_of(user) or (place and place.state == "waiting"):
            assert answer.outcome is Outcome.ALREADY_EXISTS
            return
        if party > self.total:
            assert answer.outcome is Outcome.SOLD_OUT
            return
        assert answer.outcome is Outcome.DONE, answer
        at_once = not self.line and party <= self.free
        place = self.places[user] = Place(party, (-priority, next(self.turn)), "waiting")
        if at_once:
            self.offered(user, place)
            assert answer.value.status == "offered"
        else:
            assert answer.value.position == self.line.index(user) + 1

    @rule(user=users)
    def leave(self, user: str) -> None:
        answer = self.run(self.mall.engine.waiting.leave(
            user_id=user, campaign_id="c", who=WHO, now=self.now
        ))  # fmt: skip
        place, offer = self.places.get(user), self.offer_of(user)
        if place is None:
            assert answer.outcome is Outcome.NOT_FOUND
        elif offer is not None:
            offer.state = "cancelled"
            assert answer.value.status == "declined"
        elif place.state == "waiting":
            place.state = "left"
            assert answer.value.status == "left"
        self.move()

    @rule(number=st.sampled_from([1, 1, 2]))
    def more(self, number: int) -> None:
        if self.total < 6:
            self.run(self.mall.add_stock("c", number))
            self.total += number
            self.run(self.mall.engine.waiting.published("c", self.now))
            self.move()

    @rule(minutes=st.integers(1, 16))
    def later(self, minutes: int) -> None:
        self.now += minutes * MINUTE
        self.mall.clock = self.now
        self.move()

    # ---- always -------------------------------------------------------------------------------

    @invariant()
    def stock_is_conserved(self) -> None:
        rooms = self.run(self.mall.engine.waiting._lines.rooms("c", self.now))
        assert sum(room.free for room in rooms) == self.free
        assert self.free >= 0
        found = [
            self.run(self.mall.hash_of(keys.campaign_key(tag, "c")))
            for tag in self.mall.engine.tags
        ]
        assert sum(int(row[b"issued"]) for row in found) == self.issued
        for row in found:
            parts = [int(row.get(name, 0)) for name in (b"left", b"aside", b"issued")]
            assert sum(parts) == int(row[b"share"])
        assert {int(row.get(b"waiting", 0)) % 2 == 1 for row in found} == {bool(self.line)}

    @invariant()
    def everybody_stands_where_they_should(self) -> None:
        for user, place in self.places.items():
            found = self.run(self.mall.engine.waiting.place(
                user_id=user, campaign_id="c", now=self.now
            ))  # fmt: skip
            assert found
            if place.order is not None and place.state == "offered":
                named = {"paid": "taken", "cancelled": "declined"}
                open_ = "offered" if self.is_open(place.order) else "lapsed"
                assert found.status == named.get(place.order.state, open_)
            else:
                assert found.status == place.state
            if place.state == "waiting":
                assert found.position == self.line.index(user) + 1

    def teardown(self) -> None:
        self.run(self.mall.check_facts())


class Lines(Line):
    """The same on three cells."""

    cells = 3


def test_a_line_is_as_the_model_says(redis_url: str, tenant: str, books_file: Path) -> None:
    drive(Line, 4, redis_url, tenant, books_file)


@pytest.mark.slow
def test_a_line_over_cells_is_as_the_model_says(
    redis_url: str, tenant: str, books_file: Path
) -> None:
    drive(Lines, 20, redis_url, tenant, books_file)
