"""The demo mall: built through the public API, and its lines work as pasted, twice."""

from __future__ import annotations

import asyncio
import json
import shutil
from typing import Any

import msgspec
import pytest

from api import wire_office as shapes
from api import wire_stays as stays
from api.demo import DemoFailed, build_demo
from api.demo_mall import CAMPAIGNS
from tests.api.server import Api, ApiServer

pytestmark = pytest.mark.skipif(shutil.which("curl") is None, reason="no curl here")


async def pasted(line: str) -> Any:
    process = await asyncio.create_subprocess_exec(
        "sh", "-c", line, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    out, err = await process.communicate()
    assert process.returncode == 0, err
    return json.loads(out)


async def test_three_lines_work_as_pasted(api_server: ApiServer) -> None:
    _, key = api_server.new_mall()
    lines = await build_demo(api_server.url, key)
    assert await build_demo(api_server.url, key) == lines  # safe to repeat
    curls = [line for line in lines if line.startswith("curl ")]
    first = [await pasted(line) for line in curls]
    claimed, code, redeemed = first
    assert claimed["status"] == "issued"
    assert len(code["code"]) == 58
    assert (redeemed["discount"], redeemed["payable"]) == (1000, 11_800)
    assert [await pasted(line) for line in curls] == first
    assert await build_demo(api_server.url, key) == lines  # also after the redemption
    async with Api(api_server.url, key) as mall:
        listed = (await mall.get("/v1/campaigns")).json["items"]
        assert {one["id"] for one in listed} == {one["id"] for one in CAMPAIGNS}
        assert (await mall.get("/v1/users/bob/points")).json["balance"] == 200
        for _ in range(200):  # until the books have it
            if orders := (await mall.get("/v1/users/bob/orders")).json["items"]:
                break
            await asyncio.sleep(0.05)
        (order,) = orders
        assert (order["status"], order["amount"]) == ("paid", 5800)
        assert (await mall.get("/v1/purchases/demo-1")).json["points_earned"] in (357, 715)
        kinds = {one["benefit"]["type"] for one in listed}
        plain = {"amount_off", "percent_off", "fixed_price", "gift", "exchange"}
        assert kinds == plain | {"parking_minutes", "parking_free", "admission", "stored_value"}
        assert {one["kind"] for one in listed} == {
            "coupon",
            "parking",
            "pass",
            "stored_value",
            "ticket",
        }
        assert (await mall.get("/v1/users/bob/vehicles")).json["items"] != []


@pytest.mark.parametrize(
    ("path", "described"),
    [
        ("/v1/campaigns", shapes.CampaignList),
        ("/v1/campaigns/noodle-20", shapes.CampaignReply),
        ("/v1/merchants", shapes.MerchantList),
        ("/v1/merchants/noodle", shapes.MerchantReply),
        ("/v1/stores", shapes.StoreList),
        ("/v1/stores/noodle-b1", shapes.StoreReply),
        ("/v1/lots", stays.LotList),
        ("/v1/lots/p1", stays.LotReply),
        ("/v1/vehicles/沪AD12345", stays.VehicleReply),
        ("/v1/users/ann/vehicles", stays.VehicleList),
        ("/v1/keys", shapes.KeyList),
        ("/v1/settings", shapes.SettingsReply),
        ("/v1/audit", shapes.AuditList),
    ],
)
async def test_replies_are_as_they_are_described(
    api: Api, api_server: ApiServer, path: str, described: type
) -> None:
    await build_demo(api_server.url, api_server.operator_key)
    shown = await api.get(
        path, params={} if path.count("/") > 2 or path.endswith("settings") else {"limit": 200}
    )
    msgspec.convert(shown.json, described)


async def test_a_server_that_refuses_is_quoted(api_server: ApiServer) -> None:
    with pytest.raises(DemoFailed, match="unauthenticated"):
        await build_demo(api_server.url, "hx_not_a_key_of_this_server")
