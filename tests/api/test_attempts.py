"""Refused tries at tills: kept without a word in the state, told to whoever answers a complaint."""

from __future__ import annotations

from tests.api.counter import Counter

NOON = "2026-03-02T12:00:00+08:00"
LATER = "2026-03-02T12:05:00+08:00"


async def test_refused_tries_on_a_coupon(rehearsed: Counter) -> None:
    """By id and by code, of a redemption, a hold, a scan, a verification; the newest first."""
    api, till = rehearsed.api, rehearsed.till("s1")
    coupon = await rehearsed.coupon("min_spend 30000", now=NOON)
    other = await rehearsed.coupon("min_spend 30000", now=NOON)
    code = await rehearsed.code(coupon, now=NOON)
    short = await rehearsed.redeem(
        {"id": coupon}, {"id": other}, terminal_id="t9", staff_id="08", order_ref="P-1", now=NOON
    )
    assert short.code == "min_spend"
    assert (await rehearsed.redeem(coupon, mode="hold", now=NOON)).code == "min_spend"
    stale = {"code": code}
    assert (await rehearsed.redeem(stale, key=till, store_id=None)).code == "min_spend"
    await api.get("/v1/settings", now=LATER)  # the clock moves on: the picture is old now
    assert (await rehearsed.redeem(stale, key=till, store_id=None)).code == "code_expired"
    scan = await api.post("/v1/scans/resolve", {**stale, "store_id": "s1"}, key=till)
    assert (scan.status, scan.json["code"]) == (200, "code_expired")
    assert (await api.post("/v1/codes/verify", {"codes": [code, "nonsense"]})).status == 200
    assert (await rehearsed.redeem("C" + "0" * 27)).status == 404  # no try on anything

    path = f"/v1/coupons/{coupon}/attempts"
    items = (await api.get(path)).json["items"]
    assert [(one["type"], one["code"]) for one in items] == [
        ("verify", "code_expired"), ("scan", "code_expired"), ("redeem", "code_expired"),
        ("redeem", "min_spend"), ("hold", "min_spend"), ("redeem", "min_spend"),
    ]  # fmt: skip
    assert items[-1] | {"who": None} == {
        "type": "redeem", "at": "2026-03-02T04:00:00.000Z", "code": "min_spend",
        "detail": "62.00 more is needed to use it.", "short_by": 6200, "store_id": "s1",
        "terminal_id": "t9", "staff_id": "08", "channel": "cashier", "order_ref": "P-1",
        "who": None,
    }  # fmt: skip
    good = await rehearsed.coupon(now=NOON)
    mixed = await rehearsed.redeem(good, other, policy="best_effort", idem="k", now=NOON)
    again = await rehearsed.redeem(good, other, policy="best_effort", idem="k", now=NOON)
    assert (mixed.status, again.replayed) == (201, True)
    page = (await api.get(path + "?limit=4")).json
    rest = (await api.get(f"{path}?limit=4&cursor={page['next_cursor']}")).json
    assert page["items"] + rest["items"] == items
    assert rest["next_cursor"] is None
    others = (await api.get(f"/v1/coupons/{other}/attempts")).json["items"]
    assert [one["code"] for one in others] == ["min_spend", "min_spend"]
    assert (await api.get(f"/v1/coupons/{other}/attempts", key=till)).status == 403
    assert (await api.get("/v1/coupons/C" + "0" * 27 + "/attempts")).status == 404


async def test_a_refused_try_at_a_gate(counter: Counter) -> None:
    """A till's coupon shown where a car leaves; a quote is no try."""
    coupon = await counter.coupon()
    lot = f"lot-{counter.mark}"
    made = await counter.api.put(
        f"/v1/lots/{lot}", {"name": "P1", "merchant_id": "m1", "grace_minutes": 15}
    )
    assert made.status in (200, 201), made.json
    body = {
        "lot_id": lot, "session_id": "x1", "user_id": counter.user(), "fee_total": 1500,
        "entered_at": NOON, "as_of": LATER, "coupons": [{"id": coupon}],
    }  # fmt: skip
    await counter.api.post("/v1/parking/payments", {**body, "mode": "quote"})
    refused = await counter.api.post("/v1/parking/payments", {**body, "mode": "commit"})
    items = (await counter.api.get(f"/v1/coupons/{coupon}/attempts")).json["items"]
    assert [(one["type"], one["code"], one["store_id"]) for one in items] == [
        ("park", "no_eligible_items", lot)
    ], refused.json


async def test_the_report_of_refused_tries(counter: Counter) -> None:
    """A mall of its own: by code, store, terminal and day, as JSON and CSV; a merchant's own."""
    tenant, key = counter.server.new_mall()
    async with type(counter.api)(counter.api.url, key) as api:
        mall = await Counter.open(counter.server, api, tenant)
        coupon = await mall.coupon("min_spend 30000")
        for store in ("s1", "s1", "s2"):
            refused = await mall.redeem(coupon, store_id=store, terminal_id="t1")
            assert refused.code == "min_spend"
        assert (await mall.redeem({"code": "NOTHING"})).code == "code_invalid"
        report = "/v1/reports/attempts"
        assert (await api.get(report)).json["items"] == [
            {"code": "code_invalid", "attempts": 1, "coupons": 0},
            {"code": "min_spend", "attempts": 3, "coupons": 1},
        ]
        grouped = (await api.get(report + "?group_by=store,terminal")).json["items"]
        shown = [(row["store"], row["terminal"], row["attempts"]) for row in grouped]
        assert shown == [("s1", None, 1), ("s1", "t1", 2), ("s2", "t1", 1)]
        days = (await api.get(report + "?group_by=day&to=2020-01-01T00:00:00Z")).json["items"]
        assert days == []
        csv = await api.get(report + "?group_by=code", headers={"Accept": "text/csv"})
        assert csv.content.decode().splitlines()[:2] == [
            "\ufeffcode,attempts,coupons", "code_invalid,1,0"
        ]  # fmt: skip
        merchant = counter.server.key("merchant", tenant=tenant, merchant_id="nobody")
        assert (await api.get(report, key=merchant)).json["items"] == []
        assert (await api.get(report + "?group_by=colour")).json["field"] == "group_by"
