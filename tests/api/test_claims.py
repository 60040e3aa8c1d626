"""Claims, offers and coupons over HTTP: shapes, fields, who may."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.api.counter import Counter

COUPON_FIELDS = """
    id campaign_id terms_revision user_id kind status issued_at valid_from valid_until uses_left
    balance channel source metadata
"""


async def test_a_claim_shows_the_whole_coupon(counter: Counter) -> None:
    """201, and the coupon can be read again as it was answered."""
    campaign = await counter.campaign("minutes 60")
    body = {
        "campaign_id": campaign,
        "user_id": counter.user(),
        "channel": "mini-program",
        "source": {"entry": "banner", "inviter": "u9"},
        "metadata": {"note": "午餐", "nested": {"list": [1, 2.5, None]}},
    }
    key = counter.server.key("storefront")
    answer = await counter.api.post("/v1/claims", body, key=key)
    assert answer.status == 201, answer.json
    coupon = answer.json
    assert list(coupon) == COUPON_FIELDS.split()
    assert coupon["source"] == body["source"]
    assert coupon["metadata"] == body["metadata"]
    assert (coupon["kind"], coupon["status"], coupon["uses_left"]) == ("coupon", "issued", 1)
    assert coupon["issued_at"] == coupon["valid_from"] < coupon["valid_until"]
    again = await counter.api.get(f"/v1/coupons/{coupon['id']}", key=key)
    assert again.json == coupon


async def test_a_repeat_is_byte_for_byte_the_first_answer(counter: Counter) -> None:
    """Whatever became of the coupon since."""
    campaign = await counter.campaign()
    first = await counter.claim(campaign, idem="k1")
    assert (await counter.redeem(first.json["id"])).status == 201
    second = await counter.claim(campaign, idem="k1")
    assert (second.status, second.replayed) == (201, True)
    assert second.content == first.content
    assert not first.replayed


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"user_id": None}, "user_id"),
        ({"user_id": "a b"}, "user_id"),
        ({"user_id": "x" * 65}, "user_id"),
        ({"user_id": "line\n"}, "user_id"),
        ({"campaign_id": None}, "campaign_id"),
        ({"channel": None}, "channel"),
        ({"source": {"entry": "x" * 65}}, "source"),
        ({"source": {"entry": 7}}, "source"),
        ({"source": {f"k{n}": "x" for n in range(17)}}, "source"),
        ({"metadata": {"big": "x" * 5000}}, "metadata"),
        ({"metadata": {"number": 10**30}}, "metadata"),
        ({"surprise": 1}, "surprise"),
    ],
    ids=str,
)
async def test_a_wrong_field_is_named(
    counter: Counter, change: dict[str, object], field: str
) -> None:
    """400 invalid_request, and nothing is written."""
    body: dict[str, object] = {"campaign_id": "c", "user_id": "u", "channel": "app"} | change
    sent = {name: value for name, value in body.items() if value is not None}
    answer = await counter.api.post("/v1/claims", sent)
    assert (answer.status, answer.code) == (400, "invalid_request")
    assert field in answer.json.get("field", "") + answer.json["detail"], answer.json


async def test_what_is_not_there(counter: Counter) -> None:
    """404 for campaigns, coupons and redemptions nobody made, well spelled or not."""
    other = await counter.coupon()
    assert (await counter.claim("nowhere")).code == "not_found"
    for coupon_id in ("nowhere", other[:-1] + ("0" if other[-1] != "0" else "1"), "R" + other[1:]):
        for path in ("", "/code"):
            answer = await counter.api.get(f"/v1/coupons/{coupon_id}{path}")
            assert answer.code == "not_found", (path, answer.json)
        voided = await counter.api.post(f"/v1/coupons/{coupon_id}/void", {"reason": "x"})
        assert voided.code == "not_found"
        assert (await counter.redeem(coupon_id)).code == "not_found"
        assert (await counter.quote(coupon_id)).code == "not_found"


async def test_the_member_code_stands_for_the_user(rehearsed: Counter) -> None:
    """It counts as that person in the receipt too; stale or forged it is refused."""
    campaign = await rehearsed.campaign("per_user 2")
    noon, later = "2026-03-02T12:00:00Z", "2026-03-02T12:02:00Z"
    first = await rehearsed.claim(campaign, idem="k1", now=noon)
    code = await rehearsed.member_code(now=noon)
    body = {"campaign_id": campaign, "member_code": code, "channel": "app"}
    again = await rehearsed.api.post("/v1/claims", body, idem="k1", now=noon)
    assert (again.content, again.replayed) == (first.content, True)
    both = body | {"user_id": rehearsed.user("u2")}
    answer = await rehearsed.api.post("/v1/claims", both, now=noon)
    assert answer.code == "different_owners"
    stale = await rehearsed.api.post("/v1/claims", body, now=later)
    assert stale.code == "code_expired"
    resent = await rehearsed.api.post("/v1/claims", body, idem="k1", now=later)
    assert (resent.content, resent.replayed) == (first.content, True)
    for wrong in ("junk", await rehearsed.code(first.json["id"], now=noon)):
        forged = await rehearsed.api.post("/v1/claims", body | {"member_code": wrong}, now=noon)
        assert forged.code == "code_invalid"
    new = await rehearsed.member_code("new", now=noon)
    first = await rehearsed.api.post("/v1/claims", body | {"member_code": new}, now=noon)
    assert (first.status, first.json["user_id"]) == (201, rehearsed.user("new"))


async def test_offers_answer_for_a_whole_page(counter: Counter) -> None:
    """One line a campaign in the order asked, with what is mine and what is left."""
    open_one = await counter.campaign("stock 5 per_user 1")
    gone = await counter.campaign("stock 0")
    later = await counter.campaign("start 2099-01-01T00:00:00Z")
    assert (await counter.claim(open_one)).status == 201
    asked = [later, open_one, gone, "nowhere"]
    body = {"user_id": counter.user(), "campaign_ids": asked}
    answer = await counter.api.post("/v1/offers", body)
    assert answer.status == 200, answer.json
    assert answer.json["server_time"].endswith("Z")
    items = answer.json["items"]
    assert [item["campaign_id"] for item in items] == asked
    assert [item.get("code") for item in items] == [
        "not_started",
        "user_limit",
        "sold_out",
        "not_found",
    ]
    assert [item["claimable"] for item in items] == [False] * 4
    assert items[0]["opens_at"] == "2099-01-01T00:00:00.000Z"
    assert (items[1]["mine"], items[1]["left"]) == (1, 4)
    other = await counter.api.post("/v1/offers", body | {"user_id": counter.user("u2")})
    assert other.json["items"][1]["claimable"] is True
    too_many = body | {"campaign_ids": ["c"] * 51}
    assert (await counter.api.post("/v1/offers", too_many)).code == "invalid_request"


async def test_terms_are_those_of_the_issue(counter: Counter) -> None:
    """A coupon keeps what it was issued under; ?expand=terms says it in the caller's language."""
    campaign = await counter.campaign("off 2000 min_spend 10000 stores s1")
    first = (await counter.claim(campaign)).json
    change = {"benefit": {"type": "amount_off", "amount": 500}}
    patched = await counter.api.patch(f"/v1/campaigns/{campaign}", change)
    assert patched.status == 200, patched.json
    second = (await counter.claim(campaign)).json
    assert second["terms_revision"] > first["terms_revision"]
    path = f"/v1/coupons/{first['id']}?expand=terms"
    english = await counter.api.get(path)
    rules = {rule["code"]: rule["text"] for rule in english.json["rules"]}
    assert "20" in rules["amount_off"]
    assert {"min_spend", "stores", "validity", "stacking", "uses"} <= set(rules)
    chinese = await counter.api.get(path, headers={"Accept-Language": "zh-CN"})
    assert "立减" in {rule["code"]: rule["text"] for rule in chinese.json["rules"]}["amount_off"]
    assert (await counter.redeem(first["id"])).json["discount"] == 2000
    assert (await counter.redeem(second["id"])).json["discount"] == 500


async def test_history_tells_every_act(counter: Counter) -> None:
    """Oldest first, with who and when, once the books have it."""
    coupon = await counter.coupon()
    actor = {"Hexiao-Actor": "wang"}
    till = counter.till()
    held = await counter.redeem(
        {"code": await counter.code(coupon)}, mode="hold", staff_id="08", key=till
    )
    done = held.json["id"]
    assert (await counter.api.post(f"/v1/redemptions/{done}/commit", {}, key=till)).status == 200
    reversal = await counter.api.post(
        f"/v1/redemptions/{done}/reversals", {"reason": "returned"}, headers=actor
    )
    assert reversal.status == 201, reversal.json
    void = {"reason": "a mistake"}
    assert (await counter.api.post(f"/v1/coupons/{coupon}/void", void)).status == 200
    items = await _history(counter, coupon, 5)
    assert [item["type"] for item in items] == [
        "claimed",
        "held",
        "committed",
        "reversed",
        "voided",
    ]
    assert items[1]["who"]["role"] == "terminal"
    assert items[1]["who"]["staff"] == "08"
    assert items[3]["who"]["actor"] == "wang"
    assert (items[3]["reason"], items[3]["returned"], items[3]["discount"]) == (
        "returned",
        True,
        2000,
    )
    assert items[1]["store_id"] == "s1"
    assert [item["at"] for item in items] == sorted(item["at"] for item in items)


async def _history(counter: Counter, coupon: str, count: int) -> list[dict[str, Any]]:
    for _ in range(200):
        answer = await counter.api.get(f"/v1/coupons/{coupon}/history")
        assert answer.status == 200, answer.json
        if len(answer.json["items"]) >= count:
            return list(answer.json["items"])
        await asyncio.sleep(0.05)
    raise AssertionError(f"the books have only {answer.json}")
