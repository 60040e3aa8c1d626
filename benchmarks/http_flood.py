"""Five times as many claims as the engine can do: who is admitted, who is told to come back.

``python -m benchmarks.http_flood [--seconds S] [--offered N]``: `hexiao serve` with an engine
that is held to 1,000 acts a second (``HEXIAO_TEST_ACTS_PER_SECOND``). First an open loop of 70 %
of that, then one of five times as much, with a till that redeems all the while. Prints the
admitted claims' p50 and p99 in both, those of the answers 503, and the till's. The run checks
itself: only 201 and 503, whatever was acknowledged is in the books, live state equals them. Exit
code 1 where not; figures never fail it.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
from pathlib import Path
from time import perf_counter
from typing import Any

import msgspec

from api.loops import run
from benchmarks.common import machine, write_report
from benchmarks.http_claims import UNLIMITED, Bench, Part, check, started
from benchmarks.http_load import quantile

ACTS = 1000  # a second
CALM = 0.7  # of that, offered first
TILL_SECONDS = 0.05  # between the sales of the till
WARM_UP = 2.0


class Round(msgspec.Struct):
    """One open loop. Times in milliseconds."""

    offered: float
    admitted: int
    turned_away: int
    p50: float
    p99: float
    away_p50: float
    away_p99: float
    till_sales: int
    till_p50: float
    till_p99: float


async def coupons_of(bench: Bench, number: int) -> list[str]:
    """Coupons for the till to redeem."""
    made = []
    for n in range(number):
        body = {"campaign_id": UNLIMITED, "user_id": f"till:{n}", "channel": "app"}
        answer = await bench.api.post("/v1/claims", body)
        assert answer.status == 201, answer.json
        made.append(answer.json["id"])
    bench.acknowledged += number
    return made


async def till(bench: Bench, coupons: list[str], times: list[float]) -> None:
    """Redeem one after the other until cancelled; each must succeed."""
    basket = {"amount": 10_000, "lines": [{"id": "1", "amount": 10_000}]}
    while True:
        body = {
            "coupons": [{"id": coupons.pop()}],
            "store_id": "s1",
            "channel": "cashier",
            "basket": basket,
        }
        begun = perf_counter()
        answer = await bench.api.post("/v1/redemptions", body)
        times.append((perf_counter() - begun) * 1e3)
        assert answer.status == 201, answer.json
        await asyncio.sleep(TILL_SECONDS)


async def flood(bench: Bench, coupons: list[str], rate: float, seconds: float) -> Round:
    """One open loop of claims, with the till beside it."""
    times: list[float] = []
    cashier = asyncio.create_task(till(bench, coupons, times))
    result = await bench.loader.run(
        port=int(bench.server.url.rpartition(":")[2]),
        key=bench.storefront,
        campaign=UNLIMITED,
        warm_up=WARM_UP,
        **Part(512, seconds, rate)._asdict(),
    )
    if cashier.done():
        cashier.result()
    cashier.cancel()
    await asyncio.wait([cashier])
    assert result.statuses.keys() <= {"201", "503"}, result.statuses
    assert result.coupons == result.statuses["201"]
    bench.acknowledged += result.coupons
    times.sort()
    return Round(
        offered=rate,
        admitted=result.statuses["201"],
        turned_away=result.statuses.get("503", 0),
        p50=result.p50_of["201"] * 1e3,
        p99=result.p99_of["201"] * 1e3,
        away_p50=result.p50_of.get("503", 0) * 1e3,
        away_p99=result.p99_of.get("503", 0) * 1e3,
        till_sales=len(times),
        till_p50=quantile(times, 0.5),
        till_p99=quantile(times, 0.99),
    )


async def measure(arguments: argparse.Namespace) -> bool:
    """The whole run; whether its own check held."""
    with tempfile.TemporaryDirectory() as directory:
        async with started(Path(directory), HEXIAO_TEST_ACTS_PER_SECOND=str(ACTS)) as bench:
            await bench.api.put("/v1/merchants/m1", {"name": "m1"})
            await bench.api.put("/v1/stores/s1", {"name": "s1", "merchant_id": "m1"})
            sales = int(2 * (arguments.seconds + 2 * WARM_UP) / TILL_SECONDS)
            coupons = await coupons_of(bench, sales)
            rounds = [
                await flood(bench, coupons, rate, arguments.seconds)
                for rate in (CALM * ACTS, arguments.offered)
            ]
            checked = await check(bench, limited=False)
            ready = (await bench.api.get("/readyz")).json
    report: dict[str, Any] = {
        "machine": machine(),
        "server": ready["versions"],
        "acts_per_second": ACTS,
        "admitted_p99_ratio": rounds[1].p99 / rounds[0].p99,
        "check": checked,
        "rounds": msgspec.to_builtins(rounds),
    }
    show(rounds, report)
    write_report(arguments.json, report)
    return bool(checked["holds"])


def show(rounds: list[Round], report: dict[str, Any]) -> None:
    """The table."""
    print(f"an engine of {ACTS} acts a second; ms")
    names = Round.__struct_fields__
    print("".join(f"{name:>13}" for name in names))
    for one in rounds:
        print("".join(f"{getattr(one, name):13.1f}" for name in names))
    print(f"p99 of the admitted, flood / calm: {report['admitted_p99_ratio']:.2f}")
    print(f"check: {report['check']}")


def main() -> int:
    """Exit code 1 where something was lost or answered otherwise; figures never fail it."""
    parser = argparse.ArgumentParser(description="More claims than the engine can do.")
    parser.add_argument("--seconds", type=float, default=8.0, help="of each loop")
    parser.add_argument("--offered", type=float, default=5.0 * ACTS, help="claims a second")
    parser.add_argument("--json", type=Path, default=Path("reports/bench-http-flood.json"))
    return 0 if run(measure(parser.parse_args())) else 1


if __name__ == "__main__":
    sys.exit(main())
