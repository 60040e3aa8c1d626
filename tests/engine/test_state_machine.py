"""Random acts of a few people against a plain model: every answer is the model's, each step."""

from __future__ import annotations

import asyncio
import itertools
import os
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

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

from engine import keys
from engine.books.db import Books
from engine.outcomes import Outcome
from engine.records import CouponState, Line, RedemptionState
from engine.server import Server
from engine.views import Answer
from tests.engine.harness import WHO, Running, mall_on, open_ground, reconciled
from tests.engine.model import Campaign, Coupon, Model, Redemption
from tests.unit.rules_language import campaign, ms

LONG = os.environ.get("HEXIAO_LONG") == "1"
USERS = ["ann", "bob", "eve"]
CAMPAIGNS = {
    "few": "amount_off amount=300",
    "daily": "amount_off amount=50 min_spend=400",
    "many": "amount_off amount=1000",
}
users = st.sampled_from(USERS)
names = st.sampled_from(sorted(CAMPAIGNS))
amounts = st.sampled_from([0, 300, 400, 1000, 5000])
Again = Callable[[bool], Coroutine[Any, Any, Answer[Any]]]


class Mall(RuleBasedStateMachine):
    """Acts on one cell; ``again`` repeats an act that succeeded, as it was or changed a little."""

    runner: asyncio.Runner
    server: Server
    books: Books
    tenants: itertools.count[int]
    name: str

    def __init__(self) -> None:
        super().__init__()
        self.tenant = f"{self.name}-{next(self.tenants)}"
        self.done: list[tuple[int, str, Again]] = []  # (window, id, the same request again)
        self.turn = itertools.count()

    def run(self, act: Coroutine[Any, Any, Any]) -> Any:
        return self.runner.run(act)

    @initialize()
    def open(self) -> None:
        # Ids decide ties: with a key of its own a mall would not do the same a second time.
        opening = mall_on(self.server, self.books, self.tenant, handle_key=b"k" * 32)
        self.mall: Running = self.run(opening)
        self.model = Model(
            {
                "few": Campaign("few", 300, total=3),
                "daily": Campaign("daily", 50, per_day=1, min_spend=400, minutes=3000),
                "many": Campaign("many", 1000, per_user=2, minutes=120),
            },
            ms("2026-02-06 07:30"),  # half an hour before a window of keys ends
        )
        self.mall.clock = self.model.now
        self.run(self._define())

    async def _define(self) -> None:
        await self.mall.store("s1")
        for known in self.model.campaigns.values():
            issue = {"per_user": known.per_user, "per_user_per_day": known.per_day}
            validity = {"type": "relative", "minutes": known.minutes}
            body = campaign(
                CAMPAIGNS[known.id], id=known.id, stock={"total": known.total}, issue=issue,
                validity=validity,
            )
            await self.mall.publish(body)

    def key(self) -> str:
        return f"k{next(self.turn)}"

    def answered(self, outcome: Outcome, again: Again, value: Any) -> None:
        """Keep what succeeded, to be asked again."""
        if outcome is Outcome.DONE:
            window = keys.window_of(self.model.now)
            self.done.append((window, value.id, again))

    # ---- acts ---------------------------------------------------------------------------------

    @rule(user=users, name=names)
    def claim(self, user: str, name: str) -> None:
        known, key = self.model.campaigns[name], self.key()

        def act(changed: bool) -> Coroutine[Any, Any, Answer[Any]]:
            return self.mall.engine.claim(
                user_id=user, campaign_id=name, channel="b" if changed else "a", key=key, who=WHO,
                now=self.model.now,
            )

        answer = self.run(act(False))
        assert answer.outcome is self.model.may_claim(user, known)
        if answer.value:
            self.model.claimed(user, known, answer.value.id)
        self.answered(answer.outcome, act, answer.value)

    @precondition(lambda self: self.model.coupons)
    @rule(data=st.data(), amount=amounts)
    def redeem(self, data: st.DataObject, amount: int) -> None:
        self.use(data, amount, 0, "")

    @precondition(lambda self: self.model.coupons)
    @rule(data=st.data(), amount=amounts, hold=st.sampled_from([60, 900, 7200]),
          order=st.sampled_from(["o1", "o1", ""]))  # fmt: skip
    def hold(self, data: st.DataObject, amount: int, hold: int, order: str) -> None:
        self.use(data, amount, hold, order)

    def use(self, data: st.DataObject, amount: int, hold: int, order: str) -> None:
        """Redeem a coupon, and perhaps others of the same person; mostly one that is free."""
        everything = list(self.model.coupons.values())
        free = [c for c in everything if c.status(self.model.now) == "issued"]
        user = data.draw(st.sampled_from(free or everything)).user
        mine = [c.id for c in (free or everything) if c.user == user]
        if data.draw(st.integers(0, 4)) == 4:
            mine = [c.id for c in everything if c.user == user]
        ids = data.draw(st.lists(st.sampled_from(mine), min_size=1, max_size=3, unique=True))
        key = self.key()

        def act(changed: bool) -> Coroutine[Any, Any, Answer[Any]]:
            lines = [Line("1", amount, 1, "", "tea" if changed else "")]
            return self.mall.engine.redeem(
                handle=self.mall.engine.handle_of(user), coupons=[(i, 0, False) for i in ids],
                store_id="s1", key=key, who=WHO, amount=amount, lines=lines, order_ref=order,
                hold_seconds=hold, now=self.model.now,
            )

        replaced = self.model.open_hold(user, "s1", order) if hold else None
        outcome, discounts = self.model.judge(user, ids, amount, replaced)
        answer = self.run(act(False))
        assert answer.outcome is outcome
        if answer.value:
            record = answer.value.record
            handle = answer.value.handle
            taken = {keys.make_id("C", handle, c.serial): c.discount for c in record.coupons}
            assert taken == discounts
            until = self.model.now + hold * 1000 if hold else 0
            state = "held" if hold else "redeemed"
            made = Redemption(
                answer.value.id, user, "s1", order, amount, discounts, state, until
            )
            self.model.redeemed(made, replaced)
        self.answered(outcome, act, answer.value)

    @precondition(lambda self: self.model.redemptions)
    @rule(data=st.data(), verb=st.sampled_from(["commit", "release"]))
    def finish(self, data: st.DataObject, verb: str) -> None:
        known = self.draw_redemption(data)
        key = self.key()

        def act(changed: bool) -> Coroutine[Any, Any, Answer[Any]]:  # nothing in it to change
            assert not changed
            method = self.mall.engine.commit if verb == "commit" else self.mall.engine.release
            return method(redemption_id=known.id, key=key, who=WHO, now=self.model.now)

        outcome = self.model.may_finish(known)
        assert self.run(act(False)).outcome is outcome
        if outcome is Outcome.DONE:
            if verb == "commit":
                self.model.committed(known)
            else:
                self.model.freed(known, "released")
            assert self.run(act(False)).outcome is Outcome.REPEATED

    @precondition(lambda self: self.model.redemptions)
    @rule(data=st.data(), goods=st.sampled_from([None, None, 0, 100, 250, 5000]),
          restore=st.booleans())  # fmt: skip
    def reverse(self, data: st.DataObject, goods: int | None, restore: bool) -> None:
        known = self.draw_redemption(data)
        key = self.key()

        def act(changed: bool) -> Coroutine[Any, Any, Answer[Any]]:
            return self.mall.engine.reverse(
                redemption_id=known.id, key=key, who=WHO, reason="b" if changed else "a",
                lines=None if goods is None else [("1", goods)], restore=restore,
                now=self.model.now,
            )

        answer = self.run(act(False))
        outcome = self.model.may_reverse(known, goods)
        assert answer.outcome is outcome
        if answer.value:
            self.model.reversed(known, goods, restore)
            known.back += sum(amount for *_, amount in answer.value.record.lines)
            whole = known.state == "reversed"
            assert known.back <= sum(known.discounts.values())
            assert not whole or known.back == sum(known.discounts.values())
        self.answered(outcome, act, answer.value)

    @precondition(lambda self: len(self.model.coupons) > 3)
    @rule(data=st.data(), seldom=st.integers(0, 3))
    def void(self, data: st.DataObject, seldom: int) -> None:
        if seldom < 3:
            return
        known: Coupon = data.draw(st.sampled_from(list(self.model.coupons.values())))
        key = self.key()

        def act(changed: bool) -> Coroutine[Any, Any, Answer[Any]]:
            return self.mall.engine.void(
                coupon_id=known.id, key=key, who=WHO, reason="b" if changed else "a",
                now=self.model.now,
            )

        answer = self.run(act(False))
        outcome = self.model.may_void(known)
        assert answer.outcome is outcome
        if outcome is Outcome.DONE:
            known.state, known.redemption = "voided", ""
        self.answered(outcome, act, answer.value)

    @precondition(lambda self: self.done)
    @rule(data=st.data(), changed=st.booleans())
    def repeat(self, data: st.DataObject, changed: bool) -> None:
        """An old key: the same request gets its first answer, another one is told so."""
        window, ident, act = data.draw(st.sampled_from(self.done))
        if keys.window_of(self.model.now) - window > 1:
            return  # a key is kept for this window and the next
        answer = self.run(act(changed))
        if changed:
            assert answer.outcome is Outcome.IDEMPOTENCY_KEY_REUSED
        else:
            assert answer.outcome is Outcome.REPEATED
            assert answer.value.id == ident

    @rule(minutes=st.sampled_from([1, 1, 1, 5, 10, 30, 60 * 24, 60 * 24 * 31]))
    def later(self, minutes: int) -> None:
        self.model.now += minutes * 60_000
        self.mall.clock = self.model.now

    @rule(user=users, frozen=st.sampled_from([False, False, True]))
    def freeze(self, user: str, frozen: bool) -> None:
        self.run(
            self.mall.engine.set_profile(
                user_id=user, who=WHO, frozen=frozen, now=self.model.now
            )
        )
        (self.model.frozen.add if frozen else self.model.frozen.discard)(user)

    @rule(name=names, status=st.sampled_from(["active", "active", "active", "paused", "frozen"]))
    def patch(self, name: str, status: str) -> None:
        self.run(self.mall.patch(name, {"status": status}))
        self.model.campaigns[name].status = status

    @rule()
    def more(self) -> None:
        self.run(self.mall.add_stock("few", 1))
        total = self.model.campaigns["few"].total
        assert total is not None
        self.model.campaigns["few"].total = total + 1

    @precondition(lambda self: self.model.redemptions)
    @rule(data=st.data())
    def sweep(self, data: st.DataObject) -> None:
        """A lapsed hold is told to the books; nothing else changes."""
        known = self.draw_redemption(data)
        act = self.mall.engine.lapse(redemption_id=known.id, who=WHO, now=self.model.now)
        outcome = self.run(act)
        lapsed = known.state == "held" and not self.model.is_open(known)
        assert outcome is (Outcome.DONE if lapsed else Outcome.REPEATED)
        if lapsed:
            self.model.freed(known, "lapsed")

    def draw_redemption(self, data: st.DataObject) -> Redemption:
        """Mostly one of the last."""
        known = list(self.model.redemptions.values())
        return data.draw(st.sampled_from(known[-2:]) | st.sampled_from(known))

    # ---- what always holds --------------------------------------------------------------------

    @invariant()
    def it_is_as_the_model_says(self) -> None:
        self.run(self._compare())

    async def _compare(self) -> None:
        for known in self.model.campaigns.values():
            row = await self.mall.hash_of(keys.campaign_key(self.mall.engine.tags[0], known.id))
            assert int(row[b"issued"]) == known.issued
            assert int(row.get(b"redeemed", 0)) == known.redeemed >= 0
            if known.total is not None:
                assert int(row[b"share"]) == known.total
                assert int(row[b"left"]) + known.issued == known.total
                assert known.issued <= known.total
        await asyncio.gather(*(self._compare_wallet(user) for user in USERS))

    async def _compare_wallet(self, user: str) -> None:
        handle = self.mall.engine.handle_of(user)
        wallet = await self.mall.engine.wallet(handle, now=self.model.now)
        mine = {c.id: c for c in self.model.coupons.values() if c.user == user}
        assert {keys.make_id("C", handle, serial) for serial in wallet.coupons} == set(mine)
        for serial, record in wallet.coupons.items():
            known = mine[keys.make_id("C", handle, serial)]
            assert wallet.view(serial).status == known.status(self.model.now)
            if record.state in (CouponState.HELD, CouponState.REDEEMED):
                assert keys.make_id("R", handle, record.redemption) == known.redemption
        for ident, redemption in self.model.redemptions.items():
            if redemption.user == user:
                found = await self.mall.engine.redemption(ident)
                assert found
                assert RedemptionState(found.record.state).name.lower() == redemption.state
        # At most one live redemption a coupon.
        live = [
            coupon
            for r in self.model.redemptions.values()
            if r.user == user and (r.state == "redeemed" or self.model.is_open(r))
            for coupon in r.discounts
        ]
        assert len(live) == len(set(live))

    def teardown(self) -> None:
        self.run(self.mall.check_facts())


def test_the_engine_is_as_the_model_says(
    redis_url: str, tenant: str, books_file: Path
) -> None:
    with asyncio.Runner() as runner:
        ground = open_ground(redis_url, books_file)
        server, books = runner.run(ground.__aenter__())
        numbers = itertools.count()
        parts = {
            "runner": runner, "server": server, "books": books, "tenants": numbers, "name": tenant,
        }  # fmt: skip
        try:
            run_state_machine_as_test(
                type("Here", (Mall,), parts),
                settings=settings(
                    max_examples=400 if LONG else 16, stateful_step_count=40, deadline=None,
                    derandomize=not LONG, database=None,
                    # To find the smallest example may take minutes: HEXIAO_LONG=1 does.
                    phases=[Phase.generate, *([Phase.shrink] if LONG else [])],
                    suppress_health_check=list(HealthCheck),
                ),
            )
            last = range(next(numbers))[-5:]
            runner.run(reconciled(books, redis_url, *(f"{tenant}-{n}" for n in last)))
        finally:
            runner.run(ground.__aexit__(None, None, None))
