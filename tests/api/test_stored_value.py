"""Stored value that is sold: owed to who bought it, then to the merchant less commission."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest

from tests.api.test_concurrency import in_order
from tests.api.test_gifts import Giving
from tests.api.test_gifts import giving as giving
from tests.api.test_orders import NOON

AFTER = "2026-04-02T00:00:00+08:00"


async def bought(shop: Giving, campaign: str, amount: int, user: str = "ann") -> str:
    order = await shop.order((campaign, 1), user=user)
    paid = await shop.pay(order, amount, f"p-{user}-{campaign}")
    assert paid.status == 200, paid.json
    (coupon,) = paid.json["coupons"]
    assert coupon["balance"] == 10_000
    name: str = coupon["id"]
    return name


async def reverse(shop: Giving, sale: Any, **more: Any) -> dict[str, Any]:
    path = f"/v1/redemptions/{sale.json['id']}/reversals"
    answer = await shop.post(path, {"reason": "returned", **more}, now=NOON)
    assert answer.status == 201, answer.json
    back: dict[str, Any] = answer.json
    return back


async def settled(shop: Giving) -> dict[str, Any]:
    """The only statement, of a month that has ended."""
    end = time.monotonic() + 20
    period = {"start": "2026-03-01T00:00:00+08:00", "end": "2026-04-01T00:00:00+08:00"}
    while time.monotonic() < end:
        answer = await shop.post("/v1/statements", period, now=AFTER)
        if answer.status == 201 and answer.json["items"]:
            break
        await asyncio.sleep(0.1)
    (statement,) = answer.json["items"]
    found: dict[str, Any] = statement
    return found


async def test_stored_value_is_sold_spent_sent_back_and_settled(giving: Giving) -> None:
    shop, kind = giving, {"type": "stored_value", "amount": 10_000}
    await shop.sell("card", kind="stored_value", benefit=kind, issue={"price": 9000},
                    settlement={"commission_percent": 5}, transferable=True)  # fmt: skip
    await shop.sell("dear", kind="stored_value", benefit=kind, issue={"price": 12_000},
                    settlement={"commission_percent": 0, "breakage": "merchant"})  # fmt: skip
    claim = {"campaign_id": "card", "user_id": "ann", "channel": "app"}
    assert (await shop.post("/v1/claims", claim, now=NOON)).json["field"] == "campaign_id"
    card = await bought(shop, "card", 9000)
    # 40.00, of which half comes back; what was held and not tendered was never spent.
    sale = await shop.redeem(card, 4000)
    assert sale.json["tenders"][0]["balance"] == 6000
    await reverse(shop, sale, lines=[{"id": "1", "amount": 2000}])
    held = await shop.redeem(card, 3000, mode="hold")
    path = f"/v1/redemptions/{held.json['id']}/commit"
    assert (await shop.post(path, {"amount": 1003}, now=NOON)).json["tendered"] == 1003
    # 30.03 of 100.00 spent: 27.03 of 90.00, the rest goes back.
    refund = f"/v1/coupons/{card}/refund"
    sent = await shop.post(refund, {"reason": "r", "refund_ref": "b1"}, now=NOON)
    assert sent.json["refund_amount"] == 9000 - 2703
    failed = await shop.post(f"{refund}s/b1/fail", {}, now=NOON)
    assert failed.status == 200, failed.json
    again = await shop.post(refund, {"reason": "r", "refund_ref": "b2"}, now=NOON)
    assert again.json["refund_amount"] == 9000 - 2703
    # What comes back to a card that was refunded is nobody's: breakage.
    await reverse(shop, sale)
    # Given on with what is left; what the giver's goods bring back afterwards stays gone.
    other = await bought(shop, "card", 9000, "bob")
    mine = await shop.redeem(other, 333)
    half = await shop.redeem(other, 100)
    await reverse(shop, half)
    code = (await shop.give(other)).json["gift_code"]
    taken = await shop.accept(code, "eve")
    assert taken.json["balance"] == 9667
    await reverse(shop, mine)
    assert (await shop.redeem(taken.json["id"], 20_000)).json["tendered"] == 9667
    # Sold for more than it is worth: the excess is the merchant's by its terms.
    dear = await bought(shop, "dear", 12_000)
    assert (await shop.redeem(dear, 1000)).status == 201
    await in_order(shop.server, shop.tenant)
    statement = await settled(shop)
    lines = {line["campaign_id"]: line for line in statement["lines"]}
    spent = {"card": 1003 + 9667, "dear": 1000}
    assert {name: line["stored_value"] for name, line in lines.items()} == spent
    # 9.03 of the first, of the second all but the 3.00 that bob had paid for what he spent.
    assert lines["card"]["commission"] == round(0.05 * 903) + round(0.05 * 8700)
    assert (lines["dear"]["commission"], lines["dear"]["breakage"]) == (0, 200)
    for line in statement["lines"]:
        assert (line["discount"], line["prepaid"]) == (0, 0)
        assert line["payable_to_merchant"] == line["stored_value"] - line["commission"]
    totals = statement["totals"]
    assert totals["net_payable"] == totals["payable_to_merchant"] + 200
    balances = await shop.get("/v1/books/balances", params={"as_of": AFTER})
    rows = {row["account"]: row["balance"] for row in balances.json["items"]}
    assert rows["mall.received"] == 9000 + 9000 + 12_000 - (9000 - 2703)
    owed = rows["customer.stored_value"] + rows["customer.breakage"]
    assert owed == -(12_000 - 1200)  # of the one that has money left


@pytest.mark.slow
async def test_a_pass_given_on_owes_what_it_has_left(giving: Giving) -> None:
    """A reversal gives back the dearer of two uses; the fen it differs by is breakage."""
    shop = giving
    await shop.sell("wash", kind="pass", usage={"uses": 3}, issue={"price": 100},
                    benefit={"type": "amount_off", "amount": 50}, transferable=True)  # fmt: skip
    order = await shop.order(("wash", 1))
    (coupon,) = (await shop.pay(order, 100)).json["coupons"]
    first = await shop.redeem(coupon["id"], 500)
    assert (await shop.redeem(coupon["id"], 500)).status == 201
    await reverse(shop, first)
    code = (await shop.give(coupon["id"])).json["gift_code"]
    assert (await shop.accept(code, "eve")).json["uses_left"] == 2
    await in_order(shop.server, shop.tenant)
