"""What a quote of the best offer costs the server, over HTTP: 20 coupons, 10 lines, one person.

``python -m benchmarks.quotes [--quotes N] [--json PATH]`` starts `hexiao serve` as anybody does,
asks for the same quote again and again and prints the CPU of the API process and of Redis a quote.
The aim is at most 5 ms; a figure never fails the run.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any

from api.loops import run
from benchmarks.common import child, cpu_seconds, machine, write_report
from engine.embedded import find_server
from tests.api.counter import Counter
from tests.api.server import Api, ApiServer

COUPONS = 20
WORDS = ["off 700 min_spend 3000", "percent 5", "percent 8 category dining", "off 450"]
LINES = [
    {"id": str(n), "category": ("dining", "fashion")[n % 2], "amount": 3217 + 211 * n}
    for n in range(10)
]


async def measure(server: ApiServer, quotes: int) -> dict[str, Any]:
    """CPU a quote in ms."""
    async with Api(server.url, server.operator_key) as api:
        counter = await Counter.open(server, api)
        for n in range(COUPONS):
            await counter.coupon(WORDS[n % len(WORDS)])
        asked = {"choose": "best", "user_id": counter.user(), "basket": {"lines": LINES}}
        reply = await counter.quote(**asked)
        assert len(reply.json["applied"]) + len(reply.json["skipped"]) == COUPONS, reply.json
        parent = server.process.pid
        pids = {"api": child(parent, "api.worker"), "redis": child(parent, "-server")}
        before = {name: cpu_seconds(pid) for name, pid in pids.items()}
        for _ in range(quotes):
            assert (await counter.quote(**asked)).status == 200
        spent = {
            f"{name}_ms": 1000 * (cpu_seconds(pid) - before[name]) / quotes
            for name, pid in pids.items()
        }
        return {"coupons": COUPONS, "quotes": quotes, "exact": reply.json["exact"], **spent}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quotes", type=int, default=500)
    parser.add_argument("--json", type=Path, default=Path("reports/bench-quotes.json"))
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        server = ApiServer(Path(directory), find_server()).start()
        try:
            found = run(measure(server, options.quotes))
        finally:
            server.stop()
    write_report(options.json, {"machine": machine(), **found})
    print(", ".join(f"{name}: {value}" for name, value in found.items()))


if __name__ == "__main__":
    main()
