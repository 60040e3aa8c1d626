"""Statements confirmed, disputed and paid, adjustments by two people, over HTTP."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec

from api import wire_finance as shapes
from tests.api.server import Answer, ApiServer
from tests.api.test_finance import CSV, Office, table
from tests.api.test_finance import office as office


async def test_a_statement_is_disputed_confirmed_and_paid(
    office: Office, rehearsal_server: ApiServer
) -> None:
    m1, m2 = (await office.settle()).json["items"]
    stranger = rehearsal_server.new_mall()[1]

    async def post(verb: str, body: Any, key: str, of: str = m1["id"], **more: Any) -> Answer:
        return await office.api.post(f"/v1/statements/{of}/{verb}", body, key=key, **more)

    why = {"reason": "退货未计入 <b>"}
    # Who may not: finance does not speak for a merchant, a merchant does not pay.
    assert (await post("confirm", {}, office.finance)).code == "forbidden"
    assert (await post("paid", {"payment_ref": "B1"}, office.merchant)).code == "forbidden"
    assert (await post("confirm", {}, office.merchant, of=m2["id"])).code == "not_found"
    assert (await post("confirm", {}, stranger)).code == "not_found"
    for verb, body in (
        ("dispute", {}),
        ("dispute", {"reason": " \t"}),
        ("dispute", {"reason": "a\x00b"}),
        ("confirm", {"reason": "x"}),
        ("paid", {"payment_ref": ""}),
        ("paid", {"payment_ref": 7}),
        ("paid", {"payment_ref": "x" * 129}),
    ):
        key = office.finance if verb == "paid" else office.merchant
        answer = await post(verb, body, key)
        assert (answer.status, answer.code) == (400, "invalid_request"), (verb, body)

    early = await post("paid", {"payment_ref": "B1"}, office.finance)
    assert (early.status, early.code, early.json["current"]) == (409, "wrong_status", "closed")
    answers = await asyncio.gather(
        *(post("dispute", why, office.merchant, idem="d1") for _ in range(5))
    )
    assert {(a.status, a.content) for a in answers} == {(200, answers[0].content)}
    assert sum(a.replayed for a in answers) == 4
    msgspec.convert(answers[0].json, shapes.StatementHead)
    assert (answers[0].json["status"], answers[0].json["dispute"]) == ("disputed", why["reason"])
    other = await post("dispute", {"reason": "else"}, office.merchant, idem="d1")
    assert (other.status, other.code) == (422, "idempotency_key_reused")
    assert (await post("dispute", why, office.merchant)).code == "wrong_status"
    # Two at the same moment: one wins.
    both = await asyncio.gather(
        post("confirm", {}, office.merchant), post("confirm", {}, office.merchant)
    )
    assert sorted(a.status for a in both) == [200, 409]
    paid = await post("paid", {"payment_ref": "BANK-1"}, office.finance)
    assert (paid.json["status"], paid.json["payment_ref"]) == ("paid", "BANK-1")
    again = await post("paid", {"payment_ref": "BANK-2"}, office.finance)
    assert (again.code, again.json["current"]) == ("wrong_status", "paid")
    whole = (await office.read(f"/v1/statements/{m1['id']}")).json
    assert whole["lines"] == m1["lines"]
    assert "lines" not in paid.json
    assert {**whole, "lines": 0, "elsewhere": 0, "adjustments": 0} == {
        **paid.json, "lines": 0, "elsewhere": 0, "adjustments": 0,
    }  # fmt: skip


async def test_an_adjustment_takes_two(office: Office, rehearsal_server: ApiServer) -> None:
    second = rehearsal_server.key("finance", tenant=office.tenant)
    body = {"merchant_id": "m1", "amount": -300, "reason": "counted twice"}

    async def post(path: str, body: Any, key: str = office.finance, **more: Any) -> Answer:
        return await office.api.post(f"/v1/adjustments{path}", body, key=key, **more)

    for change in (
        {"amount": 0}, {"amount": 1.5}, {"amount": 10**11 + 1}, {"amount": True}, {"reason": ""},
        {"merchant_id": "a b"}, {"extra": 1},
    ):  # fmt: skip
        answer = await post("", body | change)
        assert (answer.status, answer.code) == (400, "invalid_request"), change
    assert (await post("", body | {"merchant_id": "nobody"})).code == "not_found"
    assert (await post("", body, office.merchant)).code == "forbidden"

    asked = await post("", body, idem="a1")
    again = await post("", body, idem="a1")
    assert (asked.status, again.status, again.replayed) == (201, 201, True)
    assert again.json == asked.json
    msgspec.convert(asked.json, shapes.Adjustment)
    name = asked.json["id"]
    alone = await post(f"/{name}/approve", {}, headers={"Accept-Language": "zh-CN"})
    assert (alone.status, alone.code, "另一人" in alone.json["detail"]) == (403, "forbidden", True)
    seen = await office.read("/v1/adjustments", key=office.merchant)
    assert seen.json["items"] == []  # a merchant sees what was agreed
    both = await asyncio.gather(*(post(f"/{name}/approve", {}, second) for _ in range(2)))
    assert sorted(a.status for a in both) == [200, 409]
    assert {a.code for a in both} == {"", "wrong_status"}

    by_name = {"Hexiao-Actor": "Li Lei"}
    more = (await post("", body | {"amount": 50}, headers=by_name)).json["id"]
    same = await post(f"/{more}/approve", {}, second, headers=by_name)
    assert same.code == "forbidden"
    named = await post(f"/{more}/approve", {}, headers={"Hexiao-Actor": "Han Meimei"})
    assert (named.json["asked_by"], named.json["decided_by"]) == ("Li Lei", "Han Meimei")
    third = (await post("", body)).json["id"]
    mine = await post(f"/{third}/reject", {"reason": "wrong month"})
    assert (mine.json["status"], mine.json["rejection"]) == ("rejected", "wrong month")

    march, _ = (await office.settle()).json["items"]
    totals = march["totals"]
    assert (totals["adjustments"], totals["payable_to_merchant"]) == (-250, 1501 - 250)
    assert totals["net_payable"] == totals["payable_to_merchant"]
    assert [one["amount"] for one in march["adjustments"]] == [-300, 50]
    seen = await office.read("/v1/adjustments", key=office.merchant, params={"limit": 1})
    msgspec.convert(seen.json, shapes.AdjustmentList)
    assert [item["statement_id"] for item in seen.json["items"]] == [march["id"]]
    rest = {"limit": 1, "cursor": seen.json["next_cursor"]}
    rest_seen = await office.read("/v1/adjustments", key=office.merchant, params=rest)
    assert [item["id"] for item in rest_seen.json["items"]] == [name]
    assert rest_seen.json["next_cursor"] is None
    assert len(table(await office.read("/v1/adjustments", CSV))) == 1 + 3
    lines = table(await office.read(f"/v1/statements/{march['id']}", CSV))
    at = lines[0].index("payable_to_merchant")
    assert sum(int(row[at]) for row in lines[1:-1]) == int(lines[-1][at]) == 1251
