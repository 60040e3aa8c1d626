"""Campaigns that give nothing out right now, refused in this process without asking Redis.

A door is shut on a *promise* of the cell (lua/shut.lua): for the next tenth of a second no claim
of that campaign succeeds there, from whatever process, whatever happens to its stock or status.
With the promise come, of the same moment, all who were given one and all frozen members. So
nobody whose answer would be another one is refused here: who holds one (``user_limit``, or a key
that won: its coupon), who is frozen, who comes by a channel that is not allowed. They are sent on,
and so is everyone when the promise has run out. It is renewed at half time by whoever comes then:
a few script calls a second for a campaign that is asked for, none for one that is not.

A campaign that is for tiers or audiences has another answer for each person: its door stays open
while only its stock is gone.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

import msgspec

from engine import commands
from engine.errors import Unavailable
from engine.keys import HOLDER_LENGTH
from engine.outcomes import Outcome
from engine.views import Answer, CouponView

if TYPE_CHECKING:
    from engine.acting import Acting

SHUTTING = frozenset(
    {
        Outcome.CAMPAIGN_FROZEN,
        Outcome.CAMPAIGN_PAUSED,
        Outcome.CAMPAIGN_ENDED,
        Outcome.NOT_STARTED,
        Outcome.SOLD_OUT,
    }
)
MOST = 4096  # doors that are kept
RETRY_SECONDS = 0.05  # after a look that failed
LASTS_MS = 100  # issuing.promise
OPEN_SECONDS = 0.2  # a door that can't be shut is left alone for so long
WON = 65_536  # keys that are remembered, twice that at most

_pack = msgspec.msgpack.encode


class _Promise(msgspec.Struct, array_like=True):
    """What shut.lua tells with its outcome."""

    lasts_ms: int
    opens: int  # 0 = not told
    channels: list[str] | None
    length: int  # of the list of holders, in characters
    at: int  # from where on it is told here
    holders: str
    whole: bool  # whether the list has everyone, and the frozen are few enough to be told
    freezes: int
    frozen: list[str] | None  # None: as they were


_promise = msgspec.msgpack.Decoder(_Promise).decode


class Holders:
    """Who may have been given a coupon of a campaign: one bit a person, a few set by chance."""

    SPARE = 32  # bits for each person, so that of the others about one in this is sent on as well

    def __init__(self) -> None:
        self.known = 0  # characters of the cell's list
        self._mask = 0
        self._bits = bytearray()
        self._room(0)

    def _room(self, length: int) -> None:
        size = 1 << max(12, (length // HOLDER_LENGTH * self.SPARE * 2).bit_length())
        self._mask, self._bits, self.known = size - 1, bytearray(size // 8), 0

    def add(self, names: str, at: int, length: int) -> None:
        """Take a part of the list that begins ``at``; ``length``: of all of it."""
        if at != self.known or length // HOLDER_LENGTH * self.SPARE > self._mask + 1:
            self._room(length)  # another list, or a much longer one: from its beginning
            if at:
                return
        bits, mask = self._bits, self._mask
        for start in range(0, len(names), HOLDER_LENGTH):
            place = hash(names[start : start + HOLDER_LENGTH]) & mask
            bits[place >> 3] |= 1 << (place & 7)
        self.known += len(names)

    def __contains__(self, handle: str) -> bool:
        place = hash(handle[:HOLDER_LENGTH]) & self._mask
        return bool(self._bits[place >> 3] >> (place & 7) & 1)


class Door:
    """One campaign in one cell."""

    __slots__ = ("answer", "channels", "holders", "looking", "personal", "renew", "until")

    def __init__(self) -> None:
        self.answer: Answer[CouponView] = Answer(Outcome.SOLD_OUT)
        self.until = 0.0  # time.monotonic() at which the promise ends
        self.renew = 0.0  # from when on it is worth asking again
        self.looking = False
        self.holders = Holders()
        self.personal = False  # whether it is a person's matter as well: sold out
        self.channels: frozenset[str] | None = None


class Doors:
    """All doors of one tenant, in one process."""

    def __init__(self, acting: Acting) -> None:
        self._acting = acting
        self.closing = True  # False: a rehearsal, whose clock is what operators say
        self._doors: dict[tuple[int, str], Door] = {}
        self._frozen: list[frozenset[str]] = [frozenset()] * acting.mall.cells
        self._freezes = [-1] * acting.mall.cells
        self._doubts = acting.fence.doubts
        self._looks: set[asyncio.Task[None]] = set()
        # Keys that won a coupon here: under another campaign they are told so, as Redis would.
        self._won: set[tuple[str, str]] = set()
        self._won_before: set[tuple[str, str]] = set()

    @property
    def any_shut(self) -> bool:
        """Whether asking is worth a handle."""
        return bool(self._doors)

    def refusal(
        self, handle: str, campaign_id: str, channel: str, key: str
    ) -> Answer[CouponView] | None:
        """What Redis would say to this claim, where that is known; None = ask."""
        cell = self._acting.cell_of(handle)
        door = self._doors.get((cell, campaign_id))
        if door is None:
            return None
        now = time.monotonic()
        if now >= door.renew and not door.looking:
            self._look(cell, campaign_id, door)
        if now >= door.until or handle in door.holders:
            return None
        if door.personal and (
            handle in self._frozen[cell]
            or (door.channels is not None and channel not in door.channels)
        ):
            return None
        used = (handle, key)
        return None if used in self._won or used in self._won_before else door.answer

    def refused(self, handle: str, campaign_id: str, outcome: Outcome) -> None:
        """Redis has refused a claim: perhaps the door can be shut."""
        if outcome not in SHUTTING or not self.closing:
            return
        cell = self._acting.cell_of(handle)
        door = self._doors.get((cell, campaign_id))
        if door is None:
            if len(self._doors) >= MOST:
                self._doors.clear()
            door = self._doors[cell, campaign_id] = Door()
        now = time.monotonic()
        if now >= door.until and door.answer.outcome is not outcome:
            door.answer = Answer(outcome)
        if now >= door.renew and not door.looking:
            self._look(cell, campaign_id, door)

    def won(self, handle: str, key: str) -> None:
        """A claim has succeeded under this key."""
        if len(self._won) >= WON:
            self._won, self._won_before = set(), self._won
        self._won.add((handle, key))

    async def drain(self) -> None:
        """Wait until no question is on its way."""
        while self._looks:
            await asyncio.wait(self._looks)

    def _look(self, cell: int, campaign_id: str, door: Door) -> None:
        door.looking = True
        task = asyncio.create_task(self._shut(cell, campaign_id, door))
        self._looks.add(task)
        task.add_done_callback(self._looks.discard)

    async def _shut(self, cell: int, campaign_id: str, door: Door) -> None:
        """Ask for the promise, and on until all holders are known."""
        try:
            while not await self._ask(cell, campaign_id, door):
                pass
        except Unavailable:
            door.renew = time.monotonic() + RETRY_SECONDS
        finally:
            door.looking = False

    async def _ask(self, cell: int, campaign_id: str, door: Door) -> bool:
        """One question; whether there is no other to ask at once."""
        acting = self._acting
        # Sold out in all cells, if it is that; what else shuts a door is the same in each.
        sold_out = door.answer.outcome is Outcome.SOLD_OUT
        several = acting.segments.several
        lasts = await acting.segments.empty_for(campaign_id) if sold_out and several else 0
        asked = time.monotonic()  # the promise is counted from here: it is made after this
        question = commands.Shut(
            campaign_id=campaign_id,
            offset=acting.offset(acting.clock()),
            known=door.holders.known,
            freezes=self._freezes[cell],
            lasts=lasts if several else LASTS_MS,
        )
        reply = await acting.lane(cell).submit("shut", _pack(question))
        if self._doubts != acting.fence.doubts:  # it may be another server: nothing learnt holds
            self._doubts = acting.fence.doubts
            self._freezes = [-1] * acting.mall.cells
            for one in self._doors.values():
                one.until, one.holders = 0.0, Holders()
            return False
        outcome = Outcome(reply.outcome)
        promise = _promise(reply.value) if bytes(reply.value) != b"\xc0" else None
        if promise is None or not promise.whole:
            door.until, door.renew = 0.0, asked + OPEN_SECONDS
            return True
        if promise.frozen is not None:
            self._frozen[cell] = frozenset(promise.frozen)
        self._freezes[cell] = promise.freezes
        door.holders.add(promise.holders, promise.at, promise.length)
        if door.holders.known != promise.length:
            return False
        details: dict[str, Any] = {"retry_at": promise.opens} if promise.opens else {}
        door.answer = Answer(outcome, details=details)
        door.personal = outcome is Outcome.SOLD_OUT
        door.channels = None if promise.channels is None else frozenset(promise.channels)
        door.until = asked + promise.lasts_ms / 1000
        door.renew = asked + promise.lasts_ms / 2000
        return True
