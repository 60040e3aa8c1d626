"""Claims over HTTP against a bare aiohttp handler: same loop, same load, turn by turn in one run.

``python -m benchmarks.http_claims [--seconds S] [--rounds N] [--connections N ...] [--json PATH]``
starts both servers, loads them in turn, prints medians and writes every round as JSON: each in a
closed loop, as fast as it can, then both in an open loop at 0.7 of what ours just did, which is
where CPU and waiting compare: a process that is not busy runs on cold caches. Ours is
`hexiao serve` as anybody starts it: one API process, `appendfsync always`, the writer running,
books in SQLite; distinct people, a new Idempotency-Key each. Before each round of the bare server
the books have caught up, so that it has the machine to itself as well.

The run checks itself: every claim that was acknowledged is in the campaign's counter and in the
books, a campaign of limited stock gives out exactly that, and live state equals the books
(reconcile). Exit code 1 where that does not hold; figures never fail it.
"""

from __future__ import annotations

import argparse
import asyncio
import re
import statistics
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import redis.asyncio
from sqlalchemy import func, select

from api.loops import run
from benchmarks.common import child, cpu_seconds, machine, write_report
from benchmarks.http_load import Plan, Result
from engine.books import schema
from engine.books.db import open_books
from engine.embedded import find_server
from engine.reconcile import reconcile
from tests.api.server import Api, ApiServer

UNLIMITED, LIMITED = "flash", "few"
STOCK = 3000  # of the limited campaign
WANTED = 3 * STOCK
DRAIN_SECONDS = 600.0
STEADY = 0.7  # of our closed loop's requests a second, offered in the open loop


class Round(msgspec.Struct):
    """One server under load for a while. Times in microseconds, CPU of the server a request."""

    server: str
    connections: int
    rate: float  # requests a second offered; 0 = closed loop
    per_second: float
    p50: float
    p99: float
    p999: float
    cpu: float
    load_cpu: float  # of the load generator a request
    redis_cpu: float = 0.0  # of the Redis server a claim, kernel and fsync included
    writer_cpu: float = 0.0  # of the writer in the time of a claim; it may lag behind
    batch: float = 0.0  # claims a script call
    script: float = 0.0  # of EVALSHA a claim, by commandstats


class Part(NamedTuple):
    """How a server is loaded in one round."""

    connections: int
    seconds: float
    rate: float = 0.0


class Loader:
    """The load generator's process."""

    def __init__(self) -> None:
        self.next = 1  # number of the next request: no user and no key twice
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.http_load"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )

    async def run(self, **plan: Any) -> Result:
        """One run of it. With a ``first`` of its own the caller counts."""
        counted = "first" not in plan
        plan.setdefault("first", self.next)
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(msgspec.json.encode(Plan(**plan)) + b"\n")
        self._process.stdin.flush()
        line = await asyncio.to_thread(self._process.stdout.readline)
        result = msgspec.json.decode(line, type=Result)
        if counted:
            self.next += result.requests
        return result

    def stop(self) -> None:
        """End it."""
        self._process.communicate()


class Bench:
    """Both servers, the load and what has been acknowledged so far."""

    def __init__(self, server: ApiServer, api: Api, client: Any, loader: Loader, key: str) -> None:
        self.server = server
        self.api = api
        self.redis = client
        self.loader = loader
        self.acknowledged = 0
        self.rounds: list[Round] = []
        self.pids = {
            name: child(server.process.pid, word)
            for name, word in (
                ("api", "api.worker"),
                ("writer", "api.cli\0writer"),
                ("redis", "-server"),
            )
        }
        self.storefront = key

    async def bare(self, part: Part, pid: int, port: int) -> Round:
        """A round of the bare server."""
        await self.drained()
        cpu = cpu_seconds(pid)
        result = await self.loader.run(port=port, key="none", campaign=UNLIMITED, **part._asdict())
        return self._take("bare", part, result, cpu=cpu_seconds(pid) - cpu)

    async def ours(self, part: Part) -> Round:
        """A round of ours."""
        before, counted = self._cpu(), await self._counters()
        result = await self.loader.run(
            port=int(self.server.url.rpartition(":")[2]),
            key=self.storefront,
            campaign=UNLIMITED,
            **part._asdict(),
        )
        used = {name: cpu - before[name] for name, cpu in self._cpu().items()}
        claims, calls, script = (
            now - then for now, then in zip(await self._counters(), counted, strict=True)
        )
        assert result.statuses == {"201": result.requests}, result.statuses
        assert result.coupons == result.requests == claims
        self.acknowledged += claims
        return self._take(
            "ours",
            part,
            result,
            cpu=used["api"],
            redis_cpu=used["redis"] / claims * 1e6,
            writer_cpu=used["writer"] / claims * 1e6,
            batch=claims / calls,
            script=script / claims,
        )

    async def few(self) -> dict[str, int]:
        """More people than coupons: how many of each answer."""
        result = await self.loader.run(
            port=int(self.server.url.rpartition(":")[2]),
            key=self.storefront,
            campaign=LIMITED,
            connections=64,
            seconds=60.0,
            most=WANTED,
        )
        assert result.coupons == result.statuses["201"] == STOCK, result.statuses
        assert result.statuses == {"201": STOCK, "409": WANTED - STOCK}, result.statuses
        return result.statuses

    async def drained(self) -> None:
        """Wait until the books have all facts."""
        async with asyncio.timeout(DRAIN_SECONDS):
            while True:
                lags = (await self.api.get("/readyz")).json["writer_lag"]
                if not any(lag["facts"] for lag in lags):
                    return
                await asyncio.sleep(0.5)

    def _cpu(self) -> dict[str, float]:
        return {name: cpu_seconds(pid) for name, pid in self.pids.items()}

    async def _counters(self) -> tuple[int, int, int]:
        """(claims, script calls that carried them, microseconds in EVALSHA) so far."""
        page = (await self.api.get("/metrics")).content.decode()
        claims, calls = (
            int(float(found[1])) if found else 0
            for name in ("sum", "count")
            for found in [re.search(rf'hexiao_batch_size_{name}{{verb="claim"}} (\S+)', page)]
        )
        stats = await self.redis.info("commandstats")
        return claims, calls, int(stats.get("cmdstat_evalsha", {}).get("usec", 0))

    def _take(self, server: str, part: Part, result: Result, *, cpu: float, **more: float) -> Round:
        one = Round(
            server=server,
            connections=part.connections,
            rate=part.rate,
            per_second=result.measured / result.seconds,
            p50=result.p50 * 1e6,
            p99=result.p99 * 1e6,
            p999=result.p999 * 1e6,
            cpu=cpu / result.requests * 1e6,
            load_cpu=result.cpu / max(1, result.measured) * 1e6,
            **more,
        )
        self.rounds.append(one)
        kind = "closed loop" if part.rate == 0 else "open loop"
        print(
            f"  {server:5}{part.connections:5} connections, {kind:12}{one.per_second:9.0f}/s",
            flush=True,
        )
        return one


async def check(
    bench: Bench, *, unlimited: bool = True, limited: bool = True
) -> dict[str, Any]:
    """Acknowledged = issued = in the books, for each campaign; live state equals the books."""
    await bench.drained()
    await asyncio.sleep(1.1)  # a campaign's counters are up to a second old
    expected = {}
    if limited:
        expected[LIMITED] = STOCK
    if unlimited:
        expected[UNLIMITED] = bench.acknowledged
    issued = {}
    for campaign in expected:
        read = await bench.api.get(f"/v1/campaigns/{campaign}")
        issued[campaign] = read.json["live"]["issued"]
    books = open_books(bench.server.database_url)
    coupons = schema.coupons
    query = select(coupons.c.campaign_id, func.count()).group_by(coupons.c.campaign_id)
    async with books.connect() as connection:
        kept = {row[0]: row[1] for row in (await connection.execute(query)).all()}
    report = await reconcile(books, bench.redis, bench.server.tenant)
    await books.close()
    return {
        "acknowledged": expected,
        "issued": issued,
        "in_the_books": kept,
        "differences": len(report.differences),
        "holds": expected == issued == kept and not report.differences,
    }


@contextmanager
def bare_server() -> Iterator[tuple[int, int]]:
    """(pid, port) of a bare server."""
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.bare"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    try:
        yield process.pid, int(process.stdout.readline())
    finally:
        process.communicate()


@asynccontextmanager
async def started(directory: Path, **environment: str) -> AsyncIterator[Bench]:
    """A fresh mall with an unlimited and a limited campaign, and the load generator."""
    server = ApiServer(directory, find_server(), HEXIAO_APPENDFSYNC="always", **environment).start()
    loader = Loader()
    try:
        async with (
            Api(server.url, server.operator_key) as api,
            redis.asyncio.Redis.from_url(server.redis_url) as client,
        ):
            for campaign, total in ((UNLIMITED, None), (LIMITED, STOCK)):
                body = {
                    "id": campaign,
                    "name": {"en": "20 off 100"},
                    "kind": "coupon",
                    "benefit": {"type": "amount_off", "amount": 2000},
                    "stock": {"total": total},
                    "issue": {"per_user": 2, "per_user_per_day": 1},
                    "validity": {"type": "relative", "minutes": 10080},
                }
                answer = await api.post("/v1/campaigns", body)
                assert answer.status == 201, answer.json
            key = server.key("storefront")
            known = await api.get("/v1/nothing", key=key)
            assert known.status == 404, known.json
            yield Bench(server, api, client, loader, key)
    finally:
        loader.stop()
        server.stop()


async def measure(arguments: argparse.Namespace) -> bool:
    """The whole run; whether its own check held."""
    with tempfile.TemporaryDirectory() as directory, bare_server() as (pid, port):
        async with started(Path(directory)) as bench:
            for _ in range(arguments.rounds):
                for connections in arguments.connections:
                    part = Part(connections, arguments.seconds)
                    await bench.bare(part, pid, port)
                    peak = await bench.ours(part)
                    part = part._replace(rate=STEADY * peak.per_second)
                    await bench.bare(part, pid, port)
                    await bench.ours(part)
            few = await bench.few()
            checked = await check(bench)
            ready = (await bench.api.get("/readyz")).json
    report = {
        "machine": machine(),
        "server": ready["versions"],
        "durability": ready["durability"],
        "books": "sqlite",
        "medians": [
            medians(bench.rounds, connections, closed)
            for connections in arguments.connections
            for closed in (True, False)
        ],
        "limited": few,
        "check": checked,
        "rounds": msgspec.to_builtins(bench.rounds),
    }
    show(report)
    write_report(arguments.json, report)
    return bool(checked["holds"])


def medians(rounds: list[Round], connections: int, closed: bool) -> dict[str, Any]:
    """Each figure's median over the rounds of one kind, and ours against the bare server's."""
    found: dict[str, Any] = {"connections": connections, "loop": "closed" if closed else "open"}
    names = [name for name in Round.__struct_fields__ if name not in ("server", "connections")]
    for server in ("bare", "ours"):
        own = [
            one
            for one in rounds
            if (one.server, one.connections, one.rate == 0) == (server, connections, closed)
        ]
        found[server] = {
            name: statistics.median(getattr(one, name) for one in own) for name in names
        }
    bare, ours = found["bare"], found["ours"]
    found["per_second_ratio"] = ours["per_second"] / bare["per_second"]
    found["cpu_ratio"] = bare["cpu"] / ours["cpu"]
    found["p99_ratio"] = ours["p99"] / bare["p99"]
    return found


def show(report: dict[str, Any]) -> None:
    """The table."""
    print(f"\n{report['server']['redis']}, {report['durability']}, books in SQLite; us a request")
    head = ("requests/s", "p50", "p99", "p99.9", "CPU", "load", "Redis", "script", "writer")
    print(f"{'':20}" + "".join(f"{name:>11}" for name in head) + f"{'batch':>8}")
    names = ("per_second", "p50", "p99", "p999", "cpu", "load_cpu", "redis_cpu", "script")
    for one in report["medians"]:
        for server in ("bare", "ours"):
            row = one[server]
            figures = "".join(f"{row[name]:11.0f}" for name in (*names, "writer_cpu"))
            print(f"{server:6}{one['connections']:5} {one['loop']:8}{figures}{row['batch']:8.1f}")
        print(
            f"{'':20}ours / bare: requests/s {one['per_second_ratio']:.2f},"
            f" by CPU {one['cpu_ratio']:.2f}, p99 {one['p99_ratio']:.1f}"
        )
    print(f"check: {report['check']}")


def main() -> int:
    """Exit code 1 where what was acknowledged is not what was given out and kept."""
    parser = argparse.ArgumentParser(description="Claims over HTTP against a bare handler.")
    parser.add_argument("--seconds", type=float, default=4.0, help="of a round")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--connections", type=int, nargs="+", default=[64, 512])
    parser.add_argument("--json", type=Path, default=Path("reports/bench-http-claims.json"))
    return 0 if run(measure(parser.parse_args())) else 1


if __name__ == "__main__":
    sys.exit(main())
