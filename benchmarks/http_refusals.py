"""Refusals of a sold-out campaign over HTTP against a bare aiohttp handler, turn by turn.

``python -m benchmarks.http_refusals [--seconds S] [--rounds N] [--connections N ...]``. The same
two servers and the same load as ``benchmarks.http_claims``: distinct people, a new key each; every
coupon is gone before the first round. Prints medians and how many script calls a refusal cost, and
writes every round as JSON. The run checks itself: every answer is a 409, nothing is given out,
each winner's key still gets its coupon, live state equals the books. Exit code 1 where not.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

import msgspec

from api.loops import run
from benchmarks.common import cpu_seconds, machine, write_report
from benchmarks.http_claims import LIMITED, STOCK, Bench, Part, bare_server, check, started

WINNERS = 50  # whose keys are asked again at the end


class Round(msgspec.Struct):
    """One server under load for a while. Times in microseconds, CPU of the server a request."""

    server: str
    connections: int
    per_second: float
    p50: float
    p99: float
    cpu: float
    script_calls: float = 0.0  # that a refusal cost


async def bare(bench: Bench, part: Part, pid: int, port: int) -> Round:
    """A round of the bare server."""
    cpu = cpu_seconds(pid)
    result = await bench.loader.run(port=port, key="none", campaign=LIMITED, **part._asdict())
    return _round("bare", part, result, cpu_seconds(pid) - cpu)


async def ours(bench: Bench, part: Part) -> Round:
    """A round of ours; every answer a refusal."""
    cpu, calls = cpu_seconds(bench.pids["api"]), await _script_calls(bench)
    result = await bench.loader.run(
        port=int(bench.server.url.rpartition(":")[2]),
        key=bench.storefront,
        campaign=LIMITED,
        **part._asdict(),
    )
    assert result.statuses == {"409": result.requests}, result.statuses
    calls = await _script_calls(bench) - calls
    cpu = cpu_seconds(bench.pids["api"]) - cpu
    return _round("ours", part, result, cpu, calls / result.requests)


async def _script_calls(bench: Bench) -> float:
    stats = await bench.redis.info("commandstats")
    return float(stats["cmdstat_evalsha"]["calls"])


def _round(server: str, part: Part, result: Any, cpu: float, calls: float = 0.0) -> Round:
    one = Round(
        server=server,
        connections=part.connections,
        per_second=result.measured / result.seconds,
        p50=result.p50 * 1e6,
        p99=result.p99 * 1e6,
        cpu=cpu / result.requests * 1e6,
        script_calls=calls,
    )
    print(f"  {server:5}{part.connections:5} connections{one.per_second:9.0f}/s", flush=True)
    return one


async def winners_keep_theirs(bench: Bench, first: int) -> bool:
    """The people who were first ask again under their keys: each gets the coupon they have."""
    body = {"campaign_id": LIMITED, "channel": "app"}
    statuses = set()
    for number in range(first, first + WINNERS):
        answer = await bench.api.post(
            "/v1/claims",
            body | {"user_id": f"member:{number:010d}"},
            idem=f"{number:016d}",
            key=bench.storefront,
        )
        statuses.add((answer.status, answer.replayed))
    return statuses == {(201, True)}


async def measure(arguments: argparse.Namespace) -> bool:
    """The whole run; whether its own check held."""
    rounds = []
    with tempfile.TemporaryDirectory() as directory, bare_server() as (pid, port):
        async with started(Path(directory)) as bench:
            first = bench.loader.next
            await bench.few()
            await bench.drained()
            for _ in range(arguments.rounds):
                for connections in arguments.connections:
                    part = Part(connections, arguments.seconds)
                    rounds.append(await bare(bench, part, pid, port))
                    rounds.append(await ours(bench, part))
            kept = await winners_keep_theirs(bench, first)
            checked = await check(bench, unlimited=False)
            ready = (await bench.api.get("/readyz")).json
    checked["winners_keep_theirs"] = kept
    report = {
        "machine": machine(),
        "server": ready["versions"],
        "durability": ready["durability"],
        "stock": STOCK,
        "medians": [medians(rounds, connections) for connections in arguments.connections],
        "check": checked,
        "rounds": msgspec.to_builtins(rounds),
    }
    show(report)
    write_report(arguments.json, report)
    return bool(checked["holds"]) and kept


def medians(rounds: list[Round], connections: int) -> dict[str, Any]:
    """Each figure's median, and ours against the bare server's."""
    found: dict[str, Any] = {"connections": connections}
    names = [one for one in Round.__struct_fields__ if one not in ("server", "connections")]
    for server in ("bare", "ours"):
        own = [one for one in rounds if (one.server, one.connections) == (server, connections)]
        found[server] = {name: statistics.median(getattr(o, name) for o in own) for name in names}
    found["per_second_ratio"] = found["ours"]["per_second"] / found["bare"]["per_second"]
    found["cpu_ratio"] = found["bare"]["cpu"] / found["ours"]["cpu"]
    return found


def show(report: dict[str, Any]) -> None:
    """The table."""
    print(f"\n{report['server']['redis']}, {report['durability']}; us a request")
    head = ("requests/s", "p50", "p99", "CPU")
    print(f"{'':12}" + "".join(f"{name:>11}" for name in head) + f"{'script calls':>14}")
    for one in report["medians"]:
        for server in ("bare", "ours"):
            row = one[server]
            figures = "".join(f"{row[name]:11.0f}" for name in ("per_second", "p50", "p99", "cpu"))
            print(f"{server:6}{one['connections']:6}{figures}{row['script_calls']:14.4f}")
        print(
            f"{'':12}ours / bare: requests/s {one['per_second_ratio']:.2f},"
            f" by CPU {one['cpu_ratio']:.2f}"
        )
    print(f"check: {report['check']}")


def main() -> int:
    """Exit code 1 where a refusal was none, or something was given out; figures never fail it."""
    parser = argparse.ArgumentParser(description="Refusals of a sold-out campaign over HTTP.")
    parser.add_argument("--seconds", type=float, default=4.0, help="of a round")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--connections", type=int, nargs="+", default=[64, 512])
    parser.add_argument("--json", type=Path, default=Path("reports/bench-http-refusals.json"))
    return 0 if run(measure(parser.parse_args())) else 1


if __name__ == "__main__":
    sys.exit(main())
