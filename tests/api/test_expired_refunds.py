"""What was paid for coupons that expire unused comes back by itself: a job, events, the books."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.api.test_concurrency import in_order
from tests.api.test_jobs import finished
from tests.api.test_orders import DAY, NOON, Shop
from tests.api.test_orders import shop as shop

LATER = "2026-03-03T12:00:00.000+08:00"
WITHIN = {"validity": {"type": "relative", "minutes": 60}}


async def jobs_of(shop: Shop, campaign: str) -> list[dict[str, Any]]:
    """The refunds of a campaign, once they are there and done."""
    for _ in range(200):
        asked = {"kind": "refund_expired", "campaign_id": campaign}
        found = (await shop.get("/v1/jobs", params=asked)).json["items"]
        if found:
            return [await finished(shop, job["id"]) for job in found]
        await asyncio.sleep(0.05)
    raise AssertionError("no job")


async def bought(shop: Shop, campaign: str, number: int, user: str, amount: int) -> list[str]:
    order = await shop.order((campaign, number), user=user)
    paid = await shop.pay(order, amount, ref=f"p-{campaign}-{user}")
    assert paid.status == 200, paid.json
    return [coupon["id"] for coupon in paid.json["coupons"]]


@pytest.mark.slow
async def test_what_expires_unused_is_paid_back_once(shop: Shop) -> None:
    auto: dict[str, Any] = {"refund": {"allowed": False, "expired_auto": True}, **WITHIN}
    await shop.sell("set", "stock 9", issue={"price": 1500}, **auto)
    await shop.sell(
        "pass", "stock 9", kind="pass", issue={"price": 1000}, usage={"uses": 3}, **auto
    )
    await shop.sell("card", kind="stored_value", issue={"price": 900},
                    benefit={"type": "stored_value", "amount": 1000}, **auto)  # fmt: skip
    (card,) = await bought(shop, "card", 1, "cid", 900)
    assert (await shop.redeem(card, 333)).json["tendered"] == 333
    await shop.sell("plain", "stock 9", issue={"price": 700}, **WITHIN)
    used, unused, failing = await bought(shop, "set", 3, "ann", 4500)
    (some_left,) = await bought(shop, "pass", 1, "bob", 1000)
    (kept,) = await bought(shop, "plain", 1, "eve", 700)
    assert (await shop.redeem(used, 5000)).status == 201
    assert (await shop.redeem(some_left, 5000)).status == 201
    early = await shop.post(f"/v1/coupons/{unused}/refund", {"reason": "r", "refund_ref": "x"},
                            now=NOON)  # fmt: skip
    assert early.code == "not_refundable"
    held = await shop.redeem(unused, 5000, DAY + "12:59:00+08:00", mode="hold", hold_seconds=60)
    assert held.json["status"] == "held"

    assert (await shop.get(f"/v1/coupons/{unused}", now=LATER)).json["status"] == "expired"
    assert (await shop.post("/v1/claims", {}, now=LATER)).status == 400  # no act: no clock
    await bought_later(shop)
    (job,) = await jobs_of(shop, "set")
    assert (job["status"], job["total"], job["counts"]) == ("done", 2, {"refunded": 2})
    assert {item["coupon_id"] for item in job["items"]} == {unused, failing}
    (passes,) = await jobs_of(shop, "pass")
    assert passes["counts"] == {"refunded": 1}
    assert (await jobs_of(shop, "card"))[0]["counts"] == {"refunded": 1}
    assert (await shop.get(f"/v1/coupons/{unused}", now=LATER)).json["status"] == "refunded"
    assert (await shop.get(f"/v1/coupons/{kept}", now=LATER)).json["status"] == "expired"
    assert (await shop.live("set"))["left"] == 6  # its place is not sold a second time

    await in_order(shop.server, shop.tenant)
    events = (await shop.get("/v1/events", params={"types": "refunded"})).json["items"]
    assert {(one["coupon_id"], one["amount"], one["reason"]) for one in events} == {
        (unused, 1500, "expired"), (failing, 1500, "expired"), (some_left, 666, "expired"),
        (card, 900 - 300, "expired"),
    }  # fmt: skip
    job = (await shop.get(f"/v1/jobs/{job['id']}")).json
    assert {item["refund_amount"] for item in job["items"]} == {1500}
    # The provider could not: it is owed again, and no job sends it once more; the office may.
    path = f"/v1/coupons/{failing}"
    failed = await shop.post(f"{path}/refunds/expired/fail", {}, now=LATER)
    assert (failed.status, failed.json["status"]) == (200, "failed")
    await in_order(shop.server, shop.tenant)
    await asyncio.sleep(1.2)
    assert len(await jobs_of(shop, "set")) == 1
    by_hand = {"reason": "by hand", "refund_ref": "hand-1"}
    again = await shop.post(f"{path}/refund", by_hand, now=LATER)
    assert (again.status, again.json["refund_amount"]) == (200, 1500)
    await in_order(shop.server, shop.tenant)


async def bought_later(shop: Shop) -> None:
    """Somebody does something: the mall's clock is that of a day later from now on."""
    await shop.sell("other", "stock 1")
    body = {"campaign_id": "other", "user_id": "zoe", "channel": "app"}
    assert (await shop.post("/v1/claims", body, now=LATER)).status == 201
