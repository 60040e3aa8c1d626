"""One way to claim against another: the same callers, turn by turn in one run.

A ``Claimer`` is a campaign somewhere that people claim from. ``timed`` lets so many callers claim
as fast as they are answered, each a person of their own; ``oversold`` offers a small campaign to
more people than it has. CPU is counted on both sides, so that ways that load the client and ways
that load the server compare.
"""

from __future__ import annotations

import asyncio
import itertools
import statistics
from collections.abc import Callable, Iterable
from time import perf_counter
from typing import Any, Protocol

import msgspec

from benchmarks.common import own_cpu_seconds, tree_cpu_seconds
from benchmarks.http_load import quantile

WARM_UP_SECONDS = 0.3
FEW = 400  # coupons of the small campaign
MANY = 600  # people who want one
UNLIMITED = 1_000_000_000


class Claimer(Protocol):
    """A way to give out coupons."""

    name: str
    server: int  # process whose tree is the server side

    async def open(self, campaign: str, stock: int) -> None:
        """Make a campaign of so many, nothing given out yet."""

    async def claim(self, campaign: str, person: int) -> bool:
        """Whether this person was given one."""

    async def given(self, campaign: str) -> int:
        """How many the records say were given out."""

    async def script(self) -> tuple[int, int]:
        """(microseconds, calls) of scripts on a Redis so far; (0, 0) where there is none."""


class Score(msgspec.Struct):
    """One way, under so many callers for a while. Times in microseconds."""

    name: str
    durability: str
    in_flight: int
    claims: int
    per_second: float
    per_core: float  # claims a second of CPU time, client's and server's together
    p50: float
    p99: float
    p999: float
    client_cpu: float  # a claim
    server_cpu: float  # a claim
    script: float  # EVALSHA a claim, by commandstats
    batch: float  # claims a script call


class Overselling(msgspec.Struct):
    """More people than coupons, all at once."""

    name: str
    durability: str
    limit: int
    accepted: int
    recorded: int
    wanted: int

    @property
    def holds(self) -> bool:
        """Never more than there are, and what was said is what is recorded."""
        return self.accepted == self.recorded <= self.limit


class Contest:
    """Numbers people, so that nobody claims twice in one run."""

    def __init__(self) -> None:
        self._people = itertools.count(1)
        self._campaigns = itertools.count(1)

    async def timed(self, way: Claimer, durability: str, in_flight: int, seconds: float) -> Score:
        """Closed loop: each caller claims again as soon as they are answered."""
        campaign = f"flash-{next(self._campaigns)}"
        await way.open(campaign, UNLIMITED)
        times: list[float] = []
        refused = 0
        sending = True

        async def caller() -> None:
            nonlocal refused
            while sending:
                begun = perf_counter()
                given = await way.claim(campaign, next(self._people))
                times.append(perf_counter() - begun)
                refused += not given

        callers = [asyncio.create_task(caller()) for _ in range(in_flight)]
        await asyncio.sleep(WARM_UP_SECONDS)
        warm = len(times)
        begun, client, server = perf_counter(), own_cpu_seconds(), tree_cpu_seconds(way.server)
        spent, calls = await way.script()
        await asyncio.sleep(seconds)
        claims = len(times) - warm
        took, client = perf_counter() - begun, own_cpu_seconds() - client
        server = tree_cpu_seconds(way.server) - server
        spent_then, calls_then = await way.script()
        sending = False
        await asyncio.gather(*callers)
        measured = sorted(times[warm : warm + claims])
        if refused or await way.given(campaign) != len(times):
            raise SystemExit(f"{way.name}: {refused} refused; answered {len(times)}, not recorded")
        return Score(
            name=way.name, durability=durability, in_flight=in_flight, claims=claims,
            per_second=claims / took, per_core=claims / (client + server),
            p50=quantile(measured, 0.5) * 1e6, p99=quantile(measured, 0.99) * 1e6,
            p999=quantile(measured, 0.999) * 1e6,
            client_cpu=client / claims * 1e6, server_cpu=server / claims * 1e6,
            script=(spent_then - spent) / claims,
            batch=claims / (calls_then - calls) if calls_then > calls else 0.0,
        )  # fmt: skip

    async def oversold(self, way: Claimer, durability: str) -> Overselling:
        """All of MANY want one of FEW, 64 at a time."""
        campaign = f"few-{next(self._campaigns)}"
        await way.open(campaign, FEW)
        gate = asyncio.Semaphore(64)

        async def one(person: int) -> bool:
            async with gate:
                return await way.claim(campaign, person)

        answers = await asyncio.gather(*(one(next(self._people)) for _ in range(MANY)))
        return Overselling(way.name, durability, FEW, sum(answers), await way.given(campaign), MANY)


def medians(scores: Iterable[Score]) -> list[Score]:
    """One score a way, durability and number of callers: the (low) median of each figure."""
    groups: dict[tuple[str, str, int], list[Score]] = {}
    for one in scores:
        groups.setdefault((one.name, one.durability, one.in_flight), []).append(one)
    figures = [name for name in Score.__struct_fields__ if name not in ("name", "durability")]
    return [
        msgspec.structs.replace(
            own[0],
            **{name: statistics.median_low(getattr(o, name) for o in own) for name in figures},
        )
        for own in groups.values()
    ]


def finder(scores: list[Score]) -> Callable[[str, str, int], Score]:
    """``find(name, durability, in_flight)`` among the medians."""
    known = {(one.name, one.durability, one.in_flight): one for one in scores}
    return lambda *which: known[which]


def show(scores: list[Score]) -> None:
    """The table."""
    print(f"\n{'':46}{'claims/s':>10}{'a core':>9}{'p50':>9}{'p99':>9}{'client':>9}{'server':>9}"
          f"{'script':>8}{'batch':>7}")  # fmt: skip
    for one in scores:
        head = f"{one.name}, {one.durability}, {one.in_flight} in flight"
        print(
            f"{head:46}{one.per_second:10.0f}{one.per_core:9.0f}{one.p50:9.0f}{one.p99:9.0f}"
            f"{one.client_cpu:9.1f}{one.server_cpu:9.1f}{one.script:8.1f}{one.batch:7.1f}"
        )


def show_overselling(found: list[Overselling]) -> None:
    """Who kept the limit."""
    for one in found:
        said = "holds" if one.holds else "BROKEN"
        print(
            f"{one.name}, {one.durability}: {one.wanted} want one of {one.limit}:"
            f" {one.accepted} accepted, {one.recorded} recorded: {said}"
        )


def as_json(scores: list[Score]) -> list[dict[str, Any]]:
    """For a report."""
    return [msgspec.to_builtins(one) for one in scores]
