"""API processes that die between the two halves of a transfer of stock."""

from __future__ import annotations

import asyncio
import time

import aiohttp
import pytest

from engine import keys
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


async def people_of_one_cell(api: Api, n: int) -> list[str]:
    """So many people who live in one cell of four: known by the ids of what they were given."""
    body = campaign_body("first", ["stock", "1000"])
    assert (await api.post("/v1/campaigns", body)).status == 201
    found: list[str] = []
    for user in (f"u{one}" for one in range(20 * n)):
        claim = {"campaign_id": "first", "user_id": user, "channel": "a"}
        made = await surely(api, "/v1/claims", claim, f"first-{user}")
        handle = made.json["id"][1 : 1 + keys.HANDLE_LENGTH]
        if keys.cell_of(handle, 4) == 0:
            found.append(user)
        if len(found) == n:
            return found
    raise AssertionError("so many people, and none of them in the first cell")


@pytest.mark.slow
async def test_killed_between_the_halves(own_server: OwnServer) -> None:
    """Each second transfer of a process is its last half: others bring in what it had sent.

    All claims come to one cell, so it needs what each of the other three has.
    """
    server = own_server(HEXIAO_CELLS="4", HEXIAO_FAILPOINT="stock_sent:2")
    async with Api(server.url, server.operator_key) as api:
        people = await people_of_one_cell(api, PEOPLE)
        assert (await api.post("/v1/campaigns", campaign_body("c", ["stock", "55"]))).status == 201
        claims = (
            surely(api, "/v1/claims", {"campaign_id": "c", "user_id": user, "channel": "a"}, user)
            for user in people
        )
        codes = sorted(str(one.code or one.status) for one in await asyncio.gather(*claims))
    assert codes == ["201"] * 55 + ["sold_out"] * 5
    assert '"child_ended"' in server.log()
    await in_order(server, server.tenant)
