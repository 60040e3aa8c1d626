"""A writer as a process of its own, for tests that kill it: ``database_url redis_url``."""

from __future__ import annotations

import asyncio
import signal
import sys

from engine.books.db import open_books
from engine.outbox import open_client
from engine.writer import Writer, WriterOptions

# Short leases, so that the next one need not wait long for those of the dead.
OPTIONS = WriterOptions(
    batch_facts=30,
    read_entries=4,
    wait_ms=50,
    gather_ms=1,
    lease_ms=300,
    share_ms=50,
    trim_ms=100,
    keep_ms=500,
)


async def main(database_url: str, redis_url: str) -> None:
    """Until SIGTERM."""
    writer = Writer(open_books(database_url), lambda: open_client(redis_url), OPTIONS)
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, writer.stop)
    await writer.run()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
