"""More claims than the engine can do: shed at once, nothing lost, the till goes on."""

from __future__ import annotations

import asyncio

import pytest

from tests.api.conftest import OwnServer
from tests.api.counter import Counter
from tests.api.server import Answer, Api
from tests.api.test_concurrency import in_order, issued, outcomes

ACTS = 100  # a second
OFFERED = 5 * ACTS
SECONDS = 1.5


@pytest.mark.slow
async def test_a_flood_is_shed_and_the_till_goes_on(own_server: OwnServer) -> None:
    server = own_server(HEXIAO_TEST_ACTS_PER_SECOND=str(ACTS))
    async with Api(server.url, server.operator_key) as api:
        mall = await Counter.open(server, api)
        campaign = await mall.campaign("stock 9999 per_user 1")
        coupons = [(await mall.claim(campaign, f"t{n}")).json["id"] for n in range(12)]
        sales: list[Answer] = []

        async def till() -> None:
            for n, coupon in enumerate(coupons):
                await asyncio.sleep(SECONDS / len(coupons))
                sales.append(await mall.redeem(coupon, order_ref=f"POS-{n}"))

        async def person(n: int) -> Answer:
            await asyncio.sleep(n / OFFERED)
            return await mall.claim(campaign, f"u{n}", idem=f"k{n}")

        number = int(OFFERED * SECONDS)
        _, *answers = await asyncio.gather(till(), *(person(n) for n in range(number)))
        assert outcomes(sales) == {"201": len(coupons)}
        told = outcomes([answer for answer in answers if answer is not None])
        assert told.keys() == {"201", "overloaded"}, told
        assert sum(told.values()) == number
        shed = {n: one for n, one in enumerate(answers) if one and one.status == 503}
        assert {one.headers.get("Retry-After") for one in shed.values()} == {"1"}
        # What was refused left nothing behind: the same key, a moment later.
        await asyncio.sleep(1)
        again = [await mall.claim(campaign, f"u{n}", idem=f"k{n}") for n in list(shed)[:5]]
        assert outcomes(again) == {"201": 5}
        assert not any(answer.replayed for answer in again)
        assert (await issued(mall, campaign))[0] == told["201"] + len(coupons) + len(again)
    await in_order(server, server.tenant)
