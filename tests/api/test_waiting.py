"""Waiting lines over HTTP: the contract's shapes, who may do what, offers in the events feed."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.api.server import Answer, Api, ApiServer
from tests.api.story import campaign_body

DAY = "2026-03-02T"
NOON = DAY + "12:00:00.000+08:00"
LATER = DAY + "12:15:00.000+08:00"


class Line(Api):
    """An operator of a mall of its own on the rehearsal server."""

    tenant: str
    server: ApiServer

    async def offer_of(self, words: str, **issue: Any) -> None:
        body = campaign_body("show", words.split())
        body["issue"] = {**body.get("issue", {}), **issue}
        answer = await self.post("/v1/campaigns", body)
        assert answer.status == 201, answer.json

    async def join(self, user: str, now: str = NOON, **more: Any) -> Answer:
        options = {name: more.pop(name) for name in ("idem", "key") if name in more}
        body = {"user_id": user, **more}
        return await self.post("/v1/campaigns/show/waitlist", body, now=now, **options)

    async def place(self, user: str, now: str = NOON, **options: Any) -> Answer:
        return await self.get(f"/v1/campaigns/show/waitlist/{user}", now=now, **options)

    async def leave(self, user: str, now: str = NOON, **options: Any) -> Answer:
        return await self.delete(f"/v1/campaigns/show/waitlist/{user}", now=now, **options)

    async def claim(self, user: str, now: str = NOON) -> Answer:
        body = {"campaign_id": "show", "user_id": user, "channel": "app"}
        return await self.post("/v1/claims", body, now=now)


@pytest.fixture
async def line(rehearsal_server: ApiServer) -> AsyncIterator[Line]:
    tenant, key = rehearsal_server.new_mall()
    async with Line(rehearsal_server.url, key) as line:
        line.tenant, line.server = tenant, rehearsal_server
        yield line


async def test_a_line_as_a_caller_sees_it(line: Line) -> None:
    await line.offer_of("stock 1 per_user 1")
    assert (await line.place("ann")).status == 404
    first = await line.join("ann", idem="a")
    order = first.json["offer"]["order_id"]
    assert (first.status, first.json) == (201, {
        "status": "offered", "position": None, "ahead": None,
        "offer": {"order_id": order, "expires_at": "2026-03-02T04:15:00.000Z"},
    })  # fmt: skip
    again = await line.join("ann", idem="a")
    assert (again.json, again.replayed) == (first.json, True)
    assert (await line.join("ann", idem="a", party=2)).code == "idempotency_key_reused"
    assert (await line.join("ann")).code == "already_exists"
    waiting = await line.join("bob", party=1, priority=None)
    assert (waiting.status, waiting.json) == (201, {
        "status": "waiting", "position": 1, "ahead": 0, "why": "sold_out", "detail": "Sold out.",
    })  # fmt: skip
    assert (await line.join("eve", priority=3)).json["position"] == 1
    assert (await line.place("bob")).json["ahead"] == 1
    asked = {"user_id": "ann", "campaign_ids": ["show"]}
    offers = [
        (await line.post("/v1/offers", {**asked, "user_id": user}, now=NOON)).json["items"][0]
        for user in ("ann", "bob")
    ]
    assert [one["claimable"] for one in offers] == [True, False]
    # The seat is free in the instant that its time is over, and is not anybody's.
    assert (await line.claim("zoe", LATER)).code == "sold_out"
    late = await line.post(
        f"/v1/orders/{order}/pay", {"payment_ref": "p", "paid_amount": 0}, now=LATER
    )
    assert late.code == "order_expired"  # and a late payment does not get past the line either
    assert (await line.place("ann", LATER)).json["status"] == "lapsed"
    offered = (await line.place("eve", LATER)).json
    assert (offered["status"], offered["offer"]["expires_at"]) == (
        "offered", "2026-03-02T04:30:00.000Z"
    )  # fmt: skip
    assert (await line.leave("eve", LATER)).json["status"] == "declined"
    taken = await line.claim("bob", LATER)
    assert (taken.status, taken.json["user_id"]) == (201, "bob")
    assert (await line.place("bob", LATER)).json["status"] == "taken"
    assert (await line.leave("bob", LATER)).json["status"] == "taken"
    refund = {"reason": "can't come", "refund_ref": "r1"}
    await line.join("dan", LATER)
    back = await line.post(f"/v1/coupons/{taken.json['id']}/refund", refund, now=LATER)
    assert (back.status, back.json["refund_amount"]) == (200, 0)
    assert (await line.place("dan", LATER)).json["status"] == "offered"
    for _ in range(100):
        page = await line.get("/v1/events", params={"types": "offer_made,offer_lapsed,issued"})
        found = [(one["type"], one["user_id"]) for one in page.json["items"]]
        if len(found) >= 6:
            break
        await asyncio.sleep(0.05)
    assert found == [
        ("offer_made", "ann"), ("offer_lapsed", "ann"), ("offer_made", "eve"),
        ("offer_made", "bob"), ("issued", "bob"), ("offer_made", "dan"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"party": 0}, "party"),
        ({"party": 101}, "party"),
        ({"party": "2"}, "party"),
        ({"priority": -1}, "priority"),
        ({"user_id": "a b"}, "user_id"),
        ({"user_id": None}, "user_id"),
        ({"channel": "app"}, "channel"),
    ],
)
async def test_what_is_wrong_is_named(rehearsal: Api, body: dict[str, Any], field: str) -> None:
    path = "/v1/campaigns/none/waitlist"
    answer = await rehearsal.post(path, {"user_id": "ann", **body})
    assert (answer.status, answer.json["field"]) == (400, field)
    assert (await rehearsal.ask("POST", path, {"user_id": "ann"})).code == (
        "idempotency_key_required"
    )
    assert (await rehearsal.post(path, {"user_id": "ann"})).status == 404
    assert (await rehearsal.delete(f"{path}/ann")).status == 404


async def test_people_stand_in_line_for_themselves(line: Line) -> None:
    await line.offer_of("stock 1 per_user 1")
    await line.claim("zoe")
    key = {role: line.server.key(role, tenant=line.tenant) for role in ("storefront", "desk")}
    await line.server.until_known(key["desk"])
    joined = await line.post("/v1/campaigns/show/waitlist", {"user_id": "u"}, key=key["storefront"])
    assert joined.status == 201
    path = "/v1/campaigns/show/waitlist/u"
    assert (await line.get(path, key=key["desk"])).json["position"] == 1
    assert (await line.delete(path, key=key["desk"])).code == "forbidden"
    _, other = line.server.new_mall()
    assert (await line.get(path, key=other)).status == 404


async def test_a_seat_is_offered_by_the_clock_alone(api: Api) -> None:
    """On a server that is no rehearsal: nobody asks, and the next one has the offer in time."""
    name = f"w{time.time_ns()}"
    body = campaign_body(name, ["stock", "1"])
    assert (await api.post("/v1/campaigns", body)).status == 201
    items = [{"campaign_id": name, "quantity": 1}]
    held = {"user_id": "ann", "items": items, "channel": "app", "hold_seconds": 1}
    assert (await api.post("/v1/orders", held)).status == 201
    path = f"/v1/campaigns/{name}/waitlist"
    assert (await api.post(path, {"user_id": "bob"})).json["position"] == 1
    for _ in range(100):
        found = (await api.get(f"{path}/bob")).json
        if found["status"] == "offered":
            break
        await asyncio.sleep(0.05)
    order = (await api.get(f"/v1/orders/{found['offer']['order_id']}")).json
    assert (order["status"], order["channel"]) == ("pending", "waitlist")
    claim = {"campaign_id": name, "user_id": "bob", "channel": "app"}
    assert (await api.post("/v1/claims", claim)).status == 201


async def test_a_party_larger_than_a_quota_does_not_stop_the_line(line: Line) -> None:
    body = campaign_body("hall", [])
    body |= {"kind": "ticket", "benefit": {"type": "admission", "value": 100}, "stock": {}}
    body["event"] = {"id": "gala", "starts_at": "2026-03-09T19:00:00+08:00",
                     "ends_at": "2026-03-09T22:00:00+08:00",
                     "quotas": [{"id": "a", "total": 2}, {"id": "b", "total": 9}]}  # fmt: skip
    made = await line.post("/v1/campaigns", body, now=NOON)
    assert made.status == 201, made.json
    wanted = {"user_id": "ann", "items": [{"campaign_id": "hall", "quantity": 2}], "channel": "app"}
    taken = await line.post("/v1/orders", wanted, now=NOON)
    assert taken.status == 201, taken.json
    path = "/v1/campaigns/hall/waitlist"
    three = await line.post(path, {"user_id": "bob", "party": 3}, now=NOON)
    assert three.code == "sold_out"
    two = await line.post(path, {"user_id": "cat", "party": 2}, now=NOON)
    assert two.json["status"] == "waiting"
    await line.post(f"/v1/orders/{taken.json['id']}/cancel", {}, now=NOON)
    assert (await line.get(path + "/cat", now=NOON)).json["status"] == "offered"


async def test_what_waits_for_a_party_is_offered_to_nobody_else(line: Line) -> None:
    await line.offer_of("stock 2 per_user 2")
    assert (await line.claim("ann")).status == 201
    assert (await line.join("bob", party=2)).json["status"] == "waiting"
    body = {"user_id": "zoe", "campaign_ids": ["show"]}
    shown = (await line.post("/v1/offers", body, now=NOON)).json["items"][0]
    assert (shown["claimable"], shown["code"]) == (False, "sold_out")
    assert (await line.claim("zoe")).code == "sold_out"
