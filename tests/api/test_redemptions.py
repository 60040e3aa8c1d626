"""Redemptions over HTTP: shapes, who may name what, baskets, what is not built, look-ups."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.api.counter import BASKET, Counter

ANSWER_FIELDS = """
    id status amount discount tendered payable applied tenders skipped store_id channel order_ref
    at say
"""


async def test_the_contracts_example(counter: Counter) -> None:
    """A code at a till, in the contract's shape to the letter."""
    coupon = await counter.coupon("off 2000 min_spend 10000 stores s1,s2")
    body = {
        "coupons": [{"code": await counter.code(coupon)}],
        "user_id": None,
        "points": 0,
        "store_id": "s1",
        "terminal_id": "t9",
        "staff_id": "08",
        "channel": "cashier",
        "order_ref": "POS-778",
        "basket": {
            "amount": 23800,
            "lines": [
                {"id": "1", "sku": "n1", "category": "dining", "quantity": 2, "amount": 23800}
            ],
        },
        "mode": "commit",
        "hold_seconds": None,
        "policy": "all",
        "choose": None,
        "use": ["free"],
    }
    answer = await counter.api.post("/v1/redemptions", body, key=counter.till())
    assert answer.status == 201, answer.json
    done = answer.json
    assert list(done) == ANSWER_FIELDS.split()
    assert done["applied"] == [
        {
            "coupon_id": coupon,
            "campaign_id": done["applied"][0]["campaign_id"],
            "discount": 2000,
            "lines": [{"id": "1", "discount": 2000}],
            "uses_left": 0,
        }
    ]
    assert (done["amount"], done["discount"], done["payable"]) == (23800, 2000, 21800)
    assert done["say"] == "Redeemed: 20.00 off, 218.00 to pay."
    assert (done["tenders"], done["skipped"], done["tendered"]) == ([], [], 0)


async def test_it_speaks_chinese(counter: Counter) -> None:
    """The sentence for the person in front of the screen, in success and refusal."""
    coupon = await counter.coupon()
    chinese = {"Accept-Language": "zh-CN,zh;q=0.9"}
    done = await counter.redeem(coupon, headers=chinese)
    assert "核销成功" in done.json["say"]
    assert "218.00" in done.json["say"]
    again = await counter.redeem(coupon, headers=chinese)
    assert again.json["say"] == again.json["detail"]
    assert "已核销" in again.json["say"]


async def test_an_exchange_says_what_to_hand_over(counter: Counter) -> None:
    """No money moves; the item and its worth are told."""
    coupon = await counter.coupon("exchange coffee:1500")
    done = await counter.redeem(coupon, basket=None)
    assert done.status == 201, done.json
    (applied,) = done.json["applied"]
    assert (applied["item"], applied["value"], applied["discount"]) == ("coffee", 1500, 0)
    assert done.json["say"] == "Redeemed: hand over coffee."
    ticket = await counter.coupon(benefit={"type": "admission", "value": 3000})
    quote = await counter.quote(ticket, basket=None, headers={"Accept-Language": "zh"})
    assert quote.json["say"] == "可优惠:可入场 1 人次。"
    done = await counter.redeem(ticket, basket=None)
    assert (done.json["applied"][0]["value"], done.json["say"]) == (3000, "Redeemed: let 1 in.")


class TestTerminals:
    """Bound to a store; they name what they were shown."""

    async def test_the_store_is_theirs(self, counter: Counter) -> None:
        """Absent = theirs; another = forbidden."""
        till = counter.till("s2")
        code = {"code": await counter.code(await counter.coupon())}
        assert (await counter.redeem(code, key=till, store_id="s1")).code == "forbidden"
        done = await counter.redeem(code, key=till, store_id=None)
        assert (done.status, done.json["store_id"]) == (201, "s2")

    async def test_ids_only_with_the_members_code(self, counter: Counter) -> None:
        """A cashier can't redeem what nobody has shown."""
        till = counter.till()
        mine, theirs = await counter.coupon(), await counter.coupon(user="u2")
        assert (await counter.redeem(mine, key=till)).code == "forbidden"
        named = {"user_id": counter.user(), "key": till}
        assert (await counter.redeem(mine, **named)).code == "forbidden"
        code = await counter.member_code()
        wrong = await counter.redeem(theirs, member_code=code, key=till)
        assert wrong.code == "different_owners"
        assert (await counter.redeem(mine, member_code="junk", key=till)).code == "code_invalid"
        assert (await counter.quote(mine, key=till)).code == "forbidden"
        assert (await counter.redeem(mine, member_code=code, key=till)).status == 201

    async def test_a_member_code_is_spent_by_a_success_only(self, counter: Counter) -> None:
        """The same picture does not serve twice; a refusal leaves it good."""
        till, code = counter.till(), await counter.member_code()
        first, second = await counter.coupon("min_spend 99999"), await counter.coupon()
        shown = {"member_code": code, "key": till}
        assert (await counter.redeem(first, **shown)).code == "min_spend"
        assert (await counter.redeem(second, **shown)).status == 201
        third = await counter.coupon()
        again = await counter.redeem(third, **shown)
        if await counter.member_code() == code:  # unless the step has just turned
            assert again.code == "code_used"

    async def test_ids_where_the_settings_allow(self, counter: Counter) -> None:
        """settings.terminal_ids opens ids to tills."""
        _, key = counter.server.new_mall()
        own = type(counter)(counter.server, counter.api)
        headers = {"Authorization": f"Bearer {key}"}
        for path, body in (
            ("/v1/merchants/m1", {"name": "m"}),
            ("/v1/stores/s1", {"name": "s", "merchant_id": "m1"}),
        ):
            put = await counter.api.put(path, body, headers=headers)
            assert put.status == 200, put.json
        settings = {"terminal_ids": True}
        patched = await counter.api.patch("/v1/settings", settings, headers=headers)
        assert patched.status == 200, patched.json
        campaign = {
            "id": "c",
            "name": "c",
            "kind": "coupon",
            "benefit": {"type": "amount_off", "amount": 500},
            "stock": {"total": 1},
            "validity": {"type": "fixed"},
        }
        made = await own.api.post("/v1/campaigns", campaign, headers=headers)
        assert made.status == 201, made.json
        body = {"campaign_id": "c", "user_id": "u1", "channel": "app"}
        coupon = (await own.api.post("/v1/claims", body, headers=headers)).json["id"]
        terminal = {"role": "terminal", "label": "t", "store_id": "s1"}
        till = (await own.api.post("/v1/keys", terminal, headers=headers)).json["key"]
        for _ in range(50):
            done = await counter.redeem(coupon, key=till)
            if done.status == 201:
                return
            await asyncio.sleep(0.05)
        raise AssertionError(done.json)

    async def test_other_stores_business(self, counter: Counter) -> None:
        """Commit, release, reverse and look-ups are for the store it happened in."""
        there = counter.till("s2")
        held = await counter.redeem(await counter.coupon(), mode="hold")
        path = f"/v1/redemptions/{held.json['id']}"
        for verb, body in (("commit", {}), ("release", {}), ("reversals", {"reason": "x"})):
            answer = await counter.api.post(f"{path}/{verb}", body, key=there)
            assert answer.code == "forbidden", verb
        assert (await counter.api.get(path, key=there)).code == "forbidden"
        here = counter.till("s1")
        assert (await counter.api.post(f"{path}/commit", {}, key=here)).status == 200
        assert (await counter.api.get(path, key=here)).json["status"] == "redeemed"
        desk = counter.server.key("desk")
        body = {"reason": "x"}
        assert (await counter.api.post(f"{path}/reversals", body, key=desk)).status == 201


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"points": -1}, "points"),
        ({"store_id": None}, "store_id"),
        ({"hold_seconds": 60}, "hold_seconds"),
        ({"mode": "hold", "hold_seconds": 7201}, "hold_seconds"),
        ({"mode": "hold", "hold_seconds": 0}, "hold_seconds"),
        ({"mode": "later"}, "mode"),
        ({"policy": "some"}, "policy"),
        ({"basket": {"amount": 1, "lines": [{"amount": 2}]}}, "basket.amount"),
        ({"basket": {"lines": [{"amount": -1}]}}, "basket.lines[0].amount"),
        ({"basket": {"lines": [{"amount": 1, "quantity": 0}]}}, "basket.lines[0].quantity"),
        ({"basket": {"lines": [{"amount": 1.5}]}}, "basket.lines[0].amount"),
        ({"basket": {"lines": [{"id": "a", "amount": 1}, {"id": "a", "amount": 1}]}}, "basket"),
        ({"basket": {"amount": 10**11 + 1}}, "basket.amount"),
        ({"coupons": []}, "coupons"),
        ({"coupons": [{}]}, "coupons[0]"),
        ({"coupons": [{"id": "x", "code": "x"}]}, "coupons[0]"),
        ({"order_ref": "x" * 129}, "order_ref"),
        ({"order_ref": "a\0b"}, "order_ref"),
        ({"staff_id": "a\nb"}, "staff_id"),
    ],
    ids=str,
)
async def test_a_wrong_field_is_named(counter: Counter, change: dict[str, Any], field: str) -> None:
    """400 for what is wrong or not built, before anything is looked up; the same in a quote."""
    body = {"coupons": [{"id": "x"}], "store_id": "s1", "basket": BASKET} | change
    for path in ("/v1/redemptions", "/v1/quotes"):
        if field == "store_id" and path == "/v1/quotes":
            continue  # a quote may leave the store open
        answer = await counter.api.post(path, body)
        assert (answer.status, answer.code) == (400, "invalid_request"), (path, answer.json)
        assert answer.json["field"].startswith(field)
        assert answer.json["say"]


async def test_a_coupon_named_twice(counter: Counter) -> None:
    """By id and by code, or by two codes: it is one coupon."""
    coupon = await counter.coupon()
    code = {"code": await counter.code(coupon)}
    static = {"code": await counter.code(coupon, "static")}
    for refs in ((coupon, code), (code, static), (coupon, coupon)):
        answer = await counter.redeem(*refs)
        assert (answer.status, answer.json["field"]) == (400, "coupons[1]")


async def test_two_codes_of_one_coupon_are_the_same_request(counter: Counter) -> None:
    """A retry by id, by static code or by a fresh code finds the first answer."""
    coupon = await counter.coupon()
    first = await counter.redeem({"code": await counter.code(coupon)}, idem="k1")
    assert first.status == 201, first.json
    for ref in (
        {"code": await counter.code(coupon)},
        {"code": await counter.code(coupon, "static")},
        {"id": coupon},
    ):
        again = await counter.redeem(ref, idem="k1")
        assert (again.status, again.replayed) == (201, True)
        assert again.content == first.content
    other = await counter.redeem(coupon, await counter.coupon(), idem="k1")
    assert other.code == "idempotency_key_reused"


async def test_codes_that_are_none(counter: Counter) -> None:
    """One refuses the whole; under best_effort it counts as not sent."""
    good = {"code": await counter.code(await counter.coupon())}
    member = {"code": await counter.member_code()}  # a member's code is no coupon's
    refused = await counter.redeem(good, {"code": "junk"})
    assert (refused.status, refused.code) == (409, "code_invalid")
    assert refused.json["field"] == "coupons[1].code"
    none = await counter.redeem({"code": "junk"}, member, policy="best_effort")
    assert none.code == "code_invalid"
    first = await counter.redeem(good, {"code": "junk"}, policy="best_effort", idem="k1")
    assert first.status == 201, first.json
    (skipped,) = first.json["skipped"]
    assert (skipped["coupon_id"], skipped["code"]) == (None, "code_invalid")
    again = await counter.redeem(good, {"code": "junk"}, policy="best_effort", idem="k1")
    assert (again.content, again.replayed) == (first.content, True)


async def test_different_owners(counter: Counter) -> None:
    """Judged before any state: coupons, user and member code must name one person."""
    mine, theirs = await counter.coupon(), await counter.coupon(user="u2")
    user, other = counter.user(), counter.user("u2")
    for refs, more in (
        ((mine, theirs), {}),
        ((mine,), {"user_id": other}),
        ((mine,), {"member_code": await counter.member_code("u2")}),
        ((mine,), {"user_id": user, "member_code": await counter.member_code("u2")}),
    ):
        assert (await counter.redeem(*refs, **more)).code == "different_owners"
        assert (await counter.quote(*refs, **more)).code == "different_owners"
    assert (await counter.redeem(mine, user_id=user)).status == 201


async def test_a_till_commits_what_was_tendered_and_no_deductions(counter: Counter) -> None:
    """Nothing was: no amount but 0; deductions go with parking payments."""
    held = await counter.redeem(await counter.coupon(), mode="hold")
    path = f"/v1/redemptions/{held.json['id']}/commit"
    for field, value, status in (("amount", 100, 409), ("deductions", [], 400)):
        answer = await counter.api.post(path, {field: value})
        assert (answer.status, answer.json["field"]) == (status, field)
    assert (await counter.api.post(path, {"amount": 0})).status == 200


async def test_looking_up(counter: Counter) -> None:
    """By id from Redis at once; by what is known of it from the books."""
    order = f"POS-{counter.mark}"
    coupon = await counter.coupon()
    done = await counter.redeem(coupon, order_ref=order, terminal_id="t9", staff_id="08")
    redemption = done.json["id"]
    line = {"reason": "x", "lines": [{"id": "1", "amount": 11900}]}
    reversal = await counter.api.post(f"/v1/redemptions/{redemption}/reversals", line)
    assert reversal.status == 201, reversal.json
    live = (await counter.api.get(f"/v1/redemptions/{redemption}")).json
    assert (live["status"], live["discount_back"], live["refunded"]) == ("redeemed", 1000, 10900)
    assert [one["id"] for one in live["reversals"]] == [reversal.json["id"]]
    assert (live["staff_id"], live["terminal_id"]) == ("08", "t9")
    for query in (f"order_ref={order}", f"coupon_id={coupon}"):
        found = await _found(counter, query)
        assert found == [live], query
    till, elsewhere = counter.till("s1"), counter.till("s2")
    assert len(await _found(counter, f"order_ref={order}&terminal_id=t9", till)) == 1
    nobody = await counter.api.get(f"/v1/redemptions?order_ref={order}", key=elsewhere)
    assert nobody.json["items"] == []
    at = live["at"]
    for query, count in ((f"from={at}", 1), (f"to={at}", 0)):
        answer = await counter.api.get(f"/v1/redemptions?order_ref={order}&{query}")
        assert len(answer.json["items"]) == count, query
    wrong = await counter.api.get("/v1/redemptions?from=yesterday")
    assert wrong.json["field"] == "from"


async def _found(counter: Counter, query: str, key: str | None = None) -> list[dict[str, Any]]:
    """What the books find, once they have the reversal."""
    for _ in range(200):
        answer = await counter.api.get(f"/v1/redemptions?{query}", key=key)
        assert answer.status == 200, answer.json
        items: list[dict[str, Any]] = answer.json["items"]
        if items and items[0]["reversals"]:
            return items
        await asyncio.sleep(0.05)
    raise AssertionError(f"nothing found by {query}")


async def test_a_refusal_says_until_when(rehearsed: Counter) -> None:
    """Of what is set aside, until when (the first of several holds); of what is too early, when."""
    noon, later = "2026-03-02T12:00:00.000Z", "2026-03-02T12:05:00.000Z"
    coupon = await rehearsed.coupon(now=noon)
    held = await rehearsed.redeem(coupon, mode="hold", hold_seconds=300, now=noon)
    refused = await rehearsed.redeem(coupon, now=noon)
    assert (refused.code, refused.json["until"]) == ("held", later)
    assert held.json["until"] == later

    ticket = await rehearsed.coupon(now=noon, kind="pass", usage={"uses": 2})
    for seconds in (600, 300):
        await rehearsed.redeem(ticket, mode="hold", hold_seconds=seconds, now=noon)
    refused = await rehearsed.redeem(ticket, now=noon)
    assert (refused.code, refused.json["until"]) == ("held", later)

    early = await rehearsed.coupon("delay 5", now=noon)
    refused = await rehearsed.redeem(early, now=noon)
    assert (refused.code, refused.json["retry_at"]) == ("not_yet_valid", later)
