"""Baskets against what the same people buy without coupons, who comes back, and the funnel."""

from __future__ import annotations

from typing import Any

from engine.books import schema, tracking
from engine.books.definitions import Receipt
from engine.books.reports import attribution, funnel, kpi, liability, points
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
        key=name,
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
        transaction_id=gone, refund_id="r1", user_id="u1", amount=100, key="r1", who=WHO,
        now=march(9),
    )  # fmt: skip
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


async def test_key_figures(mall: Mall) -> None:
    await filled(mall)
    await mall.campaign("park", TEN)
    await mall.void(await mall.claim("u9", "park", march(8)), march(9))
    told = await mall.engine.points.credit(
        user_id="u1", kind="earn", points=300, reason="gift", ref="g1", key=mall.key(), who=WHO,
        now=march(9),
    )  # fmt: skip
    assert told.ok, told
    await mall.drain()
    row: dict[str, Any] = {
        "tenant": mall.id, "verb": "redeem", "role": "terminal", "label": "t",
        "code": "min_spend", "at_ms": march(5),
    }  # fmt: skip
    async with mall.books.begin() as conn:
        changes: list[dict[str, Any]] = [{}, {"code": "expired"}, {"verb": "scan"}, {"at_ms": 5}]
        changes.append({"verb": "park", "code": "held"})
        for n, change in enumerate(changes):
            await conn.execute(schema.attempts.insert(), {**row, "id": f"a{n}", **change})

    found = {
        row["name"]: (row["value"], row["numerator"], row["denominator"])
        for row in await kpi.kpi(mall.books, mall.id, march(1, 0), march(30))
    }
    assert found == {
        "redemption_rate": (0.5, 2, 4),
        "attendance": (None, 0, 0),
        "parking_use": (None, 0, 0),
        "points_use_rate": (0.0, 0, 300),
        # One coupon voided; three redemptions, the one returned as well.
        "manual_interventions": (0.3333, 1, 3),
        "repurchases_per_head": (0.5, 1, 2),
        "failures.min_spend": (0.1667, 1, 6),
        "failures.expired": (0.1667, 1, 6),
        "failures.held": (0.1667, 1, 6),  # at a gate
    }
    for name in found:
        assert kpi.definition(name, "en") != kpi.definition(name, "zh-CN")
    kinds = await points.by_group(mall.books, mall.id, ["day", "kind"], "Asia/Shanghai")
    assert [(r["day"], r["kind"], r["points_in"], r["worth"]) for r in kinds] == [
        ("2026-03-09", "earn", 300, 300),
    ]


async def test_what_is_promised(mall: Mall) -> None:
    await mall.campaign("ten", TEN, issue={"per_user": None})
    await mall.campaign("half", {"type": "percent_off", "percent_off": 50})
    await mall.campaign("few", TEN, stock={"total": 100, "budget": 1500})
    await mall.campaign(
        "card", {"type": "stored_value", "amount": 5000}, kind="stored_value",
        issue={"per_user": None},
    )  # fmt: skip
    await mall.campaign("trip", TEN, kind="pass", usage={"uses": 3})
    for name in ("ten", "ten", "half", "few", "card", "card", "trip"):
        await mall.claim("u1", name, march(1))
    await mall.use("u1", "ten", "s1", 5000, march(2))
    await mall.use("u2", "trip", "s1", 5000, march(2))
    await mall.use("u2", "card", "s1", 2000, march(3))
    await mall.use("u2", "few", "s1", 2000, march(3))
    for user, change in (("u1", 250), ("u2", 1001)):
        answer = await mall.engine.points.credit(
            user_id=user, kind="earn", points=change, reason="x", ref="x", key=mall.key(),
            who=WHO, now=march(4),
        )  # fmt: skip
        assert answer.ok
    await mall.drain()

    async def rows(now: int) -> list[tuple[Any, ...]]:
        found = await liability.liability(mall.books, mall.id, now)
        return [tuple(row[name] for name in liability.COLUMNS) for row in found]

    assert await rows(march(5)) == [
        ("stored_value", "card", 3, None, 13_000),
        ("coupons", "few", 1, None, 500),  # no more than what is left of the budget
        ("coupons", "half", 1, None, None),
        ("coupons", "ten", 2, None, 2000),
        ("coupons", "trip", 2, None, 5000),
        ("points", None, 2, 1251, 1251),
    ]
    assert await rows(march(500)) == [("points", None, 2, 1251, 1251)]  # all coupons expired
