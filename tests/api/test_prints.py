"""Printed batches over HTTP: a job, its list and sheets; coupons of nobody at a till, or taken."""

from __future__ import annotations

import asyncio
import csv
import io
import xml.etree.ElementTree as ET
from typing import Any

import pytest

from tests.api.test_concurrency import in_order
from tests.api.test_gifts import Giving
from tests.api.test_gifts import giving as giving
from tests.api.test_orders import NOON


async def batch(giving: Giving, campaign: str, count: int, **more: Any) -> dict[str, Any]:
    made = await giving.post(f"/v1/campaigns/{campaign}/prints", {"count": count, **more}, now=NOON)
    assert made.status == 202, made.json
    return await finished(giving, made.json["id"])


async def finished(giving: Giving, batch_id: str) -> dict[str, Any]:
    for _ in range(400):
        found: dict[str, Any] = (await giving.get(f"/v1/prints/{batch_id}")).json
        if found["status"] == "done":
            return found
        await asyncio.sleep(0.02)
    raise AssertionError(found)


async def listed(giving: Giving, batch_id: str) -> list[dict[str, str]]:
    answer = await giving.get(f"/v1/prints/{batch_id}/codes.csv")
    assert answer.headers["Content-Type"].startswith("text/csv")
    return list(csv.DictReader(io.StringIO(answer.content.decode("utf-8-sig"))))


@pytest.mark.slow
async def test_coupons_of_nobody(giving: Giving) -> None:
    await giving.sell("flyer", "stock 30 per_user 1", issue={"channels": ["paper", "app"]})
    path = "/v1/campaigns/flyer/prints"
    assert (await giving.post(path, {"count": 1}, now=NOON)).code == "channel_not_allowed"
    one = await giving.post(path, {"count": 2, "channel": "paper"}, now=NOON, idem="p1")
    again = await giving.post(path, {"count": 2, "channel": "paper"}, now=NOON, idem="p1")
    assert (again.status, again.json["id"], again.replayed) == (202, one.json["id"], True)
    await finished(giving, one.json["id"])
    more = await batch(giving, "flyer", 29, channel="paper")  # one more than there are
    assert more["counts"] == {"issued": 28, "sold_out": 1}
    assert (more["pages"], more["first_number"]) == (2, 3)
    rows = await listed(giving, more["id"])
    assert len({row["coupon_id"] for row in rows}) == len({row["typed_code"] for row in rows}) == 28
    found = (await giving.get(f"/v1/coupons/{rows[0]['coupon_id']}", now=NOON)).json
    assert (found["user_id"], found["status"], found["channel"]) == (None, "issued", "paper")
    assert found["valid_until"] == rows[0]["valid_until"]
    page = await giving.get(f"/v1/prints/{more['id']}/sheet.svg?page=2")
    drawn = ET.fromstring(page.content)
    texts = [one.text for one in drawn.iter("{http://www.w3.org/2000/svg}text")]
    assert [row["typed_code"] in texts for row in rows].count(True) == 4
    assert (await giving.get(f"/v1/prints/{more['id']}/sheet.svg?page=3")).status == 404

    # At a till: by picture, or typed as people type; alone.
    sale = {"store_id": "s1", "channel": "cashier", "basket": {"amount": 5000}}
    till = "/v1/redemptions"
    first, second, third, fourth = rows[:4]
    scan = {"code": first["typed_code"], "store_id": "s1"}
    shown = (await giving.post("/v1/scans/resolve", scan, now=NOON)).json
    assert (shown["usable"], shown["user_id"]) == (True, None)
    typed = {"code": " " + first["typed_code"].lower().replace("-", " ")}
    coupons = {"coupons": [typed]}
    done = await giving.post(till, {**sale, **coupons}, now=NOON, idem="t1")
    assert (done.status, done.json["applied"][0]["coupon_id"]) == (201, first["coupon_id"])
    picture = {"coupons": [{"code": first["coupon_code"]}]}
    again = await giving.post(till, {**sale, **picture}, now=NOON, idem="t1")
    assert (again.json, again.replayed) == (done.json, True)
    assert (await giving.post(till, {**sale, **picture}, now=NOON)).code == "already_redeemed"
    look = (await giving.get(f"/v1/redemptions/{done.json['id']}")).json
    assert look["user_id"] is None
    both = {"coupons": [{"code": second["coupon_code"]}, {"code": third["coupon_code"]}]}
    assert (await giving.post(till, {**sale, **both}, now=NOON)).code == "different_owners"
    mine = {"coupons": [{"code": second["coupon_code"]}], "user_id": "ann"}
    assert (await giving.post(till, {**sale, **mine}, now=NOON)).code == "different_owners"
    wrong = second["typed_code"][:-1] + ("0" if second["typed_code"][-1] != "0" else "1")
    bad = {"coupons": [{"code": wrong}]}
    assert (await giving.post(till, {**sale, **bad}, now=NOON)).code == "code_invalid"
    checked = await giving.post("/v1/codes/verify", {"codes": [second["typed_code"], wrong]})
    assert [item["ok"] for item in checked.json["items"]] == [True, False]

    # Taken into a wallet: the limits of the campaign are the person's then.
    answers = await asyncio.gather(
        *(
            giving.post(f"/v1/coupons/{name}/take", {"user_id": user}, now=NOON, idem="k")
            for user in ("ann", "bob")
            for name in (second["coupon_id"], second["typed_code"], second["coupon_code"])
        )
    )
    won = [one for one in answers if one.status == 201]
    assert len({one.json["id"] for one in won}) == 1
    winner = won[0].json["user_id"]
    assert {one.code for one in answers if one not in won} == {"transferred"}
    more_of_it = f"/v1/coupons/{third['coupon_id']}/take"
    assert (await giving.post(more_of_it, {"user_id": winner}, now=NOON)).code == "user_limit"
    own = f"/v1/coupons/{won[0].json['id']}/take"
    assert (await giving.post(own, {"user_id": "cid"}, now=NOON)).code == "not_transferable"
    assert (await giving.post(f"/v1/coupons/{fourth['coupon_id']}/gifts", {}, now=NOON)).code == (
        "not_transferable"
    )
    void = f"/v1/coupons/{fourth['coupon_id']}/void"
    assert (await giving.post(void, {"reason": "lost"}, now=NOON)).status == 200
    assert (await giving.redeem(won[0].json["id"], 5000)).status == 201
    await in_order(giving.server, giving.tenant)
    (row,) = (await giving.get("/v1/reports/funnel")).json["items"]
    assert (row["claim"], row["redeem"]) == (0, 1)  # the winner's is the one person known
    for event in (await giving.get("/v1/events?limit=200")).json["items"]:
        assert not str(event.get("user_id", "")).startswith("print/")


async def test_what_is_not_printed(giving: Giving) -> None:
    await giving.sell("dear", issue={"price": 100})
    await giving.sell("vip", issue={"tiers": ["gold"]})
    await giving.sell("soon", issue={"start": "2026-03-03T00:00:00+08:00"})
    await giving.sell("off", status="draft")
    for name, code in (
        ("dear", "invalid_request"), ("vip", "not_eligible"), ("soon", "not_started"),
        ("off", "not_started"), ("none", "not_found"),
    ):  # fmt: skip
        answer = await giving.post(f"/v1/campaigns/{name}/prints", {"count": 1}, now=NOON)
        assert answer.code == code, answer.json
    for body in ({}, {"count": 0}, {"count": 100_001}, {"count": "1"}, {"count": 1, "x": 1}):
        assert (await giving.post("/v1/campaigns/soon/prints", body, now=NOON)).status == 400
    storefront = giving.server.key("storefront", tenant=giving.tenant)
    assert (await giving.get("/v1/prints/J1/codes.csv", key=storefront)).status in (401, 403)
    assert (await giving.get("/v1/prints/J1")).status == 404
