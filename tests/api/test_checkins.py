"""Tickets at gates over HTTP: who gets in, who does not and why, and what gates did alone."""

from __future__ import annotations

import asyncio
import csv
import io
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import jwt
import pytest

from engine.fastpath import OK, Verifier, event_tag
from tests.api.counter import Counter
from tests.api.server import Answer, Api, ApiServer
from tests.api.test_concurrency import in_order

DAY = datetime(2031, 5, 1, tzinfo=UTC)


def at(clock: str) -> str:
    """A time of the day of the event."""
    hours, minutes = clock.split(":")
    return (DAY + timedelta(hours=int(hours), minutes=int(minutes))).isoformat()


@pytest.fixture(scope="module")
def hall(rehearsal_server: ApiServer) -> tuple[str, str]:
    """A mall for these tests alone: (its id, an operator's key)."""
    return rehearsal_server.new_mall()


@pytest.fixture
async def rehearsed(rehearsal_server: ApiServer, hall: tuple[str, str]) -> AsyncIterator[Counter]:
    """The mall, reconciled at the end of each test."""
    tenant, key = hall
    async with Api(rehearsal_server.url, key) as api:
        yield await Counter.open(rehearsal_server, api, tenant)
    await in_order(rehearsal_server, tenant)


class Door:
    """One event of a mall with a gate or two."""

    def __init__(self, counter: Counter, event: str, campaign: str) -> None:
        self.counter, self.event, self.campaign = counter, event, campaign
        self.key = counter.server.key("gate", tenant=counter.tenant, event_id=event)
        self._nonces = 0

    @classmethod
    async def open(cls, counter: Counter, *, mine: str = "e", **parts: Any) -> Door:
        """A concert from 19:00 to 22:00 with doors from 18:00 to 21:00, as ``parts`` change it."""
        event = {
            "id": f"{counter.mark}-{mine}", "starts_at": at("19:00"), "ends_at": at("22:00"),
            "entry_from": at("18:00"), "entry_until": at("21:00"),
        } | parts.pop("event", {})  # fmt: skip
        value = parts.pop("value", 3000)
        campaign = await counter.campaign(
            kind="ticket", benefit={"type": "admission", "value": value}, event=event,
            stock={"total": 100}, usage={"stores": ["s1"]},
            validity={"type": "fixed", "end": at("22:00")}, **parts,
        )  # fmt: skip
        return cls(counter, event["id"], campaign)

    async def ticket(self, user: str = "u1") -> str:
        answer = await self.counter.claim(self.campaign, user, now=at("10:00"))
        assert answer.status == 201, answer.json
        return str(answer.json["id"])

    async def scan(
        self, ticket: str, clock: str, way: str = "in", gate: str = "g1", nonce: str = "",
        form: str = "rotating", **body: Any,
    ) -> Answer:  # fmt: skip
        """Show the code of that moment at a gate; the operator sets the clock."""
        code = body.pop("code", None) or await self.counter.code(ticket, form, now=at(clock))
        self._nonces += 1
        told = {
            "code": code, "gate": gate, "direction": way, "staff_id": "07",
            "nonce": nonce or f"{self.event}-{self._nonces}", "event": self.event,
        }  # fmt: skip
        return await self.counter.api.post("/v1/checkins", told | body, now=at(clock))


async def test_in_and_out_and_what_is_refused(rehearsed: Counter) -> None:
    door = await Door.open(rehearsed)
    ticket = await door.ticket()
    early = await door.scan(ticket, "17:59", nonce="n1")
    assert (early.status, early.code) == (409, "too_early")
    assert early.json["retry_at"].startswith("2031-05-01T18:00")
    assert early.json["say"] == "Entry opens at 02:00."  # in Shanghai
    let_in = await door.scan(ticket, "18:00", nonce="n2")
    assert let_in.status == 201, let_in.json
    assert let_in.json["ok"]
    assert let_in.json["event"] == door.event
    redemption = let_in.json["redemption_id"]
    # Sent again, each is answered as at first: with a fresh picture, with an old one, hours later.
    for clock in ("18:00", "18:30", "23:00"):
        again = await door.scan(ticket, clock, nonce="n2")
        assert (again.status, again.json, again.replayed) == (201, let_in.json, True)
        again = await door.scan(ticket, clock, nonce="n1")
        assert (again.code, again.json, again.replayed) == ("too_early", early.json, True)
    reused = await door.scan(ticket, "18:31", "out", nonce="n2")
    assert (reused.status, reused.code) == (422, "idempotency_key_reused")

    double = await door.scan(ticket, "18:40", gate="g2")
    assert (double.code, double.json["other_gate"]) == ("already_in", "g1")
    assert (await door.scan(ticket, "18:41", "out")).status == 201
    assert (await door.scan(ticket, "18:42", "out")).code == "not_in"
    assert (await door.scan(ticket, "18:43")).code == "already_in"  # no re-entry here
    late = await door.ticket("u2")
    assert (await door.scan(late, "21:00")).code == "too_late"
    assert (await door.scan(late, "22:00")).code == "expired"

    read = await rehearsed.api.get(f"/v1/coupons/{ticket}", now=at("18:50"))
    assert read.json["status"] == "redeemed"
    made = await rehearsed.api.get(f"/v1/redemptions/{redemption}", now=at("18:50"))
    assert made.json["applied"][0]["coupon_id"] == ticket
    assert (made.json["channel"], made.json["store_id"]) == ("gate", "s1")
    history = await _until(rehearsed.api, f"/v1/coupons/{ticket}/history", 8)
    assert [(i["type"], i.get("direction"), i.get("code")) for i in history] == [
        ("claimed", None, None), ("checkin", "in", "too_early"), ("redeemed", None, None),
        ("checkin", "in", None), ("checkin", "in", "already_in"), ("checkin", "out", None),
        ("checkin", "out", "not_in"), ("checkin", "in", "already_in"),
    ]  # fmt: skip
    refused = await rehearsed.api.get(f"/v1/coupons/{ticket}/attempts")
    assert [i["code"] for i in refused.json["items"]] == [
        "already_in", "not_in", "already_in", "too_early",
    ]  # fmt: skip
    assert {i["type"] for i in refused.json["items"]} == {"checkin"}


async def _until(api: Api, path: str, count: int) -> list[dict[str, Any]]:
    """The items of a list, once the books hold so many."""
    for _ in range(100):
        items: list[dict[str, Any]] = (await api.get(path)).json["items"]
        if len(items) >= count:
            break
        await asyncio.sleep(0.05)
    return items


async def test_reentry_pictures_and_reversals(rehearsed: Counter) -> None:
    door = await Door.open(rehearsed, event={"reentry": True}, value=0)
    ticket = await door.ticket()
    code = await rehearsed.code(ticket, now=at("18:00"))
    assert (await door.scan(ticket, "18:00", code=code)).status == 201
    assert (await door.scan(ticket, "18:00", "out", code=code)).code == "code_used"
    assert (await door.scan(ticket, "18:02", "out", code=code)).code == "code_expired"
    assert (await door.scan(ticket, "18:02", "out")).status == 201
    back = await door.scan(ticket, "18:10")
    assert (back.status, back.json["entries"], back.json["redemption_id"]) == (201, 2, None)
    assert (await door.scan(ticket, "18:11")).code == "already_in"
    # Given back, it is a ticket like any other; used up at a till, it lets nobody in.
    found = await rehearsed.api.get("/v1/redemptions", params={"coupon_id": ticket})
    items = await _until(rehearsed.api, f"/v1/redemptions?coupon_id={ticket}", 1)
    assert found.status == 200
    undone = await rehearsed.api.post(
        f"/v1/redemptions/{items[0]['id']}/reversals", {"reason": "mistake"}, now=at("18:12")
    )
    assert undone.status == 201, undone.json
    assert (await door.scan(ticket, "18:13", "out")).code == "not_in"
    assert (await door.scan(ticket, "18:14")).json["entries"] == 1
    other = await door.ticket("u2")
    sold = await rehearsed.redeem(other, now=at("18:15"))
    assert sold.status == 201, sold.json
    assert (await door.scan(other, "18:16")).code == "already_redeemed"


async def test_wrong_event_not_paid_and_forged(rehearsed: Counter) -> None:
    door = await Door.open(rehearsed)
    other = await Door.open(rehearsed, mine="f")
    wrong = await door.scan(await other.ticket(), "18:00")
    assert (wrong.code, wrong.json["event"]) == ("wrong_event", door.event)
    coupon = await rehearsed.coupon(now=at("18:00"))
    assert (await door.scan(coupon, "18:00")).code == "wrong_event"
    forged = await door.scan("", "18:00", code="0" * 58)
    assert forged.code == "code_invalid"
    gone = await door.ticket("u3")
    await rehearsed.api.post(f"/v1/coupons/{gone}/void", {"reason": "r"}, now=at("18:00"))
    assert (await door.scan(gone, "18:01")).code == "voided"
    # A member's own code stands for their ticket of this event.
    paid = await Door.open(rehearsed, event={"id": door.event}, issue={"price": 5000})
    await rehearsed.api.post(
        "/v1/orders",
        {
            "user_id": rehearsed.user("u4"), "channel": "app",
            "items": [{"campaign_id": paid.campaign, "quantity": 1}],
        },
        now=at("18:02"),
    )  # fmt: skip
    code = await rehearsed.member_code("u4", now=at("18:03"))
    assert (await door.scan("", "18:03", code=code)).code == "not_paid"
    code = await rehearsed.member_code("u5", now=at("18:03"))
    assert (await door.scan("", "18:03", code=code)).code == "wrong_event"
    mine = {await door.ticket("u6"), await door.ticket("u6")}
    code = await rehearsed.member_code("u6", now=at("18:03"))
    first = await door.scan("", "18:03", code=code)
    assert first.json["coupon_id"] in mine
    assert (await door.scan("", "18:03", code=code)).code == "code_used"
    code = await rehearsed.member_code("u6", now=at("18:04"))
    second = await door.scan("", "18:04", code=code)
    assert {first.json["coupon_id"], second.json["coupon_id"]} == mine
    code = await rehearsed.member_code("u6", now=at("18:05"))
    assert (await door.scan("", "18:05", code=code)).code == "already_in"


async def test_what_gates_did_alone(rehearsed: Counter) -> None:
    """The public key tells a ticket; what was done with it is told later, doubles by both gates."""
    door = await Door.open(rehearsed)
    ticket, other = await door.ticket(), await door.ticket("u2")
    listed = await rehearsed.api.get(f"/v1/events/{door.event}/gate", now=at("17:00"))
    assert listed.status == 200, listed.json
    key = listed.json["keys"][0]
    claims = jwt.decode(
        listed.json["signed"], jwt.PyJWK(key), algorithms=["EdDSA"],
        options={"verify_iat": False},
    )  # fmt: skip
    assert (claims["sub"], claims["tickets"]) == (door.event, [])
    code = await rehearsed.code(ticket, "offline", now=at("17:00"))
    assert len(code) == 151
    public = jwt.utils.base64url_decode(key["x"])
    verdict = Verifier({int(key["kid"]): public}).verify(code)
    assert verdict[0] == OK
    assert verdict[3] == event_tag(door.event)

    def scan(name: str, gate: str, clock: str, nonce: str, way: str = "in") -> dict[str, Any]:
        return {
            "code": name, "gate": gate, "direction": way, "nonce": nonce, "staff_id": "07",
            "scanned_at": at(clock), "event": door.event,
        }  # fmt: skip

    second = await rehearsed.code(other, "offline", now=at("17:00"))
    scans = [
        scan(code, "g2", "18:20", "b"),
        scan(code, "g1", "18:10", "a"),
        scan(second, "g1", "17:50", "c"),
        scan("junk", "g1", "18:11", "d"),
        scan(code, "g1", "18:40", "e", "out"),  # by a clock that is fast: it was at 18:39
    ]
    told = await rehearsed.api.post(
        "/v1/checkins/offline", {"scans": scans}, now=at("18:39"), key=None
    )
    assert told.status == 200, told.json
    items = told.json["items"]
    assert (told.json["recorded"], told.json["conflicts"]) == (5, 3)
    assert [i.get("code") for i in items] == [
        "already_in", None, "too_early", "code_invalid", None,
    ]  # fmt: skip
    assert items[0]["gates"] == ["g1", "g2"]
    assert items[1]["redemption_id"]
    assert items[2]["redemption_id"]  # whoever was let in was let in
    again = await rehearsed.api.post(
        "/v1/checkins/offline", {"scans": scans}, now=at("23:40"), key=None
    )
    assert again.json == told.json
    # The gate did reach us with one of them after all.
    online = await door.scan("", "23:40", gate="g1", nonce="a", code=code)
    assert (online.status, online.replayed) == (201, True)
    listed = await rehearsed.api.get(f"/v1/events/{door.event}/gate", now=at("23:50"))
    assert {i["coupon_id"] for i in listed.json["tickets"]} == {ticket, other}
    coupon = await rehearsed.coupon(now=at("17:00"))
    answer = await rehearsed.api.get(f"/v1/coupons/{coupon}/code?form=offline")
    assert (answer.status, answer.json["field"]) == (400, "form")


async def test_who_may(counter: Counter) -> None:
    body = {"code": "0" * 58, "gate": "g", "direction": "in", "nonce": "n", "staff_id": "1"}
    gate = counter.server.key("gate", event_id="mine")
    for key, told, status in (
        (gate, body, 409),
        (gate, body | {"event": "mine"}, 409),
        (gate, body | {"event": "yours"}, 403),
        (counter.till(), body, 409),
        (counter.server.key("storefront"), body, 403),
        (gate, body | {"nonce": ""}, 400),
        (gate, body | {"direction": "up"}, 400),
        (gate, body | {"gate": "g 1"}, 400),
    ):
        answer = await counter.api.post("/v1/checkins", told, key=key)
        assert answer.status == status, answer.json
    assert (await counter.api.get("/v1/events/yours/gate", key=gate)).status == 403
    assert (await counter.api.get("/v1/events/mine/gate", key=gate)).status == 404
    late = {"scans": [body | {"scanned_at": "yesterday"}]}
    assert (await counter.api.post("/v1/checkins/offline", late, key=gate)).status == 400


async def test_one_ticket_at_many_gates_at_once(counter: Counter) -> None:
    now = datetime.now(UTC)
    event = {
        "id": f"{counter.mark}-now", "starts_at": now.isoformat(),
        "ends_at": (now + timedelta(hours=2)).isoformat(), "entry_from": None, "entry_until": None,
    }  # fmt: skip
    campaign = await counter.campaign(
        kind="ticket", benefit={"type": "admission", "value": 0}, event=event, stock={"total": 9},
        validity={"type": "relative"},
    )  # fmt: skip
    ticket = (await counter.claim(campaign)).json["id"]
    key = counter.server.key("gate")
    code = await counter.code(ticket, "static")

    async def scan(number: int) -> Answer:
        body = {"code": code, "gate": f"g{number}", "direction": "in", "nonce": "n"}
        return await counter.api.post("/v1/checkins", body, key=key)

    answers = await asyncio.gather(*(scan(number % 10) for number in range(40)))
    assert sorted(answer.status for answer in answers) == [201] * 4 + [409] * 36
    let_in = next(answer.json for answer in answers if answer.status == 201)
    assert all(a.json["id"] == let_in["id"] for a in answers if a.status == 201)
    assert all(a.json["other_gate"] == let_in["gate"] for a in answers if a.status == 409)
    # With no store to settle it with, nobody is owed for it, and it can still be given back.
    undone = await counter.api.post(
        f"/v1/redemptions/{let_in['redemption_id']}/reversals", {"reason": "r"}
    )
    assert undone.status == 201, undone.json


@pytest.mark.parametrize("value", [3000, 0])
async def test_entries_are_settled_with_the_gates_store(counter: Counter, value: int) -> None:
    """A gate of a store settles with its merchant; a statement has no merchant without a name."""
    now = datetime.now(UTC)
    event = {
        "id": f"{counter.mark}-{value}", "starts_at": now.isoformat(),
        "ends_at": (now + timedelta(hours=2)).isoformat(),
    }  # fmt: skip
    campaign = await counter.campaign(
        kind="ticket", benefit={"type": "admission", "value": value}, event=event,
        stock={"total": 9}, validity={"type": "relative"},
    )  # fmt: skip
    made = await counter.api.post(
        "/v1/keys", {"role": "gate", "label": "door", "store_id": "s1", "event_id": event["id"]}
    )
    assert made.status == 201, made.json
    ticket = (await counter.claim(campaign)).json["id"]
    code = await counter.code(ticket)
    body = {"gate": "g", "direction": "in", "nonce": f"n{value}", "code": code}
    answer = await counter.api.post("/v1/checkins", body, key=made.json["key"])
    assert answer.status == 201, answer.json
    read = await counter.api.get(f"/v1/redemptions/{answer.json['redemption_id']}")
    assert read.json["store_id"] == "s1"


async def test_printed_tickets_at_a_gate(rehearsed: Counter) -> None:
    """By picture or typed, online and told later: one entry each, by any of its codes."""
    door = await Door.open(rehearsed, event={"reentry": True})
    api = rehearsed.api
    path = f"/v1/campaigns/{door.campaign}/prints"
    made = await api.post(path, {"count": 4}, now=at("09:00"))
    assert made.status == 202, made.json
    for _ in range(400):
        if (await api.get(f"/v1/prints/{made.json['id']}")).json["status"] == "done":
            break
        await asyncio.sleep(0.02)
    listed = await api.get(f"/v1/prints/{made.json['id']}/codes.csv")
    rows = list(csv.DictReader(io.StringIO(listed.content.decode("utf-8-sig"))))
    first, second, third, fourth = rows
    typed = " " + first["typed_code"].lower().replace("-", " ")
    came = await door.scan("", "18:30", code=typed)
    assert (came.status, came.json.get("coupon_id")) == (201, first["coupon_id"]), came.json
    double = await door.scan("", "18:31", code=first["coupon_code"], gate="g2")
    assert (double.code, double.json["other_gate"]) == ("already_in", "g1")
    assert (await door.scan("", "18:32", "out", code=first["coupon_code"])).status == 201
    assert (await door.scan("", "18:33", code=first["typed_code"])).status == 201
    wrong = second["typed_code"][:-1] + ("0" if second["typed_code"][-1] != "0" else "1")
    assert (await door.scan("", "18:34", code=wrong)).code == "code_invalid"
    # Taken into a wallet the paper is void, and the owner's own code is good.
    take = {"user_id": rehearsed.user("ann")}
    taken = await api.post(f"/v1/coupons/{second['typed_code']}/take", take, now=at("18:35"))
    assert (taken.status, taken.json["kind"]) == (201, "ticket"), taken.json
    assert (await door.scan("", "18:36", code=second["typed_code"])).code == "transferred"
    assert (await door.scan(taken.json["id"], "18:37")).status == 201
    member = (await api.get(f"/v1/users/{take['user_id']}/code", now=at("18:38"))).json["code"]
    assert (await door.scan("", "18:38", "out", code=member)).status == 201
    # Scans that a gate took alone, told later: the first is an entry, the second a conflict.
    scans = [
        {"code": code, "gate": gate, "direction": "in", "nonce": f"{door.event}-{gate}{n}",
         "scanned_at": at(clock), "event": door.event}
        for n, (code, gate, clock) in enumerate([
            (third["typed_code"], "g2", "18:42"), (third["coupon_code"], "g1", "18:41"),
            (fourth["typed_code"].lower(), "g1", "18:43"), (wrong, "g1", "18:44"),
        ])
    ]  # fmt: skip
    told = await api.post("/v1/checkins/offline", {"scans": scans}, now=at("19:30"))
    assert told.status == 200, told.json
    items = [(one["status"], one.get("code"), one["coupon_id"]) for one in told.json["items"]]
    assert items == [
        ("conflict", "already_in", third["coupon_id"]), ("recorded", None, third["coupon_id"]),
        ("recorded", None, fourth["coupon_id"]), ("conflict", "code_invalid", None),
    ]  # fmt: skip
    assert told.json["items"][0]["gates"] == ["g1", "g2"]
    again = await api.post("/v1/checkins/offline", {"scans": scans}, now=at("19:31"))
    assert again.json == told.json
    # A gate that asks nobody reads the pictures by itself, and knows what is spent.
    shown = (await api.get(f"/v1/events/{door.event}/gate", now=at("19:32"))).json
    (key,) = shown["keys"]
    gate = Verifier({int(key["kid"]): jwt.utils.base64url_decode(key["x"])})
    for row in rows:
        status, _, _, tag, until = gate.verify(row["coupon_code"])
        ends = int((DAY + timedelta(hours=22)).timestamp())
        assert (status, tag, until) == (OK, event_tag(door.event), ends)
    spent = {one["coupon_id"]: one["reason"] for one in shown["tickets"]}
    assert spent[second["coupon_id"]] == "transferred"
