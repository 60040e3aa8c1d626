"""Paying for parking over HTTP: what is taken off, once, for whom, and what is left to pay."""

from __future__ import annotations

import asyncio
import csv
import io
import secrets
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import pytest

from tests.api.counter import Counter
from tests.api.server import Answer, Api, ApiServer
from tests.api.test_concurrency import at_once, in_order

ENTERED = "2026-03-02T10:00:00+08:00"
NOON = "2026-03-02T12:00:00+08:00"
PER_HOUR = {"unit_minutes": 60, "unit_fee": 1000}


class Lot:
    """A lot of one test, with sessions and plates of its own."""

    def __init__(self, counter: Counter, lot_id: str) -> None:
        self.counter = counter
        self.id = lot_id
        self.key = counter.server.key("parking", tenant=counter.tenant, lot_id=lot_id)
        self.plate = f"粤B{secrets.randbelow(90000) + 10000}"
        self.session = f"s-{secrets.token_hex(4)}"

    async def pay(self, mode: str = "quote", fee: int = 2000, **more: Any) -> Answer:
        """A payment of this session by the lot's own key, two hours after the entry."""
        request = {k: more.pop(k) for k in ("key", "headers") if k in more}
        body = {
            "session_id": self.session, "mode": mode, "fee_total": fee,
            "entered_at": ENTERED, "as_of": NOON, **more,
        }  # fmt: skip
        if "lot_id" not in body and "key" in request:
            body["lot_id"] = self.id
        return await self.counter.api.post(
            "/v1/parking/payments", body, idem="", **({"key": self.key} | request)
        )


@pytest.fixture(scope="module")
def of_parking(api_server: ApiServer) -> tuple[str, str]:
    """A mall for these tests alone; the last of them reconciles it."""
    return api_server.new_mall()


@pytest.fixture
async def counter(api_server: ApiServer, of_parking: tuple[str, str]) -> AsyncIterator[Counter]:
    """Its operator."""
    tenant, key = of_parking
    async with Api(api_server.url, key) as api:
        yield await Counter.open(api_server, api, tenant)


@pytest.fixture
async def lot(counter: Counter) -> Lot:
    """Ten yuan an hour, of the merchant of s1."""
    name = f"lot-{counter.mark}"
    body = {"name": "P1", "merchant_id": "m1", "tariff": PER_HOUR, "grace_minutes": 15}
    answer = await counter.api.put(f"/v1/lots/{name}", body)
    assert answer.status in (200, 201), answer.json
    return Lot(counter, name)


def minutes(number: int) -> dict[str, Any]:
    """The parts of a campaign that gives minutes of parking."""
    return {"kind": "parking", "benefit": {"type": "parking_minutes", "minutes": number}}


def told(answer: Answer) -> list[tuple[str, int]]:
    assert answer.status == 200, answer.json
    return [(d["type"], d["amount"]) for d in answer.json["deductions"]]


async def test_nobody_known_pays_the_fee(lot: Lot) -> None:
    answer = await lot.pay(already_paid=500, coupons=None, transactions=None, user_id=None)
    assert answer.status == 200, answer.json
    assert answer.json["payable"] == 1500
    assert answer.json["redemption_id"] is None
    assert answer.json["say"].startswith("15 yuan to pay; please leave by ")
    # A commit is recorded, so that it is answered as before whoever is known by then.
    done = await lot.pay("commit", already_paid=500)
    assert done.json["payable"] == 1500
    assert done.json["redemption_id"]
    assert (await lot.pay("commit", fee=1, user_id="someone")).json == done.json


async def test_quote_hold_and_commit_with_the_best_coupon(counter: Counter, lot: Lot) -> None:
    hour = await counter.coupon("", **minutes(60))
    await counter.coupon("", **minutes(30))
    user = counter.user()
    quote = await lot.pay(user_id=user)
    assert told(quote) == [("coupon", 1000)]
    assert quote.json["deductions"][0]["coupon_id"] == hour
    assert quote.json["payable"] == 1000
    assert [skip["code"] for skip in quote.json["skipped"]] == ["no_effect"]
    held = await lot.pay("hold", user_id=user)
    assert told(held) == [("coupon", 1000)]
    assert (await lot.pay("hold", user_id=user)).json == held.json
    done = await lot.pay("commit", fee=2500, user_id=user)
    assert told(done) == [("coupon", 1000)]
    assert done.json["payable"] == 1500
    assert done.json["redemption_id"] == held.json["redemption_id"]
    assert (await lot.pay("commit", fee=9999, user_id=user)).json == done.json
    read = await counter.api.get(f"/v1/redemptions/{done.json['redemption_id']}")
    assert read.json["status"] == "redeemed", read.json


async def test_paid_ahead_and_overstayed(counter: Counter, lot: Lot) -> None:
    """Only the rest is charged; minutes given count, a new coupon goes on from there."""
    user = counter.user()
    await counter.coupon("", **minutes(60))
    first = await lot.pay("commit", fee_id="f1", user_id=user)
    assert (told(first), first.json["payable"]) == ([("coupon", 1000)], 1000)
    await counter.coupon("", **minutes(90))
    later: Any = {"as_of": "2026-03-02T14:00:00+08:00", "already_paid": 1000}
    second = await lot.pay("commit", fee=4000, fee_id="f2", **later)
    # Four hours, of which one was given: 90 minutes more are one hour and begin another.
    assert told(second) == [("coupon", 1000)]
    assert second.json["already_deducted"] == 1000
    assert second.json["payable"] == 4000 - 1000 - 1000 - 1000


async def test_a_lapsed_hold_may_be_made_anew(counter: Counter, lot: Lot) -> None:
    user = counter.user()
    await counter.coupon("", **minutes(60))
    held = await lot.pay("hold", user_id=user, hold_seconds=1)
    await asyncio.sleep(1.1)
    again = await lot.pay("hold", user_id=user)
    assert told(again) == [("coupon", 1000)]
    assert again.json["redemption_id"] != held.json["redemption_id"]
    released = await counter.api.post(
        f"/v1/redemptions/{again.json['redemption_id']}/release", {}, key=lot.key
    )
    assert released.status == 200, released.json
    third = await lot.pay("commit", user_id=user)
    assert told(third) == [("coupon", 1000)]


async def test_another_fee_takes_the_place_of_an_open_hold(counter: Counter, lot: Lot) -> None:
    user = counter.user()
    await counter.coupon("", **minutes(60))
    first = await lot.pay("hold", fee_id="f1", user_id=user)
    quote = await lot.pay("quote", fee_id="f2", user_id=user)
    second = await lot.pay("commit", fee_id="f2", user_id=user)
    assert told(first) == told(second) == told(quote) == [("coupon", 1000)]
    late = await lot.pay("commit", fee_id="f1", user_id=user, already_paid=1000)
    assert (told(late), late.json["already_deducted"], late.json["payable"]) == ([], 1000, 0)


async def test_without_a_tariff_the_vendor_says_what_minutes_are_worth(
    counter: Counter, lot: Lot
) -> None:
    await counter.api.put(f"/v1/lots/{lot.id}", {"name": "P1", "merchant_id": "m1"})
    user = counter.user()
    hour = await counter.coupon("", **minutes(60))
    half = await counter.coupon("", **minutes(30))
    off = await counter.coupon("off 300", kind="parking")
    held = await lot.pay("hold", user_id=user)
    given = [(d["coupon_id"], d.get("minutes"), d["amount"]) for d in held.json["deductions"]]
    assert given == [(hour, 60, 0), (half, 30, 0), (off, None, 300)], held.json
    too_much: Any = {"deductions": [{"coupon_id": off, "amount": 301}]}
    assert (await lot.pay("commit", **too_much)).json["code"] == "more_than_redeemed"
    amounts = [{"coupon_id": hour, "amount": 900}, {"coupon_id": off, "amount": 300}]
    done = await lot.pay("commit", deductions=amounts)
    assert told(done) == [("coupon", 900), ("coupon", 300)]
    assert done.json["payable"] == 800
    unused = await counter.api.get(f"/v1/coupons/{half}")
    assert unused.json["status"] == "issued"
    # A commit without a hold: what nobody says the worth of is not used up, what is said counts,
    # and the answer's own deductions may be sent back with the vendor's amounts in them.
    other = Lot(counter, lot.id)
    assert told(await other.pay("commit", fee_id="f1", user_id=user)) == []
    assert (await counter.api.get(f"/v1/coupons/{half}")).json["status"] == "issued"
    body = {"campaign_id": await counter.campaign(**minutes(10)), "session_id": other.session}
    for store in ("s1", "s2"):
        shop = await counter.api.post("/v1/parking/validations", body | {"store_id": store})
        assert shop.status == 201, shop.json
    quote = await other.pay(fee_id="f2", user_id=user)
    worth = [d | {"amount": at} for d, at in zip(quote.json["deductions"], (5, 7, 0), strict=True)]
    assert [d["type"] for d in worth] == ["merchant", "merchant", "coupon"]
    unknown: Any = {"deductions": [*worth, {"type": "tier", "amount": 1}]}
    refused = await other.pay("commit", fee_id="f2", user_id=user, **unknown)
    assert (refused.status, refused.json["field"]) == (404, "deductions"), refused.json
    assert (await counter.api.get(f"/v1/coupons/{half}")).json["status"] == "issued"
    done = await other.pay("commit", fee_id="f2", user_id=user, deductions=worth)
    assert told(done) == [("merchant", 5), ("merchant", 7)]
    assert (await counter.api.get(f"/v1/coupons/{half}")).json["status"] == "issued"


async def test_tier_shop_and_booth(counter: Counter, lot: Lot) -> None:
    """In that order, minutes before amounts, each once."""
    user = counter.user("tiered")
    await counter.api.put(f"/v1/users/{user}", {"tier": f"t{counter.mark}"})
    tiers = {f"t{counter.mark}": {"amount": 300, "per_day": 1}}
    await settings(counter, {"tiers": tiers})
    shop = await counter.campaign(**minutes(60), funding={"mall": 100})
    entered = {"session_id": lot.session, "plate": lot.plate, "entered_at": ENTERED}
    await counter.api.post("/v1/parking/stays", entered, key=lot.key)
    body = {"session_id": lot.session, "campaign_id": shop, "store_id": "s1", "lot_id": lot.id}
    given = await counter.api.post("/v1/parking/validations", body, key=counter.till())
    assert given.status == 201, given.json
    path = f"/v1/parking/stays/{lot.id}/{lot.session}/override"
    by_hand = {"amount": 500, "reason": "barrier", "staff_id": "08"}
    assert (await counter.api.post(path, by_hand, key=lot.key)).status == 201
    done = await lot.pay("commit", user_id=user)
    assert told(done) == [("merchant", 1000), ("tier", 300), ("manual", 500)], done.json
    assert done.json["deductions"][0]["bearer"] == "merchant:m1"
    assert done.json["payable"] == 200
    read = await counter.api.get(f"/v1/redemptions/{done.json['redemption_id']}")
    assert [d["bearer"] for d in read.json["deductions"]] == ["merchant:m1", "mall", "merchant:m1"]
    # The same person's tier is used up today, and another stay finds no validation.
    other = Lot(counter, lot.id)
    assert told(await other.pay(user_id=user)) == []
    back = await counter.api.post(
        f"/v1/redemptions/{done.json['redemption_id']}/reversals", {"reason": "r"}, key=lot.key
    )
    assert (back.json["refund"], back.json["discount_back"]) == (200, 1800), back.json
    assert told(await other.pay(user_id=user)) == [("tier", 300)]


async def test_committed_and_released_as_a_redemption(counter: Counter, lot: Lot) -> None:
    """The lot's own only; the vendor's amounts go with the commit there, too."""
    await counter.api.put(f"/v1/lots/{lot.id}", {"name": "P1", "merchant_id": "m1"})
    user = counter.user()
    hour = await counter.coupon("", **minutes(60))
    held = await lot.pay("hold", user_id=user)
    path = f"/v1/redemptions/{held.json['redemption_id']}/commit"
    other = counter.server.key("parking", tenant=counter.tenant, lot_id="another")
    assert (await counter.api.post(path, {}, key=other)).status == 403
    assert (await counter.api.post(path, {}, key=counter.till())).status == 403
    body = {"deductions": [{"coupon_id": hour, "amount": 700}]}
    done = await counter.api.post(path, body, key=lot.key)
    assert (done.json["discount"], done.json["payable"]) == (700, 1300), done.json
    again = await counter.api.post(path, body, key=lot.key)
    assert again.json == done.json
    assert told(await lot.pay("commit")) == [("coupon", 700)]


async def test_the_operator_is_owed_what_others_took_off(counter: Counter, lot: Lot) -> None:
    """A coupon by its funding, a shop's gift by the shop's merchant, the booth's by nobody else."""
    api, user = counter.api, counter.user()
    await api.put("/v1/merchants/shop", {"name": "shop"})
    await api.put("/v1/stores/s9", {"name": "s9", "merchant_id": "shop"})
    await api.put("/v1/merchants/operator", {"name": "operator"})
    operated = {"name": "P1", "merchant_id": "operator", "tariff": PER_HOUR}
    await api.put(f"/v1/lots/{lot.id}", operated)
    await counter.coupon("off 500", kind="parking", funding={"mall": 60, "merchant": 40})
    shop = await counter.campaign(**minutes(60))
    entry = {"session_id": lot.session, "entered_at": ENTERED}
    await api.post("/v1/parking/stays", entry, key=lot.key)
    gift = {"session_id": lot.session, "campaign_id": shop, "store_id": "s9", "lot_id": lot.id}
    assert (await api.post("/v1/parking/validations", gift)).status == 201
    path = f"/v1/parking/stays/{lot.id}/{lot.session}/override"
    await api.post(path, {"amount": 100, "reason": "r", "staff_id": "08"}, key=lot.key)
    done = await lot.pay("commit", user_id=user)
    assert told(done) == [("merchant", 1000), ("manual", 100), ("coupon", 500)]
    bearers = [d["bearer"] for d in done.json["deductions"]]
    assert bearers == ["merchant:shop", "merchant:operator", "mall+merchant:operator"]
    line = await settled(counter, "operator")
    assert (line["lot_id"], line["store_id"], line["discount"]) == (lot.id, "", 1600)
    bears = [line[name] for name in ("mall_bears", "merchant_bears", "others_bear")]
    assert bears == [300, 100 + 200, 1000]
    assert line["payable_to_merchant"] == 1300


async def settled(counter: Counter, merchant: str) -> dict[str, Any]:
    """The lines of the merchant's statement until now, summed."""
    end = datetime.now(UTC).isoformat()
    body = {"merchant_id": merchant, "start": "2020-01-01T00:00:00Z", "end": end}
    for _ in range(50):
        answer = await counter.api.post("/v1/statements", body)
        if answer.status == 201:
            break
        assert answer.json["code"] == "period_open", answer.json
        await asyncio.sleep(0.1)
    lines = answer.json["items"][0]["lines"]
    total = {k: sum(line[k] for line in lines) for k, v in lines[0].items() if type(v) is int}
    return {**lines[0], **total}


async def test_points_and_receipts(counter: Counter, lot: Lot) -> None:
    user = counter.user()
    purchase = {"transaction_id": f"t-{counter.mark}", "user_id": user, "store_id": "s1",
                "amount": 30_000, "occurred_at": ENTERED}  # fmt: skip
    assert (await counter.api.post("/v1/purchases", purchase)).status in (200, 201)
    earned = {"user_id": user, "points": 500, "reason": "r", "ref": "x"}
    assert (await counter.api.post("/v1/points/earn", earned)).status in (200, 201)
    await settings(counter, {"spend": [{"min": 20_000, "minutes": 30}, {"min": 25_000,
                             "minutes": 60}], "caps": {"points": 400}})  # fmt: skip
    receipts: Any = {"transactions": [purchase["transaction_id"]]}
    asked: Any = {"user_id": user, "use": ["free", "points"], **receipts}
    quote = await lot.pay(**asked)
    assert told(quote) == [("spend", 1000), ("points", 400)]
    done = await lot.pay("commit", **asked)
    assert (told(done), done.json["payable"]) == ([("spend", 1000), ("points", 400)], 600)
    for _ in range(200):
        entries = (await counter.api.get(f"/v1/users/{user}/points/entries")).json["items"]
        if len(entries) == 2:
            break
        await asyncio.sleep(0.05)
    assert sorted((one["points"], one["balance"]) for one in entries) == [(-400, 100), (500, 500)]
    other = Lot(counter, lot.id)
    again = await other.pay("commit", user_id=user, **receipts)
    assert (again.status, again.json["code"]) == (409, "receipt_used")
    back = await counter.api.post(
        f"/v1/redemptions/{done.json['redemption_id']}/reversals", {"reason": "r"}, key=lot.key
    )
    assert (back.json["points_back"], back.json["refund"]) == (400, 600), back.json
    freed = await other.pay("commit", user_id=user, **receipts)
    assert told(freed) == [("spend", 1000)]


async def test_the_exit_closes_the_stay(counter: Counter, lot: Lot) -> None:
    user = counter.user()
    await counter.coupon("", **minutes(60))
    await counter.api.put(f"/v1/vehicles/{lot.plate}", {"user_ids": [user]})
    body = {"session_id": lot.session, "plate": lot.plate, "entered_at": ENTERED,
            "exited_at": NOON, "fee": 2000}  # fmt: skip
    done = await counter.api.post("/v1/parking/exits", body, key=lot.key)
    assert (told(done), done.json["payable"]) == ([("coupon", 1000)], 1000)
    again = await counter.api.post("/v1/parking/exits", body | {"fee": 5}, key=lot.key)
    assert again.json == done.json
    late = await lot.pay("commit", fee_id="another")
    assert late.json["code"] == "stay_closed"


async def test_who_may(counter: Counter, lot: Lot) -> None:
    elsewhere = counter.server.key("parking", tenant=counter.tenant, lot_id="another")
    assert (await lot.pay(key=elsewhere)).status == 403
    mine = await counter.coupon("", user="u1", **minutes(60))
    theirs = await counter.coupon("", user="u2", **minutes(60))
    owner = counter.user("u1")
    named = await lot.pay(user_id=owner, coupons=[{"id": theirs}])
    assert named.json["code"] == "different_owners"
    assert told(await lot.pay("hold", user_id=owner, coupons=[{"id": mine}])) == [("coupon", 1000)]
    stays = await lot.pay("quote", fee_id="f2", user_id=counter.user("u2"))
    assert stays.json["deductions"][0]["coupon_id"] == mine
    both: Any = {"coupons": [{"id": mine}], "choose": "best"}  # the named ones decide
    assert (await lot.pay("hold", user_id=owner, **both)).json == (
        await lot.pay("hold", user_id=owner, coupons=[{"id": mine}])
    ).json
    operator = counter.server.operator_key
    nowhere = await lot.pay(lot_id="none", user_id=owner, key=operator)
    assert (nowhere.status, nowhere.json["field"]) == (404, "lot_id")


async def test_a_pass_is_set_aside_once(counter: Counter, lot: Lot) -> None:
    """By the hold that took the place of another, and by none once the vendor took nothing off."""
    usage = {"uses": 3, "include": {"categories": ["parking"]}}
    many = await counter.coupon(kind="pass", usage=usage)
    asked: Any = {"user_id": counter.user(), "coupons": [{"id": many}]}
    for fee_id in ("f1", "f2"):
        assert told(await lot.pay("hold", fee_id=fee_id, **asked)) == [("coupon", 2000)]
        assert (await counter.api.get(f"/v1/coupons/{many}")).json["uses_left"] == 2
    nothing = [{"coupon_id": many, "amount": 0}]
    assert told(await lot.pay("commit", fee_id="f2", deductions=nothing)) == []
    assert (await counter.api.get(f"/v1/coupons/{many}")).json["uses_left"] == 3


async def test_the_same_payment_many_times_at_once(counter: Counter, lot: Lot) -> None:
    user = counter.user()
    for _ in range(2):
        await counter.coupon("", **minutes(60))
    answers = await at_once(lot.pay("commit", user_id=user) for _ in range(8))
    assert {answer.status for answer in answers} == {200}
    assert len({str(answer.json) for answer in answers}) == 1
    assert told(answers[0]) == [("coupon", 1000), ("coupon", 1000)]


async def test_two_gates_one_wallet_and_a_till(counter: Counter, lot: Lot) -> None:
    """Each coupon is used once, wherever it is shown first; whoever comes second pays."""
    user = counter.user()
    for _ in range(3):
        await counter.coupon("", **minutes(60))
    both = await counter.coupon("off 500", usage={"include": {"categories": ["parking", "dining"]}})
    gates = [Lot(counter, lot.id) for _ in range(6)]
    paying = [gate.pay("commit", fee=1000, user_id=user) for gate in gates]
    *paid, till = await at_once([*paying, counter.redeem(both)])
    assert {answer.status for answer in paid} == {200}, [answer.json for answer in paid]
    used = [d["coupon_id"] for answer in paid for d in answer.json["deductions"]]
    assert len(used) == len(set(used))
    assert (both in used) == (till.status == 409), (used, till.json)
    assert sum(answer.json["payable"] for answer in paid) == 6000 - 3000 - 500 * (both in used)


async def settings(counter: Counter, parking: dict[str, Any]) -> None:
    now = await counter.api.get("/v1/settings")
    answer = await counter.api.patch(
        "/v1/settings", {"parking": parking}, headers={"If-Match": str(now.json["revision"])}
    )
    assert answer.status == 200, answer.json


async def test_how_many_stays_had_something_off(counter: Counter, lot: Lot) -> None:
    """Of three stays two were paid, one of them twice, with a coupon each time."""
    user = counter.user()
    for fee in ("f1", "f2"):
        await counter.coupon("", **minutes(60))
        fees = {"f1": 2000, "f2": 4000}
        paid = await lot.pay("commit", fee=fees[fee], fee_id=fee, user_id=user)
        assert paid.status == 200, paid.json
    lot.session = f"s-{secrets.token_hex(4)}"
    await lot.pay("commit", user_id=counter.user() + "x")  # without anything off
    gone = {"lot_id": lot.id, "session_id": f"s-{secrets.token_hex(4)}", "entered_at": ENTERED}
    await counter.api.post("/v1/parking/stays", gone, key=lot.key)
    rows: list[dict[str, Any]] = []
    for _ in range(200):
        answer = await counter.api.get("/v1/reports/parking", params={"group_by": "lot,day"})
        rows = [row for row in answer.json["items"] if row["lot"] == lot.id and row["stays"]]
        if rows and rows[0]["stays"] == 3:
            break
        await asyncio.sleep(0.05)
    (row,) = rows
    assert (row["lot"], row["day"], row["stays"], row["with_deduction"], row["penetration"]) == (
        lot.id, "2026-03-02", 3, 1, 0.3333,
    )  # fmt: skip


async def test_a_printed_coupon_at_the_exit(counter: Counter, lot: Lot) -> None:
    """By picture or typed, as at a till: alone, whosever the plate, unless somebody is named."""
    campaign = await counter.campaign(**minutes(60))
    made = await counter.api.post(f"/v1/campaigns/{campaign}/prints", {"count": 3})
    for _ in range(400):
        if (await counter.api.get(f"/v1/prints/{made.json['id']}")).json["status"] == "done":
            break
        await asyncio.sleep(0.02)
    listed = await counter.api.get(f"/v1/prints/{made.json['id']}/codes.csv")
    one, two, three = csv.DictReader(io.StringIO(listed.content.decode("utf-8-sig")))
    await counter.api.put(f"/v1/vehicles/{lot.plate}", {"user_ids": [counter.user()]})
    shown: dict[str, Any] = {"plate": lot.plate, "coupons": [{"code": one["typed_code"]}]}
    quote = await lot.pay(**shown)
    assert (told(quote), quote.json["payable"]) == ([("coupon", 1000)], 1000)
    named = await lot.pay("commit", user_id=counter.user(), coupons=shown["coupons"])
    assert named.code == "different_owners"
    both = [{"code": row["coupon_code"]} for row in (two, three)]
    assert (await lot.pay("commit", coupons=both)).code == "different_owners"
    lot.session = f"s-{secrets.token_hex(4)}"  # one that nobody was named for
    left = {"session_id": lot.session, "plate": lot.plate, "entered_at": ENTERED,
            "exited_at": NOON, "fee": 2000, "coupons": shown["coupons"]}  # fmt: skip
    path = "/v1/parking/exits"
    done = await counter.api.post(path, left, key=lot.key)
    assert (told(done), done.json["payable"]) == ([("coupon", 1000)], 1000)
    again = await counter.api.post(
        path, left | {"coupons": [{"code": one["coupon_code"]}]}, key=lot.key
    )
    assert again.json["redemption_id"] == done.json["redemption_id"]
    stays = await counter.api.get("/v1/parking/stays", params={"plate": lot.plate})
    assert {stay["user_id"] for stay in stays.json["items"]} <= {None, counter.user()}
    look = await counter.api.get(f"/v1/redemptions/{done.json['redemption_id']}")
    assert look.json["user_id"] is None
    other = left | {"session_id": f"s-{secrets.token_hex(4)}"}
    assert (await counter.api.post(path, other, key=lot.key)).code == "already_redeemed"
    bad = other | {"coupons": [{"code": "0" * 13}]}
    assert (await counter.api.post(path, bad, key=lot.key)).code == "code_invalid"


async def test_all_of_it_is_in_order(api_server: ApiServer, of_parking: tuple[str, str]) -> None:
    """After everything above: live state equals the books."""
    await in_order(api_server, of_parking[0])
