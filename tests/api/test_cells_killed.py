"""API processes that die between the two halves of a transfer of stock."""

from __future__ import annotations

import asyncio
import time

import aiohttp
import pytest

from tests.api.conftest import OwnServer
from tests.api.server import Answer, Api
from tests.api.story import campaign_body
from tests.api.test_concurrency import in_order

PEOPLE = 60


async def surely(api: Api, path: str, body: dict[str, str], idem: str) -> Answer:
    """Ask until somebody answers, as a caller must: with the same key."""
    until = time.monotonic() + 60
    while time.monotonic() < until:
        try:
            answer = await api.post(path, body, idem=idem)
        except (aiohttp.ClientError, OSError):
            await asyncio.sleep(0.1)
            continue
        if answer.status != 503:
            return answer
        await asyncio.sleep(0.1)
    raise AssertionError("nobody answers")


@pytest.mark.slow
async def test_killed_between_the_halves(own_server: OwnServer) -> None:
    """Each second transfer of a process is its last half: others bring in what it had sent."""
    server = own_server(HEXIAO_CELLS="4", HEXIAO_FAILPOINT="stock_sent:2")
    async with Api(server.url, server.operator_key) as api:
        assert (await api.post("/v1/campaigns", campaign_body("c", ["stock", "55"]))).status == 201
        claims = (
            surely(api, "/v1/claims", {"campaign_id": "c", "user_id": f"u{n}", "channel": "a"},
                   f"k{n}")
            for n in range(PEOPLE)
        )  # fmt: skip
        codes = sorted(str(one.code or one.status) for one in await asyncio.gather(*claims))
    assert codes == ["201"] * 55 + ["sold_out"] * 5
    assert '"child_ended"' in server.log()
    await in_order(server, server.tenant)
