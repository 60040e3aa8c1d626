"""The event loop of our processes: uvloop where it is installed, and an end that comes."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

import structlog

try:
    from uvloop import new_event_loop
except ImportError:  # Windows, or a platform without a wheel
    from asyncio import new_event_loop  # type: ignore[assignment]

T = TypeVar("T")
END_SECONDS = 3.0  # for tasks that are left when the main one has ended

log = structlog.get_logger()


def run(main: Coroutine[Any, Any, T]) -> T:
    """``asyncio.run`` on the fastest loop there is; a task that can't be cancelled is left behind.

    ``asyncio.run`` waits for such a one for ever, and there are some: cancelled again while
    SQLAlchemy closes the connection that it was cut off from, aiosqlite waits for a thread that
    has ended.
    """
    runner = asyncio.Runner(loop_factory=new_event_loop)
    try:
        return runner.run(main)
    finally:
        if runner.get_loop().run_until_complete(_all_ended()):
            runner.close()


async def _all_ended() -> bool:
    """Cancel all others; whether they ended."""
    tasks = asyncio.all_tasks() - {asyncio.current_task()}
    for task in tasks:
        task.cancel()
    if tasks:
        _, tasks = await asyncio.wait(tasks, timeout=END_SECONDS)
    for task in tasks:
        log.error("task_left", task=repr(task))
    return not tasks
