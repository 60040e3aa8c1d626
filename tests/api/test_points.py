"""Points and purchases over HTTP: who may, what repeats, what is refused, what the books show."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.api.server import Answer, Api, ApiServer

TIME = "2026-03-02T12:00:00+08:00"


class Mall(Api):
    """A caller with the payment platform's key, who knows the operator's as well."""

    operator: str


@pytest.fixture
async def mall(api_server: ApiServer) -> AsyncIterator[Mall]:
    """A payment platform's key of a mall of its own, where a yuan earns a point."""
    tenant, operator = api_server.new_mall()
    key = api_server.key("payments", tenant=tenant)
    async with Mall(api_server.url, operator) as office:
        await office.put("/v1/merchants/m1", {"name": "M"})
        await office.put("/v1/stores/s1", {"name": "S", "merchant_id": "m1"})
        assert (await office.patch("/v1/settings", {"earn": {"per_yuan": 1}})).status == 200
        await api_server.until_known(key)
        office.headers["Authorization"] = f"Bearer {key}"
        office.operator = operator
        yield office


def buying(**fields: Any) -> dict[str, Any]:
    """A purchase of 238.50 yuan."""
    return {
        "transaction_id": "t1", "user_id": "ann", "store_id": "s1", "amount": 23850,
        "occurred_at": TIME, **fields,
    }  # fmt: skip


async def points(mall: Mall, user: str = "ann") -> dict[str, Any]:
    found: dict[str, Any] = (await mall.get(f"/v1/users/{user}/points")).json
    return found


async def booked(mall: Mall, number: int, user: str = "ann") -> list[dict[str, Any]]:
    """Entries of the books, once there are so many."""
    for _ in range(200):
        answer = await mall.get(f"/v1/users/{user}/points/entries")
        items: list[dict[str, Any]] = answer.json["items"]
        if len(items) >= number:
            return items
        await asyncio.sleep(0.05)
    pytest.fail(f"{len(items)} of {number} entries")


async def test_points_come_and_go_and_the_books_tell(mall: Mall) -> None:
    body = {"user_id": "ann", "points": 100, "reason": "sign-up", "ref": "r1"}
    made = await mall.post("/v1/points/earn", body, idem="k1")
    assert (made.status, made.json["points"], made.json["balance"]) == (201, 100, 100)
    again = await mall.post("/v1/points/earn", body, idem="k1")
    assert (again.status, again.json, again.replayed) == (201, made.json, True)
    other = await mall.post("/v1/points/spend", body, idem="k1")
    assert (other.status, other.code) == (422, "idempotency_key_reused")
    spent = await mall.post("/v1/points/spend", {"user_id": "ann", "points": 30}, idem="k2")
    assert (spent.json["points"], spent.json["balance"]) == (-30, 70)
    short = await mall.post("/v1/points/spend", {"user_id": "ann", "points": 71})
    assert (short.status, short.code, short.json["short_by"]) == (409, "points_insufficient", 1)
    path = f"/v1/points/entries/{spent.json['id']}/reversals"
    back = await mall.post(path, {"points": 10, "reason": "returned"}, idem="k3")
    assert (back.json["points"], back.json["of"]) == (10, spent.json["id"])
    assert (await mall.post(path, {"points": 10, "reason": "returned"}, idem="k3")).replayed
    found = await points(mall)
    assert (found["balance"], found["available"], found["value"]) == (80, 80, 80)
    items = await booked(mall, 3)
    assert [item["type"] for item in items] == ["reversal", "spend", "earn"]
    assert sum(item["points"] for item in items) == found["balance"]
    assert {key: items[2][key] for key in made.json} == made.json
    page = await mall.get("/v1/users/ann/points/entries", params={"limit": 2})
    more = await mall.get(
        "/v1/users/ann/points/entries", params={"limit": 2, "cursor": page.json["next_cursor"]}
    )
    assert page.json["items"] + more.json["items"] == items
    assert more.json["next_cursor"] is None


async def test_a_transaction_earns_once_whoever_sends_it(mall: Mall) -> None:
    answers = await asyncio.gather(*(mall.post("/v1/purchases", buying()) for _ in range(12)))
    assert {answer.status for answer in answers} == {201}
    assert Counter(answer.replayed for answer in answers) == {False: 1, True: 11}
    assert len({answer.content for answer in answers}) == 1
    assert answers[0].json["points_earned"] == 238
    refused = {
        "user_id": ("bob", 409, "already_exists"),
        "amount": (1, 422, "idempotency_key_reused"),
    }
    for name, (value, status, code) in refused.items():
        answer = await mall.post("/v1/purchases", buying(**{name: value}))
        assert (answer.status, answer.code, answer.json["field"]) == (
            status,
            code,
            "transaction_id",
        )
    back = {"refund_id": "f1", "user_id": "ann", "amount": 11925}
    refunds = await asyncio.gather(
        *(mall.post("/v1/purchases/t1/refunds", back) for _ in range(6)),
        mall.post("/v1/purchases/t1/refunds", {**back, "refund_id": "f2"}),
    )
    assert {answer.status for answer in refunds} == {201}
    assert sum(a.json["points_back"] for a in refunds if not a.replayed) == 238
    assert (await points(mall))["balance"] == 0
    found = (await mall.get("/v1/purchases/t1")).json
    assert (found["refunded"], found["points_back"], found["merchant_id"]) == (23850, 238, "m1")
    over = await mall.post("/v1/purchases/t1/refunds", {**back, "refund_id": "f3", "amount": 1})
    assert (over.status, over.code) == (409, "more_than_redeemed")
    assert [item["type"] for item in await booked(mall, 3)] == ["refund", "refund", "purchase"]
    assert (await mall.get("/v1/purchases/t2")).status == 404


async def test_a_key_is_of_one_notice(mall: Mall) -> None:
    """Of one transaction, or of one refund of one; whatever its key, a transaction earns once."""

    async def told(body: dict[str, Any], idem: str, path: str = "/v1/purchases") -> str:
        answer = await mall.post(path, body, idem=idem)
        return answer.code or f"{answer.status}{' again' if answer.replayed else ''}"

    for path in ("/v1/purchases", "/v1/purchases/t1/refunds"):
        missing = await mall.ask("POST", path, {})
        assert (missing.status, missing.code) == (400, "idempotency_key_required")
    reused, second = "idempotency_key_reused", buying(transaction_id="t2")
    assert await told(buying(), "k1") == "201"
    assert await told(buying(), "k1") == await told(buying(), "k2") == "201 again"
    assert await told(second, "k1") == await told(second, "k2") == reused
    bobs = {"user_id": "bob", "transaction_id": "t3"}
    assert await told(buying(**bobs), "k1") == "201"  # a key is a person's
    back, path = {"refund_id": "f1", "user_id": "ann", "amount": 100}, "/v1/purchases/t1/refunds"
    assert await told(back, "k1", path) == reused
    assert await told(back, "k4", path) == "201"
    assert await told(back, "k4", path) == await told(back, "k5", path) == "201 again"
    for key in ("k4", "k5"):
        assert await told({**back, "refund_id": "f2"}, key, path) == reused
        assert await told(back, key, "/v1/purchases/t2/refunds") == reused
        assert await told(second, key) == reused
    # What was refused named nothing: the transaction is free for its own person.
    assert await told({**second, "user_id": "bob"}, "k6") == "201"
    assert (await points(mall))["balance"] == 238 - 1


async def test_a_member_code_stands_for_the_person(mall: Mall) -> None:
    code = (await mall.get("/v1/users/ann/code", key=mall.operator)).json["code"]
    made = await mall.post("/v1/points/earn", {"member_code": code, "points": 5})
    assert (made.status, made.json["user_id"]) == (201, "ann")
    summary = await mall.get("/v1/users/ann/summary", key=mall.operator)
    assert (summary.json["points"], summary.json["points_value"]) == (5, 5)
    nobody = await mall.post("/v1/purchases", buying(user_id=None))
    assert (nobody.status, nobody.json["field"]) == (400, "user_id")


async def test_a_purchase_by_member_code_is_told_again_with_an_old_one(rehearsed: Any) -> None:
    """The receipt comes before the age of the picture; a refund stands on its purchase."""
    api, name = rehearsed.api, rehearsed.mark
    noon, late = "2026-03-02T12:00:00+08:00", "2026-03-02T12:05:00+08:00"
    shown = {"member_code": await rehearsed.member_code(now=noon)}
    bought = buying(transaction_id=name, occurred_at=noon, **shown)
    del bought["user_id"]
    done = await api.post("/v1/purchases", bought, now=noon)
    assert (done.status, done.json["user_id"]) == (201, rehearsed.user())
    again = await api.post("/v1/purchases", bought, now=late)
    assert (again.json, again.replayed) == (done.json, True)
    old = await api.post("/v1/purchases", {**bought, "transaction_id": name + "2"}, now=late)
    assert (old.status, old.code) == (409, "code_expired")
    back = {"refund_id": "f1", "amount": 5, **shown}
    given = await api.post(f"/v1/purchases/{name}/refunds", back, now=late)
    assert (given.status, given.json["user_id"]) == (201, rehearsed.user())


CANNOT_BE: list[tuple[str, dict[str, Any], str]] = [
    ("earn", {"points": 0, "user_id": "ann"}, "points"),
    ("earn", {"points": 1.5, "user_id": "ann"}, "points"),
    ("earn", {"points": 10**10, "user_id": "ann"}, "points"),
    ("earn", {"points": 1}, "user_id"),
    ("earn", {"points": 1, "user_id": "ann", "available_at": "soon"}, "available_at"),
    ("earn", {"points": 1, "user_id": "ann", "expires_at": TIME}, "expires_at"),
    ("spend", {"points": 1, "user_id": "ann", "expires_at": TIME}, "expires_at"),
    ("spend", {"points": -1, "user_id": "ann"}, "points"),
]


async def test_what_points_cannot_be(mall: Mall) -> None:
    for path, body, field in CANNOT_BE:
        answer = await mall.post(f"/v1/points/{path}", body)
        told = answer.status, answer.code, answer.json["field"]
        assert told == (400, "invalid_request", field), body
    future = await mall.post("/v1/purchases", buying(occurred_at="9999-12-31T23:59:59Z"))
    assert (future.status, future.json["field"]) == (400, "occurred_at")


async def test_who_may_not_and_what_is_not_there(mall: Mall) -> None:
    earned = (await mall.post("/v1/points/earn", {"user_id": "ann", "points": 5})).json
    no = "P" + earned["id"][1:17] + "00000000000"

    async def refused(answer: Answer, status: int, code: str) -> None:
        assert (answer.status, answer.code) == (status, code)

    adjusting = {"user_id": "ann", "points": 5}
    await refused(await mall.post("/v1/points/adjust", adjusting), 403, "forbidden")
    for name in (no, "P", "R" + no[1:], "x"):
        path = f"/v1/points/entries/{name}/reversals"
        await refused(await mall.post(path, {}), 404, "not_found")
    await refused(await mall.post("/v1/purchases", buying(store_id="s9")), 404, "not_found")
    # An unknown store has not named the transaction: it is free for its own person.
    assert (await mall.post("/v1/purchases", buying(user_id="bob"))).status == 201
    office = {"key": mall.operator}
    zero = await mall.post("/v1/points/adjust", {**adjusting, "points": 0}, **office)
    await refused(zero, 400, "invalid_request")
    below = await mall.post("/v1/points/adjust", {**adjusting, "points": -6}, **office)
    await refused(below, 409, "points_insufficient")
    assert (await mall.put("/v1/users/ann", {"frozen": True}, **office)).status == 200
    spending = await mall.post("/v1/points/spend", {"user_id": "ann", "points": 1})
    await refused(spending, 409, "user_frozen")
    frozen = await mall.post("/v1/purchases", buying())
    await refused(frozen, 409, "already_exists")
    frozen = await mall.post("/v1/purchases", buying(transaction_id="t2"))
    assert (frozen.json["points_earned"], frozen.json["reason"]) == (0, "user_frozen")
