"""Bytes of Redis memory that a live coupon takes, all in but the stream of facts, on jemalloc.

``python -m benchmarks.memory [--coupons N] [--json PATH]``: claims by the engine on servers that
allocate by jemalloc (`redis-server` on PATH, Debian's; the embedded Valkey, with the machine's
jemalloc before the C library's), for wallets of 1, 2, 5 and 20 coupons. What the server's memory
grew by, the stream set aside, is divided by the coupons; then where it went: the coupon's record,
the person's (who they are, how many they have had), what a wallet costs as such, the list of who
was given one.
The aim: at most 220 bytes. Every claim must succeed; a figure never fails the run.
"""

from __future__ import annotations

import argparse
import asyncio
import ctypes.util
import itertools
import sys
import tempfile
from pathlib import Path
from typing import Any

import redis.asyncio

from api.loops import run
from benchmarks.common import machine, server_name, write_report
from benchmarks.ours import TENANT, WORDS, ours_on
from engine import keys
from engine.embedded import EmbeddedRedis, find_server
from engine.outcomes import Outcome
from tests.engine.harness import WHO
from tests.servers import redis_binary
from tests.unit.rules_language import campaign as described

# Coupons in each wallet, and whether the claims tell where they came from (`source`).
WALLETS = ((1, False), (2, False), (5, False), (20, False), (1, True), (5, True))
SOURCE = {"entry": "home-banner", "by": "member-00000042"}
IN_FLIGHT = 256
TAG = keys.cell_tag(TENANT, 0, 1)
SAMPLE = 200  # wallets that are looked into


async def used(client: redis.asyncio.Redis) -> int:
    """Bytes of data: without what clients, scripts and the append-only file take."""
    # Valkey frees later what is deleted, and tells nobody when it has.
    while (await client.info("memory"))["lazyfree_pending_objects"]:  # noqa: ASYNC110
        await asyncio.sleep(0.01)
    asked: Any = client.execute_command("MEMORY STATS")  # type: ignore[no-untyped-call]
    stats: dict[Any, Any] = await asked
    data = {(k.decode() if isinstance(k, bytes) else k): v for k, v in stats.items()}
    return int(data["dataset.bytes"]) + sum(
        int(row[name])
        for key, row in _named(data)
        for name in row
        if key.startswith("db.") and name.startswith("overhead.hashtable")
    )


def _named(stats: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    """The parts that are tables themselves, with text for names."""
    found = []
    for key, row in stats.items():
        if isinstance(row, list):
            row = dict(zip(row[::2], row[1::2], strict=True))
        if isinstance(row, dict):
            text = {(k.decode() if isinstance(k, bytes) else str(k)): v for k, v in row.items()}
            found.append((key, text))
    return found


async def size(client: redis.asyncio.Redis, key: str) -> int:
    """Bytes of one key, its name and value, every element counted; 0 without."""
    return int(await client.memory_usage(key, samples=0) or 0)


async def measure(
    server: EmbeddedRedis, directory: Path, coupons: int, each: int, source: bool
) -> dict[str, Any]:
    """One kind of wallet, on a server of its own."""
    people = coupons // each
    async with ours_on(server, directory) as ours:
        engine, client = ours.mall.engine, ours.client
        for n in range(each):
            # Ids as long as the contract's.
            await ours.mall.publish(
                described(WORDS, id=f"noodle-20-{n:02d}", stock={"total": 2 * people})
            )
        gate = asyncio.Semaphore(IN_FLIGHT)

        async def visitor(number: int) -> None:
            async with gate:
                for n in range(each):
                    answer = await engine.claim(
                        user_id=f"member-{number:08d}", campaign_id=f"noodle-20-{n:02d}",
                        channel="miniprogram", key=f"k{n}", who=WHO,
                        source=SOURCE if source else None,
                    )  # fmt: skip
                    assert answer.outcome is Outcome.DONE, answer

        before = await used(client)
        for start in range(0, people, 10_000):
            await asyncio.gather(*map(visitor, range(start, min(people, start + 10_000))))
            await client.delete(keys.facts_key(TAG))  # they are the outbox's, trimmed when told
        grown = await used(client) - before
        parts = await _parts(client, [engine.handle_of(f"member-{n:08d}") for n in range(SAMPLE)])
        holders = sum(
            [await size(client, keys.holders_key(TAG, f"noodle-20-{n:02d}")) for n in range(each)]
        )
        info = await client.info("memory")
        server_info = await client.info("server")
    given = people * each
    return {
        "server": server_name(server_info), "allocator": info["mem_allocator"],
        "coupons": given, "in_a_wallet": each, "with_source": source,
        "bytes_a_coupon": grown / given,
        "holders_a_coupon": holders / given,
        **{name: value / each for name, value in parts.items()},
    }  # fmt: skip


async def _parts(client: redis.asyncio.Redis, handles: list[str]) -> dict[str, float]:
    """What of a wallet is what: bytes a wallet, the mean of some."""
    total: dict[str, float] = {}
    for handle in handles:
        key = keys.wallet_key(TAG, handle)
        fields: Any = await client.hgetall(key)
        here = {"wallet": await size(client, key), "name_of_wallet": len(key)}
        for name, value in fields.items():
            kind = {"C": "coupon_fields", "n": "count_fields", "u": "user_field"}[chr(name[0])]
            here[kind] = here.get(kind, 0) + len(name) + len(value)
        for kind, number in here.items():
            total[kind] = total.get(kind, 0) + number / len(handles)
    return total


def main() -> int:
    """0: every claim succeeded."""
    parser = argparse.ArgumentParser(description="Bytes a live coupon takes.")
    parser.add_argument("--coupons", type=int, default=200_000)
    parser.add_argument("--option", nargs="*", default=[], help="of redis.conf: name=value")
    parser.add_argument("--json", type=Path, default=Path("reports/bench-memory.json"))
    arguments = parser.parse_args()
    if ctypes.util.find_library("jemalloc") is None:
        print("the embedded server is not on jemalloc here: apt-get install libjemalloc2")
    binaries = [one for one in (redis_binary("redis7"), find_server()) if one]
    rows = []
    options = dict(option.split("=") for option in arguments.option)
    for binary, (each, source) in itertools.product(binaries, WALLETS):
        with tempfile.TemporaryDirectory() as name:
            server = EmbeddedRedis(
                Path(name) / "redis", binary=binary, fsync="everysec", options=options
            )
            server.start()
            try:
                rows.append(run(measure(server, Path(name), arguments.coupons, each, source)))
            finally:
                server.stop()
        show(rows[-1])
    write_report(arguments.json, {"machine": machine(), "rows": rows})
    return 0


def show(row: dict[str, Any]) -> None:
    """One line."""
    told = "  ".join(
        f"{name} {value:.1f}" for name, value in row.items() if isinstance(value, float)
    )
    print(
        f"{row['server']}, {row['in_a_wallet']:2} a wallet"
        f"{', with source' if row['with_source'] else ''}: {told}"
    )


if __name__ == "__main__":
    sys.exit(main())
