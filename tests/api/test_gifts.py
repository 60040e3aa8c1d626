"""Gifts over HTTP: offered, taken once, taken back, lapsed; whose money and history it is then."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.api.server import Answer, ApiServer
from tests.api.test_concurrency import in_order
from tests.api.test_jobs import finished
from tests.api.test_orders import DAY, NOON, Shop

LATER = DAY + "13:00:00.000+08:00"


class Giving(Shop):
    """People who give each other what they have bought or claimed."""

    async def claim(self, user: str, campaign: str, **options: Any) -> str:
        body = {"campaign_id": campaign, "user_id": user, "channel": "app"}
        answer = await self.post("/v1/claims", body, now=NOON, **options)
        assert answer.status == 201, answer.json
        coupon: str = answer.json["id"]
        return coupon

    async def give(self, coupon: str, now: str = NOON, **options: Any) -> Answer:
        body = {"seconds": options.pop("seconds")} if "seconds" in options else {}
        return await self.post(f"/v1/coupons/{coupon}/gifts", body, now=now, **options)

    async def accept(self, code: str, user: str, now: str | None = NOON, **options: Any) -> Answer:
        body = {"user_id": user}
        return await self.post(f"/v1/gifts/{code}/accept", body, now=now, **options)

    async def status(self, coupon: str, now: str = NOON) -> str:
        found: str = (await self.get(f"/v1/coupons/{coupon}", now=now)).json["status"]
        return found


@pytest.fixture
async def giving(rehearsal_server: ApiServer) -> AsyncIterator[Giving]:
    tenant, key = rehearsal_server.new_mall()
    async with Giving(rehearsal_server.url, key) as shop:
        shop.tenant, shop.server = tenant, rehearsal_server
        await shop.put("/v1/merchants/m1", {"name": "Noodles"})
        await shop.put("/v1/stores/s1", {"name": "S1", "merchant_id": "m1"})
        yield shop


async def test_a_gift_from_hand_to_hand(giving: Giving) -> None:
    await giving.sell("tea", "stock 9 per_user 1", transferable=True)
    await giving.sell("own", "stock 9")
    coupon = await giving.claim("ann", "tea")
    made = await giving.give(coupon, idem="g1")
    assert (made.status, made.json["status"]) == (201, "open")
    assert made.json["expires_at"] == "2026-03-03T04:00:00.000Z"
    code = made.json["gift_code"]
    assert code.isalnum()
    assert code.isupper()
    again = await giving.give(coupon, idem="g1")
    assert (again.json, again.replayed) == (made.json, True)
    assert (await giving.give(coupon, idem="g1", seconds=60)).code == "idempotency_key_reused"
    assert (await giving.give(coupon)).code == "held"
    assert (await giving.give(await giving.claim("ann", "own"))).code == "not_transferable"
    assert (await giving.redeem(coupon, 5000)).code == "held"
    shown = await giving.get(f"/v1/gifts/{code.lower()}", now=NOON)
    assert (shown.json["status"], shown.json["campaign_id"]) == ("open", "tea")
    assert shown.json["rules"]
    # One wins, whoever asks at once; those who are not allowed leave it open.
    await giving.claim("bob", "tea")
    assert (await giving.accept(code, "bob")).code == "user_limit"
    assert (await giving.accept(code, "ann")).code == "not_transferable"
    answers = await asyncio.gather(*(giving.accept(code, f"f{n}", idem="a") for n in range(8)))
    won = [one for one in answers if one.status == 201]
    assert len(won) == 1
    assert {one.code for one in answers if one.status != 201} == {"gift_taken"}
    winner, mine = won[0].json["user_id"], won[0].json["id"]
    assert won[0].json["came_from"] == coupon
    assert won[0].json["valid_until"] == shown.json["valid_until"]
    repeat = await giving.accept(code, winner, now=LATER, idem="a")
    assert (repeat.json, repeat.replayed) == (won[0].json, True)
    assert (await giving.get(f"/v1/gifts/{code}")).json["received_as"] == mine
    assert (await giving.delete(f"/v1/gifts/{code}")).code == "gift_taken"
    given = (await giving.get(f"/v1/coupons/{coupon}", now=NOON)).json
    assert (given["status"], given["given_to"], given["uses_left"]) == ("transferred", mine, 0)
    assert (await giving.redeem(coupon, 5000)).code == "transferred"
    assert (await giving.redeem(mine, 5000)).status == 201
    await in_order(giving.server, giving.tenant)
    acts = {}
    for one in (coupon, mine):
        history = (await giving.get(f"/v1/coupons/{one}/history")).json["items"]
        acts[one] = [(act["type"], act.get("given_to"), act.get("came_from")) for act in history]
    assert acts[coupon] == [
        ("claimed", None, None), ("gifted", None, None), ("given", mine, None)
    ]  # fmt: skip
    assert acts[mine] == [("received", None, coupon), ("redeemed", None, None)]
    types = [one["type"] for one in (await giving.get("/v1/events")).json["items"]]
    assert [types.count(one) for one in ("gift_offered", "given", "received")] == [1, 1, 1]
    stock = (await giving.get("/v1/reports/stock?campaign_id=tea")).json["items"][0]
    assert (stock["issued"], stock["redeemed"]) == (2, 1)


async def test_back_to_the_giver(giving: Giving) -> None:
    """By the clock, by their own hand, by the friend's; and who may touch it."""
    await giving.sell("pass", "stock 9", kind="pass", usage={"uses": 3}, transferable=True)
    coupon = await giving.claim("ann", "pass")
    code = (await giving.give(coupon, seconds=60)).json["gift_code"]
    assert await giving.status(coupon) == "held"
    over = DAY + "12:01:00.000+08:00"
    assert await giving.status(coupon, over) == "issued"
    assert (await giving.accept(code, "bob", over)).code == "gift_expired"
    assert (await giving.delete(f"/v1/gifts/{code}", now=over)).code == "gift_expired"
    code = (await giving.give(coupon, over)).json["gift_code"]
    for _ in range(2):
        back = await giving.delete(f"/v1/gifts/{code}", now=over)
        assert (back.status, back.json["status"]) == (200, "taken_back")
    assert (await giving.accept(code, "bob", over)).code == "gift_expired"
    code = (await giving.give(coupon, over)).json["gift_code"]
    gone = await giving.post(f"/v1/gifts/{code}/decline", {}, now=over)
    assert (gone.status, gone.json["status"]) == (200, "declined")
    assert (await giving.redeem(coupon, 5000, over)).status == 201
    _, stranger = giving.server.new_mall()
    assert (await giving.accept(code, "bob", key=stranger, now=None)).status == 404
    other = await giving.claim("cid", "pass")
    for name in ("x", other, "0" * 58, code[:-1] + ("0" if code[-1] != "0" else "1")):
        assert (await giving.accept(name, "bob")).status == 404
    terminal = giving.server.key("terminal", tenant=giving.tenant, store_id="s1")
    assert (await giving.accept(code, "bob", key=terminal, now=None)).status in (401, 403)
    for bad in ({"seconds": 0}, {"seconds": "x"}, {"more": 1}):
        assert (await giving.post(f"/v1/coupons/{other}/gifts", bad)).status == 400
    await in_order(giving.server, giving.tenant)


async def test_a_coupon_is_withdrawn_with_its_gift(giving: Giving) -> None:
    """Open gifts keep nothing from a void or a recall; who comes for them is told."""
    await giving.sell("tea", "stock 9", transferable=True)
    await giving.sell("pass", "stock 9", kind="pass", usage={"uses": 3}, transferable=True)
    tea, other = await giving.claim("ann", "tea"), await giving.claim("bob", "tea")
    wash = await giving.claim("ann", "pass")
    codes = {one: (await giving.give(one)).json["gift_code"] for one in (tea, other, wash)}
    for one in (tea, wash):
        path = f"/v1/coupons/{one}/void"
        gone = await giving.post(path, {"reason": "r"}, now=NOON, idem="v")
        assert (gone.status, gone.json["status"]) == (200, "voided")
        again = await giving.post(path, {"reason": "r"}, now=NOON, idem="v")
        assert (again.json, again.replayed) == (gone.json, True)
        assert (await giving.accept(codes[one], "eve")).code == "voided"
        shown = (await giving.get(f"/v1/gifts/{codes[one]}", now=NOON)).json
        assert shown["status"] == "withdrawn"
        assert (await giving.delete(f"/v1/gifts/{codes[one]}", now=NOON)).code == "gift_expired"
    assert (await giving.redeem(wash, 5000)).code == "voided"
    # A till's hold is no gift: it keeps its coupon.
    held = await giving.claim("cid", "tea")
    assert (await giving.redeem(held, 5000, mode="hold")).status == 201
    refused = await giving.post(f"/v1/coupons/{held}/void", {"reason": "r"}, now=NOON)
    assert refused.code == "held"
    # The other one is still there, and goes with the recall of all.
    assert (await giving.get(f"/v1/gifts/{codes[other]}", now=NOON)).json["status"] == "open"
    went = await giving.claim("dan", "tea")
    mine = (await giving.accept((await giving.give(went)).json["gift_code"], "eve")).json["id"]
    asked = await giving.post("/v1/campaigns/tea/recall", {"reason": "misprint"}, now=NOON)
    job = await finished(giving, asked.json["id"])
    assert job["counts"] == {"voided": 2, "held": 1}
    assert {one["coupon_id"] for one in job["items"]} == {other, held, mine}
    assert await giving.status(mine) == "voided"
    assert (await giving.accept(codes[other], "eve")).code == "voided"
    await in_order(giving.server, giving.tenant)
    feed = (await giving.get("/v1/events", params={"types": "gift_ended"})).json["items"]
    assert len(feed) == 3


async def test_who_accepts_what_was_paid_and_withdrawn_reads_so(giving: Giving) -> None:
    """A recall sends the money back at once; it is the withdrawal that the receiver is told."""
    await giving.sell("cake", "stock 9 off 10000", issue={"price": 8000}, transferable=True)
    (coupon,) = (await giving.pay(await giving.order(("cake", 1)), 8000)).json["coupon_ids"]
    code = (await giving.give(coupon)).json["gift_code"]
    await in_order(giving.server, giving.tenant)  # the recall reads the books
    asked = await giving.post("/v1/campaigns/cake/recall", {"reason": "misprint"}, now=NOON)
    assert (await finished(giving, asked.json["id"]))["counts"] == {"refunded": 1}
    assert (await giving.accept(code, "bob")).code == "voided"
    await in_order(giving.server, giving.tenant)


@pytest.mark.slow
async def test_what_was_paid_goes_along(giving: Giving) -> None:
    """It is owed until the receiver uses it; it is no refund to anybody any more."""
    await giving.sell("meal", "stock 9 off 10000", issue={"price": 8000}, transferable=True)
    made = await giving.order(("meal", 3))
    bought = (await giving.pay(made, 24_000)).json["coupon_ids"]
    one = bought[0]
    codes = [(await giving.give(coupon)).json["gift_code"] for coupon in bought]
    got = [(await giving.accept(code, "bob")).json["id"] for code in codes]
    body = {"reason": "r", "refund_ref": "b1"}
    words = {one: ("transferred", "went along", "随券转移"),
             got[0]: ("not_refundable", "was a gift", "受赠")}  # fmt: skip
    for coupon, (why, *told) in words.items():
        for text, language in zip(told, ("en", "zh-CN"), strict=True):
            refund = await giving.post(
                f"/v1/coupons/{coupon}/refund",
                body,
                now=NOON,
                headers={"Accept-Language": language},
            )
            assert (refund.code, text in refund.json["detail"]) == (why, True), refund.json
    assert (await giving.redeem(got[0], 25_000)).json["discount"] == 10_000
    # What the mall withdraws is refunded wherever it is; whose money it was is told by came_from.
    path = f"/v1/coupons/{got[2]}"
    assert (await giving.post(f"{path}/void", {"reason": "r"}, now=NOON)).status == 200
    await in_order(giving.server, giving.tenant)  # the recall reads the books
    asked = await giving.post("/v1/campaigns/meal/recall", {"reason": "misprint"}, now=NOON)
    job = await finished(giving, asked.json["id"])
    assert job["counts"] == {"already_redeemed": 1, "refunded": 1}
    assert await giving.status(got[1]) == "refunded"
    sent = await giving.post(f"{path}/refund", body, now=NOON, idem="r1")
    assert (sent.status, sent.json["refund_amount"]) == (200, 8000)
    for key in ("r1", "r2"):
        again = await giving.post(f"{path}/refund", body, now=NOON, idem=key)
        assert (again.json, again.replayed) == (sent.json, True)
    other = {**body, "refund_ref": "b2"}
    assert (await giving.post(f"{path}/refund", other, now=NOON, idem="r1")).status == 422
    assert (await giving.post(f"{path}/refund", other, now=NOON)).code == "refunded"
    for _ in range(2):
        failed = await giving.post(f"{path}/refunds/b1/fail", {}, now=NOON)
        assert (failed.status, failed.json["status"]) == (200, "failed")
    assert await giving.status(got[2]) == "voided"
    assert (await giving.post(f"{path}/refund", other, now=NOON)).json["refund_amount"] == 8000
    await in_order(giving.server, giving.tenant)
    balances = await giving.get("/v1/books/balances", params={"as_of": "2026-04-02T00:00:00Z"})
    rows = {(row["account"], row["party"]): row["balance"] for row in balances.json["items"]}
    assert rows.get(("customer.prepaid", "customers"), 0) == 0
    assert rows["mall.received", "mall"] == 8000
    assert rows["merchant.discount", "merchant:m1"] == -10_000


async def test_what_is_left_goes_along(giving: Giving) -> None:
    """Two of three uses, with their part of the price; what a card holds; given on twice."""
    await giving.sell("pass", "stock 9 off 1000", kind="pass", usage={"uses": 3},
                      issue={"price": 100}, transferable=True)  # fmt: skip
    await giving.sell("card", kind="stored_value", benefit={"type": "stored_value", "amount": 1000},
                      transferable=True)  # fmt: skip
    made = await giving.pay(await giving.order(("pass", 1)), 100)
    one = made.json["coupon_ids"][0]
    first = await giving.redeem(one, 5000)
    gift = (await giving.give(one)).json
    assert gift["uses_left"] == 2
    got = (await giving.accept(gift["gift_code"], "bob", idem="a")).json
    assert got["uses_left"] == 2
    assert (await giving.redeem(got["id"], 5000)).json["applied"][0]["uses_left"] == 1
    again = await giving.accept(gift["gift_code"], "bob", idem="a")
    assert (again.json, again.replayed) == (got, True)
    code = (await giving.give(got["id"])).json["gift_code"]
    third = (await giving.accept(code, "cid")).json
    assert third["uses_left"] == 1
    # The goods of the giver come back: the use was theirs, the pass is not.
    back = {"reason": "returned"}
    path = f"/v1/redemptions/{first.json['id']}/reversals"
    assert (await giving.post(path, back, now=NOON)).status == 201
    last = await giving.redeem(third["id"], 5000)
    assert (last.status, await giving.status(third["id"])) == (201, "redeemed")
    path = f"/v1/redemptions/{last.json['id']}/reversals"
    assert (await giving.post(path, back, now=NOON)).status == 201
    assert (await giving.get(f"/v1/coupons/{third['id']}")).json["uses_left"] == 1
    card = await giving.claim("ann", "card")
    assert (await giving.redeem(card, 300)).json["tendered"] == 300
    code = (await giving.give(card)).json["gift_code"]
    mine = (await giving.accept(code, "bob")).json
    assert mine["balance"] == 700
    assert (await giving.redeem(mine["id"], 5000)).json["tendered"] == 700
    await in_order(giving.server, giving.tenant)
    balances = await giving.get("/v1/books/balances", params={"as_of": "2026-04-02T00:00:00Z"})
    rows = {(row["account"], row["party"]): row["balance"] for row in balances.json["items"]}
    # 34 + 33 + 33: the first's goods came back and its use did not, the last's came back whole.
    owed = rows["customer.prepaid", "customers"] + rows["customer.breakage", "customers"]
    assert owed == -33


@pytest.mark.slow
async def test_a_third_partys_code_goes_along(giving: Giving) -> None:
    await giving.sell("film", "stock 9", transferable=True)
    path = "/v1/campaigns/film/pool"
    loaded = await giving.ask(
        "POST", path, data=b"K-1", idem="p1", headers={"Content-Type": "text/csv"}
    )
    assert loaded.status in (200, 201), loaded.json
    coupon = await giving.claim("ann", "film")
    code = (await giving.give(coupon)).json["gift_code"]
    shown = (await giving.get(f"/v1/gifts/{code}", now=NOON)).json
    assert "K-1" not in str(shown)
    got = await giving.accept(code, "bob")
    assert got.json["external_code"] == "K-1"
    for path in (f"/v1/coupons/{coupon}", f"/v1/coupons/{coupon}/code"):
        left = await giving.get(path)
        assert (left.status, "external_code" in left.json) == (200, False)
    await in_order(giving.server, giving.tenant)
