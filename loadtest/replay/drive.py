"""Phases of acts against one server: progress, answers by outcome, the writer killed meanwhile."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from functools import partial
from typing import Any, NamedTuple

import orjson
from rich.progress import Progress, TaskID

from loadtest.replay.client import PATIENCE_SECONDS, Client, Connection, ReplayError
from loadtest.replay.report import Report, total

TICK_SECONDS = 0.2
KILL_TICK_SECONDS = 0.005
KILL_AT = (1 / 4, 1 / 2, 3 / 4)  # of a phase


class Act(NamedTuple):
    """One request, and what it must be answered: ``done`` or the code of a problem."""

    request: bytes
    expected: str
    keep: Any = None  # where the id in the answer is kept (``Drive.ids``)


class Drive:
    """One replay on its way. ``ids``: the coupons that later acts name, by what they are of."""

    def __init__(
        self,
        client: Client,
        report: Report,
        progress: Progress,
        kill_writer: Callable[[], bool] | None = None,
    ) -> None:
        self.client = client
        self.report = report
        self.ids: dict[Any, str] = {}
        self._progress = progress
        self._kill_writer = kill_writer

    async def phase(
        self,
        name: str,
        groups: Iterable[Iterable[Act]],
        expected: Mapping[str, int],
        *,
        kill: bool = False,
        vital: bool = False,
    ) -> None:
        """Send a phase's acts, each group after the one before, and compare the answers.

        ``vital``: nothing after it means anything unless all are answered as they must be.
        """
        got: Counter[str] = Counter()
        wrong = 0

        async def send(connection: Connection, act: Act) -> None:
            nonlocal wrong
            answer = await connection.ask(act.request)
            outcome = answer.outcome
            got[outcome] += 1
            if outcome != act.expected:
                wrong += 1
                asked = act.request.decode().splitlines()[-1][:300]
                said = answer.body[:300].decode()
                self.report.example(f"{name}: {act.expected} was expected: {asked} -> {said}")
            elif act.keep is not None:
                self.ids[act.keep] = orjson.loads(answer.body)["id"]

        async with self.measured(name, total(expected), kill=kill):
            for group in groups:
                await self.client.each(group, send)
        self.report.outcomes(name, expected, got, wrong)
        if vital and wrong:
            raise ReplayError(f"{name}: {wrong} of {total(expected)} were refused.")

    @contextlib.asynccontextmanager
    async def measured(
        self, name: str, requests: int, *, kill: bool = False
    ) -> AsyncIterator[None]:
        """A progress bar for so many answers, and the time they took.

        ``kill``: the writer is killed on the way, where the replay was asked to do so.
        """
        bar = self._progress.add_task(name, total=requests)
        began, before = time.perf_counter(), self.client.answered
        watching = asyncio.create_task(self._watch(bar, before))
        helpers: list[asyncio.Task[Any]] = [watching]
        if kill and self._kill_writer is not None:
            helpers.append(asyncio.create_task(self._kill(self._kill_writer, before, requests)))
        try:
            yield
            took = time.perf_counter() - began
            for killing in helpers[1:]:
                self.report.equal(name, "deaths of the writer", len(KILL_AT), await killing)
        finally:
            for helper in helpers:
                helper.cancel()
            await asyncio.gather(*helpers, return_exceptions=True)
        done = self.client.answered - before
        self._progress.update(bar, total=done, completed=done)
        self.report.phases.append((name, done, took))

    async def _watch(self, bar: TaskID, before: int) -> None:
        """Show how far it is."""
        while True:
            await asyncio.sleep(TICK_SECONDS)
            self._progress.update(bar, completed=self.client.answered - before)

    async def _kill(self, kill_writer: Callable[[], bool], before: int, requests: int) -> int:
        """Kill the writer at each of KILL_AT, or when none lives as soon as one does again."""
        kills = 0
        for part in KILL_AT:
            await _until(partial(self._answered, before + part * requests))
            async with asyncio.timeout(PATIENCE_SECONDS):
                await _until(kill_writer)
            kills += 1
        return kills

    def _answered(self, so_many: float) -> bool:
        return self.client.answered >= so_many


async def _until(condition: Callable[[], bool]) -> None:
    while not condition():  # noqa: ASYNC110 - counters and processes have no event to wait for
        await asyncio.sleep(KILL_TICK_SECONDS)
