"""Quotas of an event, shared by campaigns: orders, claims and refunds against a plain model."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis.stateful import invariant

from engine import keys
from engine.books.definitions_campaigns import get_campaign
from engine.books.definitions_events import restate_quotas
from engine.definitions import Campaign, InvalidDefinitionError, checked
from engine.outcomes import Outcome
from tests.engine.harness import ANN, WHO, Running, open_mall, reconciled, together
from tests.engine.test_gifts import accept, give, status
from tests.engine.test_orders import LASTS, PRICES, Shop, drive
from tests.unit.rules_language import ms

TOTALS = {"hall": 4, "day": 5}
QUOTAS = {"few": ["hall", "day"], "dear": ["hall"], "daily": ["day"], "score": []}
EVENT = {"id": "fair", "starts_at": "2036-01-01T00:00:00Z", "ends_at": "2036-01-02T00:00:00Z"}


def ticket(
    name: str, stock: int | None, quotas: dict[str, int], *, ends_at: str = "", **parts: Any
) -> Campaign:
    named = [{"id": quota, "total": total} for quota, total in quotas.items()]
    body = {
        "id": name, "name": name, "kind": "ticket", "stock": {"total": stock},
        "benefit": {"type": "admission"}, "validity": {"type": "relative"},
        "event": EVENT | ({"ends_at": ends_at} if ends_at else {}) | {"quotas": named},
    }  # fmt: skip
    return checked(body | parts)


class Fair(Shop):
    """The same shop; what it sells are tickets, and some of them share quotas."""

    def campaign(self, name: str, total: int, issue: dict[str, Any]) -> Campaign:
        quotas = {quota: TOTALS[quota] for quota in QUOTAS[name]}
        validity = {"type": "relative", "minutes": LASTS // 60_000}
        return ticket(name, total, quotas, issue=issue, validity=validity)

    def used(self, quota: str) -> int:
        names = [name for name, quotas in QUOTAS.items() if quota in quotas]
        return sum(n for name in names for _, n, _ in self.out(name))

    def left(self, campaign: str) -> int:
        room = [TOTALS[quota] - self.used(quota) for quota in QUOTAS[campaign]]
        return min([super().left(campaign), *room])

    def may_have_all(self, user: str, items: list[tuple[str, int]]) -> Outcome:
        """What one item takes of a quota is gone for the next."""
        taken: Counter[str] = Counter()
        for name, n in items:
            outcome = self.may_have(user, name, n)
            short = any(
                TOTALS[quota] - self.used(quota) - taken[quota] < n for quota in QUOTAS[name]
            )
            if outcome is Outcome.DONE and short:
                return Outcome.SOLD_OUT
            if outcome is not Outcome.DONE:
                return outcome
            taken.update(dict.fromkeys(QUOTAS[name], n))
        return super().may_have_all(user, items)

    @invariant()
    def quotas_are_kept(self) -> None:
        row = self.run(self.mall.hash_of(keys.quotas_key(self.mall.engine.tags[0], "fair")))
        for quota, total in TOTALS.items():
            assert int(row[f"s{quota}".encode()]) == total
            # What lapsed is still counted until somebody needs it or the sweeper tells.
            assert self.used(quota) <= int(row.get(f"u{quota}".encode(), 0)) <= total


def test_tickets_are_as_the_model_says(redis_url: str, tenant: str, books_file: Path) -> None:
    assert PRICES["few"] == 0  # it is claimed as well as ordered
    drive(Fair, 8, redis_url, tenant, books_file)


async def test_a_party_is_all_or_nothing_and_what_it_gives_back_is_another_campaigns(
    mall: Running, place: Any
) -> None:
    await mall.publish(ticket("adult", 30, {"hall": 4}, issue={"price": 5}))
    await mall.publish(ticket("child", None, {"hall": 4}))
    engine, orders, now = mall.engine, mall.engine.orders, ms("2026-02-06 12:00")

    def order(user: str, adults: int, children: int, at: int = now) -> Any:
        return orders.place(
            user_id=user,
            items=[("adult", adults), ("child", children)],
            channel="a",
            key=f"{adults}",
            who=WHO,
            hold_seconds=60,
            now=at,
        )

    def claim(user: str, at: int = now) -> Any:
        return engine.claim(
            user_id=user, campaign_id="child", channel="a", key="k", who=WHO, now=at
        )

    # What the first item takes is gone for the second, in the same order.
    refused = await order("ann", 2, 3)
    assert refused.outcome is Outcome.SOLD_OUT
    if place.cells == 1:  # of several, the first that has too little in its own cell is named
        assert refused.details == {"campaign_id": "child"}
    placed = await order("ann", 3, 1)
    assert placed.outcome is Outcome.DONE
    assert (await claim("bob")).outcome is Outcome.SOLD_OUT
    # Lapsed, all of it is free for another campaign and another person, and paid late it is
    # judged anew, what it had set aside itself being free.
    assert (await claim("bob", now + 60_000)).outcome is Outcome.DONE
    late = await orders.pay(
        order_id=placed.value.id,
        payment_ref="p",
        paid_amount=15,
        key="k",
        who=WHO,
        now=now + 60_000,
    )
    assert late.outcome is Outcome.ORDER_EXPIRED
    placed = await order("cat", 2, 1, now + 60_000)
    paid = await orders.pay(
        order_id=placed.value.id,
        payment_ref="p",
        paid_amount=10,
        key="k",
        who=WHO,
        now=now + 120_000,
    )
    assert paid.value is not None
    assert (await claim("dan", now + 120_000)).outcome is Outcome.SOLD_OUT
    back = await orders.refund(
        coupon_id=keys.make_id("C", *placed.value.place)[:17] + paid.value.record.coupons[0],
        reason="r",
        refund_ref="f",
        key="k",
        who=WHO,
        now=now + 120_000,
    )
    assert back.value is not None
    assert (await claim("dan", now + 120_000)).outcome is Outcome.DONE
    failed = await orders.refund_failed(
        coupon_id=back.value.coupon_id, refund_ref="f", key="f", who=WHO, now=now + 120_000
    )
    assert failed.outcome is Outcome.SOLD_OUT  # its seat is taken meanwhile
    assert [one.left for one in await engine.quotas("fair")] == [0]
    await reconciled(mall.books, place.url, mall.id)


@pytest.mark.parametrize("cells", [1, 3])
async def test_no_quota_is_oversold_by_parallel_acts_of_two_campaigns(
    tenant: str, redis_url: str, books_file: Path, cells: int
) -> None:
    async with open_mall(tenant, redis_url, books_file, cells=cells) as mall:
        for name in ("adult", "child"):
            totals = {"hall": 12, name: 9}
            await mall.publish(ticket(name, 30, totals, issue={"price": 5 * (name == "child")}))
        engine, now = mall.engine, ms("2026-02-06 12:00")
        acts = [
            engine.claim(user_id=f"u{n}", campaign_id="adult", channel="a", key="k", who=WHO)
            if n % 2
            else engine.orders.place(
                user_id=f"u{n}", items=[("child", 1 + n % 4)], channel="a", key="k", who=WHO,
                now=now,
            )
            for n in range(60)
        ]  # fmt: skip
        answers = await together(*acts)
        assert {one.outcome for one in answers} <= {Outcome.DONE, Outcome.SOLD_OUT}
        quotas = {quota.id: quota for quota in await engine.quotas("fair")}
        out = {"adult": 0, "child": 0}
        for n, one in enumerate(answers):
            out["adult" if n % 2 else "child"] += one.ok and (1 if n % 2 else 1 + n % 4)
        assert quotas["hall"].left == 12 - sum(out.values()) >= 0
        assert quotas["adult"].left == 9 - out["adult"] >= 0
        assert quotas["child"].left == 9 - out["child"] >= 0
        if cells == 1:
            assert quotas["hall"].left == 0
            live = await engine.live("child")
            assert live is not None
            assert (live.left, [one.id for one in live.quotas or ()]) == (0, ["hall", "child"])
        await reconciled(mall.books, redis_url, tenant)


async def test_campaigns_of_an_event_agree_and_follow_each_other(
    tenant: str, redis_url: str, books_file: Path
) -> None:
    async with open_mall(tenant, redis_url, books_file, cells=2) as mall:
        await mall.publish(ticket("a", None, {"hall": 10}))
        await mall.publish(ticket("b", 50, {"hall": 10, "zone": 3}))
        for wrong in ({"hall": 11}, {"hall": 10, "zone": 4}):
            with pytest.raises(InvalidDefinitionError, match="there already"):
                await mall.publish(ticket("c", 1, wrong))
        with pytest.raises(InvalidDefinitionError, match="ends_at"):
            await mall.publish(ticket("c", 1, {}, ends_at="2036-01-03T00:00:00Z"))

        async def left() -> list[tuple[str, int, int]]:
            return [(one.id, one.total, one.left) for one in await mall.engine.quotas("fair")]

        for n in range(6):
            await mall.engine.claim(user_id=f"u{n}", campaign_id="a", channel="a", key="k", who=WHO)
        assert await left() == [("hall", 10, 4), ("zone", 3, 3)]
        await mall.patch("a", {"event": {"quotas": [{"id": "hall", "total": 30}]}})
        assert await left() == [("hall", 30, 24), ("zone", 3, 3)]
        row = await get_campaign(mall.books, tenant, "b")
        assert row is not None
        assert row.revision == 2
        assert [one["total"] for one in row.body["event"]["quotas"]] == [30, 3]
        with pytest.raises(InvalidDefinitionError, match="Fewer than that are left"):
            await mall.patch("b", {"event": {"quotas": [
                {"id": "hall", "total": 5}, {"id": "zone", "total": 3}
            ]}})  # fmt: skip
        await mall.patch("a", {"event": {"quotas": [{"id": "hall", "total": 6}]}})
        assert await left() == [("hall", 6, 0), ("zone", 3, 3)]
        # An API that dies between taking from the cells and telling the books: it is given back.
        assert await mall.control.quotas.withdraw("fair", "zone", 2) is not None
        assert await left() == [("hall", 6, 0), ("zone", 1, 1)]
        await restate_quotas(mall.books, tenant, ANN, "fair")
        await mall.control.quotas.publish("fair")
        assert await left() == [("hall", 6, 0), ("zone", 3, 3)]
        for cells in ([{"id": "zone", "total": 3}], None):
            with pytest.raises(InvalidDefinitionError, match="Only a quota's total"):
                await mall.patch("a", {"event": {"quotas": cells}})
        await reconciled(mall.books, redis_url, tenant)


async def test_a_ticket_is_given_on_when_all_are_out(
    tenant: str, redis_url: str, books_file: Path
) -> None:
    async with open_mall(tenant, redis_url, books_file) as mall:
        one = ticket("vip", None, {"hall": 1}, transferable=True, issue={"audiences": ["vips"]})
        await mall.publish(one)
        await mall.engine.set_members(audience_id="vips", add=["ann", "bob"], remove=[], who=WHO)
        claimed = await mall.engine.claim(
            user_id="ann", campaign_id="vip", channel="a", key="k", who=WHO
        )
        assert claimed.value is not None
        gift = (await give(mall, claimed.value.id)).value
        assert (await accept(mall, gift.id, "cat")).outcome is Outcome.NOT_ELIGIBLE
        taken = await accept(mall, gift.id, "bob")
        assert taken.outcome is Outcome.DONE
        assert await status(mall, taken.value) == "issued"
        assert [quota.left for quota in await mall.engine.quotas("fair")] == [0]
        await reconciled(mall.books, redis_url, tenant)
