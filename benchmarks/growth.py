"""What a claim costs against what a mall has: the client's CPU and Redis' time, axis by axis.

``python -m benchmarks.growth [--axis NAME ...] [--live N ...] [--json PATH] [--plots DIR]``: the
engine without HTTP on servers of its own, one axis moved at a time:

  batch      operations that leave together, 1 to 256
  wallet     coupons that the claimant has already, 1 to 1,000
  campaigns  that claims are spread over at random, 1 to 10,000
  live       coupons that Redis holds, 10^4 to 10^6 or 10^7, as memory allows
  cells      of the tenant, 1 to 64: with 256 in flight in all, and with 32 in flight a cell

Client: CPU of this process a claim; Redis: EVALSHA by commandstats a claim. Each point is the least
of some rounds: what else the machine does only adds. Every claim must succeed, and on the axes
where all state came by acts live state must equal the books; figures never fail the run. Plots as
SVG, one an axis (matplotlib: the extra ``bench``).
"""

from __future__ import annotations

import argparse
import asyncio
import random
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from itertools import count
from pathlib import Path
from typing import Any

import msgspec

from api.loops import run
from benchmarks.common import machine, own_cpu_seconds, server_name, write_report
from benchmarks.contest import UNLIMITED
from benchmarks.growth_plots import draw
from benchmarks.ours import ISSUE, WORDS, Ours, ours_on
from engine import keys
from engine.definitions import compile_issue, compile_terms
from engine.embedded import EmbeddedRedis
from engine.outcomes import Outcome
from tests.engine.harness import WHO
from tests.unit.rules_language import campaign as described

IN_FLIGHT = 64
ROUNDS = 3
BATCHES = (1, 2, 4, 8, 16, 32, 64, 128, 256)
WALLETS = (1, 3, 10, 30, 100, 300, 1000)
CAMPAIGNS = (1, 10, 100, 1000, 10_000)
CELLS = (1, 2, 4, 8, 16, 32, 64)
MEMORY_OF_A_COUPON = 400  # bytes, with room to spare
# Wallets as claims make them, numbered: ARGV: key without handle, first, last, name, value, ...
FILL = """
for n = tonumber(ARGV[2]), tonumber(ARGV[3]) do
  redis.call('HSET', ARGV[1] .. string.format('%016d', n), unpack(ARGV, 4))
end
"""
FILL_AT_ONCE = 20_000


class Point(msgspec.Struct):
    """One place on an axis. Times in microseconds a claim."""

    axis: str
    x: int
    client: float
    redis: float
    batch: float  # claims a script call
    claims: int


class Burst:
    """Claims of people who have never been seen, so many in flight."""

    def __init__(self, ours: Ours) -> None:
        self.ours = ours
        self._people = count(1)

    def strangers(self, campaigns: Sequence[str], claims: int) -> list[tuple[str, str]]:
        """(user, campaign): one each, of a campaign drawn at random."""
        draw = random.Random(7)
        return [(f"stranger-{next(self._people)}", draw.choice(campaigns)) for _ in range(claims)]

    async def timed(self, axis: str, x: int, wanted: list[tuple[str, str]], flying: int) -> Point:
        """One round."""
        engine, claims = self.ours.mall.engine, iter(wanted)

        async def caller() -> None:
            for user, campaign in claims:
                answer = await engine.claim(
                    user_id=user, campaign_id=campaign, channel="app", key=campaign, who=WHO
                )
                assert answer.outcome is Outcome.DONE, answer

        spent, calls = await self.ours.script()
        client = own_cpu_seconds()
        await asyncio.gather(*(caller() for _ in range(flying)))
        client = own_cpu_seconds() - client
        spent_then, calls_then = await self.ours.script()
        number = len(wanted)
        return Point(
            axis, x, client / number * 1e6, (spent_then - spent) / number,
            number / (calls_then - calls), number,
        )  # fmt: skip

    async def least(
        self, axis: str, x: int, rounds: Iterator[list[tuple[str, str]]], flying: int = IN_FLIGHT
    ) -> Point:
        """The least of each figure."""
        points = [await self.timed(axis, x, wanted, flying) for wanted in rounds]
        best = msgspec.structs.replace(
            points[0],
            client=min(one.client for one in points),
            redis=min(one.redis for one in points),
        )
        print(
            f"  {axis:16}{x:9}: client {best.client:6.1f}  Redis {best.redis:6.1f} us a claim"
            f"  batch {best.batch:5.1f}",
            flush=True,
        )
        return best


@asynccontextmanager
async def mall(cells: int = 1) -> AsyncIterator[Burst]:
    """A mall and a server of its own."""
    with tempfile.TemporaryDirectory() as name:
        server = EmbeddedRedis(Path(name) / "redis", fsync="everysec")
        await server.astart()
        try:
            async with ours_on(server, Path(name), cells) as ours:
                yield Burst(ours)
        finally:
            await server.astop()


async def batch_axis(_: argparse.Namespace) -> list[Point]:
    """How much is shared by those that leave together."""
    async with mall() as burst:
        await burst.ours.open("c1", UNLIMITED)
        await burst.timed("", 0, burst.strangers(["c1"], 2000), IN_FLIGHT)  # warm
        points = []
        for flying in BATCHES:
            claims = 512 if flying < 8 else 4096
            rounds = (burst.strangers(["c1"], claims) for _ in range(ROUNDS))
            points.append(await burst.least("batch", flying, rounds, flying))
        await burst.ours.reconciled()
        return points


async def wallet_axis(_: argparse.Namespace) -> list[Point]:
    """People who have many already: their wallets are copies of one that acts made."""
    people, each = 128, 4
    async with mall() as burst:
        mall_, client = burst.ours.mall, burst.ours.client
        names = [f"c{n}" for n in range(each * ROUNDS * len(WALLETS))]
        for name in ["seed", *names]:
            await burst.ours.open(name, UNLIMITED)
        await burst.timed("", 0, [("seed", "seed")], 1)
        tag = mall_.engine.tags[0]
        seed = await mall_.hash_of(keys.wallet_key(tag, mall_.engine.handle_of("seed")))
        coupon = next(value for name, value in seed.items() if name.startswith(b"C"))
        points, fresh = [], iter(names)
        for size in WALLETS:
            users = [f"owner-{size}-{n}" for n in range(people)]
            for user in users:
                fields: dict[Any, Any] = {}
                for n in range(size - 1):
                    fields[f"C{n:011d}"] = coupon
                    fields[f"nold-{n:05d}"] = seed[b"nseed"]
                if fields:
                    key = keys.wallet_key(tag, mall_.engine.handle_of(user))
                    await client.hset(key, mapping=fields)
            rounds = (
                [(user, name) for name in [next(fresh) for _ in range(each)] for user in users]
                for _ in range(ROUNDS)
            )
            points.append(await burst.least("wallet", size, rounds))
        return points


async def campaign_axis(_: argparse.Namespace) -> list[Point]:
    """Claims spread over many campaigns: fewer of a batch share one."""
    async with mall() as burst:
        made: list[str] = []
        points = []
        for number in CAMPAIGNS:
            while len(made) < number:
                body = described(WORDS, id=f"c{len(made)}", stock={"total": None}, issue=ISSUE)
                issue, terms = compile_issue(body, 1), compile_terms(body)
                await burst.ours.mall.put_raw(body.id, issue, terms)
                made.append(body.id)
            rounds = (burst.strangers(made, 4096) for _ in range(ROUNDS))
            points.append(await burst.least("campaigns", number, rounds))
        return points


async def live_axis(arguments: argparse.Namespace) -> list[Point]:
    """A Redis that is full: wallets of one coupon, copies of one that an act made."""
    sizes = arguments.live or [
        size for size in (10**4, 10**5, 10**6, 10**7) if size * MEMORY_OF_A_COUPON < _free_bytes()
    ]
    async with mall() as burst:
        mall_, client = burst.ours.mall, burst.ours.client
        await client.config_set("appendonly", "no")  # filling would write gigabytes of it
        await burst.ours.open("c1", UNLIMITED)
        await burst.timed("", 0, [("seed", "c1")], 1)
        key = keys.wallet_key(mall_.engine.tags[0], mall_.engine.handle_of("seed"))
        seed = await mall_.hash_of(key)
        words = [word for pair in seed.items() for word in pair]
        prefix = key[: -keys.HANDLE_LENGTH]
        filled, points = 0, []
        for size in sizes:
            while filled < size:
                last = min(size, filled + FILL_AT_ONCE)
                await client.eval(FILL, 0, prefix, filled + 1, last, *words)
                filled = last
            rounds = (burst.strangers(["c1"], 4096) for _ in range(ROUNDS))
            points.append(await burst.least("live", size, rounds))
        return points


def _free_bytes() -> int:
    for line in Path("/proc/meminfo").read_text().splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    return 0


async def cell_axis(_: argparse.Namespace) -> list[Point]:
    """Batches are a cell's own: the same callers make smaller ones over many cells."""
    points = []
    for cells in CELLS:
        async with mall(cells) as burst:
            await burst.ours.open("c1", UNLIMITED)
            await burst.timed("", 0, burst.strangers(["c1"], 2000), IN_FLIGHT)
            for axis, flying in (("cells", 256), ("cells, 32 each", 32 * cells)):
                rounds = (burst.strangers(["c1"], 8192) for _ in range(ROUNDS))
                points.append(await burst.least(axis, cells, rounds, flying))
            await burst.ours.reconciled()
    return points


AXES = {
    "batch": batch_axis,
    "wallet": wallet_axis,
    "campaigns": campaign_axis,
    "live": live_axis,
    "cells": cell_axis,
}


async def version() -> str:
    """Of the server that all of it ran on."""
    async with mall() as burst:
        return server_name(await burst.ours.client.info("server"))


def main() -> int:
    """0: every claim succeeded."""
    parser = argparse.ArgumentParser(description="What a claim costs against what a mall has.")
    parser.add_argument("--axis", nargs="+", choices=list(AXES), default=list(AXES))
    parser.add_argument("--live", type=int, nargs="+", help="coupons in Redis, ascending")
    parser.add_argument("--json", type=Path, default=Path("reports/bench-growth.json"))
    parser.add_argument("--plots", type=Path, default=Path("docs/benchmarks"))
    arguments = parser.parse_args()
    points = [point for axis in arguments.axis for point in run(AXES[axis](arguments))]
    rows = msgspec.to_builtins(points)
    report = {"machine": machine(), "server": run(version()), "points": rows}
    write_report(arguments.json, report)
    draw(rows, arguments.plots)
    return 0


if __name__ == "__main__":
    sys.exit(main())
