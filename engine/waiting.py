"""Waiting lines: joining, asking, leaving; and offering freed room to those who wait, in order.

A line lives in one cell, the one that the campaign's name leads to. While it is open every cell is
marked: there nobody but the head of the line is given one (lua/lib/issuing.lua). Moving on names
those who are next, sets an order aside for each in their own cell, and notes it in the line. Each
step may be repeated: the order's id comes from the entry, so whoever goes on after a crash finds
it, and two who move at once do the same.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import msgspec
import structlog
from redis.exceptions import RedisError

from engine import keys, line_commands
from engine.acting import Acting, fingerprint_of
from engine.errors import Unavailable
from engine.lines import PROMISE_SECONDS, Head, Lines, Read, Result, Room
from engine.order_records import OrderState
from engine.orders import ENGINE, Order, Orders
from engine.outcomes import Outcome
from engine.views import Answer
from engine.waiting_records import Joined, Waiter, WaiterState

MOST_PARTY = 100
MOST_PRIORITY = 1000
TICK_SECONDS = 1.0  # between looks at the lines, where nothing lapses earlier
ANSWER_SECONDS = 0.25  # that an act which freed room waits for the line to move
TRIES = 20
TOO_MANY = -2  # why a line stands: the next ones are more than there is room for

# What is wrong with a person, not with the campaign: the line passes them.
PERSONAL = frozenset(
    {
        Outcome.USER_FROZEN,
        Outcome.NOT_ELIGIBLE,
        Outcome.CHANNEL_NOT_ALLOWED,
        Outcome.USER_LIMIT,
        Outcome.USER_DAY_LIMIT,
        Outcome.USER_WEEK_LIMIT,
        Outcome.USER_MONTH_LIMIT,
        Outcome.POINTS_INSUFFICIENT,
    }
)
_STANDING = {
    WaiterState.SKIPPED: "skipped",
    WaiterState.LEFT: "left",
    WaiterState.ENDED: "ended",
}

log = structlog.get_logger()
_waiter = msgspec.msgpack.Decoder(Waiter).decode
_joined = msgspec.msgpack.Decoder(Joined).decode
_text = msgspec.msgpack.Decoder(str | None).decode
_number = msgspec.msgpack.Decoder(int | None).decode


@dataclass(slots=True, frozen=True)
class Place:
    """Somebody's place: ``position`` from 1, 0 = not in the line; ``offer``: order id, until."""

    status: str  # waiting | offered | taken | declined | lapsed | skipped | left | ended
    position: int = 0
    offer: tuple[str, int] | None = None
    why: Outcome | None = None
    too_many: bool = False  # why they wait: there is room, but not for so many


class Waiting:
    """The waiting lines of one tenant, from one process."""

    def __init__(self, acting: Acting, orders: Orders) -> None:
        self._acting = acting
        self._orders = orders
        orders.freed = self.freed
        self._lines = Lines(acting)
        self._once_more: dict[str, asyncio.TimerHandle] = {}
        self._moving: dict[str, asyncio.Task[None]] = {}
        self._next: dict[str, asyncio.Task[None]] = {}  # that wait for those

    # ---- joining -----------------------------------------------------------------------------

    async def join(
        self,
        *,
        user_id: str,
        campaign_id: str,
        key: str,
        who: str,
        party: int = 1,
        priority: int = 0,
        now: int = 0,
    ) -> Answer[Place]:
        """Join the line; an offer at once where there is room and nobody waits.

        ALREADY_EXISTS while the person waits or has an open offer.
        """
        acting, person = self._acting, self._acting.handle_of(user_id)
        near = acting.tag_of(person) == acting.tag_of(self._lines.handle(campaign_id))
        if not near and not await self._is_free(campaign_id, person, key, now):
            return Answer(Outcome.IDEMPOTENCY_KEY_REUSED)
        answer = await self._join(user_id, campaign_id, key, who, party, priority, near, now)
        if not near and not answer.ok and answer.outcome is not Outcome.IDEMPOTENCY_KEY_REUSED:
            await self._lines.used(campaign_id, person, key, now, refused=True)
        return answer

    async def _join(
        self,
        user_id: str,
        campaign_id: str,
        key: str,
        who: str,
        party: int,
        priority: int,
        near: bool,
        now: int,
    ) -> Answer[Place]:
        """``near``: the person is of the line's cell, which notes what their key is used for."""
        acting = self._acting
        if now:  # a rehearsal: nothing moves by the wall clock
            await self.push(campaign_id, now)
        line, person = self._lines.handle(campaign_id), acting.handle_of(user_id)
        fingerprint = fingerprint_of(campaign_id, user_id, party, priority)
        told: dict[str, Any] = {"replaces": "", "order": "", "until": 0, "free_of": ""}
        told["marked"] = self._lines.marked.get(campaign_id, -1)
        told["total"] = _total(await self._lines.rooms(campaign_id, now)) if party > 1 else -1

        def build(at: int) -> line_commands.LineJoin:
            serial, before, window = self._serials(campaign_id, person, key, at)
            used = acting.serials("waitlist", person, key, at) if near else ("", "", window)
            return line_commands.LineJoin(
                handle=line, now=now, who=who, campaign_id=campaign_id, person=person,
                user_id=user_id, party=party, priority=priority, serial=serial,
                serial_before=before, window=window, key=used[0], key_before=used[1],
                fingerprint=fingerprint,
                offset=acting.offset(at), **told,
            )  # fmt: skip

        tried = False
        for _ in range(TRIES):
            reply = await acting.keyed("line_join", now, build)
            outcome = Outcome(reply.outcome)
            if outcome <= Outcome.REPEATED:
                joined = _joined(reply.value)
                if outcome is Outcome.DONE and joined.rank == 1:
                    self._push(campaign_id, now)  # room may have come before the cells were told
                return Answer(outcome, _place_of(person, joined))
            if outcome is Outcome.ALREADY_EXISTS:
                old = _waiter(reply.value)
                if not await self._is_over(person, old, now):
                    return Answer(outcome)
                told["replaces"] = old.joined.serial
            elif outcome is Outcome.IDEMPOTENCY_KEY_REUSED:
                other = _text(reply.value)
                if not other or await self.has_joined(person, key, other, now=now):
                    return Answer(outcome)
                told["free_of"] = other  # that line only refused it
            elif outcome is Outcome.LINE_UNMARKED:
                told["marked"] = await self._lines.mark(campaign_id, _number(reply.value) or 0, now)
            elif outcome is Outcome.LINE_CLOSED and tried:
                await self._lines.open(line, campaign_id, now)
            elif outcome is Outcome.LINE_CLOSED:
                tried = True
                name = _name_of(campaign_id, build(now or reply.now).serial)
                offered = await self._offer(user_id, campaign_id, party, name, False, now)
                if offered.value is not None:
                    told["order"] = offered.value.place[1]
                    told["until"] = offered.value.record.until
                elif offered.outcome in PERSONAL:
                    return Answer(offered.outcome)
            else:
                opens = _number(reply.detail)
                return Answer(outcome, details={"retry_at": opens} if opens else {})
        raise Unavailable("the waiting line opens and closes; ask again with the same key")

    async def has_joined(self, handle: str, key: str, campaign_id: str, *, now: int = 0) -> bool:
        """Whether this person joined the line under this Idempotency-Key."""
        found = await self._lines.read(campaign_id, handle, now)
        at = now or self._acting.clock()
        serials = self._serials(campaign_id, handle, key, at)[:2]
        waiter = found.waiter
        known = [waiter.joined, *waiter.earlier] if waiter else []
        return any(one.serial in serials for one in known)

    def _serials(self, campaign_id: str, handle: str, key: str, at: int) -> tuple[str, str, int]:
        return self._acting.serials(f"waitlist/{campaign_id}", handle, key, at)

    async def _is_free(self, campaign_id: str, handle: str, key: str, now: int) -> bool:
        """Whether nobody joined another line under this key; it is this line's then."""
        other = await self._lines.used(campaign_id, handle, key, now)
        while other:
            if await self.has_joined(handle, key, other, now=now):
                return False
            other = await self._lines.used(campaign_id, handle, key, now, free_of=other)
        return True

    # ---- asking, leaving ---------------------------------------------------------------------

    async def place(self, *, user_id: str, campaign_id: str, now: int = 0) -> Place | None:
        """Somebody's place as of now; None where they never joined."""
        if now:
            await self.push(campaign_id, now)
        handle = self._acting.handle_of(user_id)
        found = await self._lines.read(campaign_id, handle, now)
        if found.waiter is None:
            return None
        return await self._as_of(found.waiter, handle, found, now)

    async def _as_of(self, waiter: Waiter, handle: str, found: Read | None, now: int) -> Place:
        if waiter.state == WaiterState.WAITING and found is not None:
            if found.outcome == Outcome.CAMPAIGN_ENDED:
                return Place("ended")
            why = Outcome(found.outcome or max(found.why, 0) or Outcome.SOLD_OUT)
            return Place("waiting", found.position, None, why, found.why == TOO_MANY)
        if waiter.state == WaiterState.OFFERED:
            order = await self._order(handle, waiter.order, now)
            status = order.status if order else "expired"
            if order is not None and status == "pending":
                return Place("offered", 0, (order.id, order.record.until))
            named = {"paid": "taken", "cancelled": "declined"}
            return Place(named.get(status, "lapsed"))
        why_not = Outcome(waiter.why) if waiter.why else None
        return Place(_STANDING.get(WaiterState(waiter.state), "left"), why=why_not)

    async def leave(
        self, *, user_id: str, campaign_id: str, who: str, now: int = 0
    ) -> Answer[Place]:
        """Leave the line, or decline what was offered. What is over already stays as it is."""
        acting = self._acting
        handle = acting.handle_of(user_id)
        command = line_commands.LineLeave(
            handle=self._lines.handle(campaign_id), now=now, who=who, campaign_id=campaign_id,
            person=handle,
        )  # fmt: skip
        reply = await acting.act("line_leave", command)
        outcome = Outcome(reply.outcome)
        if outcome > Outcome.REPEATED:
            return Answer(outcome)
        waiter = _waiter(reply.value)
        if waiter.state == WaiterState.OFFERED or outcome is Outcome.DONE:
            # One who has just left may have been made an offer that the line was not told of yet.
            name = self._orders.offer_id(handle, _name_of(campaign_id, waiter.joined.serial))
            await self._orders.cancel(order_id=name, key="", who=who, now=now)
        if outcome is Outcome.DONE and _number(reply.detail) == 0:  # the next one may fit
            await self._answered(campaign_id, now)
        return Answer(outcome, await self._as_of(waiter, handle, None, now))

    # ---- moving on ---------------------------------------------------------------------------

    async def freed(self, handle: str, campaign_ids: Iterable[str], now: int = 0) -> None:
        """An act in this person's cell may have freed room: offer it where somebody waits."""
        tag = self._acting.tag_of(handle)
        for campaign_id in campaign_ids:
            try:
                key = keys.campaign_key(tag, campaign_id)
                (mark,) = await self._acting.server.fields(key, "waiting")
            except (RedisError, OSError):
                continue  # the timer looks again
            if mark and int(mark) % 2:
                await self._answered(campaign_id, now)

    async def published(self, campaign_id: str, now: int = 0) -> None:
        """A campaign has more stock, or other rules: offer what there is where somebody waits."""
        await self.freed(self._lines.handle(campaign_id), [campaign_id], now)

    async def push(self, campaign_id: str, now: int = 0) -> None:
        """Offer what room there is to the line; returns when that is done."""
        await asyncio.shield(self._push(campaign_id, now))

    async def _answered(self, campaign_id: str, now: int) -> None:
        task = self._push(campaign_id, now)
        await asyncio.wait({task}, timeout=None if now else ANSWER_SECONDS)

    def _push(self, campaign_id: str, now: int) -> asyncio.Task[None]:
        """Move the line once the move that goes on is over: it sees what came meanwhile.

        One moves and one waits for it, and all who ask meanwhile share that one. The timer's move
        (sweep) is beside these: two that move at once do the same.
        """
        waits = self._next.get(campaign_id)
        if waits is not None:
            return waits
        before = self._moving.get(campaign_id)
        task = asyncio.create_task(self._turn(campaign_id, before, now))
        self._next[campaign_id] = task
        return task

    async def _turn(self, campaign_id: str, before: asyncio.Task[None] | None, now: int) -> None:
        if before is not None:
            await asyncio.wait({before})
        task = self._next.pop(campaign_id)
        self._moving[campaign_id] = task
        try:
            await self._move(campaign_id, now)
        except (Unavailable, RedisError, OSError) as error:
            log.warning("line_not_moved", campaign=campaign_id, error=str(error))
        except Exception:
            log.exception("line_not_moved", campaign=campaign_id)
        finally:
            if self._moving.get(campaign_id) is task:
                del self._moving[campaign_id]

    def _later(self, campaign_id: str) -> None:
        """Move once more when any door that was shut has opened."""
        if campaign_id not in self._once_more:
            loop = asyncio.get_running_loop()
            again = loop.call_later(PROMISE_SECONDS, self._retry, campaign_id)
            self._once_more[campaign_id] = again

    def _retry(self, campaign_id: str) -> None:
        task = self._push(campaign_id, 0)
        task.add_done_callback(lambda _: self._once_more.pop(campaign_id, None))

    async def drain(self) -> None:
        """Wait until no line is moved by an act; none is moved later. The timer stops before."""
        while True:
            while self._once_more:
                _, again = self._once_more.popitem()
                again.cancel()
            tasks = {*self._moving.values(), *self._next.values()}
            if not tasks:
                return
            await asyncio.wait(tasks)

    async def _move(self, campaign_id: str, now: int) -> int:
        """Offer until there is no room or nobody waits; when an order lapses next, or 0."""
        rooms = await self._lines.rooms(campaign_id, now)
        line = max(rooms, key=lambda room: room.version)
        results: list[Result] | None = None
        why, unmarked, stopped = 0, -1, False
        while line.version:
            total = _total(rooms)
            free = 0 if stopped else _free(rooms)
            moved = await self._lines.step(campaign_id, results, free, total, unmarked, now)
            for handle, serial in moved.strays:  # they have left meanwhile
                name = keys.make_id("O", handle, serial)
                await self._orders.cancel(
                    order_id=name, key="", who=ENGINE, now=now, moves_on=False
                )
            if not moved.waiting:
                if unmarked == moved.version:
                    break
                unmarked = await self._lines.mark(campaign_id, moved.version, now)
            if moved.over or not moved.waiting:
                results = []
                continue
            if moved.short:
                why = TOO_MANY
            if not moved.heads:
                if moved.why != why:
                    await self._lines.step(campaign_id, [], 0, total, unmarked, now, why)
                break
            never = [head for head in moved.heads if 0 <= total < head[1].party]
            heads = [head for head in moved.heads if not 0 <= total < head[1].party]
            results, refused = await self._offer_all(campaign_id, heads, moved.again, now)
            results += [Result(head, "", 0, int(Outcome.SOLD_OUT)) for head in never]
            stopped = refused is not None
            if refused is Outcome.SOLD_OUT and free > 0 and not now:
                self._later(campaign_id)  # a door was shut, perhaps
            why = int(refused) if refused is not None and refused is not Outcome.SOLD_OUT else 0
            party = heads[0][1].party if heads else 1
            if refused is Outcome.SOLD_OUT and free > self._acting.mall.cells and party > 1:
                why = TOO_MANY  # a quota has room, but not for so many
            rooms = await self._lines.rooms(campaign_id, now)
        return min((room.next for room in rooms if room.next), default=0)

    async def _offer_all(
        self, campaign_id: str, heads: list[Head], one_by_one: int, now: int
    ) -> tuple[list[Result], Outcome | None]:
        """Offer to each; what became of them, and why nobody more can be offered now.

        ``one_by_one``: as long as there is room; else there is room for all of them.
        """
        results: list[Result] = []
        refused: Outcome | None = None
        size = 1 if one_by_one else len(heads)
        for start in range(0, len(heads), size):
            some = heads[start : start + size]
            answers = await asyncio.gather(
                *(self._offer_to(campaign_id, waiter, now) for _, waiter in some)
            )
            for head, answer in zip(some, answers, strict=True):
                if answer.value is not None:
                    order, until = answer.value.place[1], answer.value.record.until
                    results.append(Result(head, order, until, 0))
                elif answer.outcome in PERSONAL:
                    results.append(Result(head, "", 0, int(answer.outcome)))
                else:
                    refused = refused or answer.outcome
            if refused is not None:
                break
        return results, refused

    # ---- offers ------------------------------------------------------------------------------

    async def _offer(
        self, user_id: str, campaign_id: str, party: int, name: str, head: bool, now: int
    ) -> Answer[Order]:
        return await self._orders.offer(
            user_id=user_id, campaign_id=campaign_id, party=party, name=name, head=head, now=now
        )

    async def _offer_to(self, campaign_id: str, waiter: Waiter, now: int) -> Answer[Order]:
        name = _name_of(campaign_id, waiter.joined.serial)
        return await self._offer(waiter.user_id, campaign_id, waiter.party, name, True, now)

    async def _order(self, handle: str, serial: str, now: int) -> Order | None:
        return await self._orders.read(keys.make_id("O", handle, serial), now=now)

    async def _is_over(self, handle: str, waiter: Waiter, now: int) -> bool:
        """Whether what somebody was offered is taken, declined or lapsed."""
        if waiter.state != WaiterState.OFFERED:
            return False
        order = await self._order(handle, waiter.order, now)
        return (
            order is None
            or order.record.state != OrderState.PENDING
            or (order.now >= order.record.until)
        )

    # ---- the timer ---------------------------------------------------------------------------

    async def watch(self, sweeping: Callable[[], bool]) -> None:
        """Move every open line on, each second and whenever an order has lapsed."""
        pause = TICK_SECONDS
        while True:
            await asyncio.sleep(pause)
            pause = TICK_SECONDS
            if not sweeping():
                continue
            try:
                due = await self.sweep()
            except (Unavailable, RedisError, OSError) as error:
                log.warning("lines_not_moved", error=str(error))
                continue
            if due:
                left = (due - self._acting.clock()) / 1000
                pause = min(TICK_SECONDS, max(0.005, left + 0.001))

    async def sweep(self, now: int = 0) -> int:
        """Move every open line on; when an order of one of them lapses next, 0 = none is open."""
        due = 0
        for tag in self._acting.tags:
            for name in await self._acting.server.due(keys.lines_key(tag), 0, 1000):
                campaign_id = name.decode()
                if campaign_id in self._moving or campaign_id in self._next:
                    continue
                try:
                    lapses = await self._move(campaign_id, now)
                except (Unavailable, RedisError, OSError):
                    raise
                except Exception:  # a fault in one line is not the end of the others
                    log.exception("line_not_moved", campaign=campaign_id)
                    continue
                due = min(due or lapses, lapses or due)
        return due


def _place_of(person: str, joined: Joined) -> Place:
    """The place as somebody was first told it."""
    if joined.rank:
        return Place("waiting", joined.rank, None, Outcome.SOLD_OUT)
    return Place("offered", 0, (keys.make_id("O", person, joined.order), joined.until))


def _name_of(campaign_id: str, serial: str) -> str:
    """What the offer to an entry is named by: the same entry is never made two."""
    return f"{campaign_id} {serial}"


def _total(rooms: list[Room]) -> int:
    """The least of the stock and the quotas of all cells; -1 = unlimited."""
    totals = [sum(cells) for cells in zip(*(room.quotas for room in rooms), strict=False)]
    if all(room.share >= 0 for room in rooms):
        totals.append(sum(room.share for room in rooms))
    return min(totals, default=-1)


def _free(rooms: list[Room]) -> int:
    """What all cells have to offer; -1 = unlimited."""
    return -1 if any(room.free < 0 for room in rooms) else sum(room.free for room in rooms)
