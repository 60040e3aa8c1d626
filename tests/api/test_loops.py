"""A process ends when its main task has ended, whatever is left over."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

# What held a server open for ever: cut off from SQLite, and cut off again from closing it.
TWICE_CANCELLED = """
import asyncio, sys
from sqlalchemy import text
from api.loops import run
from engine.books.db import open_books

async def use(books):
    async with books.begin() as connection:
        await connection.execute(text("CREATE TABLE t (n INTEGER)"))
        while True:
            await connection.execute(text("INSERT INTO t VALUES (1)"))

async def main():
    task = asyncio.create_task(use(open_books("sqlite+aiosqlite:///" + sys.argv[1])))
    await asyncio.sleep(0.2)
    task.cancel()
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait([task])
    print("done")

run(main())
"""

REFUSES = """
import asyncio
from api.loops import run

async def stubborn():
    while True:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            pass

async def main():
    left = asyncio.create_task(stubborn())
    await asyncio.sleep(0)
    raise ValueError("the main task's own")

run(main())
"""


def ended(program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """The program, run to its end; subprocess.TimeoutExpired where it has none."""
    command = [sys.executable, "-c", program, *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=30)


def test_a_connection_cut_off_twice_keeps_no_process(tmp_path: Path) -> None:
    """Its task waits for a thread that has ended; the process does not."""
    done = ended(TWICE_CANCELLED, str(tmp_path / "books.db"))
    assert (done.returncode, done.stdout.splitlines()[0]) == (0, "done"), done.stderr


def test_a_task_that_refuses_to_end_is_named_and_left() -> None:
    """What the main task raised is told all the same."""
    done = ended(REFUSES)
    assert done.returncode == 1
    assert "task_left" in done.stdout
    assert "stubborn" in done.stdout
    assert "the main task's own" in done.stderr
