"""Settings over HTTP: revisions, what they change at the till, and secrets that stay hidden."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

import jwt
import pytest

from tests.api.server import Api, ApiServer
from tests.api.test_campaigns import claim, create

SECRET = "a secret of thirty-two characters or more"


@pytest.fixture
async def mall(api_server: ApiServer) -> AsyncIterator[Api]:
    """An operator of a mall of its own: settings are a whole mall's."""
    _, key = api_server.new_mall()
    async with Api(api_server.url, key) as caller:
        yield caller


async def test_settings_have_revisions(mall: Api) -> None:
    first = await mall.get("/v1/settings")
    assert (first.json["revision"], first.json["payable_floor"]) == (1, 0)
    assert first.json["max_hold_seconds"] == 7200
    assert first.headers["ETag"] == '"1"'
    path, patch = "/v1/settings", {"payable_floor": 1}
    changed = await mall.patch(path, patch, headers={"If-Match": '"1"'})
    assert (changed.status, changed.json["revision"]) == (200, 2)
    late = await mall.patch(path, {"payable_floor": 2}, headers={"If-Match": '"1"'})
    assert (late.status, late.code, late.json["revision"]) == (409, "revision_changed", 2)
    assert (await mall.patch(path, patch)).json["revision"] == 2
    assert (await mall.patch(path, {"payable_floor": None})).json["payable_floor"] == 0


@pytest.mark.parametrize(
    ("patch", "field"),
    [
        ({"payable_floor": -1}, "payable_floor"),
        ({"points_per_yuan": 0}, "points_per_yuan"),
        ({"retention_days": 7}, "retention_days"),
        ({"colour": "red"}, "colour"),
        ({"jwt_keys": {"app": {"alg": "none", "key": SECRET}}}, "jwt_keys[...].alg"),
        ({"jwt_keys": {"app": {"alg": "HS256", "key": "short"}}}, "jwt_keys[...].key"),
    ],
)
async def test_what_settings_cannot_be(api: Api, patch: dict[str, Any], field: str) -> None:
    answer = await api.patch("/v1/settings", patch)
    assert (answer.status, answer.json["field"]) == (400, field)


async def test_a_payable_floor_holds_at_once(mall: Api) -> None:
    """1 fen stays to be paid: WeChat refuses orders of nothing."""
    await mall.put("/v1/merchants/m1", {"name": "M"})
    await mall.put("/v1/stores/s1", {"name": "S", "merchant_id": "m1"})
    assert (await mall.patch("/v1/settings", {"payable_floor": 1})).status == 200
    coupon = (await claim(mall, await create(mall))).json
    body = {"coupons": [{"id": coupon["id"]}], "store_id": "s1", "basket": {"amount": 500}}
    for path in ("/v1/quotes", "/v1/redemptions"):
        answer = await mall.post(path, body)
        assert (answer.json["discount"], answer.json["payable"]) == (499, 1), path


async def test_secrets_are_hidden_and_work(mall: Api) -> None:
    """A key for end users' tokens: never shown, never in the audit, kept when sent back hidden."""
    keys = {"app": {"alg": "HS256", "key": SECRET}}
    changed = await mall.patch("/v1/settings", {"jwt_keys": keys})
    assert changed.json["jwt_keys"] == {"app": {"alg": "HS256", "key": "********"}}
    read = await mall.get("/v1/settings")
    again = await mall.patch("/v1/settings", {"jwt_keys": read.json["jwt_keys"]})
    assert again.json["revision"] == 2
    audit = await mall.get("/v1/audit", params={"object": "settings"})
    assert audit.json["items"][0]["detail"] == {"jwt_keys": ["app"], "revision": 2}
    for answer in (changed, read, again, audit):
        assert SECRET.encode() not in answer.content

    token = jwt.encode({"sub": "ann", "exp": time.time() + 60}, SECRET, headers={"kid": "app"})
    await until(mall, token, 200)
    assert (await mall.get("/v1/settings", key=token)).status == 403
    await mall.patch("/v1/settings", {"jwt_keys": {"app": None}})
    await until(mall, token, 401)


async def until(mall: Api, token: str, status: int) -> None:
    """Wait until the server knows of changed keys: within a second, says the contract."""
    for _ in range(100):
        if (await mall.get("/v1/users/ann/coupons", key=token)).status == status:
            return
        await asyncio.sleep(0.05)
    pytest.fail(f"still not {status}")
