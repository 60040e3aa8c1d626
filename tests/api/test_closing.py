"""Closing a till over HTTP: totals and the till's own list, right after the last sale."""

from __future__ import annotations

import pytest

from tests.api.counter import Counter

DAY = "2026-03-02"
NOON = f"{DAY}T12:00:00+08:00"


async def test_a_till_is_closed(rehearsed: Counter) -> None:
    """The books are waited for: the last sale is in it. A till sees its own store only."""
    api, till, terminal = rehearsed.api, rehearsed.till("s1"), f"{rehearsed.mark}-t1"
    coupons = [await rehearsed.coupon("off 700", now=NOON) for _ in range(2)]
    done = await rehearsed.redeem(
        coupons[0], terminal_id=terminal, order_ref=f"{terminal}-1", now=NOON
    )
    assert done.status == 201, done.json
    other = await rehearsed.redeem(coupons[1], terminal_id=terminal, store_id="s2", now=NOON)
    assert other.status == 201, other.json

    path = f"/v1/terminals/{terminal}/totals?business_day={DAY}"
    ours = (await api.get(path, key=till)).json
    assert (ours["store_id"], ours["redemptions"], ours["discount"]) == ("s1", 1, 700)
    both = (await api.get(path)).json
    assert (both["store_id"], both["redemptions"], both["net_payable"]) == (None, 2, 2 * 23100)
    assert (await api.get(path + "&store_id=s2", key=till)).status == 403

    lines = [
        {"order_ref": f"{terminal}-1", "discount": 700},
        {"order_ref": f"{terminal}-2", "discount": 5},
    ]
    body = {"terminal_id": terminal, "business_day": DAY, "lines": lines}
    found = (await api.post("/v1/reconciliations", body, key=till)).json
    assert found["counts"] == {"matched": 1, "missing_here": 1, "missing_there": 0, "differs": 0}
    assert found["matched"][0]["redemption_ids"] == [done.json["id"]]
    assert found["missing_here"][0]["order_ref"] == f"{terminal}-2"
    foreign = await api.post("/v1/reconciliations", body | {"store_id": "s2"}, key=till)
    assert foreign.status == 403


@pytest.mark.parametrize(
    ("change", "status", "field"),
    [
        ({"business_day": "2026-02-30"}, 400, "business_day"),
        ({"business_day": "0001-01-01"}, 400, "business_day"),
        ({"lines": [{"discount": 1}]}, 400, "lines[0]"),
        ({"lines": [{"order_ref": "a", "discount": -1}]}, 400, "lines[0].discount"),
        ({"store_id": None}, 400, "store_id"),
        ({"store_id": "nowhere"}, 404, "store_id"),
    ],
)
async def test_a_wrong_list_is_named(
    counter: Counter, change: dict[str, object], status: int, field: str
) -> None:
    body = {"store_id": "s1", "business_day": DAY, "lines": []} | change
    answer = await counter.api.post("/v1/reconciliations", body)
    assert (answer.status, answer.json["field"]) == (status, field)


async def test_who_looks_right_after_finds_it(counter: Counter) -> None:
    """No list or report lacks what its caller has just been told is done."""
    api, order = counter.api, f"{counter.mark}-order"
    campaign = await counter.campaign("off 700")
    coupon = (await counter.claim(campaign)).json["id"]
    done = await counter.redeem(coupon, order_ref=order)
    found = await api.get(f"/v1/redemptions?order_ref={order}")
    assert [one["id"] for one in found.json["items"]] == [done.json["id"]]

    given = {"user_id": counter.user(), "points": 5, "reason": "test", "ref": order}
    entry = (await api.post("/v1/points/earn", given)).json["id"]
    entries = await api.get(f"/v1/users/{counter.user()}/points/entries")
    assert [one["id"] for one in entries.json["items"]] == [entry]

    other = (await counter.claim(campaign)).json["id"]
    assert (await api.post(f"/v1/coupons/{other}/void", {"reason": "test"})).status == 200
    acts = (await api.get(f"/v1/coupons/{other}/history")).json["items"]
    assert [one["type"] for one in acts] == ["claimed", "voided"]
    first = (await api.get(f"/v1/coupons/{other}/history?limit=1")).json
    assert first["items"] == acts[:1]
    rest = await api.get(f"/v1/coupons/{other}/history?limit=1&cursor={first['next_cursor']}")
    assert (rest.json["items"], rest.json["next_cursor"]) == (acts[1:], None)

    await counter.claim(campaign)
    stock = (await api.get(f"/v1/reports/stock?campaign_id={campaign}")).json["items"]
    assert [one["issued"] for one in stock] == [3]

    gone = {"policy": "allow_negative"}
    undone = await api.post(f"/v1/points/entries/{entry}/reversals", gone)
    booked = (await api.get("/v1/books/postings?after=0", headers={"Accept": "text/csv"})).content
    assert undone.json["id"].encode() in booked
