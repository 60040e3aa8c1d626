"""The engine without HTTP against plain redis-py's one EVALSHA a claim, turn by turn in one run.

``python -m benchmarks.engine_claims [--seconds S] [--rounds N] [--json PATH]``: one process of
each, the same server, the same durability, uvloop, a Unix socket. Ours with 1, 32, 64 and 256
callers in flight, receipts, limits, counters and facts included; plain redis-py with one caller and
64, once with the same script and so the same promises, once with the script of tutorials, which
promises far less (benchmarks/peers/plain_redis.py). All with ``appendfsync always`` and
with ``everysec``. The aims: 64 in flight at least 8 times plain redis-py's 64 and at least 15
times its one at a time; 12 us of client CPU a claim at batch 32; 20,000 claims a second with
``always``. Every answer is checked against the counters, nothing is oversold, and live state
equals the books; exit code 1 where not. Figures never fail it.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
from pathlib import Path
from typing import Any, Literal

import msgspec

from api.loops import run
from benchmarks.common import machine, server_name, write_report
from benchmarks.contest import (
    Contest,
    Overselling,
    Score,
    as_json,
    finder,
    medians,
    show,
    show_overselling,
)
from benchmarks.ours import OneByOne, Ours, ours_on
from benchmarks.peers.plain_redis import OneCall
from engine.embedded import EmbeddedRedis

DURABILITIES: tuple[Literal["always", "everysec"], ...] = ("always", "everysec")
OURS = (1, 32, 64, 256)
PLAIN = (1, 64)


async def contest(arguments: argparse.Namespace) -> dict[str, Any]:
    """Everything, as the report says it."""
    contest, scores, sold = Contest(), list[Score](), list[Overselling]()
    for durability in DURABILITIES:
        with tempfile.TemporaryDirectory() as name:
            server = EmbeddedRedis(Path(name) / "redis", fsync=durability)
            await server.astart()
            try:
                async with ours_on(server, Path(name)) as ours:
                    plain = OneCall(server.url, server.pid)
                    for _ in range(arguments.rounds):
                        for number in OURS:
                            scores.append(
                                await contest.timed(ours, durability, number, arguments.seconds)
                            )
                        for number in PLAIN:
                            async with OneByOne.beside(ours) as alone:
                                scores.append(
                                    await contest.timed(
                                        alone, durability, number, arguments.seconds
                                    )
                                )
                            scores.append(
                                await contest.timed(plain, durability, number, arguments.seconds)
                            )
                    sold += [await contest.oversold(way, durability) for way in (ours, plain)]
                    info = await ours.client.info("server")
                    if durability == DURABILITIES[-1]:
                        await ours.reconciled()
                    await plain.client.aclose()
            finally:
                await asyncio.to_thread(server.stop)
    middle = medians(scores)
    find = finder(middle)
    return {
        "machine": machine(),
        "server": server_name(info),
        "medians": as_json(middle),
        "ratios": {
            f"{durability}, {plain_name}": {
                "to_64_in_flight": find(Ours.name, durability, 64).per_second
                / find(plain_name, durability, 64).per_second,
                "to_one_at_a_time": find(Ours.name, durability, 64).per_second
                / find(plain_name, durability, 1).per_second,
                "cpu_to_64_in_flight": find(plain_name, durability, 64).client_cpu
                / find(Ours.name, durability, 64).client_cpu,
            }
            for durability in DURABILITIES
            for plain_name in (OneByOne.name, OneCall.name)
        },
        "client_cpu_at_32": find(Ours.name, "always", 32).client_cpu,
        "most_per_second_always": max(
            one.per_second for one in middle if (one.name, one.durability) == (Ours.name, "always")
        ),
        "check": {
            "overselling": [msgspec.to_builtins(one) for one in sold],
            "holds": all(one.holds for one in sold),
            "reconcile": "clean",
        },
        "rounds": as_json(scores),
    }


def main() -> int:
    """Exit code 1 where a count was wrong."""
    parser = argparse.ArgumentParser(description="The engine against plain redis-py.")
    parser.add_argument("--seconds", type=float, default=2.0, help="of a round")
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--json", type=Path, default=Path("reports/bench-engine.json"))
    arguments = parser.parse_args()
    report = run(contest(arguments))
    show([msgspec.convert(one, Score) for one in report["medians"]])
    show_overselling([msgspec.convert(o, Overselling) for o in report["check"]["overselling"]])
    for durability, ratios in report["ratios"].items():
        told = ", ".join(f"{name} {ratio:.1f}" for name, ratio in ratios.items())
        print(f"{durability}: {told}")
    write_report(arguments.json, report)
    return 0 if report["check"]["holds"] else 1


if __name__ == "__main__":
    sys.exit(main())
