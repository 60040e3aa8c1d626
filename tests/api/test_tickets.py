"""Tickets over HTTP: given out and bought, with their event, until it ends."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.api.conftest import OwnServer
from tests.api.counter import Counter
from tests.api.server import Answer, Api
from tests.api.test_concurrency import at_once, in_order

NOON = "2026-03-02T12:00:00.000+08:00"
EVENT = {
    "id": "expo",
    "starts_at": "2026-03-02T18:00:00+08:00",
    "ends_at": "2026-03-02T22:00:00+08:00",
    "entry_from": "2026-03-02T17:00:00+08:00",
}
SHOWN = {
    "id": "expo",
    "starts_at": "2026-03-02T10:00:00.000Z",
    "ends_at": "2026-03-02T14:00:00.000Z",
    "entry_from": "2026-03-02T09:00:00.000Z",
    "entry_until": "2026-03-02T14:00:00.000Z",
    "reentry": False,
}
TICKET: dict[str, Any] = {
    "kind": "ticket",
    "benefit": {"type": "admission", "value": 5000},
    "validity": {"type": "relative"},
}


def at(hour: str) -> str:
    return f"2026-03-02T{hour}:00.000+08:00"


async def test_a_ticket_shows_its_event_and_ends_with_it(rehearsed: Counter) -> None:
    api = rehearsed.api
    campaign = await rehearsed.campaign("", **TICKET, event=EVENT)
    body = (await api.get(f"/v1/campaigns/{campaign}")).json
    assert body["event"] == SHOWN | {"entry_until": None, "quotas": None}

    ticket = await rehearsed.claim(campaign, now=NOON, idem="t1")
    assert ticket.json["event"] == SHOWN
    assert ticket.json["valid_until"] == SHOWN["ends_at"]
    again = await rehearsed.claim(campaign, now=NOON, idem="t1")
    assert again.json == ticket.json
    shown = await api.get(f"/v1/coupons/{ticket.json['id']}?expand=terms", now=at("21:59"))
    assert (shown.json["status"], shown.json["event"]) == ("issued", SHOWN)
    assert "entry_from" in [rule["code"] for rule in shown.json["rules"]]
    wallet = (await api.get(f"/v1/users/{rehearsed.user()}/coupons", now=at("22:00"))).json
    assert [(one["status"], one["event"]) for one in wallet["items"]] == [("expired", SHOWN)]

    late = await rehearsed.claim(campaign, "u2", now=at("22:00"))
    assert late.code == "campaign_ended"
    coupon = await rehearsed.claim(await rehearsed.campaign(), now=NOON)
    assert "event" not in coupon.json


async def test_tickets_are_bought_and_keep_the_event_they_were_sold_for(rehearsed: Counter) -> None:
    api = rehearsed.api
    campaign = await rehearsed.campaign("", **TICKET, event=EVENT, issue={"price": 5000})
    order = await api.post(
        "/v1/orders",
        {"user_id": rehearsed.user(), "items": [{"campaign_id": campaign, "quantity": 2}],
         "channel": "app"},
        now=NOON,
    )  # fmt: skip
    paid = await api.post(
        f"/v1/orders/{order.json['id']}/pay", {"payment_ref": "p", "paid_amount": 10000}, now=NOON
    )
    assert paid.status == 200
    assert [one["event"] for one in paid.json["coupons"]] == [SHOWN, SHOWN]
    moved = await api.patch(
        f"/v1/campaigns/{campaign}", {"event": {"ends_at": "2026-03-02T23:00:00+08:00"}}
    )
    assert moved.json["event"]["ends_at"] == "2026-03-02T15:00:00.000Z"
    kept = await api.get(f"/v1/coupons/{paid.json['coupons'][0]['id']}", now=NOON)
    assert kept.json["event"] == SHOWN


async def test_quotas_are_shared_shown_and_raised(rehearsed: Counter) -> None:
    api, event = rehearsed.api, f"{rehearsed.mark}-fair"
    quotas = [{"id": "hall", "total": 3}, {"id": "late", "total": 9}]

    def named(*ids: str, **totals: int) -> dict[str, Any]:
        chosen = [one | {"total": totals.get(one["id"], one["total"])} for one in quotas
                  if one["id"] in ids]  # fmt: skip
        return EVENT | {"id": event, "quotas": chosen}

    adult = await rehearsed.campaign("", **TICKET, event=named("hall", "late"))
    child = await rehearsed.campaign("", **TICKET, event=named("hall"), stock={"total": None})
    body = {"name": "n", "stock": {"total": 1}, **TICKET}
    wrong = body | {"id": f"{rehearsed.mark}-x", "event": named("hall", hall=4)}
    for path in ("/v1/campaigns", "/v1/campaigns?dry_run=true"):
        refused = await api.post(path, wrong)
        assert (refused.status, refused.code) == (400, "invalid_request")
        assert refused.json["field"] == "event.quotas[0].total"
    late = body | {"id": f"{rehearsed.mark}-x", "event": EVENT | {"id": event, "reentry": True}}
    assert (await api.post("/v1/campaigns", late)).json["field"] == "event.reentry"

    for n in range(3):
        assert (await rehearsed.claim(child if n else adult, f"u{n}", now=NOON)).status == 201
    for campaign in (adult, child):
        assert (await rehearsed.claim(campaign, "u9", now=NOON)).code == "sold_out"
    offers = {"user_id": rehearsed.user(), "campaign_ids": [adult, child], "channel": "app"}
    for offer in (await api.post("/v1/offers", offers, now=NOON)).json["items"]:
        assert (offer["code"], offer["left"]) == ("sold_out", 0)

    # A patch of one is the event of all of them; a total is never below what is out.
    path = f"/v1/campaigns/{child}"
    for change, field in (
        ({"quotas": [{"id": "hall", "total": 2}]}, "event.quotas[0].total"),
        ({"quotas": []}, "event.quotas"),
        ({"id": "other"}, "event.id"),
    ):
        refused = await api.patch(path, {"event": change})
        assert (refused.status, refused.json["field"]) == (400, field)
    raised = await api.patch(path, {"event": {"quotas": [{"id": "hall", "total": 4}]}})
    assert raised.json["live"]["left"] == 1
    assert raised.json["live"]["quotas"] == [{"id": "hall", "total": 4, "left": 1}]
    other = (await api.get(f"/v1/campaigns/{adult}")).json
    assert (other["revision"], other["event"]["quotas"][0]["total"]) == (2, 4)
    assert other["live"]["left"] == 1
    moved = await api.patch(path, {"event": {"ends_at": "2026-03-02T23:00:00+08:00"}})
    other = (await api.get(f"/v1/campaigns/{adult}")).json
    assert other["event"]["ends_at"] == moved.json["event"]["ends_at"]
    assert (await rehearsed.claim(adult, "u9", now=NOON)).status == 201
    assert (await rehearsed.claim(adult, "u8", now=NOON)).code == "sold_out"


@pytest.mark.slow
@pytest.mark.parametrize("cells", ["1", "3"])
async def test_two_campaigns_sell_a_hall_to_the_last_seat(
    own_server: OwnServer, cells: str
) -> None:
    """Two processes, people in all cells, claims and parties at once: 40 seats, 40 tickets."""
    server = own_server(HEXIAO_CELLS=cells, HEXIAO_WORKERS="2")
    begins, ends = "2036-01-01T00:00:00Z", "2036-01-02T00:00:00Z"
    hall = {"id": "hall", "total": 40}
    async with Api(server.url, server.operator_key) as api:
        for name, quotas in (("a", [hall, {"id": "stalls", "total": 30}]), ("b", [hall])):
            event = {"id": "gala", "starts_at": begins, "ends_at": ends, "quotas": quotas}
            body = {"id": name, "name": name, "stock": {"total": None}, "event": event, **TICKET}
            assert (await api.post("/v1/campaigns", body)).status == 201

        async def claim(user: int, name: str = "b") -> Answer:
            body = {"campaign_id": name, "user_id": f"u{user}", "channel": "app"}
            return await api.post("/v1/claims", body)

        async def party(user: int) -> Answer:
            items = [{"campaign_id": "a", "quantity": 2}, {"campaign_id": "b", "quantity": 1}]
            body = {"user_id": f"p{user}", "items": items, "channel": "app", "hold_seconds": 900}
            return await api.post("/v1/orders", body)

        answers = await at_once(
            party(n) if n % 3 == 0 else claim(n, "ab"[n % 2]) for n in range(120)
        )
        assert {one.code for one in answers if one.status != 201} <= {"sold_out"}
        for n in range(120, 150):  # one after another, whoever wants what is left
            if (await claim(n)).status != 201:
                break
        orders = [one.json["id"] for one in answers if one.status == 201 and "items" in one.json]
        for order in orders:
            paid = {"payment_ref": order, "paid_amount": 0}
            assert (await api.post(f"/v1/orders/{order}/pay", paid)).status == 200
        await asyncio.sleep(1.1)
        lives = [(await api.get(f"/v1/campaigns/{name}")).json["live"] for name in "ab"]
        assert sum(live["issued"] for live in lives) == 40
        assert lives[0]["issued"] <= 30
        assert [live["left"] for live in lives] == [0, 0]
        await in_order(server, "mall")
        report = (await api.get("/v1/reports/stock")).json["items"]
        assert [row["left"] for row in report] == [0, 0]
