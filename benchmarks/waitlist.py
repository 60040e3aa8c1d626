"""Waiting lines: what joining, asking and moving on cost with 200,000 people waiting.

``python -m benchmarks.waitlist [--quick] [--people N] [--acts N] [--json PATH]``, two parts. The
first drives the engine against a server of its own (appendfsync always), 256 acts in flight: for
each act Redis time (all scripts, by `INFO commandstats`) and CPU of this process, which is the
engine's; no HTTP, no writer. The second (``benchmarks.http_waitlist``) asks `hexiao serve` over
HTTP and counts the CPU time of all that serve: API, Redis and writer.

Both stand beside claims of the same run. Moving on is told a person who is offered: stock is added,
and the line takes it all. The aim: each within half of a claim, more or less, and no dearer in a
long line than in a short one. A figure never fails the run; a wrong order, people who are lost, or
a difference between live state and books do (exit code 1). Some two minutes; ``--quick``: a tenth
of the people and one round over HTTP, half a minute.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import redis.asyncio

from api.loops import run
from benchmarks import http_waitlist
from benchmarks.common import machine, own_cpu_seconds, server_name, write_report
from benchmarks.redis_time import in_flight, spent
from engine.books.db import migrate
from engine.embedded import EmbeddedRedis
from tests.engine.harness import WHO, Running, open_mall
from tests.unit.rules_language import campaign

NAME = "show"
ROUNDS = 5


async def timed(
    client: redis.asyncio.Redis, acts: int, work: Callable[[], Awaitable[Any]]
) -> dict[str, float]:
    """Microseconds of Redis and of our CPU an act."""
    before, cpu = await spent(client), own_cpu_seconds()
    await work()
    after, used = await spent(client), own_cpu_seconds() - cpu
    return {
        "redis_us": round((after[0] - before[0]) / acts, 2),
        "cpu_us": round(used / acts * 1e6, 1),
        "calls": round((after[1] - before[1]) / acts, 3),
    }


class Hall:
    """A campaign that is sold out, and those who wait for it."""

    def __init__(self, mall: Running, client: redis.asyncio.Redis) -> None:
        self.mall, self.client, self.waiting, self.stock = mall, client, 0, 1

    async def claims(self, mark: str, number: int) -> dict[str, float]:
        """Claims of a campaign that has enough."""
        await self.mall.publish(campaign("amount_off amount=1", id=mark, stock={"total": number}))

        async def one(n: int) -> None:
            answer = await self.mall.engine.claim(
                user_id=f"{mark}{n}", campaign_id=mark, channel="app", key="k", who=WHO
            )
            assert answer.value is not None, answer

        return await timed(self.client, number, lambda: in_flight(map(one, range(number))))

    async def join(self, number: int) -> dict[str, float]:
        """So many more people wait."""
        first = self.waiting

        async def one(n: int) -> None:
            answer = await self.mall.engine.waiting.join(
                user_id=f"u{n}", campaign_id=NAME, key="j", who=WHO
            )
            assert answer.value is not None, answer

        self.waiting += number
        people = range(first, first + number)
        return await timed(self.client, number, lambda: in_flight(map(one, people)))

    async def ask(self, number: int) -> dict[str, float]:
        """Some of them, from all over the line, ask for their place."""
        first = self.stock - 1
        step = max(1, (self.waiting - first) // number)

        async def one(n: int) -> None:
            found = await self.mall.engine.waiting.place(user_id=f"u{n}", campaign_id=NAME)
            assert found is not None

        people = range(first, first + step * number, step)
        return await timed(self.client, number, lambda: in_flight(map(one, people)))

    async def move(self, number: int) -> dict[str, float]:
        """So many places more: the first of the line are offered them, in their order."""
        await self.mall.add_stock(NAME, number)
        waiting = self.mall.engine.waiting
        told = await timed(self.client, number, lambda: waiting.push(NAME))
        self.stock += number
        last = await waiting.place(user_id=f"u{self.stock - 2}", campaign_id=NAME)
        following = await waiting.place(user_id=f"u{self.stock - 1}", campaign_id=NAME)
        assert last is not None
        assert following is not None
        assert (last.status, following.status, following.position) == ("offered", "waiting", 1)
        return told


async def rounds(hall: Hall, mark: str, acts: int) -> dict[str, dict[str, float]]:
    """The least of each act over some rounds: what else the machine does only ever adds."""
    found: dict[str, list[dict[str, float]]] = {}
    for n in range(ROUNDS):
        told = {
            "claim": await hall.claims(f"{mark}{n}-", acts), "join": await hall.join(2 * acts),
            "ask": await hall.ask(acts), "move on": await hall.move(acts),
        }  # fmt: skip
        for act, figure in told.items():
            found.setdefault(act, []).append(figure)
    return {
        act: {name: min(one[name] for one in figures) for name in figures[0]}
        for act, figures in found.items()
    }


async def measure(url: str, directory: Path, people: int, acts: int) -> dict[str, Any]:
    """All figures: in a short line, and in a long one."""
    books = directory / "hexiao.db"
    await migrate(f"sqlite+aiosqlite:///{books}")
    client = redis.asyncio.Redis.from_url(url)
    figures: dict[str, Any] = {"people": people, "acts": acts}
    async with client, open_mall("bench", url, books) as mall:
        hall = Hall(mall, client)
        await hall.claims("warm", 1000)
        await mall.publish(campaign("amount_off amount=1", id=NAME, stock={"total": 1}))
        await mall.engine.claim(user_id="owner", campaign_id=NAME, channel="app", key="k", who=WHO)
        await hall.join(1)
        figures["short"] = await rounds(hall, "a", acts)
        await hall.join(max(0, people - hall.waiting))
        figures["long"] = await rounds(hall, "b", acts)
        figures["server"] = server_name(await client.info("server"))
    return figures


def scripts(people: int, acts: int) -> dict[str, Any]:
    """The engine alone."""
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        server = EmbeddedRedis(directory / "redis")
        server.start()
        try:
            return run(measure(server.url, directory, people, acts))
        finally:
            server.stop()


def over_http(people: int, *, quick: bool) -> dict[str, Any]:
    """A server as anybody starts it."""
    short, acts, number = (people // 20, 2000, 1) if quick else (10_000, 4000, 5)
    with tempfile.TemporaryDirectory() as name:
        return run(
            http_waitlist.measure(Path(name), people=people, short=short, acts=acts, number=number)
        )


def show(found: dict[str, Any]) -> None:
    """The table of the engine alone."""
    for line in ("short", "long"):
        claim = found[line]["claim"]
        for act, told in found[line].items():
            ratio = [told[name] / claim[name] for name in ("redis_us", "cpu_us")]
            total = sum(told[name] for name in ("redis_us", "cpu_us"))
            ratio.append(total / (claim["redis_us"] + claim["cpu_us"]))
            print(
                f"{line:6}{act:9}{told}  {ratio[0]:.2f} x Redis, {ratio[1]:.2f} x CPU,"
                f" {ratio[2]:.2f} x both of a claim"
            )


def main() -> int:
    """Exit code 1 where somebody was lost or the books differ."""
    parser = argparse.ArgumentParser(description="Waiting lines beside claims.")
    parser.add_argument("--people", type=int, default=0, help="200,000 unless --quick")
    parser.add_argument("--acts", type=int, default=2_000, help="of the first part")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--json", type=Path, default=Path("reports/bench-waitlist.json"))
    options = parser.parse_args()
    people = options.people or (20_000 if options.quick else 200_000)
    found = scripts(people, min(options.acts, 500) if options.quick else options.acts)
    show(found)
    found["http"] = over_http(people, quick=options.quick)
    http_waitlist.show(found["http"])
    write_report(options.json, {**machine(), **found})
    return 0 if found["http"]["check"]["holds"] else 1


if __name__ == "__main__":
    sys.exit(main())
