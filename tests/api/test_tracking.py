"""Tracked events, the funnel and the key figures over HTTP."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec

from api import wire_reports as shapes
from tests.api.server import Answer, ApiServer
from tests.api.test_finance import CSV, Office, table
from tests.api.test_finance import office as office

SEEN = {
    "type": "exposure", "user_id": "u1", "channel": "app", "campaign_id": "half",
    "entry": "banner", "occurred_at": "2026-03-01T09:00:00+08:00",
}  # fmt: skip


async def test_events_and_the_funnel(office: Office, rehearsal_server: ApiServer) -> None:
    storefront = rehearsal_server.key("storefront", tenant=office.tenant)

    async def track(events: Any, key: str = storefront, **more: Any) -> Answer:
        return await office.api.post("/v1/track", {"events": events}, key=key, **more)

    for change in (
        {"type": "sneeze"}, {"type": None}, {"user_id": "a b"}, {"user_id": None}, {"channel": ""},
        {"occurred_at": "yesterday"}, {"occurred_at": 7}, {"occurred_at": "2126-03-01T00:00:00Z"},
        {"entry": "x" * 65}, {"extra": 1},
    ):  # fmt: skip
        answer = await track([SEEN, SEEN | change])
        assert (answer.status, answer.code) == (400, "invalid_request"), change
        assert answer.json["field"].startswith("events[1]"), answer.json
    assert (await track([SEEN] * 1001)).json["field"] == "events"
    assert (await track({})).status == 400
    for key in (office.finance, office.merchant):
        assert (await track([SEEN], key)).code == "forbidden"

    answers = await asyncio.gather(*(track([SEEN, SEEN], idem="e1") for _ in range(5)))
    assert {(a.status, a.content) for a in answers} == {(200, b'{"accepted":2,"repeated":1}')}
    assert sum(a.replayed for a in answers) == 4
    assert (await track([SEEN], idem="e1")).code == "idempotency_key_reused"
    several = await asyncio.gather(*(track([SEEN | {"type": "click"}]) for _ in range(5)))
    assert sorted(a.json["repeated"] for a in several) == [0, 1, 1, 1, 1]
    assert (await track([])).json == {"accepted": 0, "repeated": 0}
    shown = (await office.api.get("/v1/users/u1/code", key=storefront)).json["code"]
    by_code = SEEN | {"user_id": None, "member_code": shown}
    assert (await track([by_code], idem="e2")).json == {"accepted": 1, "repeated": 1}
    assert (await track([SEEN], idem="e2")).replayed  # who a code stands for is the same request
    assert (await track([by_code | {"user_id": "u2"}])).code == "different_owners"

    await office.settle()  # the books have all of it
    chinese = {"Accept-Language": "zh-CN"}
    found = await office.read("/v1/reports/funnel", params={"group_by": "campaign,entry"})
    msgspec.convert(found.json, shapes.Funnel)
    assert found.json["items"] == [
        {"campaign": "gold", "entry": None, "exposure": 0, "click": 0, "claim": 1, "pay": 0,
         "redeem": 1, "repurchase": 0},
        {"campaign": "half", "entry": None, "exposure": 0, "click": 0, "claim": 2, "pay": 0,
         "redeem": 2, "repurchase": 0},
        {"campaign": "half", "entry": "banner", "exposure": 1, "click": 1, "claim": 1, "pay": 0,
         "redeem": 1, "repurchase": 0},
    ]  # fmt: skip
    pages, cursor = [], None
    for _ in range(3):
        params: dict[str, Any] = {"group_by": "campaign,entry", "limit": 1}
        params |= {"cursor": cursor} if cursor else {}
        page = await office.read("/v1/reports/funnel", params=params, headers=chinese)
        pages += page.json["items"]
        cursor = page.json["next_cursor"]
    assert (pages, cursor) == (found.json["items"], None)
    assert "人数" in page.json["definitions"]["exposure"]
    assert table(await office.read("/v1/reports/funnel", CSV))[0][0] == "channel"
    wrong: list[dict[str, Any]] = [{"group_by": "tier"}, {"limit": 201}, {"cursor": "x"}]
    for params in wrong:
        assert (await office.read("/v1/reports/funnel", params=params)).status == 400, params
    assert (await office.read("/v1/reports/funnel", key=office.merchant)).code == "forbidden"

    figures = await office.read("/v1/reports/kpi", headers=chinese)
    msgspec.convert(figures.json, shapes.KeyFigures)
    by_name = {item["name"]: item for item in figures.json["items"]}
    rate = by_name["redemption_rate"]
    assert (rate["value"], rate["numerator"], rate["denominator"]) == (1.0, 4, 4)
    assert "期内" in rate["definition"]
    assert by_name["attendance"]["value"] is None
    assert len(table(await office.read("/v1/reports/kpi", CSV))) == 1 + len(by_name)
    promised = await office.read("/v1/reports/liability")
    msgspec.convert(promised.json, shapes.Liability)
    assert [row["kind"] for row in promised.json["items"]] == ["points"]
    points = await office.read("/v1/reports/points", params={"group_by": "day,kind"})
    msgspec.convert(points.json, shapes.PointsReport)
    for path in ("kpi", "liability", "points"):
        assert (await office.read(f"/v1/reports/{path}", key=office.merchant)).code == "forbidden"
        assert table(await office.read(f"/v1/reports/{path}", CSV))[0]
