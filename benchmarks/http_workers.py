"""What a second API process gains, and what batching loses by it: claims over HTTP, turn by turn.

``python -m benchmarks.http_workers [--workers 1 2] [--seconds S] [--rounds N] [--connections N]``:
the server and the load of ``benchmarks.http_claims``, once for each number of processes
(``HEXIAO_WORKERS``), closed loop; the load comes from two generators at once, so that one is not
the limit. Printed: claims a second, CPU a claim of all API processes, of Redis, of the load,
claims a script call, and how evenly the kernel dealt out the connections. Batches are what two
processes share one cell's stream of claims by: each gathers its own.

On two CPUs the second process takes its CPU from Redis, the writer and the load itself: CPU a
claim is what carries over to other machines, the rate is not. Every claim that was acknowledged is
counted by /metrics over all processes, by the campaign and in the books, and live state equals
them; exit code 1 where not.
"""

from __future__ import annotations

import argparse
import asyncio
import re
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

import msgspec

from api.loops import run
from benchmarks.common import children, cpu_seconds, machine, write_report
from benchmarks.http_claims import UNLIMITED, Bench, Loader, check, started
from benchmarks.http_load import Result

LOADERS = 2
APART = 1 << 32  # between the numbers of two generators


class Round(msgspec.Struct):
    """One number of processes under load for a while. Times in microseconds, CPU a claim."""

    workers: int
    connections: int
    per_second: float
    p50: float
    p99: float
    p999: float
    cpu: float  # of all API processes
    redis_cpu: float
    load_cpu: float
    batch: float  # claims a script call
    script: float  # of EVALSHA a claim
    turned_away: float  # of all requests
    least_share: float  # of the API's CPU, the process that had least: 0.5 is even for two


class Crowd:
    """Load generators that start together."""

    def __init__(self, first: Loader) -> None:
        self.loaders = [first, *(Loader() for _ in range(LOADERS - 1))]
        for number, loader in enumerate(self.loaders):
            loader.next += number * APART

    async def run(self, connections: int, **plan: Any) -> list[Result]:
        """All of them, the connections shared out."""
        each = connections // LOADERS
        return await asyncio.gather(*(one.run(connections=each, **plan) for one in self.loaders))

    def stop(self) -> None:
        """Those that were started here."""
        for loader in self.loaders[1:]:
            loader.stop()


async def load(bench: Bench, crowd: Crowd, workers: int, connections: int, seconds: float) -> Round:
    """One round."""
    pids = children(bench.server.process.pid, "api.worker")
    assert len(pids) == workers, pids
    apis = [cpu_seconds(pid) for pid in pids]
    redis_cpu, counted = cpu_seconds(bench.pids["redis"]), await counters(bench)
    results = await crowd.run(
        connections, port=int(bench.server.url.rpartition(":")[2]), key=bench.storefront,
        campaign=UNLIMITED, seconds=seconds,
    )  # fmt: skip
    used = [cpu_seconds(pid) - before for pid, before in zip(pids, apis, strict=True)]
    redis_cpu = cpu_seconds(bench.pids["redis"]) - redis_cpu
    claims, calls, script = (
        now - then for now, then in zip(await counters(bench), counted, strict=True)
    )
    asked = sum(one.requests for one in results)
    given = sum(one.statuses["201"] for one in results)
    away = sum(one.statuses.get("503", 0) for one in results)  # a slow machine may call it a flood
    assert given + away == asked, [one.statuses for one in results]
    assert claims == given, f"/metrics counted {claims} claims, {given} were acknowledged"
    bench.acknowledged += given
    measured = sum(one.measured for one in results)
    return Round(
        workers=workers, connections=connections,
        per_second=sum(one.measured / one.seconds for one in results) * given / asked,
        p50=statistics.mean(one.p50_of["201"] for one in results) * 1e6,
        p99=max(one.p99_of["201"] for one in results) * 1e6,
        p999=max(one.p999 for one in results) * 1e6,
        cpu=sum(used) / asked * 1e6, redis_cpu=redis_cpu / asked * 1e6,
        load_cpu=sum(one.cpu for one in results) / measured * 1e6,
        batch=claims / calls, script=script / claims,
        turned_away=away / asked,
        least_share=min(used) / sum(used),
    )  # fmt: skip


async def counters(bench: Bench) -> tuple[int, int, int]:
    """(claims, script calls that carried them, microseconds in EVALSHA) so far."""
    page = (await bench.api.get("/metrics")).content.decode()
    claims, calls = (
        int(float(found[1])) if found else 0
        for name in ("sum", "count")
        for found in [re.search(rf'hexiao_batch_size_{name}{{verb="claim"}} (\S+)', page)]
    )
    stats = await bench.redis.info("commandstats")
    return claims, calls, int(stats.get("cmdstat_evalsha", {}).get("usec", 0))


async def measure(arguments: argparse.Namespace) -> bool:
    """The whole run; whether its own checks held."""
    rounds: list[Round] = []
    checks = []
    for workers in arguments.workers:
        with tempfile.TemporaryDirectory() as directory:
            async with started(Path(directory), HEXIAO_WORKERS=str(workers)) as bench:
                crowd = Crowd(bench.loader)
                try:
                    for _ in range(arguments.rounds):
                        for connections in arguments.connections:
                            one = await load(bench, crowd, workers, connections, arguments.seconds)
                            show(one)
                            rounds.append(one)
                            await bench.drained()
                finally:
                    crowd.stop()
                checks.append(await check(bench, limited=False))
                ready = (await bench.api.get("/readyz")).json
    middle = [
        median([one for one in rounds if (one.workers, one.connections) == (workers, connections)])
        for connections in arguments.connections
        for workers in arguments.workers
    ]
    print("\nmedians")
    for one in middle:
        show(one)
    report = {
        "machine": machine(), "server": ready["versions"], "durability": ready["durability"],
        "books": "sqlite", "medians": msgspec.to_builtins(middle), "checks": checks,
        "rounds": msgspec.to_builtins(rounds),
    }  # fmt: skip
    write_report(arguments.json, report)
    return all(one["holds"] for one in checks)


def median(own: list[Round]) -> Round:
    """The median of each figure."""
    names = [name for name in Round.__struct_fields__ if name not in ("workers", "connections")]
    middle = {name: statistics.median(getattr(one, name) for one in own) for name in names}
    return msgspec.structs.replace(own[0], **middle)


def show(one: Round) -> None:
    """One line."""
    print(
        f"  {one.workers} processes, {one.connections:4} connections:{one.per_second:8.0f}/s"
        f"  p50 {one.p50:.0f}  p99 {one.p99:.0f}  CPU {one.cpu:.1f}  Redis {one.redis_cpu:.1f}"
        f"  script {one.script:.1f}  batch {one.batch:.1f}"
        f"  503 {one.turned_away:.0%}  least share {one.least_share:.2f}",
        flush=True,
    )


def main() -> int:
    """Exit code 1 where what was acknowledged is not what was given out and kept."""
    parser = argparse.ArgumentParser(description="One API process against several.")
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--seconds", type=float, default=4.0, help="of a round")
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--connections", type=int, nargs="+", default=[64, 512])
    parser.add_argument("--json", type=Path, default=Path("reports/bench-workers.json"))
    return 0 if run(measure(parser.parse_args())) else 1


if __name__ == "__main__":
    sys.exit(main())
