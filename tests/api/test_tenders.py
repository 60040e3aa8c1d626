"""Passes, stored value and points over HTTP: told as they are, given back, never overspent."""

from __future__ import annotations

import asyncio
from typing import Any

from tests.api.counter import Counter
from tests.api.server import Answer

CARD: dict[str, Any] = {
    "kind": "stored_value", "benefit": {"type": "stored_value", "amount": 10_000},
}  # fmt: skip
PASS: dict[str, Any] = {"kind": "pass", "usage": {"uses": 3}}


def basket(amount: int) -> dict[str, Any]:
    return {"basket": {"amount": amount}}


async def earn(counter: Counter, points: int, idem: str = "e1") -> None:
    body = {"user_id": counter.user(), "points": points, "reason": "gift", "ref": "r"}
    answer = await counter.api.post("/v1/points/earn", body, idem=f"{counter.mark}{idem}")
    assert answer.status == 201, answer.json


async def purse(counter: Counter) -> int:
    answer = await counter.api.get(f"/v1/users/{counter.user()}/points")
    return int(answer.json["balance"]) - int(answer.json["held"])


async def shown(counter: Counter, coupon_id: str) -> tuple[str, int, int | None]:
    """(status, uses_left, balance), the same wherever it is read."""
    one = (await counter.api.get(f"/v1/coupons/{coupon_id}")).json
    listed = (await counter.api.get(f"/v1/users/{counter.user()}/coupons")).json["items"]
    other = next(item for item in listed if item["id"] == coupon_id)
    told = (one["status"], one["uses_left"], one["balance"])
    assert told == (other["status"], other["uses_left"], other["balance"])
    return told


async def give_back(counter: Counter, redemption_id: str, **body: Any) -> Answer:
    path = f"/v1/redemptions/{redemption_id}/reversals"
    return await counter.api.post(path, {"reason": "returned", **body})


def paid(answer: Answer) -> list[tuple[str, int]]:
    return [(tender["type"], tender["amount"]) for tender in answer.json["tenders"]]


async def test_a_pass_is_shown_and_told_by_its_uses(counter: Counter) -> None:
    claim = await counter.claim(await counter.campaign("off 100", **PASS))
    assert (claim.json["kind"], claim.json["uses_left"], claim.json["balance"]) == ("pass", 3, None)
    card = claim.json["id"]
    quote = await counter.quote(card)
    assert quote.json["applied"][0]["uses_left"] == 2
    done = await counter.redeem(card)
    assert done.json["applied"][0]["uses_left"] == 2
    held = await counter.redeem(card, mode="hold")
    assert await shown(counter, card) == ("issued", 1, None)
    back = await give_back(counter, done.json["id"])
    assert back.json["coupons"][0]["returned"] is True
    assert back.json["coupons"][0]["status"] == "issued"
    assert await shown(counter, card) == ("issued", 2, None)
    await counter.redeem(card)
    await counter.redeem(card)
    status, left, _ = await shown(counter, card)
    assert (status, left) == ("held", 0)
    assert (await counter.redeem(card)).code == "held"
    await counter.api.post(f"/v1/redemptions/{held.json['id']}/commit", {})
    assert await shown(counter, card) == ("redeemed", 0, None)
    history: list[dict[str, Any]] = []
    while len(history) < 7:  # the writer is on its way
        await asyncio.sleep(0.02)
        history = (await counter.api.get(f"/v1/coupons/{card}/history")).json["items"]
    assert [act["type"] for act in history] == [
        "claimed", "redeemed", "held", "reversed", "redeemed", "redeemed", "committed",
    ]  # fmt: skip


async def test_what_was_withdrawn_of_a_pass_is_not_handed_back(counter: Counter) -> None:
    """The money goes back; the till is not told that the coupon has."""
    card = await counter.coupon("off 100", **PASS)
    done, other = await counter.redeem(card), await counter.redeem(card)
    some = await give_back(counter, other.json["id"], lines=[{"id": "1", "amount": 11900}])
    assert some.json["coupons"][0] == {
        "coupon_id": card, "discount_back": 50, "returned": False,
    }  # fmt: skip
    await counter.api.post(f"/v1/coupons/{card}/void", {"reason": "a wrong batch"})
    back = await give_back(counter, done.json["id"])
    assert (back.json["discount_back"], back.json["coupons"][0]["returned"]) == (100, False)
    assert back.json["say"] == "Reversed: 237.00 to refund."
    assert await shown(counter, card) == ("voided", 0, None)


async def test_stored_value_pays_after_discounts_and_comes_back_in_proportion(
    counter: Counter,
) -> None:
    claim = await counter.claim(await counter.campaign(**CARD))
    assert (claim.json["kind"], claim.json["balance"]) == ("stored_value", 10_000)
    card, off = claim.json["id"], await counter.coupon("off 1000")
    quote = await counter.quote(card, off, **basket(5000))
    done = await counter.redeem(card, off, **basket(5000), idem="k1")
    for answer in (quote, done):
        assert answer.json["payable"] == 0
        assert (answer.json["discount"], answer.json["tendered"]) == (1000, 4000)
        assert answer.json["tenders"] == [
            {"type": "stored_value", "amount": 4000, "coupon_id": card,
             "campaign_id": claim.json["campaign_id"], "balance": 6000}
        ]  # fmt: skip
    assert "储值" in (await counter.quote(card, headers={"Accept-Language": "zh-CN"})).json["say"]
    held = await counter.redeem(card, **basket(9000), mode="hold", idem="h1")
    assert (held.json["payable"], held.json["tendered"]) == (3000, 6000)
    assert await shown(counter, card) == ("held", 0, 0)
    path = f"/v1/redemptions/{held.json['id']}/commit"
    much = await counter.api.post(path, {"amount": 6001})
    assert (much.status, much.code, much.json["field"]) == (409, "more_than_redeemed", "amount")
    assert much.json["say"] == "More than was set aside to pay with."
    commit = await counter.api.post(path, {"amount": 2500}, idem="c1")
    assert (commit.json["tendered"], commit.json["payable"]) == (2500, 6500)
    again = await counter.redeem(card, **basket(9000), mode="hold", idem="h1")
    assert again.json == held.json
    assert (await shown(counter, card))[2] == 3500
    back = await give_back(counter, done.json["id"], lines=[{"id": "1", "amount": 1250}])
    assert back.json["lines"] == [
        {"id": "1", "gross": 1250, "discount_back": 250, "tendered_back": 1000, "refund": 0}
    ]
    assert (back.json["refund"], back.json["points_back"]) == (0, 0)
    assert back.json["tenders"] == [{"type": "stored_value", "amount": 1000, "coupon_id": card}]
    assert (await shown(counter, card))[2] == 4500
    look = await counter.api.get(f"/v1/redemptions/{done.json['id']}")
    assert (look.json["tendered_back"], look.json["refunded"]) == (1000, 0)


async def test_customers_own_money_is_spent_only_when_asked(counter: Counter) -> None:
    card = await counter.coupon(**CARD)
    off = await counter.coupon("off 1000")
    await earn(counter, 3000)
    whose = {"choose": "best", "user_id": counter.user(), **basket(12_000)}
    free = await counter.quote(**whose)
    assert (free.json["discount"], free.json["tenders"]) == (1000, [])
    assert [(s["coupon_id"], s["code"]) for s in free.json["skipped"]] == [(card, "no_effect")]
    every = {"use": ["free", "stored_value", "points"]}
    quote = await counter.quote(**whose, **every)
    assert paid(quote) == [("stored_value", 10_000), ("points", 1000)]
    assert quote.json["payable"] == 0
    only = await counter.quote(**whose, use=["stored_value"])
    assert (only.json["discount"], paid(only)) == (0, [("stored_value", 10_000)])
    done = await counter.redeem(**whose, **every, idem="k1")
    assert (done.status, done.json["tenders"]) == (201, quote.json["tenders"])
    assert (await counter.redeem(**whose, **every, idem="k1")).json == done.json
    assert await purse(counter) == 2000
    named = await counter.quote(off, use=["points"])  # asked for, though nothing is to be chosen
    assert paid(named) == [("points", 2000)]
    nulls = {"coupons": None, "use": None, "basket": {"amount": 12_000, "lines": None}}
    assert (await counter.quote(**whose | nulls)).json["discount"] == 0  # used above; no card
    alone = await counter.redeem(user_id=counter.user(), points=500, **basket(400))
    assert paid(alone) == [("points", 400)]
    short = await counter.redeem(user_id=counter.user(), points=1601, **basket(4000))
    assert (short.status, short.code, short.json["short_by"]) == (409, "points_insufficient", 1)
    chosen = await counter.redeem(choose="best", user_id=counter.user(), points=9999)
    assert (chosen.status, chosen.code) == (409, "points_insufficient")
    nobody = await counter.redeem(points=5)
    assert (nobody.status, nobody.json["field"]) == (400, "user_id")
    till = await counter.redeem(user_id=counter.user(), points=5, key=counter.till())
    assert (till.status, till.code) == (403, "forbidden")
    photo = {"code": await counter.code(await counter.coupon("off 100"))}
    for policy, status in (("best_effort", 403), ("all", 201)):
        by_coupon = await counter.redeem(photo, points=5, policy=policy, key=counter.till())
        assert by_coupon.status == status, by_coupon.json
    again = await counter.redeem(photo, points=5, policy="best_effort", key=counter.till())
    assert (again.status, again.json["field"]) == (403, "points")
    member = await counter.member_code()
    ok = await counter.redeem(member_code=member, points=5, key=counter.till())
    assert paid(ok) == [("points", 5)]
    used = await counter.redeem(member_code=member, points=5, key=counter.till())
    assert (used.status, used.code) == (409, "code_used")
    back = await give_back(counter, alone.json["id"])
    assert (back.json["points_back"], back.json["refund"]) == (400, 0)


async def test_a_quote_counts_what_its_own_hold_set_aside(counter: Counter) -> None:
    one = await counter.campaign("off 1000", stock={"total": 10, "budget": 1000})
    coupon = (await counter.claim(one)).json["id"]
    card = await counter.coupon(**CARD)
    await earn(counter, 100)
    mine = {"mode": "hold", "order_ref": "o1", "points": 100, **basket(12_000)}
    held = await counter.redeem(coupon, card, **mine)
    assert held.json["payable"] == 900, held.json
    quote = await counter.quote(coupon, card, **mine)
    assert (quote.json["discount"], paid(quote)) == (
        1000, [("stored_value", 10_000), ("points", 100)],
    )  # fmt: skip
    best = await counter.quote(
        choose="best", user_id=counter.user(), use=["free", "stored_value", "points"], **mine
    )
    assert (best.json["discount"], paid(best)) == (quote.json["discount"], paid(quote))
    other = await counter.quote(coupon, **{**mine, "order_ref": "o2", "points": 0})
    assert other.json["skipped"][0]["code"] == "held"
    again = await counter.redeem(coupon, card, **mine)
    assert again.json["payable"] == 900


async def test_no_card_goes_below_nothing_and_no_pass_over_its_uses(counter: Counter) -> None:
    """On one cell; ``test_concurrency`` has it on four, and asks ``reconcile``."""
    await nothing_is_spent_twice(counter)


async def nothing_is_spent_twice(counter: Counter) -> None:
    """Two channels at the same moment: redemptions, and holds that are then committed."""
    card = await counter.coupon(**CARD)
    often = await counter.coupon("off 100", **PASS)
    await earn(counter, 1000)

    async def pay(n: int) -> Answer:
        hold = {"mode": "hold"} if n % 2 else {}
        if n % 3 == 0:
            answer = await counter.redeem(card, **basket(2500), **hold)
        elif n % 3 == 1:
            answer = await counter.redeem(often, **basket(2500), **hold)
        else:
            who = {"user_id": counter.user(), "points": 300}
            answer = await counter.redeem(**who, **basket(300), **hold)
        if answer.status == 201 and hold:
            await counter.api.post(f"/v1/redemptions/{answer.json['id']}/commit", {})
        return answer

    answers = await asyncio.gather(*(pay(n) for n in range(24)))
    by_kind = [[a for n, a in enumerate(answers) if n % 3 == kind] for kind in range(3)]
    assert sum(sum(t["amount"] for t in a.json.get("tenders", [])) for a in by_kind[0]) == 10_000
    assert sum(a.status == 201 for a in by_kind[1]) == 3
    assert sum(a.status == 201 for a in by_kind[2]) == 3
    assert await purse(counter) == 100
    assert await shown(counter, card) == ("redeemed", 0, 0)
    assert await shown(counter, often) == ("redeemed", 0, None)
