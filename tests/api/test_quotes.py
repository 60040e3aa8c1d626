"""Quotes: what a redemption would give, with nothing written."""

from __future__ import annotations

import pytest

from tests.api.counter import Counter


async def test_a_quote_is_the_redemption_to_come(counter: Counter) -> None:
    """The same money, coupon by coupon and line by line; and then it is redeemed."""
    coupons = [
        await counter.coupon("off 2000 min_spend 10000"),
        await counter.coupon("percent 12.5 category dining"),
        await counter.coupon("exchange tea:900"),
        await counter.coupon("off 500 min_spend 99999"),
    ]
    basket = {
        "lines": [
            {"id": "a", "category": "dining", "amount": 12345, "quantity": 3},
            {"id": "b", "amount": 777},
        ]
    }
    options = {"basket": basket, "policy": "best_effort", "order_ref": "POS-1"}
    quote = await counter.quote(*coupons, **options)
    assert quote.status == 200, quote.json
    again = await counter.quote(*coupons, **options)
    assert {**again.json, "at": ""} == {**quote.json, "at": ""}
    done = await counter.redeem(*coupons, **options)
    assert done.status == 201, done.json
    for name in ("amount", "discount", "payable", "applied", "skipped", "order_ref", "store_id"):
        assert done.json[name] == quote.json[name], name
    (skipped,) = quote.json["skipped"]
    assert (skipped["code"], skipped["short_by"]) == ("min_spend", 99999 - 13122)
    assert skipped["detail"]


async def test_everything_is_in_applied_or_skipped(rehearsed: Counter) -> None:
    """200 whatever is wrong with a coupon, with its code and what is missing."""
    noon, later = "2026-03-02T12:00:00Z", "2026-03-02T12:05:00Z"
    good, used = await rehearsed.coupon(), await rehearsed.coupon()
    assert (await rehearsed.redeem(used)).status == 201
    stale = {"code": await rehearsed.code(good, now=noon)}
    answer = await rehearsed.quote(stale, used, {"code": "junk"}, now=later)
    assert answer.status == 200, answer.json
    assert answer.json["applied"] == []
    codes = {item["coupon_id"]: item["code"] for item in answer.json["skipped"]}
    assert codes == {good: "code_expired", used: "already_redeemed", None: "code_invalid"}
    assert (answer.json["discount"], answer.json["payable"]) == (0, 23800)
    nothing = await rehearsed.quote({"code": "junk"}, now=later)
    assert (nothing.status, len(nothing.json["skipped"])) == (200, 1)


async def test_who_may_ask(counter: Counter) -> None:
    """Storefronts by id for anybody; an unknown store is an error, none at all is not."""
    coupon = await counter.coupon("stores s1")
    storefront = counter.server.key("storefront")
    assert (await counter.quote(coupon, key=storefront)).json["discount"] == 2000
    anywhere = await counter.quote(coupon, key=storefront, store_id=None)
    assert anywhere.json["skipped"][0]["code"] == "store_not_allowed"
    nowhere = await counter.quote(coupon, key=storefront, store_id="nowhere")
    assert (nowhere.code, nowhere.json["field"]) == ("not_found", "store_id")
    assert (await counter.redeem(coupon, key=storefront)).code == "forbidden"


@pytest.mark.parametrize("mode", ["commit", "hold"])
async def test_a_closed_store_takes_nothing(counter: Counter, mode: str) -> None:
    """Quote and redemption agree on it."""
    store = f"{counter.mark}-closed"
    body = {"name": "closed", "merchant_id": "m1", "closed": True}
    assert (await counter.api.put(f"/v1/stores/{store}", body)).status == 200
    coupon = await counter.coupon()
    quote = await counter.quote(coupon, store_id=store, mode=mode)
    assert quote.json["skipped"][0]["code"] == "store_not_allowed"
    redeemed = await counter.redeem(coupon, store_id=store, mode=mode)
    assert redeemed.code == "store_not_allowed"


async def test_a_person_without_coupons_is_their_wallet(counter: Counter) -> None:
    """Every coupon of the wallet, whether or not ``choose`` says so; nobody named is refused."""
    good = await counter.coupon("off 2000")
    bad = await counter.coupon("off 500 min_spend 99999")
    answer = await counter.quote(user_id=counter.user(), coupons=None)
    assert answer.status == 200, answer.json
    assert [one["coupon_id"] for one in answer.json["applied"]] == [good]
    assert [one["coupon_id"] for one in answer.json["skipped"]] == [bad]
    nobody = await counter.quote(coupons=None)
    assert (nobody.status, nobody.json["field"]) == (400, "coupons")
