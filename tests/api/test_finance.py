"""Finance over HTTP: a month of acts on a rehearsal server, settled, exported and reported."""

from __future__ import annotations

import asyncio
import csv
import io
import json
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import msgspec
import openpyxl
import pytest

from api import wire_finance as shapes
from api import wire_reports as report_shapes
from tests.api.server import Answer, Api, ApiServer

MARCH, APRIL, MAY = (f"2026-0{n}-01T00:00:00+08:00" for n in (3, 4, 5))
CSV, XLSX = "text/csv", "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
NDJSON = "application/x-ndjson"
SETTLE_SECONDS = 20.0


@dataclass
class Office:
    """A mall of its own on the rehearsal server, with a month of acts; keys of finance's kind."""

    api: Api
    tenant: str
    finance: str
    merchant: str  # m1's
    redemptions: list[str]

    async def settle(self, start: str = MARCH, end: str = APRIL, **more: Any) -> Answer:
        """POST /v1/statements as soon as the writer has come so far."""
        until = time.monotonic() + SETTLE_SECONDS
        while True:
            body = {"start": start, "end": end, **more}
            answer = await self.api.post("/v1/statements", body, key=self.finance)
            if answer.code != "period_open" or time.monotonic() > until:
                return answer
            await asyncio.sleep(0.05)

    async def read(self, path: str, accept: str = "application/json", **more: Any) -> Answer:
        """GET with finance's key."""
        headers = {"Accept": accept, **more.pop("headers", {})}
        more.setdefault("key", self.finance)
        return await self.api.get(path, headers=headers, **more)


async def act(api: Api, path: str, body: dict[str, Any], now: str) -> dict[str, Any]:
    answer = await api.post(path, body, now=now)
    assert answer.status in (200, 201), answer.json
    made: dict[str, Any] = answer.json
    return made


async def use(
    api: Api, user: str, campaign: str, store: str, amount: int, now: str, **more: Any
) -> str:
    """Claim and redeem; the redemption's id."""
    claim = {"campaign_id": campaign, "user_id": user, "channel": "app", **more}
    coupon = await act(api, "/v1/claims", claim, now)
    redemption = {
        "coupons": [{"id": coupon["id"]}],
        "store_id": store,
        "channel": "cashier",
        "order_ref": f"P-{user}",
        "basket": {"amount": amount},
    }
    done = await act(api, "/v1/redemptions", redemption, now)
    return str(done["id"])


@pytest.fixture
async def office(rehearsal_server: ApiServer) -> AsyncIterator[Office]:
    tenant, operator = rehearsal_server.new_mall()
    async with Api(rehearsal_server.url, operator) as api:
        for store, merchant in (("s1", "m1"), ("s2", "m1"), ("s3", "m2")):
            assert (await api.put(f"/v1/merchants/{merchant}", {"name": merchant})).status == 200
            made = await api.put(f"/v1/stores/{store}", {"name": store, "merchant_id": merchant})
            assert made.status == 200, made.json
        for name, amount, funding in (
            ("half", 2001, {"mall": 50, "merchant": 50}),
            ("gold", 1000, [{"party": "sponsor:cola", "percent": 100}]),
        ):
            campaign = {
                "id": name,
                "name": name,
                "kind": "coupon",
                "benefit": {"type": "amount_off", "amount": amount},
                "stock": {"total": 100},
                "validity": {"type": "fixed", "start": "2026-01-01T00:00:00Z",
                             "end": "2027-01-01T00:00:00Z"},
                "funding": funding,
            }  # fmt: skip
            made = await api.post("/v1/campaigns", campaign, now=MARCH)
            assert made.status == 201, made.json
        redemptions = [
            await use(api, "u1", "half", "s1", 10_000, "2026-03-02T10:00:00+08:00",
                      source={"entry": "banner"}),
            await use(api, "u2", "half", "s2", 5_000, "2026-03-02T23:59:00+08:00"),
            await use(api, "u3", "gold", "s3", 4_000, "2026-03-03T10:00:00+08:00"),
        ]  # fmt: skip
        reversal = {"reason": "returned", "lines": [{"id": "1", "amount": 2500}]}
        await act(api, f"/v1/redemptions/{redemptions[1]}/reversals", reversal,
                  "2026-03-04T10:00:00+08:00")  # fmt: skip
        await use(api, "u4", "half", "s1", 3_000, APRIL)  # the clock is in April now
        yield Office(
            api,
            tenant,
            rehearsal_server.key("finance", tenant=tenant),
            rehearsal_server.key("merchant", tenant=tenant, merchant_id="m1"),
            redemptions,
        )


def table(answer: Answer) -> list[list[str]]:
    assert answer.headers["Content-Type"] == "text/csv; charset=utf-8"
    assert answer.content.startswith(b"\xef\xbb\xbf")
    return list(csv.reader(io.StringIO(answer.content.decode("utf-8-sig"))))


async def test_a_statement_from_closing_to_its_files(office: Office) -> None:
    too_long = {"start": MARCH, "end": "2026-04-01T00:00:00.001+08:00"}
    early = await office.api.post("/v1/statements", too_long, key=office.finance)
    assert (early.status, early.code) == (409, "period_open")
    assert early.json["retry_at"] == "2026-03-31T16:00:00.001Z"

    answer = await office.settle()
    assert answer.status == 201, answer.json
    m1, m2 = answer.json["items"]
    msgspec.convert(answer.json, shapes.Statements)
    assert (m1["merchant_id"], m1["status"], m1["currency"]) == ("m1", "closed", "CNY")
    assert (m1["start"], m1["end"]) == ("2026-02-28T16:00:00.000Z", "2026-03-31T16:00:00.000Z")
    assert m1["lines"] == [
        {
            "store_id": "s1", "lot_id": None, "campaign_id": "half", "redemptions": 1,
            "reversals": 0, "sales": 7999, "discount": 2001, "prepaid": 0, "mall_bears": 1001,
            "merchant_bears": 1000, "others_bear": 0, "stored_value": 0, "points_value": 0,
            "commission": 0, "breakage": 0, "payable_to_merchant": 1001,
        },
        {
            # 2500 of 5000 came back: 2001 / 2 rounds to 1001 back, 1000 stays.
            "store_id": "s2", "lot_id": None, "campaign_id": "half", "redemptions": 1,
            "reversals": 1, "sales": 1500, "discount": 1000, "prepaid": 0, "mall_bears": 500,
            "merchant_bears": 500, "others_bear": 0, "stored_value": 0, "points_value": 0,
            "commission": 0, "breakage": 0, "payable_to_merchant": 500,
        },
    ]  # fmt: skip
    assert m1["totals"]["discount"] == 3001
    assert (m2["totals"]["others_bear"], m2["totals"]["payable_to_merchant"]) == (1000, 1000)

    again = await office.settle()
    assert (again.status, again.replayed, again.json) == (201, False, answer.json)
    overlap = await office.settle("2026-03-15T00:00:00+08:00", APRIL, merchant_id="m1")
    assert (overlap.status, overlap.code) == (409, "period_overlaps")
    assert overlap.json["statement_id"] == m1["id"]

    path = f"/v1/statements/{m1['id']}"
    assert (await office.read(path)).json == m1
    lines = table(await office.read(path, CSV))
    assert lines[0][0] == "statement_id"
    assert [row[4] for row in lines[1:]] == ["s1", "s2", ""]
    chinese = table(await office.read(path, CSV, headers={"Accept-Language": "zh-CN"}))
    assert "应付商户(分)" in chinese[0]
    book = await office.read(path, XLSX)
    assert book.headers["Content-Type"] == XLSX
    assert f"{m1['id']}.xlsx" in book.headers["Content-Disposition"]
    sheets = openpyxl.load_workbook(io.BytesIO(book.content))
    assert sheets.sheetnames == ["Statement", "Entries"]
    assert sheets["Entries"].max_row == 1 + 3


async def test_entries_and_lists_in_pages(office: Office) -> None:
    (m1, m2) = (await office.settle()).json["items"]
    path = f"/v1/statements/{m1['id']}/entries"

    first = await office.read(path, params={"limit": 2})
    rest = await office.read(path, params={"limit": 2, "cursor": first.json["next_cursor"]})

    msgspec.convert(first.json, shapes.EntryList)
    items = first.json["items"] + rest.json["items"]
    assert rest.json["next_cursor"] is None
    assert [(item["kind"], item["order_ref"]) for item in items] == [
        ("redemption", "P-u1"),
        ("redemption", "P-u2"),
        ("reversal", "P-u2"),
    ]
    assert items[1]["act_id"] == items[2]["redemption_id"] == office.redemptions[1]
    assert sum(item["discount"] for item in items) == m1["totals"]["discount"]
    assert len(table(await office.read(path, CSV))) == 1 + 3
    heads = await office.read("/v1/statements", params={"limit": 1})
    more = {"limit": 1, "cursor": heads.json["next_cursor"]}
    tail = await office.read("/v1/statements", params=more)
    msgspec.convert(heads.json, shapes.StatementList)
    assert [heads.json["items"][0]["id"], tail.json["items"][0]["id"]] == [m1["id"], m2["id"]]
    assert tail.json["next_cursor"] is None
    bad = await office.read(path, params={"cursor": "AAAA"})
    assert (bad.status, bad.json["field"]) == (400, "cursor")


async def test_a_merchant_sees_only_its_own(office: Office) -> None:
    m1, m2 = (await office.settle()).json["items"]

    async def seen(path: str, **params: str) -> Answer:
        return await office.read(path, key=office.merchant, params=params)

    assert (await seen(f"/v1/statements/{m1['id']}")).json == m1
    assert (await seen(f"/v1/statements/{m1['id']}/entries")).status == 200
    assert (await seen(f"/v1/statements/{m2['id']}")).code == "not_found"
    assert (await seen(f"/v1/statements/{m2['id']}/entries")).code == "not_found"
    listed = (await seen("/v1/statements")).json["items"]
    assert [item["id"] for item in listed] == [m1["id"]]
    assert (await seen("/v1/statements", merchant_id="m2")).code == "forbidden"
    by_store = (await seen("/v1/reports/redemptions", group_by="store")).json["items"]
    assert [row["store"] for row in by_store] == ["s1", "s2"]
    brought = (await seen("/v1/reports/attribution")).json["items"]
    assert [(row["campaign"], row["issued"]) for row in brought] == [("half", None)]
    for path in ("/v1/books/postings", "/v1/books/balances", "/v1/reports/stock"):
        assert (await seen(path)).code == "forbidden"


async def test_requests_that_are_not_whole(office: Office) -> None:
    month = {"start": MARCH, "end": APRIL}
    table = [
        ({"start": MARCH}, "end"),
        ({**month, "extra": 1}, "extra"),
        ({**month, "start": "2026-02-30T00:00:00Z"}, "start"),
        ({**month, "start": "yesterday"}, "start"),
        ({"start": APRIL, "end": MARCH}, "end"),
        ({"start": MARCH, "end": MARCH}, "end"),
        ({**month, "merchant_id": "a b"}, "merchant_id"),
    ]
    for body, field in table:
        answer = await office.api.post("/v1/statements", body, key=office.finance)
        assert (answer.status, answer.code) == (400, "invalid_request"), body
        assert field in answer.json["field"] + answer.json["detail"], answer.json
    unknown = await office.settle(merchant_id="nobody")
    assert (unknown.status, unknown.code) == (404, "not_found")
    for path in ("/v1/statements/ST99999999", "/v1/statements/ST99999999/entries"):
        assert (await office.read(path)).code == "not_found"
    for path, params in (
        ("/v1/reports/attribution", {"group_by": "campaign,moon"}),
        ("/v1/reports/attribution", {"group_by": "campaign,campaign"}),
        ("/v1/reports/redemptions", {"group_by": "tier"}),
        ("/v1/reports/redemptions", {"from": "yesterday"}),
        ("/v1/books/postings", {"limit": "201"}),
        ("/v1/books/postings", {"after": "-1"}),
        ("/v1/books/balances", {"as_of": "2026-02-30T00:00:00Z"}),
    ):
        answer = await office.read(path, params=params)
        assert (answer.status, answer.code) == (400, "invalid_request"), (path, answer.json)


async def test_closing_repeats_by_its_key(office: Office) -> None:
    await office.settle()
    body = {"start": APRIL, "end": MAY}
    await use(office.api, "u5", "gold", "s3", 9_000, MAY)

    async def close(**change: str) -> Answer:
        return await office.api.post("/v1/statements", body | change, key=office.finance, idem="k1")

    # The books hold all of it: else the period is open, and the key may be tried again.
    assert (await office.settle(APRIL, "2026-04-02T00:00:00+08:00", merchant_id="m2")).status == 201
    first = await close()
    again = await close()

    assert (first.status, again.status, again.replayed) == (201, 201, True)
    assert again.content == first.content
    other = await close(end="2026-04-15T00:00:00+08:00")
    assert (other.status, other.code) == (422, "idempotency_key_reused")
    actor = {"Hexiao-Actor": "Li Lei"}
    by_name = await office.api.post("/v1/statements", {"start": MARCH, "end": APRIL}, headers=actor)
    assert by_name.status == 201
    audit = await office.api.get("/v1/audit", params={"object": "statement"})
    actions = [(row["action"], row["object"]) for row in audit.json["items"]]
    assert ("statement.close", f"statement:{first.json['items'][0]['id']}") in actions


async def test_the_postings_feed(office: Office) -> None:
    await office.settle()

    page = await office.read("/v1/books/postings", params={"limit": 5})
    rest = await office.read("/v1/books/postings", params={"after": page.json["control"]["last"]})
    by_cursor = await office.read("/v1/books/postings", params={"cursor": page.json["next_cursor"]})
    lines = await office.read("/v1/books/postings", NDJSON)
    sheet = await office.read("/v1/books/postings", CSV)

    msgspec.convert(page.json, shapes.PostingList)
    items = page.json["items"] + rest.json["items"]
    assert by_cursor.json["items"] == rest.json["items"]
    assert [item["n"] for item in items] == list(range(1, len(items) + 1))
    assert sum(item["amount"] for item in items) == 0
    *told, last = map(json.loads, lines.content.splitlines())
    assert told == items
    control = last["control"]
    assert control["count"] == control["last"] == len(items)
    assert control["debits"] == control["credits"] > 0
    expected = "; ".join(f"{name}={value}" for name, value in control.items())
    assert lines.headers["Hexiao-Control"] == sheet.headers["Hexiao-Control"] == expected
    head, *rows, trailer = table(sheet)
    assert len(rows) == len(items)
    assert sum(int(row[head.index("amount")]) for row in rows) == 0
    assert trailer[:3] == ["control", f"count={len(items)}", f"debits={control['debits']}"]
    end = await office.read("/v1/books/postings", params={"after": len(items)})
    assert end.json == {
        "items": [],
        "control": {"count": 0, "debits": 0, "credits": 0, "last": len(items)},
        "next_cursor": None,
    }


async def test_balances_and_reports(office: Office) -> None:
    await office.settle()

    balances = await office.read("/v1/books/balances", params={"as_of": APRIL})
    msgspec.convert(balances.json, shapes.Balances)
    assert balances.json["debits"] == balances.json["credits"] > 0
    found = {(row["account"], row["party"]): row["balance"] for row in balances.json["items"]}
    assert found["mall.subsidy", "mall"] == 1501
    assert found["other.subsidy", "sponsor:cola"] == 1000
    assert found["merchant.discount", "merchant:m1"] == -3001

    groups = {"group_by": "campaign,entry", "from": MARCH, "to": APRIL}
    brought = await office.read("/v1/reports/attribution", params=groups)
    msgspec.convert(brought.json, report_shapes.Attribution)
    assert brought.json["items"] == [
        {"campaign": "gold", "entry": None, "issued": 1, "redeemed": 1, "redemption_rate": 1.0,
         "discount": 1000, "sales": 3000, "basket": 4000, "baseline_basket": None,
         "basket_change": None, "users": 1, "repurchase_30d": 0.0},
        {"campaign": "half", "entry": None, "issued": 1, "redeemed": 1, "redemption_rate": 1.0,
         "discount": 1000, "sales": 1500, "basket": 5000, "baseline_basket": None,
         "basket_change": None, "users": 1, "repurchase_30d": 0.0},
        {"campaign": "half", "entry": "banner", "issued": 1, "redeemed": 1,
         "redemption_rate": 1.0, "discount": 2001, "sales": 7999, "basket": 10000,
         "baseline_basket": None, "basket_change": None, "users": 1, "repurchase_30d": 0.0},
    ]  # fmt: skip
    days = await office.read("/v1/reports/redemptions")
    msgspec.convert(days.json, report_shapes.Redemptions)
    assert [(row["day"], row["redemptions"], row["reversals"]) for row in days.json["items"]] == [
        ("2026-03-02", 2, 0),
        ("2026-03-03", 1, 0),
        ("2026-03-04", 0, 1),
        ("2026-04-01", 1, 0),
    ]
    stock = await office.read("/v1/reports/stock")
    msgspec.convert(stock.json, report_shapes.StockReport)
    assert [(row["campaign_id"], row["issued"], row["left"]) for row in stock.json["items"]] == [
        ("gold", 1, 99),
        ("half", 3, 97),
    ]
    for path, head in (
        ("/v1/reports/attribution", "campaign"),
        ("/v1/reports/redemptions", "day"),
        ("/v1/reports/stock", "campaign_id"),
        ("/v1/books/balances", "account"),
    ):
        assert table(await office.read(path, CSV))[0][0] == head
