"""Orders and refunds over HTTP: paid, unpaid, twice, late, wrong; their money in a statement."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest

from api.routes import encode_cursor
from tests.api.server import Answer, Api, ApiServer
from tests.api.story import campaign_body
from tests.api.test_concurrency import in_order

DAY = "2026-03-02T"
NOON = DAY + "12:00:00.000+08:00"


class Shop(Api):
    """An operator of a mall of its own on the rehearsal server."""

    tenant: str
    server: ApiServer

    async def sell(self, name: str, words: str = "", **parts: Any) -> None:
        """A campaign at a price: ``price`` in ``issue``."""
        body = campaign_body(name, words.split())
        for part, fields in parts.items():
            body[part] = {**body.get(part, {}), **fields} if isinstance(fields, dict) else fields
        answer = await self.post("/v1/campaigns", body)
        assert answer.status == 201, answer.json

    async def order(self, *items: tuple[str, int], user: str = "ann", **more: Any) -> Answer:
        options = {name: more.pop(name) for name in ("idem", "key") if name in more}
        now = more.pop("now", NOON)
        wanted = [{"campaign_id": name, "quantity": number} for name, number in items]
        body = {"user_id": user, "items": wanted, "channel": "app", **more}
        return await self.post("/v1/orders", body, now=now, **options)

    async def pay(self, order: Answer, amount: int, ref: str = "p1", **options: Any) -> Answer:
        options.setdefault("now", NOON)
        body = {"payment_ref": ref, "paid_amount": amount}
        return await self.post(f"/v1/orders/{order.json['id']}/pay", body, **options)

    async def live(self, campaign: str) -> dict[str, Any]:
        """The counters, once they are fresh."""
        await asyncio.sleep(1.05)
        found: dict[str, Any] = (await self.get(f"/v1/campaigns/{campaign}")).json["live"]
        return found

    async def redeem(self, coupon: str, amount: int, now: str = NOON, **more: Any) -> Answer:
        body = {"coupons": [{"id": coupon}], "store_id": "s1", "channel": "cashier",
                "basket": {"amount": amount}, **more}  # fmt: skip
        return await self.post("/v1/redemptions", body, now=now)


@pytest.fixture
async def shop(rehearsal_server: ApiServer) -> AsyncIterator[Shop]:
    tenant, key = rehearsal_server.new_mall()
    async with Shop(rehearsal_server.url, key) as shop:
        shop.tenant, shop.server = tenant, rehearsal_server
        await shop.put("/v1/merchants/m1", {"name": "Noodles"})
        await shop.put("/v1/stores/s1", {"name": "S1", "merchant_id": "m1"})
        yield shop


async def test_an_order_sets_aside_is_paid_once_and_lapses_by_the_clock(shop: Shop) -> None:
    await shop.sell("set", "stock 3 per_user 2", issue={"price": 1500})
    await shop.sell("tea", "stock 1", issue={"price": 300})
    made = await shop.order(("set", 2), ("tea", 1), hold_seconds=60, idem="o1")
    assert (made.status, made.json["status"], made.json["amount"]) == (201, "pending", 3300)
    assert made.json["expires_at"] == "2026-03-02T04:01:00.000Z"
    again = await shop.order(("set", 2), ("tea", 1), hold_seconds=60, idem="o1")
    assert (again.json, again.replayed) == (made.json, True)
    assert (await shop.order(("set", 1), idem="o1")).code == "idempotency_key_reused"
    # All or nothing, and limits count what is set aside.
    both = await shop.order(("set", 1), ("tea", 1), user="bob")
    assert (both.code, both.json["campaign_id"]) == ("sold_out", "tea")
    assert (await shop.order(("set", 1))).code == "user_limit"
    claim = {"campaign_id": "set", "user_id": "bob", "channel": "app"}
    free = await shop.post("/v1/claims", claim, now=NOON)
    assert (free.status, free.json["field"]) == (400, "campaign_id")
    live = await shop.live("set")
    assert (live["left"], live["set_aside"], live["issued"]) == (1, 2, 0)
    # In the instant that it lapses, with no sweep in between.
    just = DAY + "12:00:59.999+08:00"
    over = DAY + "12:01:00.000+08:00"
    assert (await shop.order(("tea", 1), user="bob", now=just)).code == "sold_out"
    offer = await shop.post(
        "/v1/offers", {"user_id": "bob", "campaign_ids": ["tea", "set"]}, now=over
    )
    told = [(one["claimable"], one["left"], one["price"]) for one in offer.json["items"]]
    assert told == [(True, 1, 300), (True, 3, 1500)]
    taken = await shop.order(("tea", 1), user="bob", now=over)
    assert taken.status == 201
    assert (await shop.get(f"/v1/orders/{made.json['id']}", now=over)).json["status"] == "expired"
    cancel = await shop.post(f"/v1/orders/{made.json['id']}/cancel", {}, now=over)
    assert cancel.code == "order_expired"
    # Paid after it lapsed: no room for the tea; the money is named.
    late = await shop.pay(made, 3300, now=over)
    assert (late.status, late.code) == (409, "order_expired")
    assert late.json["to_return"] == {"payment_ref": "p1", "amount": 3300}
    wrong = await shop.pay(taken, 299, "p2", now=over)
    assert (wrong.code, wrong.json["expected"]) == ("amount_mismatch", 300)
    # The same notice three times is one payment; another one is money to return.
    paid = await shop.pay(taken, 300, "p2", now=over, idem="n1")
    listed = (await shop.get("/v1/users/bob/orders?limit=1", now=over)).json["items"]
    assert [(one["id"], one["status"]) for one in listed] == [(taken.json["id"], "paid")]  # at once
    assert (paid.status, paid.json["status"]) == (200, "paid")
    (coupon,) = paid.json["coupons"]
    assert (coupon["status"], coupon["user_id"]) == ("issued", "bob")
    for key in ("n1", "n2"):
        more = await shop.pay(taken, 300, "p2", now=over, idem=key)
        assert (more.json, more.replayed) == (paid.json, True)
    assert (await shop.pay(taken, 300, "p3", now=over, idem="n1")).status == 422
    twice = await shop.pay(taken, 300, "p3", now=over)
    assert (twice.code, twice.json["expected"]) == ("amount_mismatch", 0)
    assert (await shop.post(f"/v1/orders/{taken.json['id']}/cancel", {})).code == "not_refundable"


async def test_a_cancelled_order_is_in_its_list_at_once(shop: Shop) -> None:
    """Whether the books have come to it or not; each one once, the newest first."""
    await shop.sell("set", "stock 9", issue={"price": 1500})
    made: list[str] = []
    for _ in range(12):
        order = await shop.order(("set", 1))
        made.insert(0, order.json["id"])
        await shop.post(f"/v1/orders/{made[0]}/cancel", {}, now=NOON)
        items = (await shop.get("/v1/users/ann/orders", now=NOON)).json["items"]
        assert {one["id"]: one["status"] for one in items} == dict.fromkeys(made, "cancelled")
        assert len(items) == len(made)
    assert not (await shop.get("/v1/users/bob/orders", now=NOON)).json["items"]


async def test_what_was_refunded_stays_refunded(shop: Shop) -> None:
    """Stored value for points: partly spent, the rest sent back, then the goods come back."""
    await shop.sell("card", kind="stored_value", benefit={"type": "stored_value", "amount": 1000},
                    issue={"points_price": 100})  # fmt: skip
    earned = {"user_id": "ann", "points": 100, "reason": "r", "ref": "x"}
    assert (await shop.post("/v1/points/earn", earned, now=NOON)).status == 201
    (card,) = (await shop.pay(await shop.order(("card", 1)), 0)).json["coupons"]
    sale = await shop.redeem(card["id"], 400)
    assert sale.json["tendered"] == 400, sale.json
    body = {"reason": "r", "refund_ref": "b1"}
    refund = await shop.post(f"/v1/coupons/{card['id']}/refund", body, now=NOON)
    assert refund.json["points_back"] == 60, refund.json
    path = f"/v1/redemptions/{sale.json['id']}/reversals"
    assert (await shop.post(path, {"reason": "returned"}, now=NOON)).status == 201
    assert (await shop.get(f"/v1/coupons/{card['id']}", now=NOON)).json["status"] == "refunded"
    assert (await shop.redeem(card["id"], 400)).code == "refunded"
    await in_order(shop.server, shop.tenant)


async def test_a_repeat_with_an_old_member_code(shop: Shop) -> None:
    """The first answer comes before the age of the picture."""
    await shop.sell("tea", issue={"price": 300})
    await shop.order(("tea", 1))  # ann is known from here on
    code = (await shop.get("/v1/users/ann/code", now=NOON)).json["code"]
    body = {"member_code": code, "items": [{"campaign_id": "tea", "quantity": 1}], "channel": "app"}
    first = await shop.post("/v1/orders", body, now=NOON, idem="k1")
    assert first.status == 201, first.json
    later = DAY + "13:00:00.000+08:00"
    again = await shop.post("/v1/orders", body, now=later, idem="k1")
    assert (again.status, again.replayed) == (201, True), again.json
    assert (await shop.post("/v1/orders", body, now=later, idem="k2")).code == "code_expired"


async def test_paid_late_with_room_left_cancelled_and_listed(shop: Shop) -> None:
    await shop.sell("set", "stock 2 per_user 1", issue={"price": 100})
    made = await shop.order(("set", 1), hold_seconds=60)
    later = DAY + "13:00:00.000+08:00"
    paid = await shop.pay(made, 100, now=later)
    assert (paid.status, len(paid.json["coupon_ids"])) == (200, 1)
    assert paid.json["created_at"] == made.json["created_at"]
    other = await shop.order(("set", 1), user="bob", now=later)
    path = f"/v1/orders/{other.json['id']}/cancel"
    gone = await shop.post(path, {}, now=later, idem="c1")
    assert (gone.status, gone.json["status"]) == (200, "cancelled")
    assert (await shop.post(path, {}, now=later, idem="c1")).replayed
    assert (await shop.post(path, {}, now=later)).code == "order_cancelled"
    refused = await shop.pay(other, 100, now=later)
    assert (refused.code, refused.json["to_return"]["amount"]) == ("order_cancelled", 100)
    fresh = await shop.order(("set", 1), user="bob", now=later)
    listed = (await shop.get("/v1/users/bob/orders", now=later)).json["items"]
    assert fresh.json["id"] in [one["id"] for one in listed]
    live = await shop.live("set")
    assert (live["left"], live["set_aside"], live["issued"]) == (0, 1, 1)


async def test_who_may_and_what_is_wrong(shop: Shop) -> None:
    await shop.sell("set", "stock 9", issue={"price": 100})
    storefront = shop.server.key("storefront", tenant=shop.tenant)
    payments = shop.server.key("payments", tenant=shop.tenant)
    await asyncio.to_thread(lambda: None)
    made = await shop.order(("set", 1))
    _, stranger = shop.server.new_mall()
    assert (await shop.pay(made, 100, key=stranger, now=None)).status == 404
    for key, status in ((storefront, 403), (payments, 200)):
        answer = await shop.pay(made, 100, key=key, now=None)
        if answer.status != 401:  # a key may be seconds old
            assert answer.status == status, answer.json
    bad: list[dict[str, Any]] = [
        {"items": []}, {"items": [{"campaign_id": "set", "quantity": 0}]},
        {"items": [{"campaign_id": "set", "quantity": 101}]}, {"hold_seconds": 10**9},
        {"items": [{"campaign_id": "set"}, {"campaign_id": "set"}]}, {"hold_seconds": 0},
        {"user_id": None}, {"more": 1}, {"items": "set"},
    ]  # fmt: skip
    good = {"user_id": "ann", "items": [{"campaign_id": "set"}], "channel": "app"}
    for fields in bad:
        assert (await shop.post("/v1/orders", good | fields)).status == 400, fields
    assert (await shop.order(("none", 1))).status == 404
    for path in ("/v1/orders/O1/pay", f"/v1/orders/O{'0' * 27}/pay"):
        body = {"payment_ref": "p", "paid_amount": 1}
        assert (await shop.post(path, body)).status == 404


async def test_money_paid_before_use_is_owed_until_then(shop: Shop) -> None:
    """Bought for 80 each, worth 100; the mall takes 10 % of what was paid."""
    await shop.sell(
        "meal",
        "stock 9 off 10000",
        issue={"price": 8000},
        funding={"mall": 40, "merchant": 60},
        settlement={"commission_percent": 10},
    )
    made = await shop.order(("meal", 4))
    paid = await shop.pay(made, 32_000)
    one, two, three, four = paid.json["coupon_ids"]
    whole = await shop.redeem(one, 25_000)
    assert whole.json["discount"] == 10_000
    small = await shop.redeem(two, 5000)  # takes 50 off: 30 of what was paid came to nothing
    assert small.json["discount"] == 5000
    undone = await shop.redeem(three, 12_000)
    path = f"/v1/redemptions/{undone.json['id']}/reversals"
    assert (await shop.post(path, {"reason": "r"}, now=NOON)).status == 201
    refund = f"/v1/coupons/{four}/refund"
    body = {"reason": "changed my mind", "refund_ref": "b1"}
    back = await shop.post(refund, body, now=NOON, idem="f1")
    assert (back.status, back.json["refund_amount"], back.json["points_back"]) == (200, 8000, 0)
    assert (await shop.post(refund, body, now=NOON)).replayed
    assert (await shop.post(refund, body | {"refund_ref": "b2"}, now=NOON)).code == "refunded"
    assert (await shop.redeem(four, 20_000)).code == "refunded"
    assert (await shop.post(f"/v1/coupons/{one}/refund", body, now=NOON)).code == "already_redeemed"
    failed = await shop.post(f"{refund}s/b1/fail", {}, now=NOON)
    assert (failed.status, failed.json["status"]) == (200, "failed")
    assert (await shop.post(f"{refund}s/b9/fail", {}, now=NOON)).status == 404
    assert (await shop.get(f"/v1/coupons/{four}", now=NOON)).json["status"] == "issued"
    again = await shop.post(refund, body | {"refund_ref": "b2"}, now=NOON)
    assert again.json["refund_amount"] == 8000

    # Worth less than it cost, and the campaign leaves the rest to the merchant.
    await shop.sell("keep", "stock 9 off 500", issue={"price": 600},
                    settlement={"breakage": "merchant"})  # fmt: skip
    for name in ("p2", "p3"):
        kept = await shop.pay(await shop.order(("keep", 1)), 600, name)
        kept = await shop.redeem(kept.json["coupon_ids"][0], 2000)
    path = f"/v1/redemptions/{kept.json['id']}/reversals"
    assert (await shop.post(path, {"reason": "r"}, now=NOON)).status == 201

    april = "2026-04-01T00:00:00+08:00"
    end = time.monotonic() + 20
    while time.monotonic() < end:
        period = {"start": "2026-03-01T00:00:00+08:00", "end": april}
        settled = await shop.post("/v1/statements", period, now="2026-04-02T00:00:00+08:00")
        if settled.status == 201 and settled.json["items"]:
            break
        await asyncio.sleep(0.1)
    totals = settled.json["items"][0]["totals"]
    # 100.00: 80 prepaid, 20 subsidy (8 mall, 12 merchant); 50.00 and 5.00: all of it prepaid.
    assert totals["discount"] == 15_500
    assert (totals["prepaid"], totals["commission"]) == (13_500, 1300)
    assert (totals["mall_bears"], totals["merchant_bears"]) == (800, 1200)
    assert totals["payable_to_merchant"] == 800 + 13_500 - 1300
    assert (totals["breakage"], totals["net_payable"]) == (100, totals["payable_to_merchant"] + 100)
    assert [line["breakage"] for line in settled.json["items"][0]["lines"]] == [100, 0]
    balances = await shop.get("/v1/books/balances", params={"as_of": "2026-04-02T00:00:00Z"})
    rows = {(row["account"], row["party"]): row["balance"] for row in balances.json["items"]}
    assert rows["mall.received", "mall"] == 24_000 + 1200
    assert rows["mall.breakage", "mall"] == -3000
    # What is left is the coupons that came back.
    owed = rows["customer.prepaid", "customers"] + rows["customer.breakage", "customers"]
    assert owed == -8600
    await in_order(shop.server, shop.tenant)
    # An order paid here counts as paid, whatever the app told of it.
    (row,) = (await shop.get("/v1/reports/funnel")).json["items"]
    assert (row["claim"], row["pay"], row["redeem"]) == (1, 1, 1)


async def test_points_and_cash(shop: Shop) -> None:
    await shop.sell("set", "stock 9", issue={"price": 100, "points_price": 40})
    await shop.sell("toy", "stock 9", issue={"points_price": 50})
    await shop.post("/v1/points/earn", {"user_id": "ann", "points": 100}, now=NOON)

    async def points(now: str = NOON) -> tuple[int, int, int]:
        found = (await shop.get("/v1/users/ann/points", now=now)).json
        return found["balance"], found["available"], found["held"]

    claim = {"campaign_id": "toy", "user_id": "ann", "channel": "app"}
    assert (await shop.post("/v1/claims", claim, now=NOON)).status == 400
    made = await shop.order(("set", 1), ("toy", 1), hold_seconds=60)
    assert (made.json["amount"], made.json["points"]) == (100, 90)
    assert await points() == (100, 10, 90)
    short = await shop.order(("toy", 1))
    assert (short.code, short.json["short_by"]) == ("points_insufficient", 40)
    over = DAY + "12:01:00.000+08:00"
    assert await points(over) == (100, 100, 0)  # back in the instant that it lapses
    other = await shop.order(("toy", 2), now=over)
    # The first one is paid late: the points are set aside for another.
    assert (await shop.pay(made, 100, now=over)).code == "order_expired"
    await shop.post(f"/v1/orders/{other.json['id']}/cancel", {}, now=over)
    paid = await shop.pay(made, 100, now=over)
    assert paid.status == 200, paid.json
    assert await points(over) == (10, 10, 0)
    toy = next(one["id"] for one in paid.json["coupons"] if one["campaign_id"] == "toy")
    refund = f"/v1/coupons/{toy}/refund"
    back = await shop.post(refund, {"reason": "r", "refund_ref": "b1"}, now=over)
    assert (back.json["refund_amount"], back.json["points_back"]) == (0, 50)
    assert await points(over) == (60, 60, 0)
    failed = await shop.post(f"{refund}s/b1/fail", {}, now=over)
    assert failed.status == 200, failed.json
    assert await points(over) == (10, 10, 0)
    again = await shop.post(refund, {"reason": "r", "refund_ref": "b2"}, now=over)
    assert again.json["points_back"] == 50
    await shop.post("/v1/points/spend", {"user_id": "ann", "points": 30}, now=over)
    gone = await shop.post(f"{refund}s/b2/fail", {}, now=over)
    assert gone.code == "points_insufficient"
    end = time.monotonic() + 20
    while time.monotonic() < end:
        entries = (await shop.get("/v1/users/ann/points/entries")).json["items"]
        if len(entries) == 6:
            break
        await asyncio.sleep(0.05)
    assert sum(one["points"] for one in entries) == 30
    assert len(entries) == 6


@pytest.mark.slow
async def test_what_happened_is_told_once_and_in_order(shop: Shop) -> None:
    await shop.sell("set", "stock 9 off 500", issue={"price": 100})
    await shop.sell("free", "stock 9")
    made = await shop.order(("set", 2))
    paid = await shop.pay(made, 200)
    gone = await shop.order(("set", 1), user="bob", hold_seconds=60)
    claim = {"campaign_id": "free", "user_id": "bob", "channel": "app"}
    await shop.post("/v1/claims", claim, now=DAY + "12:00:30.000+08:00")
    later = DAY + "13:00:00.000+08:00"
    await shop.pay(gone, 100, now=later)  # late: it has lapsed, and is set aside and paid anew
    used, _ = paid.json["coupon_ids"]
    done = await shop.redeem(used, 2000, now=later)
    path = f"/v1/redemptions/{done.json['id']}/reversals"
    await shop.post(path, {"reason": "r"}, now=later)
    expected = ["ordered", "issued", "issued", "order_paid", "ordered", "issued", "order_lapsed",
                "issued", "order_paid", "redeemed", "reversed"]  # fmt: skip
    seen: list[dict[str, Any]] = []
    cursor, end = "", time.monotonic() + 20
    while len(seen) < len(expected) and time.monotonic() < end:
        page = (await shop.get("/v1/events", params={"limit": 2} | cursor_of(cursor))).json
        seen += page["items"]
        cursor = page["next_cursor"]
        await asyncio.sleep(0 if page["more"] else 0.05)
    assert [one["type"] for one in seen] == expected
    assert len({one["id"] for one in seen}) == len(expected)
    assert seen[1]["order_id"] == made.json["id"]
    assert seen[1]["coupon_id"] in paid.json["coupon_ids"]
    assert (seen[9]["discount"], seen[9]["coupon_ids"]) == (500, [used])
    assert (await shop.get("/v1/events", params=cursor_of(cursor))).json["items"] == []
    some = await shop.get("/v1/events", params={"types": "redeemed,order_lapsed"})
    assert [one["type"] for one in some.json["items"]] == ["order_lapsed", "redeemed"]
    assert (await shop.get("/v1/events", params={"cursor": cursor})).json["items"] == []
    assert (await shop.get("/v1/events", params={"after": "x"})).json["field"] == "after"
    beyond = encode_cursor([[(1, 1 << 63)], 0])
    for query in ({"types": "claimed"}, {"after": "x"}, {"limit": "0"}, {"after": beyond}):
        assert (await shop.get("/v1/events", params=query)).status == 400


def cursor_of(text: str) -> dict[str, str]:
    return {"after": text} if text else {}
