"""Sold out and back again over HTTP, three API processes on one port."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
import redis.asyncio

from tests.api.conftest import OwnServer
from tests.api.counter import Counter
from tests.api.server import Answer, Api, ApiServer
from tests.api.test_concurrency import at_once, in_order, outcomes

CALLERS = 8  # connections of their own, so that every process is asked


@pytest.fixture
async def workers(own_server: OwnServer) -> AsyncIterator[list[Counter]]:
    """The same mall by several connections."""
    server: ApiServer = own_server(HEXIAO_WORKERS="3")
    callers = [Api(server.url, server.operator_key) for _ in range(CALLERS)]
    for one in callers:
        await one.__aenter__()
    first = await Counter.open(server, callers[0])
    malls = [Counter(server, one) for one in callers]
    for each in malls:
        each.mark = first.mark
    yield malls
    for one in callers:
        await one.__aexit__()
    await in_order(server, server.tenant)


async def test_sold_out_and_back_again(workers: list[Counter]) -> None:
    """Strangers cost no call; winners hear the same everywhere; added stock is there at once."""
    mall = workers[0]
    campaign = await mall.campaign("stock 20 per_user 1")

    async def all_ask(user: str, key: str) -> list[Answer]:
        return await at_once(one.claim(campaign, user, idem=key) for one in workers)

    answers = await at_once(
        workers[n % CALLERS].claim(campaign, f"u{n}", idem="k") for n in range(200)
    )
    assert outcomes(answers) == {"201": 20, "sold_out": 180}
    winners = [f"u{n}" for n, answer in enumerate(answers) if answer.status == 201]
    async with redis.asyncio.Redis.from_url(mall.server.redis_url) as client:
        before = (await client.info("commandstats"))["cmdstat_evalsha"]["calls"]
        for n in range(0, 400, CALLERS):
            asked = [one.claim(campaign, f"s{n + k}") for k, one in enumerate(workers)]
            assert outcomes(await at_once(asked)) == {"sold_out": CALLERS}
        calls = (await client.info("commandstats"))["cmdstat_evalsha"]["calls"] - before
    assert calls < 200
    for user in winners[:6]:
        assert outcomes(await all_ask(user, "k")) == {"201": CALLERS}
        assert outcomes(await all_ask(user, "other")) == {"user_limit": CALLERS}
    for n in range(4):
        added = await mall.api.post(f"/v1/campaigns/{campaign}/stock", {"add": 1})
        assert added.status in (200, 201), added.json
        won = await workers[n + 1].claim(campaign, f"late{n}", idem="k")
        assert won.status == 201, won.json
        answers = await all_ask(f"late{n}", "k")
        assert {answer.content for answer in answers} == {won.content}
        assert outcomes(await all_ask(f"s{n}", "x")) == {"sold_out": CALLERS}
    assert await crowd(workers, campaign) == 8


async def crowd(workers: list[Counter], campaign: str) -> int:
    """A crowd at the door while stock is added four times by two: how many got one, each of them
    told so by whichever process is asked."""
    mall = workers[0]
    won: dict[str, Answer] = {}
    over = False

    async def person(number: int) -> None:
        n = 0
        while not over:
            n += 1
            answer = await workers[(number + n) % CALLERS].claim(
                campaign, f"c{number}", idem=f"k{n}"
            )
            if answer.status == 201:
                won[f"c{number}"] = answer
                other = workers[(number + n + 3) % CALLERS]
                again = await other.claim(campaign, f"c{number}", idem=f"k{n}")
                assert (again.status, again.content) == (201, answer.content)
                assert (await other.claim(campaign, f"c{number}")).code == "user_limit"
                return
            assert answer.code == "sold_out"
            await asyncio.sleep(0.02)

    async def add() -> None:
        nonlocal over
        for _ in range(4):
            await asyncio.sleep(0.03)
            added = await mall.api.post(f"/v1/campaigns/{campaign}/stock", {"add": 2})
            assert added.status in (200, 201), added.json
        await asyncio.sleep(0.5)
        over = True

    await asyncio.gather(add(), *(person(n) for n in range(60)))
    return len({answer.json["id"] for answer in won.values()})
