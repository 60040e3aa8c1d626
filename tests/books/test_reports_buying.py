"""Baskets against what the same people buy without coupons, who comes back, and the funnel."""

from __future__ import annotations

from typing import Any

from engine.books import schema, tracking
from engine.books.definitions import Receipt
from engine.books.reports import attribution, funnel
from engine.books.tracking import Event
from engine.outcomes import Outcome
from tests.books.mall import MINUTE, WHO, Mall, march

TEN = {"type": "amount_off", "amount": 1000}


async def bought(
    mall: Mall, user: str, amount: int, at: int, store: str = "s1", **more: Any
) -> str:
    name = f"t{mall.key()}"
    answer = await mall.engine.points.purchase(
        transaction_id=name, user_id=user, store_id=store, amount=amount, occurred=at, who=WHO,
        now=at + MINUTE, **more,
    )  # fmt: skip
    assert answer.ok, answer
    return name


async def filled(mall: Mall) -> None:
    """u1 and u2 redeem ten; u3 redeems and returns all; u4 only buys.

    u1: basket 9000, without coupons 4000 and 5000 (and 100 at m2, returned), comes back.
    u2: basket 6000; its two payments are found by order and by amount; 3000 at m2 before.
    """
    await mall.campaign("ten", TEN, issue={"per_user": None})
    one = await mall.claim("u1", "ten", march(1), source={"entry": "banner"})
    two = await mall.claim("u2", "ten", march(1), channel="wechat")
    three = await mall.claim("u3", "ten", march(1))
    await mall.redeem([one], "s1", 9000, march(5), order_ref="P1")
    await mall.redeem([two], "s1", 6000, march(5))
    back = await mall.redeem([three], "s3", 6000, march(5))
    await mall.reverse(back, march(6))
    await bought(mall, "u1", 8000, march(5), receipt_no="P1")  # what the coupon was used on
    await bought(mall, "u1", 4000, march(2))
    await bought(mall, "u1", 5000, march(20), "s3")
    await bought(mall, "u2", 5000, march(5) + 10 * MINUTE)  # left to pay of 6000, same store
    await bought(mall, "u2", 3000, march(4), "s3")
    await bought(mall, "u3", 7000, march(7))
    await bought(mall, "u4", 70_000, march(7))
    gone = await bought(mall, "u1", 100, march(8), "s3")
    refund = await mall.engine.points.refund(
        transaction_id=gone, refund_id="r1", user_id="u1", amount=100, who=WHO, now=march(9)
    )
    assert refund.ok, refund
    await mall.drain()


async def test_baskets_against_those_without_coupons(mall: Mall) -> None:
    await filled(mall)

    async def row(*more: Any) -> dict[str, Any]:
        (found,) = await attribution.attribution(mall.books, mall.id, ["campaign"], *more)
        return found

    names = ("basket", "baseline_basket", "basket_change", "users", "repurchase_30d")
    everything = await row()
    assert [everything[name] for name in names] == [7500, 4000, 0.875, 2, 0.5]
    # In the first ten days without u1's second purchase; of m1 without what was bought at m2.
    early = await row(march(1), march(10))
    assert [early[name] for name in names] == [7500, 3500, 1.1429, 2, 0.5]
    mine = await row(None, None, "m1")
    assert [mine[name] for name in names] == [7500, 4000, 0.875, 2, 0.0]
    by_channel = await attribution.attribution(mall.books, mall.id, ["channel"])
    assert [(r["channel"], r["baseline_basket"], r["repurchase_30d"]) for r in by_channel] == [
        ("app", 4500, 1.0),
        ("wechat", 3000, 0.0),
    ]
    none = await row(march(1), march(4))  # nobody has redeemed: nobody to compare with
    assert [none[name] for name in names] == [None, None, None, 0, None]


def receipt(mall: Mall, key: str = "", fingerprint: str = "f") -> Receipt:
    return Receipt("track", key or mall.key(), fingerprint, 200)


async def test_events_are_kept_once(mall: Mall) -> None:
    events = [Event(f"u{n % 700}", "click", "", march(1) + n % 700, "app", "") for n in range(1000)]
    first = await tracking.track(mall.books, mall.id, events, receipt(mall, "k"), march(1))
    again = await tracking.track(mall.books, mall.id, events, receipt(mall, "k"), march(1))
    other = await tracking.track(mall.books, mall.id, [], receipt(mall, "k", "g"), march(1))
    anew = await tracking.track(mall.books, mall.id, events, receipt(mall), march(1))
    assert first.value == again.value == {"accepted": 1000, "repeated": 300}
    assert (again.outcome, other.outcome) == (Outcome.REPEATED, Outcome.IDEMPOTENCY_KEY_REUSED)
    assert anew.value == {"accepted": 1000, "repeated": 1000}
    assert len(await mall.rows(schema.track_events)) == 700


async def test_the_funnel(mall: Mall) -> None:
    await filled(mall)
    events = [
        *(Event(f"v{n}", "exposure", "ten", march(1), "app", "banner") for n in range(5)),
        Event("v0", "exposure", "ten", march(2), "app", "banner"),  # seen twice is one person
        Event("v0", "click", "ten", march(2), "app", "banner"),
        Event("v1", "click", "", march(2), "wechat", ""),
        Event("v0", "order", "ten", march(2), "app", "banner"),
        Event("u1", "order", "ten", march(2), "app", "banner"),  # who has claimed as well
        Event("v0", "pay", "ten", march(2), "app", "banner"),
        Event("v0", "pay_failed", "ten", march(2), "app", "banner"),
        Event("v9", "exposure", "ten", march(31), "app", "banner"),
    ]
    await tracking.track(mall.books, mall.id, events, receipt(mall), march(2))

    async def rows(*groups: str) -> dict[Any, tuple[Any, ...]]:
        found = await funnel.funnel(mall.books, mall.id, groups, march(1, 0), march(30))
        return {
            tuple(row[group] for group in groups): tuple(row[step] for step in funnel.STEPS)
            for row in found
        }

    assert await rows("channel") == {
        ("app",): (5, 1, 3, 1, 1, 1),
        ("wechat",): (0, 1, 1, 0, 1, 0),
    }
    assert await rows("campaign") == {("ten",): (5, 1, 4, 1, 2, 1), (None,): (0, 1, 0, 0, 0, 0)}
    assert await rows("entry", "campaign") == {
        ("banner", "ten"): (5, 1, 2, 1, 1, 1),
        (None, "ten"): (0, 0, 2, 0, 1, 0),
        (None, None): (0, 1, 0, 0, 0, 0),
    }
    assert await rows("store") == {("s1",): (None, None, None, None, 2, 1)}
