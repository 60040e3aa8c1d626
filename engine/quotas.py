"""Quotas of events brought to the cells, and taken away from them again.

Safe to repeat, by any number of processes at once, as all that ``control`` does.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Any

import msgspec
import structlog

from engine import keys
from engine.books import definitions_events as events
from engine.books.db import Books
from engine.outcomes import Outcome

if TYPE_CHECKING:
    from engine.server import Server

WITHDRAWALS = 4  # tries to take away what moves between cells meanwhile

log = structlog.get_logger()
_answer = msgspec.msgpack.Decoder(tuple[int, int]).decode


class Quotas:
    """The quotas of one tenant. ``write``: runs a publishing script on a cell, under the fence."""

    def __init__(
        self,
        tenant: str,
        tags: Sequence[str],
        server: Server,
        books: Books,
        write: Callable[..., Awaitable[Any]],
    ) -> None:
        self._tenant = tenant
        self._tags = tags
        self._server = server
        self._books = books
        self._write = write

    async def publish(self, event_id: str) -> None:
        """Bring an event's quotas of the books to every cell that has an older version."""
        for row in await events.quotas_of(self._books, self._tenant, event_id):
            shares = msgspec.json.decode(row.shares, type=list[int])
            for cell, share in enumerate(shares):
                outcome, left = await self._run(cell, event_id, row.id, row.version, share)
                if outcome > Outcome.REPEATED:
                    log.error("quota_refused", quota=f"{event_id}/{row.id}", cell=cell, left=left)

    async def withdraw(self, event_id: str, quota_id: str, number: int) -> list[int] | None:
        """Take quota away where it is left: the change of each cell's share (<= 0).

        None, and nothing changed, when fewer than ``number`` are left.
        """
        for _ in range(WITHDRAWALS):
            changes, left = await self._withdraw(event_id, quota_id, number)
            if changes is not None or left < number:
                return changes
        return None  # again and again others were faster: it is not there for long

    async def _withdraw(
        self, event_id: str, quota_id: str, number: int
    ) -> tuple[list[int] | None, int]:
        """One try, and how many were left then."""
        lefts = [await self._left(tag, event_id, quota_id) for tag in self._tags]
        if sum(lefts) < number:
            return None, sum(lefts)
        changes = [0] * len(lefts)
        for cell in sorted(range(len(lefts)), key=lambda c: -lefts[c]):
            taken = min(number + sum(changes), lefts[cell])
            if taken > 0:
                outcome, _ = await self._run(cell, event_id, quota_id, -1, taken)
                changes[cell] = -taken if outcome == Outcome.DONE else 0
        if number + sum(changes) == 0:
            return changes, sum(lefts)
        for cell, change in enumerate(changes):  # others were faster
            if change:
                await self._run(cell, event_id, quota_id, -1, change)
        return None, sum(lefts)

    async def _run(self, cell: int, *arguments: object) -> tuple[int, int]:
        return _answer(bytes(await self._write(cell, "quota", *arguments)))

    async def _left(self, tag: str, event_id: str, quota_id: str) -> int:
        names = (f"{field}{quota_id}" for field in "smu")
        row = await self._server.fields(keys.quotas_key(tag, event_id), *names)
        share, moved, used = (int(number or 0) for number in row)
        return share + moved - used
