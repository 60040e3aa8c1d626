"""Waiting lines over HTTP: what a mall pays for joining, asking and moving on, beside claims.

The second part of ``benchmarks.waitlist``, on `hexiao serve` as ``benchmarks.http_claims`` starts
it (one API process, appendfsync always, the writer running, books in SQLite), 64 connections in a
closed loop. An act's cost is the CPU time of all that serve it, API, Redis and writer, from when
the books have caught up until they have caught up again. Each of the three stands beside claims of
the same moment. Moving on takes no request: stock for so many people is added, and what counts is
until all their offers stand in the books; its p50 and p99 are a person's time from that addition
until their offer. Told is the round that took least CPU: what else the machine does only adds.

The run checks itself: every answer is what it must be, those who are offered one came first, who
joined is offered one, waiting or left, and live state equals the books (reconcile).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import msgspec
from sqlalchemy import func, select

from benchmarks.common import cpu_seconds
from benchmarks.http_claims import UNLIMITED, Bench, check, started
from benchmarks.http_load import quantile
from engine.books import schema
from engine.books.db import Books, open_books
from engine.writer import lag

NAME = "show"
LINE = 1 << 30  # number of the first who joins: nobody who claims
CONNECTIONS = 64
PATIENCE = 600.0  # seconds
LOOK_SECONDS = 0.02
LEAVE = 20  # people of a line, before it is checked
ACTS = ("join", "ask", "move on")


class Cost(msgspec.Struct):
    """What one act took, microseconds: CPU by process, and waiting."""

    api: float
    redis: float
    writer: float
    p50: float
    p99: float

    @property
    def total(self) -> float:
        """CPU of all of them."""
        return self.api + self.redis + self.writer


class Hall:
    """A campaign that is sold out, and those who wait for it."""

    def __init__(self, bench: Bench, books: Books) -> None:
        self.bench, self.books = bench, books
        self.joined = self.offered = self.left = 0

    async def prepare(self) -> None:
        """One place, offered to the first who joins: everybody else waits."""
        body = {
            "id": NAME, "name": {"en": "A show"}, "kind": "coupon", "stock": {"total": 1},
            "benefit": {"type": "amount_off", "amount": 2000},
            "issue": {"per_user": 2, "per_user_per_day": 1},
            "validity": {"type": "relative", "minutes": 10080},
        }  # fmt: skip
        answer = await self.bench.api.post("/v1/campaigns", body)
        assert answer.status == 201, answer.json
        await self.join(1)
        self.offered = 1

    # ---- acts --------------------------------------------------------------------------------

    async def claim(self, number: int) -> Cost:
        """Claims of a campaign that has enough."""
        cost = await self._loaded("claim", number, campaign=UNLIMITED)
        self.bench.acknowledged += number
        return cost

    async def join(self, number: int) -> Cost:
        """So many more people wait."""
        first = LINE + self.joined
        self.joined += number
        return await self._loaded("join", number, campaign=NAME, first=first)

    async def ask(self, number: int) -> Cost:
        """Some of them, from all over the line, ask for their place."""
        step = max(1, (self.joined - self.offered) // number)
        first = LINE + self.joined - step * number
        return await self._loaded("ask", number, campaign=NAME, first=first, step=step)

    async def move(self, number: int) -> Cost:
        """So many places more, all at once."""
        before, at = await self._cpu(), time.time() * 1000
        answer = await self.bench.api.post(f"/v1/campaigns/{NAME}/stock", {"add": number})
        assert answer.status == 200, answer.json
        self.offered += number
        await until(self.has_offered)
        orders = schema.orders.c
        query = select(orders.at_ms).where(orders.at_ms >= int(at), orders.channel == "waitlist")
        async with self.books.connect() as connection:
            offers = (await connection.execute(query)).scalars().all()
        assert len(offers) == number, (len(offers), number)
        waited = sorted((one - at) * 1000 for one in offers)
        return await self._cost(before, number, quantile(waited, 0.5), quantile(waited, 0.99))

    async def leave(self, number: int) -> None:
        """So many of the last leave; not measured."""
        for n in range(self.joined - number, self.joined):
            path = f"/v1/campaigns/{NAME}/waitlist/member:{LINE + n:010d}"
            answer = await self.bench.api.delete(path)
            assert (answer.status, answer.json["status"]) == (200, "left"), answer.json
        self.left += number

    # ---- measuring ---------------------------------------------------------------------------

    async def _loaded(self, act: str, number: int, **plan: Any) -> Cost:
        before = await self._cpu()
        result = await self.bench.loader.run(
            port=int(self.bench.server.url.rpartition(":")[2]), key=self.bench.storefront,
            connections=min(CONNECTIONS, number), seconds=PATIENCE, most=number, warm_up=0.0,
            act=act, **plan,
        )  # fmt: skip
        expected = "200" if act == "ask" else "201"
        assert result.statuses == {expected: number}, (act, number, result.statuses)
        return await self._cost(before, number, result.p50 * 1e6, result.p99 * 1e6)

    async def _cpu(self) -> dict[str, float]:
        """CPU seconds of each process once the books have all there is; asks none of them."""
        await until(self.caught_up)
        return {name: cpu_seconds(pid) for name, pid in self.bench.pids.items()}

    async def _cost(self, before: dict[str, float], acts: int, p50: float, p99: float) -> Cost:
        after = await self._cpu()
        used = {name: (after[name] - before[name]) / acts * 1e6 for name in after}
        return Cost(**used, p50=p50, p99=p99)

    async def caught_up(self) -> bool:
        """Whether the books have all facts."""
        bench = self.bench
        return not any(one.facts for one in await lag(self.books, bench.redis, bench.server.tenant))

    async def has_offered(self) -> bool:
        """Whether all for whom there is room are offered one, by the books."""
        c = schema.waitlist.c
        query = select(func.count()).where(
            c.tenant == self.bench.server.tenant, c.campaign_id == NAME, c.state == "offered"
        )
        async with self.books.connect() as connection:
            return (await connection.execute(query)).scalar_one() >= self.offered

    async def states(self) -> dict[str, int]:
        """How many of those who joined are in which state, by the books."""
        c = schema.waitlist.c
        query = select(c.state, func.count()).where(c.campaign_id == NAME).group_by(c.state)
        async with self.books.connect() as connection:
            return {row[0]: row[1] for row in (await connection.execute(query)).all()}

    # ---- the check ---------------------------------------------------------------------------

    async def checked(self) -> dict[str, Any]:
        """Who joined is offered one, waits or left; first come first; books and Redis agree."""
        found = await check(self.bench, limited=False)
        states = await self.states()
        c = schema.waitlist.c
        places = select(c.state, func.min(c.place), func.max(c.place)).group_by(c.state)
        async with self.books.connect() as connection:
            rows = {row[0]: row[1:] for row in (await connection.execute(places)).all()}
        waiting = self.joined - self.offered - self.left
        in_order = rows["offered"][1] < rows["waiting"][0]
        expected = {"offered": self.offered, "waiting": waiting, "left": self.left}
        found |= {"joined": self.joined, "states": states, "first_come_first": in_order}
        found["holds"] = found["holds"] and states == expected and in_order
        return found


async def until(done: Callable[[], Awaitable[bool]]) -> None:
    """Look until it is so."""
    async with asyncio.timeout(PATIENCE):
        while True:
            if await done():
                return
            await asyncio.sleep(LOOK_SECONDS)


async def rounds(hall: Hall, acts: int, number: int) -> dict[str, dict[str, float]]:
    """Each act's cheapest round, claims in turn with each."""
    costs: dict[str, list[Cost]] = {}
    for _ in range(number):
        for act in ACTS:
            costs.setdefault("claim", []).append(await hall.claim(acts))
            work = {"join": hall.join, "ask": hall.ask, "move on": hall.move}[act]
            costs.setdefault(act, []).append(await work(acts))
    least = {act: min(found, key=lambda cost: cost.total) for act, found in costs.items()}
    return {
        act: {**msgspec.to_builtins(cost), "total": cost.total, "of_claim": cost.total / claim}
        for claim in (least["claim"].total,)
        for act, cost in least.items()
    }


async def measure(
    directory: Path, *, people: int, short: int, acts: int, number: int
) -> dict[str, Any]:
    """All figures over HTTP: in a line of ``short`` people, then in one of ``people``."""
    report: dict[str, Any] = {"connections": CONNECTIONS, "acts": acts, "rounds": number}
    async with started(directory) as bench:
        books = open_books(bench.server.database_url, pool_size=1)
        hall = Hall(bench, books)
        await hall.prepare()
        await hall.claim(min(acts, 2000))
        for line, length in (("short", short), ("long", people)):
            await hall.join(max(1, length - (hall.joined - hall.offered - hall.left)))
            report[line] = await rounds(hall, acts, number)
            await hall.leave(LEAVE)
            report[line + "_people"] = hall.joined - hall.offered - hall.left
        report["check"] = await hall.checked()
        await books.close()
    return report


def show(report: dict[str, Any]) -> None:
    """The table."""
    head = ("API", "Redis", "writer", "all", "claims", "p50", "p99")
    print("\nOver HTTP: us of CPU an act\n" + " " * 15 + "".join(f"{name:>10}" for name in head))
    for line in ("short", "long"):
        for act, told in report[line].items():
            figures = (told[name] for name in ("api", "redis", "writer", "total"))
            print(
                f"{line:6}{act:9}" + "".join(f"{figure:10.1f}" for figure in figures)
                + f"{told['of_claim']:10.2f}{told['p50']:10.0f}{told['p99']:10.0f}"
            )  # fmt: skip
    print(f"check: {report['check']}")
