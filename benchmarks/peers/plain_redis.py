"""Two ways to claim that tutorials teach, by plain redis-py: one EVALSHA a claim, WATCH/MULTI.

The script is the well-known one of flash-sale tutorials: stock in a string, who has one in a set,
a stream entry for whoever writes it to the database later. Left out against ours: receipts (a
request that is asked again after a time-out is told "you have one", and nobody knows which), any
limit but one a person, windows, tiers and channels, a coupon with an id, terms and an end, gapless
facts, more than one slot of a cluster.
"""

from __future__ import annotations

import redis.asyncio
from redis.exceptions import WatchError

from benchmarks.ours import scripts_of

SCRIPT = """
local stock, holders = KEYS[1], KEYS[2]
if tonumber(redis.call('get', stock)) <= 0 then return 1 end
if redis.call('sismember', holders, ARGV[1]) == 1 then return 2 end
redis.call('incrby', stock, -1)
redis.call('sadd', holders, ARGV[1])
redis.call('xadd', KEYS[3], '*', 'userId', ARGV[1], 'voucherId', ARGV[2], 'id', ARGV[3])
return 0
"""


class _Plain:
    """What both share: where stock, holders and orders lie."""

    name = ""

    def __init__(self, url: str, server: int) -> None:
        self.client = redis.asyncio.Redis.from_url(url)  # a connection for each that is in flight
        self.server = server

    async def open(self, campaign: str, stock: int) -> None:
        await self.client.set(self._stock(campaign), stock)

    async def given(self, campaign: str) -> int:
        return int(await self.client.scard(self._holders(campaign)))

    async def script(self) -> tuple[int, int]:
        return await scripts_of(self.client)

    def _stock(self, campaign: str) -> str:
        return f"{{{self.name}}}:stock:{campaign}"

    def _holders(self, campaign: str) -> str:
        return f"{{{self.name}}}:order:{campaign}"

    def _orders(self) -> str:
        return f"{{{self.name}}}:stream.orders"


class OneCall(_Plain):
    """One EVALSHA a claim."""

    name = "redis-py EVALSHA"

    async def open(self, campaign: str, stock: int) -> None:
        await super().open(campaign, stock)
        self._sha = await self.client.script_load(SCRIPT)

    async def claim(self, campaign: str, person: int) -> bool:
        outcome = await self.client.evalsha(
            self._sha, 3, self._stock(campaign), self._holders(campaign), self._orders(),
            person, campaign, f"{campaign}-{person}",
        )  # fmt: skip
        return int(outcome) == 0


class Optimistic(_Plain):
    """WATCH, read, MULTI, EXEC; again where another was faster."""

    name = "redis-py WATCH/MULTI"

    async def claim(self, campaign: str, person: int) -> bool:
        stock, holders = self._stock(campaign), self._holders(campaign)
        async with self.client.pipeline(transaction=True) as pipe:
            while True:
                try:
                    await pipe.watch(stock, holders)
                    left = int(await pipe.get(stock) or 0)
                    if left <= 0 or await pipe.sismember(holders, str(person)):
                        return False
                    pipe.multi()  # type: ignore[no-untyped-call]
                    pipe.decr(stock)
                    pipe.sadd(holders, person)
                    pipe.xadd(self._orders(), {"userId": person, "voucherId": campaign})
                    await pipe.execute()
                    return True
                except WatchError:
                    continue
