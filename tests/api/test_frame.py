"""What every route has in common: the order of checks, headers, bodies that are not right."""

from __future__ import annotations

import asyncio
import io
import json
from typing import Any

import pytest

from tests.api.server import Api, ApiServer
from tests.api.story import campaign_body

CLAIM = {"campaign_id": "none", "user_id": "u1", "channel": "app"}
MERCHANT = "/v1/merchants/m-frame"


async def test_health(api: Api) -> None:
    """Nobody is asked for a key."""
    answer = await api.get("/healthz", key="")
    assert (answer.status, answer.json) == (200, {"status": "ok"})
    assert (await api.ask("HEAD", "/healthz")).status == 200


async def test_ready(api: Api, api_server: ApiServer) -> None:
    """It says what it stands on."""
    answer = await api.get("/readyz")
    assert answer.status == 200, answer.json
    assert answer.json["durability"] == "appendfsync always"
    assert answer.json["rehearsal"] is False
    assert answer.json["cells"] == 1
    assert answer.json["writer_lag"][0]["cell"] == 0


async def test_metrics(api: Api) -> None:
    """Requests are counted by route, status and code."""
    await api.post("/v1/claims", CLAIM)
    page = (await api.get("/metrics")).content.decode()
    wanted = 'code="not_found",method="POST",route="/v1/claims",status="404"'
    assert wanted in page
    assert 'hexiao_batch_size_count{verb="claim"}' in page
    assert 'hexiao_writer_lag_facts{cell="0"}' in page


@pytest.mark.parametrize(
    ("key", "sent", "status", "code"),
    [
        ("none", {"headers": {"Content-Type": "text/plain"}, "data": b"{"}, 401, "unauthenticated"),
        ("finance", {"data": b"{"}, 403, "forbidden"),
        ("operator", {"data": b"{"}, 400, "idempotency_key_required"),
        ("operator", {"data": b"{", "idem": "a b"}, 400, "idempotency_key_required"),
        ("operator", {"data": b"{", "idem": "x" * 129}, 400, "idempotency_key_required"),
        ("operator", {"data": b"{", "idem": "1"}, 400, "invalid_request"),
        ("operator", {"body": CLAIM, "idem": "1"}, 404, "not_found"),
    ],
)
async def test_first_match_wins(
    api: Api, api_server: ApiServer, key: str, sent: dict[str, Any], status: int, code: str
) -> None:
    """401, 403, 400, 404: in the contract's order, whatever else is wrong."""
    keys = {"none": "nobody", "operator": api_server.operator_key}
    text = keys.get(key) or api_server.key(key)
    answer = await api.ask("POST", "/v1/claims", key=text, **sent)
    assert (answer.status, answer.code) == (status, code)
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert answer.json["type"] == f"/problems/{code}"
    assert answer.json["status"] == status


@pytest.mark.parametrize(
    ("data", "field"),
    [
        (b"", "campaign_id"),
        (b"null", ""),
        (b"[]", ""),
        (b'{"campaign_id": 5}', "campaign_id"),
        (json.dumps({**CLAIM, "coupon": 1}).encode(), "coupon"),
        (json.dumps({**CLAIM, "campaign_id": "a b"}).encode(), "campaign_id"),
        (json.dumps({**CLAIM, "user_id": "x" * 65}).encode(), "user_id"),
        (json.dumps({**CLAIM, "user_id": "x\n"}).encode(), "user_id"),
        (b'{"campaign_id": NaN}', ""),
        (b'{"campaign_id": 1e999}', "campaign_id"),
        (b'{"campaign_id": ' + b"9" * 5000 + b"}", "campaign_id"),
        (b"{" + b'"a":{' * 20000, None),
        (json.dumps({**CLAIM, "metadata": {"a": 10**30}}).encode(), "metadata.a"),
        (json.dumps({**CLAIM, "metadata": {"a": "\0"}}).encode(), "metadata.a"),
        (b'{"metadata": ' + b'{"a":' * 50 + b"1" + b"}" * 51, None),
        (b'{"metadata": ' + b'{"a":' * 100000 + b"1" + b"}" * 100001, None),
        (b'{"campaign_id": "\\ud800"}', ""),
        (b'{"campaign_id": "\xff"}', ""),
        (b'\xef\xbb\xbf{"campaign_id": "a"}', ""),
        (b"\xff\xfe{\x00}\x00", ""),
    ],
)
async def test_bodies_that_are_not_right(api: Api, data: bytes, field: str | None) -> None:
    """400 with the field that is wrong; never 500."""
    answer = await api.ask("POST", "/v1/claims", data=data, idem="1")
    assert (answer.status, answer.code) == (400, "invalid_request"), answer.json
    if field is not None:
        assert answer.json.get("field", "") == field


async def test_duplicate_members_are_no_fault(api: Api) -> None:
    """JSON says little about them; the last one counts."""
    data = json.dumps(CLAIM).encode()[:-1] + b', "channel": "web"}'
    assert (await api.ask("POST", "/v1/claims", data=data, idem="1")).code == "not_found"


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Content-Type": "application/json; charset=utf-8"}, 404),
        ({"Content-Type": "application/vnd.mall+json"}, 404),
        ({"Content-Type": "text/plain"}, 415),
        ({"Content-Type": "application/x-www-form-urlencoded"}, 415),
        ({"Content-Type": ""}, 415),
        ({"Content-Encoding": "gzip"}, 415),
    ],
)
async def test_media_types(api: Api, headers: dict[str, str], status: int) -> None:
    """JSON and nothing else, not packed."""
    answer = await api.post("/v1/claims", CLAIM, headers=headers)
    assert answer.status == status


async def test_too_large(api: Api) -> None:
    """Over 1 MiB: 413, whether or not the length was told."""
    big = json.dumps({**CLAIM, "metadata": {"a": "x" * (1 << 20)}}).encode()
    answer = await api.ask("POST", "/v1/claims", data=io.BytesIO(big), idem="1")
    assert (answer.status, answer.code) == (413, "invalid_request")

    async def chunks() -> Any:
        for start in range(0, len(big), 65536):
            yield big[start : start + 65536]

    answer = await api.ask("POST", "/v1/claims", data=chunks(), idem="1")
    assert answer.status == 413
    short = json.dumps(CLAIM).encode()

    async def few() -> Any:
        yield short[:5]
        yield short[5:]

    answer = await api.ask("POST", "/v1/claims", data=few(), idem="1")
    assert answer.code == "not_found"


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("?color=red", "color"),
        ("?limit=0", "limit"),
        ("?limit=201", "limit"),
        ("?limit=ten", "limit"),
        ("?limit=1&limit=2", "limit"),
        ("?cursor=%00", "cursor"),
        ("?cursor=not-one-of-ours", "cursor"),
        ("?cursor=%ff", "cursor"),
    ],
)
async def test_queries_that_are_not_right(api: Api, query: str, field: str) -> None:
    """400 with the parameter that is wrong."""
    answer = await api.get(f"/v1/merchants{query}")
    assert (answer.status, answer.code) == (400, "invalid_request"), answer.json
    assert answer.json["field"] == field


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("PUT", "/v1/merchants/a%20b", 400),
        ("PUT", "/v1/merchants/" + "x" * 65, 400),
        ("GET", "/v1/campaigns/a%00b", 404),
        ("GET", "/v1/coupons/%F0%9F%8D%9C", 404),
    ],
)
async def test_ids_in_paths(api: Api, method: str, path: str, status: int) -> None:
    """What is no id names nothing; a PUT that would make it is told why."""
    body = {"name": "x"} if method == "PUT" else None
    assert (await api.ask(method, path, body)).status == status


async def test_request_id(api: Api) -> None:
    """Echoed where it can be, else made."""
    answer = await api.get("/healthz", headers={"X-Request-Id": "mine-1"})
    assert answer.headers["X-Request-Id"] == "mine-1"
    for given in ("", "a b", "x" * 129, "名"):
        answer = await api.get("/healthz", headers={"X-Request-Id": given})
        assert answer.headers["X-Request-Id"] not in ("", given)
    refused = await api.get("/v1/nothing", key="no-key", headers={"X-Request-Id": "mine-2"})
    assert refused.headers["X-Request-Id"] == "mine-2"


@pytest.mark.parametrize(
    ("accept", "chinese"),
    [
        ("", False),
        ("zh-CN", True),
        ("zh", True),
        ("en, zh;q=0.9", False),
        ("fr, zh-CN;q=0.8, en;q=0.7", True),
        ("zh;q=0, en", False),
        ("*", False),
        (";;;q=,", False),
    ],
)
async def test_language(api: Api, accept: str, chinese: bool) -> None:
    """The sentence follows Accept-Language."""
    answer = await api.get("/v1/nothing", headers={"Accept-Language": accept})
    assert answer.code == "not_found"
    assert (answer.json["detail"] == "未找到。") is chinese


async def test_paths_that_are_not_there(api: Api) -> None:
    """404 for nothing, 405 with what is allowed; under /v1 a key is asked for first."""
    assert (await api.get("/v1/nothing")).json["detail"] == "There is no such thing here."
    assert (await api.get("/nothing", key="")).status == 404
    assert (await api.get("/v1/nothing", key="")).status == 401
    wrong = await api.get("/v1/claims")
    assert (wrong.status, wrong.headers["Allow"]) == (405, "POST")


async def test_clock_header_needs_a_rehearsal(api: Api) -> None:
    """Any other server refuses Hexiao-Now, whoever sends it."""
    answer = await api.get("/v1/merchants", now="2026-05-01T10:00:00Z")
    assert (answer.status, answer.json["field"]) == (400, "Hexiao-Now")


async def test_clock_header_is_the_operators(rehearsal: Api, rehearsal_server: ApiServer) -> None:
    """On a rehearsal server operators set the clock, and nobody else."""
    assert (await rehearsal.get("/readyz")).json["rehearsal"] is True
    moment = "2026-05-01T10:00:00+08:00"
    assert (await rehearsal.get("/v1/merchants", now=moment)).status == 200
    answer = await rehearsal.get("/v1/merchants", now=moment, key=rehearsal_server.key("finance"))
    assert (answer.status, answer.json["field"]) == (400, "Hexiao-Now")
    for wrong in ("yesterday", "2026-05-01", "1960-01-01T00:00:00Z", "0"):
        assert (await rehearsal.get("/v1/merchants", now=wrong)).status == 400


async def test_a_rehearsal_goes_by_the_last_time_told(rehearsal_server: ApiServer) -> None:
    """Who tells no time, or may not, acts at the last one told: nothing lapses by the wall."""
    tenant, operator = rehearsal_server.new_mall()
    app = rehearsal_server.key("storefront", tenant=tenant)
    async with Api(rehearsal_server.url, operator) as mall:
        await mall.put("/v1/merchants/m1", {"name": "M"})
        await mall.put("/v1/stores/s1", {"name": "S", "merchant_id": "m1"})
        body = campaign_body("spring", ["minutes", "60"])
        made = await mall.post("/v1/campaigns", body, now="2026-03-02T12:00:00Z")
        assert made.status == 201, made.json
        claim = {"campaign_id": "spring", "user_id": "u1", "channel": "app"}
        coupon = (await mall.post("/v1/claims", claim, key=app)).json
        assert coupon["issued_at"] == "2026-03-02T12:00:00.000Z"
        path = f"/v1/coupons/{coupon['id']}"
        assert (await mall.get(path, key=app)).json["status"] == "issued"
        assert (await mall.get(path, now="2026-03-02T13:00:00Z")).json["status"] == "expired"
        assert (await mall.get(path, key=app)).json["status"] == "expired"


async def test_deadline(api: Api) -> None:
    """Past it nothing is done and the answer is 503; one that is no number is 400."""
    late = {"Hexiao-Deadline-Ms": "0"}
    answer = await api.put(MERCHANT, {"name": "late"}, headers=late)
    assert (answer.status, answer.code) == (503, "overloaded")
    assert int(answer.headers["Retry-After"]) >= 1
    assert (await api.get(MERCHANT)).status == 404
    answer = await api.put(MERCHANT, {"name": "soon"}, headers={"Hexiao-Deadline-Ms": "1.5"})
    assert answer.json["field"] == "Hexiao-Deadline-Ms"
    in_time = {"Hexiao-Deadline-Ms": "10000"}
    assert (await api.put(MERCHANT, {"name": "in time"}, headers=in_time)).status == 200


async def test_actor(api: Api) -> None:
    """Who did it: any text of up to 128 characters, kept in the audit."""
    answer = await api.put("/v1/merchants/m-actor", {"name": "a"}, headers={"Hexiao-Actor": "王芳"})
    assert answer.status == 200
    rows = (await api.get("/v1/audit?object=merchant:m-actor")).json["items"]
    assert rows[0]["actor"] == "王芳"
    answer = await api.put("/v1/merchants/m-x", {"name": "a"}, headers={"Hexiao-Actor": "x" * 129})
    assert answer.json["field"] == "Hexiao-Actor"


async def test_a_caller_that_asks_first_is_told_to_go_on(api: Api, api_server: ApiServer) -> None:
    """Expect: 100-continue; who is refused anyway sends no body."""
    host, port = api_server.url.removeprefix("http://").split(":")
    body = json.dumps(CLAIM).encode()
    for key, lines in (
        (api_server.operator_key, [b"HTTP/1.1 100 Continue", b"", b"HTTP/1.1 404 Not Found"]),
        ("nobody-s-key", [b"HTTP/1.1 401 Unauthorized"]),
    ):
        reader, writer = await asyncio.open_connection(host, int(port))
        head = (
            f"POST /v1/claims HTTP/1.1\r\nHost: mall\r\nAuthorization: Bearer {key}\r\n"
            f"Idempotency-Key: first\r\nContent-Type: application/json\r\n"
            f"Expect: 100-continue\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        writer.write(head.encode())
        for number, line in enumerate(lines):
            assert (await reader.readline()).strip() == line
            if number == 1:
                writer.write(body)
        writer.close()
        await writer.wait_closed()


async def test_slow_bodies_hold_nobody_up(api: Api, api_server: ApiServer) -> None:
    """A caller that trickles its body is waited for, and others are served meanwhile."""
    host, port = api_server.url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    body = json.dumps(CLAIM).encode()
    head = (
        f"POST /v1/claims HTTP/1.1\r\nHost: mall\r\nAuthorization: Bearer {api_server.operator_key}"
        f"\r\nIdempotency-Key: slow\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    writer.write(head.encode() + body[:10])
    await asyncio.sleep(0.2)
    assert (await api.post("/v1/claims", CLAIM)).code == "not_found"
    writer.write(body[10:])
    assert b" 404 " in await reader.readline()
    writer.close()
    await writer.wait_closed()
