"""``choose: "best"``: picked from the wallet, told truthfully, redeemed as quoted."""

from __future__ import annotations

import asyncio

from tests.api.counter import BASKET, Counter

SMALL = {"basket": {"lines": [{"id": "a", "category": "dining", "amount": 5000}]}}


async def wallet(counter: Counter) -> dict[str, str]:
    """A wallet in which 30.00 and 10 % off stand together and 25.00 stands alone."""
    return {
        "plain": await counter.coupon("off 3000 min_spend 10000"),
        "percent": await counter.coupon("percent 10"),
        "alone": await counter.coupon("off 2500", stacking={"class": "exclusive"}),
        "big": await counter.coupon("off 9000 min_spend 50000"),
        "tea": await counter.coupon("exchange tea:900"),
        "elsewhere": await counter.coupon("off 8000 stores s2"),
    }


async def test_the_best_is_quoted_and_then_redeemed(counter: Counter) -> None:
    """Every coupon is in the quote; the redemption is the same money; and again the same answer."""
    mine = await wallet(counter)
    storefront = counter.server.key("storefront")
    quote = await counter.quote(choose="best", user_id=counter.user(), key=storefront)
    assert quote.status == 200, quote.json
    assert [item["coupon_id"] for item in quote.json["applied"]] == [mine["percent"], mine["plain"]]
    assert (quote.json["discount"], quote.json["exact"]) == (2380 + 3000, True)
    why = {item["coupon_id"]: item["code"] for item in quote.json["skipped"]}
    assert why == {
        mine["alone"]: "stacking_conflict", mine["big"]: "min_spend",
        mine["tea"]: "no_effect", mine["elsewhere"]: "store_not_allowed",
    }  # fmt: skip

    shown = {"choose": "best", "member_code": await counter.member_code()}
    till = await counter.quote(**shown, key=counter.till())
    assert mine["elsewhere"] not in str(till.json)
    assert till.json["applied"] == quote.json["applied"]
    done = await counter.redeem(**shown, key=counter.till(), idem="k1")
    assert done.status == 201, done.json
    for name in ("amount", "discount", "payable", "applied"):
        assert done.json[name] == quote.json[name], name
    assert done.json["skipped"] == till.json["skipped"]  # what was left in the wallet, and why
    again = await counter.redeem(**shown, key=counter.till(), idem="k1")
    assert (again.status, again.json) == (201, done.json)
    assert again.headers["Idempotent-Replayed"] == "true"
    other = await counter.redeem(**shown, key=counter.till(), idem="k1", **SMALL)
    assert (other.status, other.code) == (422, "idempotency_key_reused")


async def test_then_the_next_best_until_nothing_is_left(counter: Counter) -> None:
    """What is used is out; with nothing left to take off the first reason is said."""
    mine = await wallet(counter)
    whose = {"choose": "best", "user_id": counter.user()}
    await counter.redeem(**whose)
    second = await counter.redeem(**whose, mode="hold", order_ref="o1")
    assert [item["coupon_id"] for item in second.json["applied"]] == [mine["alone"]]
    # The same order again replaces its hold, and may have the same coupon.
    third = await counter.redeem(**whose, mode="hold", order_ref="o1", basket=BASKET | {})
    assert [item["coupon_id"] for item in third.json["applied"]] == [mine["alone"]]
    assert third.json["id"] != second.json["id"]
    last = await counter.redeem(**whose)
    assert (last.status, last.code) == (409, "held")
    failed = {item["coupon_id"]: item["code"] for item in last.json["failed"]}
    assert failed[mine["plain"]] == "already_redeemed"
    assert failed[mine["big"]] == "min_spend"
    nobody = await counter.redeem(choose="best", user_id=counter.user("nobody"))
    assert (nobody.status, nobody.code) == (409, "no_effect")
    empty = await counter.quote(choose="best", user_id=counter.user("nobody"))
    assert (empty.status, empty.json["applied"], empty.json["skipped"]) == (200, [], [])


async def test_who_may_choose(counter: Counter) -> None:
    """A till needs to be shown the member; coupons named beside it are a mistake."""
    coupon = await counter.coupon()
    by_id = {"choose": "best", "user_id": counter.user()}
    assert (await counter.redeem(**by_id, key=counter.till())).code == "forbidden"
    assert (await counter.quote(**by_id, key=counter.till())).code == "forbidden"
    both = await counter.quote(coupon, **by_id)
    assert (both.status, both.json["field"]) == (400, "coupons")
    none = await counter.quote(choose="best")
    assert (none.status, none.json["field"]) == (400, "user_id")
    forged = await counter.quote(choose="best", member_code="junk")
    assert forged.code == "code_invalid"
    two = await counter.quote(choose="best", user_id=counter.user("u2"),
                              member_code=await counter.member_code())  # fmt: skip
    assert two.code == "different_owners"


async def test_an_old_picture_of_a_member_shows_nothing(rehearsed: Counter) -> None:
    """Nor is anything redeemed by it, but what it has redeemed is answered again."""
    noon, later = "2026-03-02T12:00:00Z", "2026-03-02T12:05:00Z"
    coupon = await rehearsed.coupon(now=noon)
    await rehearsed.coupon(now=noon)
    shown = {"choose": "best", "member_code": await rehearsed.member_code(now=noon)}
    done = await rehearsed.redeem(**shown, now=noon, idem="k1")
    assert done.status == 201, done.json
    assert (await rehearsed.quote(**shown, now=later)).code == "code_expired"
    again = await rehearsed.redeem(**shown, now=later, idem="k1")
    assert (again.status, again.json) == (201, done.json)
    refused = await rehearsed.redeem(**shown, now=later, idem="k2")
    assert (refused.status, refused.code) == (409, "code_expired")
    assert coupon


async def test_many_at_once_never_share_a_coupon(counter: Counter) -> None:
    """Searched again where another was quicker; each coupon is used once, each answer is whole."""
    campaign = await counter.campaign("off 2000 per_user 6")
    for _ in range(6):
        assert (await counter.claim(campaign)).status == 201
    whose = {"choose": "best", "user_id": counter.user()}
    answers = await asyncio.gather(*(counter.redeem(**whose) for _ in range(8)))
    done = [answer.json for answer in answers if answer.status == 201]
    used = [item["coupon_id"] for body in done for item in body["applied"]]
    assert len(used) == len(set(used)) == len(done)
    assert all(body["discount"] == 2000 for body in done)
    assert {answer.status for answer in answers} <= {201, 409, 503}
    while len(used) < 6:
        more = await counter.redeem(**whose)
        assert more.status == 201, more.json
        used += [item["coupon_id"] for item in more.json["applied"]]
    assert (await counter.redeem(**whose)).code == "no_effect"
