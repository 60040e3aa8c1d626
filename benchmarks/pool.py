"""A pool of third-party codes: how fast it loads, and what its claims cost beside plain ones.

``python -m benchmarks.pool [--codes N] [--rounds N] [--json PATH]`` starts ``hexiao serve``
(appendfsync always, SQLite books), sends a CSV file of a million codes as one upload and looks at
the peak memory of the API process; then the load generator claims of a plain campaign and of the
one with the pool by turns. The aims: loaded within two minutes, memory bounded, claims ± 30 %.
A figure never fails the run; a code given twice, or live state unlike the books, does.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import aiohttp

from api.loops import run
from benchmarks.common import machine, write_report
from benchmarks.http_claims import UNLIMITED, Bench, started
from engine.books import pools
from engine.books.db import open_books
from engine.reconcile import reconcile

POOLED = "pooled"


def _memory(pid: int, name: str) -> float:
    """MiB of a process, by a line of /proc/PID/status."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    (line,) = [line for line in lines if line.startswith(name + ":")]
    return int(line.split()[1]) / 1024


async def load(bench: Bench, codes: int) -> dict[str, Any]:
    """One upload of so many codes."""
    body = {
        "id": POOLED, "name": "Film", "kind": "coupon",
        "benefit": {"type": "amount_off", "amount": 2000},
        "stock": {"total": None, "pool": True}, "issue": {"per_user": 2, "per_user_per_day": 1},
        "validity": {"type": "relative", "minutes": 10080},
    }  # fmt: skip
    made = await bench.api.post("/v1/campaigns", body)
    assert made.status == 201, made.json
    file = "".join(f"FILM-{n * 2654435761 % 2**32:08X}-{n:07}\n" for n in range(codes)).encode()
    pid = bench.pids["api"]
    before, cpu = _memory(pid, "VmRSS"), bench._cpu()
    began = time.monotonic()
    headers = {
        "Authorization": f"Bearer {bench.server.operator_key}",
        "Content-Type": "text/csv", "Idempotency-Key": "bench",
    }  # fmt: skip
    patience = aiohttp.ClientTimeout(total=600)
    async with (
        aiohttp.ClientSession(timeout=patience) as session,
        session.post(
            f"{bench.server.url}/v1/campaigns/{POOLED}/pool", data=file, headers=headers
        ) as answer,
    ):
        told = await answer.json()
    assert told["accepted"] == codes, told
    seconds = time.monotonic() - began
    return {
        "codes": codes, "mib": round(len(file) / 2**20, 1), "seconds": round(seconds, 1),
        "codes_per_second": round(codes / seconds),
        "cpu_seconds": {k: round(v - cpu[k], 1) for k, v in bench._cpu().items()},
        "rss_before_mib": round(before, 1), "rss_peak_mib": round(_memory(pid, "VmHWM"), 1),
    }  # fmt: skip


async def claims(bench: Bench, campaign: str, seconds: float) -> dict[str, float]:
    """A round of claims of one campaign."""
    await bench.drained()
    before, counted = bench._cpu(), await bench._counters()
    result = await bench.loader.run(
        port=int(bench.server.url.rpartition(":")[2]), key=bench.storefront, campaign=campaign,
        connections=64, seconds=seconds,
    )  # fmt: skip
    assert result.statuses == {"201": result.requests}, result.statuses
    used = {name: cpu - before[name] for name, cpu in bench._cpu().items()}
    number, _, script = (
        now - then for now, then in zip(await bench._counters(), counted, strict=True)
    )
    found = {
        "per_second": result.measured / result.seconds,
        "p99_ms": result.p99 * 1e3,
        "api_us": used["api"] / result.requests * 1e6,
        "redis_us": used["redis"] / result.requests * 1e6,
        "script_us": script / number,
    }
    print(f"  {campaign:10}{found['per_second']:8.0f}/s", flush=True)
    return found


async def measure(arguments: argparse.Namespace) -> bool:
    """The whole run; whether its own check held."""
    with tempfile.TemporaryDirectory() as name:
        async with started(Path(name)) as bench:
            loaded = await load(bench, arguments.codes)
            print(f"  {loaded}", flush=True)
            rounds: dict[str, list[dict[str, float]]] = {UNLIMITED: [], POOLED: []}
            for _ in range(arguments.rounds):
                for campaign, done in rounds.items():
                    done.append(await claims(bench, campaign, arguments.seconds))
            await bench.drained()
            books = open_books(bench.server.database_url)
            report = await reconcile(books, bench.redis, bench.server.tenant)
            counted = await pools.counts(books, bench.server.tenant, POOLED)
            await books.close()
            ready = (await bench.api.get("/readyz")).json
    medians = {
        campaign: {key: round(statistics.median(one[key] for one in done), 2) for key in done[0]}
        for campaign, done in rounds.items()
    }
    plain, pooled = medians[UNLIMITED], medians[POOLED]
    figures = {
        "load": loaded,
        "plain": plain,
        "pool": pooled,
        "pool_to_plain": {key: round(pooled[key] / plain[key], 2) for key in plain},
        "codes": {"loaded": counted[0], "given": counted[1]},
        "differences": len(report.differences),
    }
    for key, value in figures.items():
        print(f"{key:14} {value}")
    write_report(
        arguments.json,
        {"machine": machine(), "server": ready["versions"], "durability": ready["durability"],
         "books": "sqlite", **figures},
    )  # fmt: skip
    return not report.differences


def main() -> int:
    """Exit code 1 where live state is not what the books say."""
    parser = argparse.ArgumentParser(description="A pool of codes: load, and claims from it.")
    parser.add_argument("--codes", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=4.0, help="of a round")
    parser.add_argument("--json", type=Path, default=Path("reports/bench-pool.json"))
    return 0 if run(measure(parser.parse_args())) else 1


if __name__ == "__main__":
    sys.exit(main())
