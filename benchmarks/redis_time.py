"""Redis time an act: a claim, a redemption of one coupon and of three that stack, a no-op script.

``python -m benchmarks.redis_time [--acts N] [--json PATH]`` drives the engine against a server of
its own (appendfsync always), 256 acts in flight, and reads `INFO commandstats` before and after:
microseconds of EVALSHA an act, receipts, limits, counters and facts included. The no-op is a
``#!lua`` script sent 128 deep in a pipeline, the least that any EVALSHA costs. The aims: a claim
at most 12 no-ops, three stacked coupons at most twice one. A figure never fails the run; wrong
counts or a difference between live state and books do.
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path
from typing import Any

import redis.asyncio

from api.loops import run
from benchmarks.common import machine, server_name, write_report
from engine.books.db import migrate
from engine.embedded import EmbeddedRedis
from engine.records import Line
from tests.engine.harness import WHO, Running, open_mall, reconciled
from tests.unit.rules_language import campaign

IN_FLIGHT = 256
DEEP = 128
ROUNDS = 5
NO_OP = "#!lua flags=no-writes\nreturn 0"
LINES = [Line("1", 30_000, 1, "a", "dining"), Line("2", 12_000, 2, "b", "fashion")]
SINGLE = ["amount_off amount=1000 min_spend=10000"]
STACKED = [*SINGLE, "percent_off percent_off=5 max_amount=900", "amount_off amount=300"]


async def spent(client: redis.asyncio.Redis) -> tuple[int, int]:
    """(microseconds, calls) of EVALSHA so far."""
    stats = (await client.info("commandstats")).get("cmdstat_evalsha", {})
    return stats.get("usec", 0), stats.get("calls", 0)


async def timed(
    client: redis.asyncio.Redis, acts: int, work: Callable[[], Awaitable[None]]
) -> dict[str, float]:
    """Microseconds of Redis an act, and acts a call."""
    before = await spent(client)
    await work()
    after = await spent(client)
    calls = after[1] - before[1]
    return {"us": round((after[0] - before[0]) / acts, 2), "batch": round(acts / calls, 1)}


async def in_flight(acts: Iterable[Awaitable[Any]]) -> list[Any]:
    """All answers; so many at a time."""
    gate = asyncio.Semaphore(IN_FLIGHT)

    async def one(act: Awaitable[Any]) -> Any:
        async with gate:
            return await act

    return list(await asyncio.gather(*map(one, acts)))


async def no_ops(client: redis.asyncio.Redis, calls: int) -> dict[str, float]:
    """The same figures of a script that does nothing."""
    sha = await client.script_load(NO_OP)

    async def work() -> None:
        for _ in range(calls // DEEP):
            pipe = client.pipeline(transaction=False)
            for _ in range(DEEP):
                pipe.evalsha(sha, 0)
            await pipe.execute()

    return await timed(client, calls // DEEP * DEEP, work)


async def redemptions(
    mall: Running, client: redis.asyncio.Redis, kinds: list[str], people: int, mark: str
) -> tuple[dict[str, float], dict[str, float]]:
    """(claims, redemptions): everybody claims one of each kind, then redeems them together."""
    ids = [f"{mark}{n}" for n in range(len(kinds))]
    for name, words in zip(ids, kinds, strict=True):
        await mall.publish(campaign(words, id=name, stock={"total": people}))
    coupons: dict[int, list[str]] = {n: [] for n in range(people)}

    async def claim(n: int, name: str) -> None:
        answer = await mall.engine.claim(
            user_id=f"{mark}-u{n}", campaign_id=name, channel="app", key=name, who=WHO
        )
        assert answer.value is not None, answer
        coupons[n].append(answer.value.id)

    async def redeem(n: int) -> None:
        answer = await mall.engine.redeem(
            handle=mall.engine.handle_of(f"{mark}-u{n}"),
            coupons=[(one, 0, False) for one in coupons[n]], store_id="s1", key=f"{n}", who=WHO,
            amount=42_000, lines=LINES, channel="cashier", order_ref=f"POS-{n}",
        )  # fmt: skip
        assert answer.value is not None, answer
        assert len(answer.value.record.coupons) == len(kinds), answer

    async def claims() -> None:
        await in_flight(claim(n, name) for name in ids for n in range(people))

    async def sales() -> None:
        await in_flight(redeem(n) for n in range(people))

    claimed = await timed(client, people * len(kinds), claims)
    return claimed, await timed(client, people, sales)


async def measure(url: str, directory: Path, acts: int) -> dict[str, Any]:
    """All figures, and the check that nothing went wrong."""
    books = directory / "hexiao.db"
    await migrate(f"sqlite+aiosqlite:///{books}")
    client = redis.asyncio.Redis.from_url(url)
    async with client, open_mall("bench", url, books) as mall:
        await mall.store("s1")
        await redemptions(mall, client, STACKED, 500, "warm")
        rounds = []
        for n in range(ROUNDS):
            claimed, one = await redemptions(mall, client, SINGLE, acts // ROUNDS, f"one{n}-")
            _, three = await redemptions(mall, client, STACKED, acts // ROUNDS, f"three{n}-")
            rounds.append((await no_ops(client, 10_000), claimed, one, three))
        # The least of each: what else the machine does only ever adds.
        nothing, claimed, one, three = (
            min(figures, key=lambda figure: figure["us"]) for figures in zip(*rounds, strict=True)
        )
        await reconciled(mall.books, url, "bench")
        server = await client.info("server")
    return {
        "server": server_name(server),
        "durability": "appendfsync always", "in_flight": IN_FLIGHT,
        "no_op": nothing, "claim": claimed, "redeem_one": one, "redeem_three": three,
        "claim_in_no_ops": round(claimed["us"] / nothing["us"], 1),
        "three_to_one": round(three["us"] / one["us"], 2),
        "one_to_claim": round(one["us"] / claimed["us"], 2),
        "reconcile": "clean",
    }  # fmt: skip


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else "")
    parser.add_argument("--acts", type=int, default=10_000)
    parser.add_argument("--json", type=Path, default=Path("reports/bench-redis-time.json"))
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        server = EmbeddedRedis(Path(name) / "redis")
        server.start()
        try:
            found = run(measure(server.url, Path(name), options.acts))
        finally:
            server.stop()
    for key, value in found.items():
        print(f"{key:16} {value}")
    write_report(options.json, {**machine(), **found})


if __name__ == "__main__":
    main()
