"""A waiting line in Redis: its own cell, the marks in all cells, what each has to offer.

Used by engine/waiting.py, which says what is done with it.
"""

from __future__ import annotations

import asyncio
from typing import NamedTuple

import msgspec

from engine import line_commands
from engine.acting import Acting
from engine.batching import Reply, as_text
from engine.notes import note
from engine.orders import ENGINE
from engine.outcomes import Outcome
from engine.waiting_records import Waiter

MOST_KNOWN = 4096  # campaigns whose handle is kept
AT_ONCE = 128  # offers that are made together: two batches
PROMISE_SECONDS = 0.12  # after which a door that was shut has opened (lua/shut.lua)

Head = tuple[str, Waiter]
"""Somebody whose turn it is: their handle, and their entry as it was then."""

_pack = msgspec.msgpack.encode
_pair = msgspec.msgpack.Decoder(tuple[int, int]).decode
_waiter = msgspec.msgpack.Decoder(Waiter).decode
_number = msgspec.msgpack.Decoder(int | None).decode


class Result(NamedTuple):
    """What became of somebody whose turn it was."""

    head: Head
    order: str  # serial; "" = none was made, and `why` says why
    until: int
    why: int

    def packed(self, campaign_id: str) -> tuple[str, str, str, int, int, msgspec.Raw]:
        """As line_move.lua takes it, with the rest of the fact: facts.LineTold from its `act`."""
        handle, waiter = self.head
        told = _pack(
            (
                waiter.joined.fingerprint, ENGINE, waiter.user_id, campaign_id, waiter.party,
                waiter.priority, waiter.place, waiter.at, "offered" if self.order else "skipped",
                f"O{handle}{self.order}" if self.order else "", self.until, self.why,
            )
        )  # fmt: skip
        rest = as_text(told[1:])  # without the array's header
        return (handle, waiter.joined.serial, self.order, self.until, self.why, rest)


class Read(NamedTuple):
    """What line_read.lua tells; ``waiter`` None: there is nobody of that name."""

    outcome: int
    waiter: Waiter | None
    position: int
    why: int


class Room(msgspec.Struct, array_like=True):
    """What line_room.lua tells of a cell; ``version`` and ``why`` of the line, where it lives."""

    now: int
    free: int  # -1 = unlimited
    share: int
    next: int  # when an order lapses next, 0 = none is open
    version: int
    why: int
    marked: int
    quotas: list[int]  # of each quota, what this cell was given of it


class Moved(msgspec.Struct, array_like=True):
    """What line_move.lua tells."""

    version: int
    waiting: int
    over: int
    heads: list[Head]
    strays: list[tuple[str, str]]
    short: int
    why: int
    again: int = 0  # some were named before: what is offered to them may be set aside already


_room = msgspec.msgpack.Decoder(Room).decode
_moved = msgspec.msgpack.Decoder(Moved).decode


class Lines:
    """The waiting lines of one tenant as they lie in its cells."""

    def __init__(self, acting: Acting) -> None:
        self._acting = acting
        self.marked: dict[str, int] = {}  # by campaign: the version every cell was told
        self._handles: dict[str, str] = {}

    def handle(self, campaign_id: str) -> str:
        """The handle that stands for a campaign's line: it names the cell. No user id has a /."""
        handle = self._handles.get(campaign_id)
        if handle is None:
            if len(self._handles) > MOST_KNOWN:
                self._handles.clear()
            handle = self._acting.handle_of(f"waitlist/{campaign_id}")
            self._handles[campaign_id] = handle
        return handle

    async def open(self, line: str, campaign_id: str, now: int) -> None:
        command = line_commands.LineOpen(handle=line, now=now, campaign_id=campaign_id)
        await self._acting.act("line_open", command)

    async def used(
        self,
        campaign_id: str,
        handle: str,
        key: str,
        now: int,
        *,
        free_of: str = "",
        refused: bool = False,
    ) -> str:
        """Note that somebody uses a key for this line, "" then; else the line they used it for.

        ``free_of``: that one was asked, and does not know the key. ``refused``: note nothing.
        """
        other = await note(
            self._acting, "waitlist", handle, key, campaign_id, now,
            free_of=free_of, refused=refused,
        )  # fmt: skip
        return "" if other == campaign_id else other

    async def mark(self, campaign_id: str, version: int, now: int) -> int:
        """Tell every cell whether people wait; doors that are shut have opened after it."""
        command = _pack(line_commands.LineMark(campaign_id=campaign_id, version=version))
        cells = range(self._acting.mall.cells)
        replies: list[Reply] = await asyncio.gather(
            *(self._acting.lane(cell).submit("line_mark", command) for cell in cells)
        )
        promised = max((_number(reply.value) or 0 for reply in replies), default=0)
        if promised and version % 2 and not now:
            await asyncio.sleep(min(promised / 1000, PROMISE_SECONDS))
        self.marked[campaign_id] = version
        return version

    async def rooms(self, campaign_id: str, now: int) -> list[Room]:
        """What each cell has to offer."""
        cells = range(self._acting.mall.cells)
        request = [now, campaign_id]
        packed = await asyncio.gather(
            *(self._acting.read_script(cell, "line_room", request) for cell in cells)
        )
        return [_room(one) for one in packed]

    async def read(self, campaign_id: str, handle: str, now: int) -> Read:
        """Somebody's place, and what the campaign says to all."""
        acting = self._acting
        command = line_commands.LineRead(
            handle=self.handle(campaign_id), now=now, campaign_id=campaign_id, person=handle,
            offset=acting.offset(now or acting.clock()),
        )  # fmt: skip
        reply = await acting.act("line_read", command)
        if reply.outcome == Outcome.NOT_FOUND:
            return Read(reply.outcome, None, 0, 0)
        position, why = _pair(reply.detail)
        return Read(reply.outcome, _waiter(reply.value), position, why)

    async def step(
        self,
        campaign_id: str,
        results: list[Result] | None,
        free: int,
        total: int,
        unmarked: int,
        now: int,
        why: int = -1,
    ) -> Moved:
        """Note what became of those who were named (None: nobody was), and name who is next."""
        acting = self._acting
        command = line_commands.LineMove(
            handle=self.handle(campaign_id), now=now, who=ENGINE, campaign_id=campaign_id,
            offset=acting.offset(now or acting.clock()),
            results=[result.packed(campaign_id) for result in results or ()],
            handled=int(results is not None), free=free, total=total, most=AT_ONCE, why=why,
            unmarked=unmarked,
        )  # fmt: skip
        reply = await acting.act("line_move", command)
        if reply.outcome != Outcome.DONE:
            return Moved(0, 0, 0, [], [], 0, 0)
        return _moved(reply.value)
