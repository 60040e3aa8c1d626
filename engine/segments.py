"""What is handed out over several cells goes to where it is asked for.

A campaign's stock is shared out: each cell has a part. A cell that has run dry looks at all others,
has the richest send half of what it has (stock_send.lua) and receives it (stock_receive.lua). What
a cell has ever sent to another, and what that one has ever received from it, are totals that only
grow; their difference is on its way. So both halves are safe to repeat by whoever comes, and what a
crash cut in two is finished by the next who looks, or by the sweeper.

Nobody is told ``sold_out`` before all cells were looked at, and nobody looks twice within
``FRESH_SECONDS`` where nothing was found: a storm of refusals is no storm of questions.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from contextvars import Context
from typing import TYPE_CHECKING

import msgspec
from redis.exceptions import NoScriptError, RedisError

from engine import commands, keys, scripts
from engine.batching import Reply
from engine.errors import Unavailable
from engine.failpoints import failpoint
from engine.outcomes import Outcome

if TYPE_CHECKING:
    from engine.acting import Acting

STOCK, QUOTA = "stock", "quota"  # of a campaign by its id; of an event, as event/quota
FRESH_SECONDS = 0.04  # a look that found nothing is as good as a new one for so long
SHOWN_SECONDS = 0.25  # how old what is only shown may be
SHUT_MS = 75  # from a look that found nothing on, a cell may refuse for so long
WAIT_SECONDS = 0.25  # for what is on its way, or was just given to another cell
PAUSE_SECONDS = 0.005  # between two looks of one that waits
ROUNDS = 8  # that one act asks again; others are faster only where they get it
SETTLE_MS = 2000  # what was sent so long ago has arrived, or the sweeper sees to it
SETTLE_AT_ONCE = 256
KNOWN = 4096  # campaigns whose last look is kept

_pack = msgspec.msgpack.encode
_codes = msgspec.msgpack.Decoder(tuple[int, list[str]]).decode
_number = msgspec.msgpack.Decoder(int).decode


_Place = tuple[str, str, int, int, bool]  # what, campaign, cell, now, for the head of a line


class Part(msgspec.Struct, array_like=True):
    """What one cell has, of one moment."""

    left: int  # lapsed orders counted as free
    kept: int  # of it, for this cell alone
    kept_ms: int  # for so long
    promised_ms: int  # nobody is given one here for so long
    sent: list[int]  # to each cell, ever
    received: list[int]  # from each cell, ever
    quotas: list[str] = []  # that it counts against, of a campaign
    waits: int = 0  # 1: people wait for it, and it is nobody else's

    @property
    def spare(self) -> int:
        """What it could send away."""
        return self.left - self.kept


_parts = msgspec.msgpack.Decoder(list[Part | None]).decode


class Look:
    """All cells of one campaign, each of its own moment."""

    def __init__(self, parts: Sequence[Part], at: float) -> None:
        self.parts = parts
        self.at = at  # time.monotonic() before it was asked
        self.bound: int | None = None  # what its quotas have left, the least of them

    def on_its_way(self, sender: int, to: int) -> int:
        """How much the one has sent and the other has not received."""
        return _at(self.parts[sender].sent, to) - _at(self.parts[to].received, sender)

    @property
    def total(self) -> int:
        """Left everywhere and on its way; what moves between the cells' moments changes nothing."""
        moving = sum(sum(part.sent) - sum(part.received) for part in self.parts)
        total = sum(part.left for part in self.parts) + moving
        return total if self.bound is None else min(total, self.bound)

    @property
    def waits(self) -> bool:
        """Whether people wait for it: what is left is theirs."""
        return any(part.waits for part in self.parts)

    @property
    def quotas(self) -> list[str]:
        """The quotas that the campaign counts against."""
        return self.parts[0].quotas


def _at(totals: Sequence[int], cell: int) -> int:
    return totals[cell] if cell < len(totals) else 0


class _Waiting:
    """One who was refused, and how many they need."""

    __slots__ = ("future", "n")

    def __init__(self, n: int) -> None:
        self.future: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self.n = n


class _Dry:
    """A campaign in a cell that has run dry: who waits for more of it."""

    __slots__ = ("asking", "queue", "stuck", "task")

    def __init__(self) -> None:
        self.queue: deque[_Waiting] = deque()
        self.asking = 0  # how many are being asked for again by those who were told to
        self.stuck = 0.0  # time.monotonic() since which nothing has come; 0 = something has
        self.task: asyncio.Task[None] | None = None


class Segments:
    """The cells' parts of one tenant, as one process moves them."""

    def __init__(self, acting: Acting) -> None:
        self._acting = acting
        self._cells = acting.mall.cells
        self.several = self._cells > 1
        self._looks: dict[tuple[str, str], Look] = {}
        self._looking: dict[tuple[str, str, int], asyncio.Task[Look]] = {}
        self._dry: dict[_Place, _Dry] = {}

    async def refill(
        self, campaign_id: str, cell: int, at_least: int = 1, *, now: int = 0, what: str = STOCK,
        head: bool = False,
    ) -> bool:  # fmt: skip
        """Bring stock of a campaign to ``cell`` from others, so that ``at_least`` are left there.

        True: there is that much for the caller by now, so the act that was refused is worth asking
        again (others may still be faster). False: there is not, in all cells together; then
        nothing was moved for it. Many who ask for the same at once share one look and one
        transfer. With one cell it is False at once. Unavailable as for any act.
        ``head``: it is for the head of the waiting line; while people wait, nobody else gets any.
        """
        if self._cells == 1:
            return False
        look = self._looks.get((what, campaign_id))
        known = look is not None and not now and _young(look)
        if look and known and (look.total < at_least or (look.waits and not head)):
            return False
        place = what, campaign_id, cell, now, head
        dry = self._dry.setdefault(place, _Dry())
        waiting = _Waiting(at_least)
        dry.queue.append(waiting)
        if dry.task is None:
            # In a context of its own: no deadline of one of those who wait.
            dry.task = asyncio.create_task(self._serve(place, dry), context=Context())
        return await waiting.future

    async def quotas_of(self, campaign_id: str, now: int = 0) -> list[str]:
        """The quotas that a campaign counts against."""
        return (await self._look(STOCK, campaign_id, now)).quotas

    async def again(
        self,
        reply: Reply,
        ask: Callable[[], Awaitable[Reply]],
        campaign_id: str,
        handle: str,
        n: int = 1,
        now: int = 0,
        head: bool = False,
    ) -> Reply:
        """The answer to an act that was refused for want of ``n``, asked again while that helps."""
        cell = self._acting.cell_of(handle)
        for _ in range(ROUNDS if self.several else 0):
            if not await self.refill(campaign_id, cell, n, now=now, head=head):
                return reply
            place = STOCK, campaign_id, cell, now, head
            dry = self._dry.setdefault(place, _Dry())
            dry.asking += n
            try:
                reply = await ask()
            finally:
                dry.asking -= n
                self._forget(place, dry)
            if reply.outcome != Outcome.SOLD_OUT:
                return reply
        return reply

    async def empty_for(self, campaign_id: str) -> int:
        """For how many ms from now "sold out" may be told without asking; 0 = there is some."""
        look = await self._look(STOCK, campaign_id, 0)
        await self._quotas(look, 0)
        if look.total:
            return 0
        return int(SHUT_MS - (time.monotonic() - look.at) * 1000)

    async def totals(self, campaign_ids: Sequence[str], now: int = 0) -> list[int | None]:
        """What is left of each campaign in all cells together; None = unlimited, unknown, or of
        those who wait for it.

        For showing: as of a moment ago, at most ``SHOWN_SECONDS``.
        """
        since = 0.0 if now else time.monotonic() - SHOWN_SECONDS
        known = {name: self._looks.get((STOCK, name)) for name in campaign_ids}
        asked = [name for name, look in known.items() if look is None or look.at <= since or now]
        if asked:
            looks = await self._read(STOCK, asked, now)
            for name, look in zip(asked, looks, strict=True):
                known[name] = look
                if look is not None:
                    await self._quotas(look, now)
                if look is not None and not now:
                    self._keep(STOCK, name, look)
        seen = map(known.get, campaign_ids)
        return [None if look is None or look.waits else look.total for look in seen]

    async def drain(self) -> None:
        """Wait until nobody waits and nothing is being moved."""
        while tasks := [dry.task for dry in self._dry.values() if dry.task is not None]:
            await asyncio.wait(tasks)

    # ---- one campaign in one cell that has run dry ---------------------------------------------

    def _forget(self, place: _Place, dry: _Dry) -> None:
        """It is dry no more, or nobody asks."""
        if not dry.asking and dry.task is None and self._dry.get(place) is dry:
            del self._dry[place]

    async def _serve(self, place: _Place, dry: _Dry) -> None:
        """Move what is needed here until everybody who waits has an answer."""
        what, name, cell, now, head = place
        try:
            while dry.queue:
                await self._round(what, name, cell, dry, now, head)
        except Exception as error:  # noqa: BLE001 - told to those who wait for it
            for waiting in dry.queue:
                if not waiting.future.done():
                    waiting.future.set_exception(error)
            dry.queue.clear()
        finally:
            dry.task = None
            self._forget(place, dry)

    async def _round(
        self, what: str, name: str, cell: int, dry: _Dry, now: int, head: bool
    ) -> None:
        """One look, and what follows from it: of the campaign, and of its quotas where it has."""
        look = await self._look(what, name, now, dry.queue[0].n)
        own = look.parts[cell]
        if own.promised_ms or (look.waits and not head):  # nobody here is given one
            _answer(dry.queue, False, len(dry.queue))
            return
        found = [(what, name, look)] + await self._quotas(look, now, dry.queue[0].n)
        here = [await self._arrived(*one, cell, dry, now) for one in found]
        waited, came = len(dry.queue), 0
        here = _serve_first(dry.queue, here)
        if not dry.queue:
            return
        if look.total >= dry.queue[0].n:
            for n, one in enumerate(found):
                if here[n] < dry.queue[0].n:
                    more = await self._draw(*one, cell, dry, here[n], now)
                    came, here[n] = came + more, here[n] + more
            here = _serve_first(dry.queue, here)
        if came or len(dry.queue) < waited:
            dry.stuck = 0.0
        self._tell_in_vain(dry, look, min(here))
        if dry.queue:
            for one in found:
                await self._finish(*one, cell, now)
            await asyncio.sleep(PAUSE_SECONDS)

    async def _quotas(self, look: Look, now: int, least: int = 1) -> list[tuple[str, str, Look]]:
        """Looks at the quotas of a campaign; from then on its own look knows of them."""
        looks = [await self._look(QUOTA, name, now, least) for name in look.quotas]
        if looks:
            look.bound = min(one.total for one in looks)
        return [(QUOTA, name, one) for name, one in zip(look.quotas, looks, strict=True)]

    async def _arrived(
        self, what: str, name: str, look: Look, cell: int, dry: _Dry, now: int
    ) -> int:
        """How many are here for those who wait, with what was on its way, whoever sent it."""
        here = look.parts[cell].left - dry.asking
        for sender in range(self._cells):
            if look.on_its_way(sender, cell) > 0:
                total = _at(look.parts[sender].sent, cell)
                here += await self._receive(what, name, sender, cell, total, dry, now)
        return here

    async def _draw(
        self, what: str, name: str, look: Look, cell: int, dry: _Dry, here: int, now: int
    ) -> int:
        """Have others send, enough for the first who waits and more where more wait; what came."""
        least, most = dry.queue[0].n - here, sum(one.n for one in dry.queue) - here
        others = sorted(
            (one for one in range(self._cells) if one != cell and look.parts[one].spare > 0),
            key=lambda one: -look.parts[one].spare,
        )
        if sum(look.parts[one].spare for one in others) < least:
            return 0
        wanted: dict[int, int] = {}
        for sender in others:
            if most <= 0:
                break
            spare = look.parts[sender].spare
            wanted[sender] = max(min(least, spare), min(most, (spare + 1) // 2))
            least, most = least - wanted[sender], most - max(wanted[sender], spare // 2)

        async def move(sender: int) -> int:
            sent = _at(look.parts[sender].sent, cell)
            total = await self._send(what, name, sender, cell, sent, wanted[sender], now)
            if total <= sent:
                return 0
            failpoint("stock_sent")
            return await self._receive(what, name, sender, cell, total, dry, now)

        return sum(await asyncio.gather(*(move(sender) for sender in wanted)))

    def _tell_in_vain(self, dry: _Dry, look: Look, here: int) -> None:
        """Tell those for whom there is not enough anywhere, or who have waited long enough."""
        now = time.monotonic()
        dry.stuck = dry.stuck or now
        stuck = now - dry.stuck >= WAIT_SECONDS
        most = max(look.total, here)
        for waiting in list(dry.queue):
            if waiting.n > most or stuck:
                dry.queue.remove(waiting)
                if not waiting.future.done():
                    waiting.future.set_result(False)

    async def _finish(self, what: str, name: str, look: Look, cell: int, now: int) -> None:
        """Bring to others what is on its way to them, should nobody be at it."""
        for to in range(self._cells):
            for sender in range(self._cells):
                if to != cell and look.on_its_way(sender, to) > 0:
                    total = _at(look.parts[sender].sent, to)
                    await self._receive(what, name, sender, to, total, None, now)

    # ---- the two halves ------------------------------------------------------------------------

    async def _send(
        self, what: str, name: str, sender: int, to: int, sent: int, wanted: int, now: int
    ) -> int:
        """Have a cell send to another; what it has sent there then, in all."""
        command = commands.StockSend(now=now, what=what, id=name, to=to, sent=sent, wanted=wanted)
        reply = await self._acting.lane(sender).submit("stock_send", _pack(command))
        if reply.outcome in (Outcome.DONE, Outcome.REPEATED):
            return _number(reply.value)
        return sent

    async def _receive(
        self, what: str, name: str, sender: int, to: int, total: int, dry: _Dry | None, now: int
    ) -> int:
        """Bring to a cell what another has sent it; how many came now."""
        command = commands.StockReceive(
            now=now,
            what=what,
            id=name,
            sender=sender,
            total=total,
            wanted=sum(one.n for one in dry.queue) if dry else 1,
        )
        lane = self._acting.lane(to)
        reply = await lane.submit("stock_receive", _pack(command))
        if reply.outcome == Outcome.INVALID_REQUEST:  # codes of a third party go along
            total, codes = _codes(await self._acting.read_script(sender, "stock_codes", [name, to]))
            command = msgspec.structs.replace(command, total=total, codes=codes)
            reply = await lane.submit("stock_receive", _pack(command))
            await self._settle(sender, f"{to}:{what}:{name}", "", total)
        return _number(reply.value) if reply.outcome == Outcome.DONE else 0

    async def sweep(self) -> int:
        """Finish what was sent a while ago and has not arrived; how many were looked at."""
        server, told = self._acting.server, 0
        for sender, tag in enumerate(self._acting.tags):
            until = server.clock() - SETTLE_MS
            due = await server.due_scores(keys.sent_key(tag), until, SETTLE_AT_ONCE)
            for member, score in due:
                to, what, name = member.decode().split(":", 2)
                (look,) = await self._read(what, [name], 0)
                if look is None:
                    continue
                if look.on_its_way(sender, int(to)) > 0:
                    total = _at(look.parts[sender].sent, int(to))
                    await self._receive(what, name, sender, int(to), total, None, 0)
                arrived = _at(look.parts[sender].sent, int(to))
                await self._settle(sender, member.decode(), str(int(score)), arrived)
                told += 1
        return told

    async def _settle(self, sender: int, member: str, at: str, received: int) -> None:
        """Have a cell forget what it has sent: the other has received so much, in all."""
        place, script = keys.cell_key(self._acting.tags[sender]), scripts.load("stock_settle")
        await self._acting.server.write_once(place, script, member, at, received)

    # ---- looking -------------------------------------------------------------------------------

    async def _look(self, what: str, name: str, now: int, least: int = 1) -> Look:
        """All cells; what was seen a moment ago where that was less than ``least``."""
        known = self._looks.get((what, name))
        if known is not None and not now and known.total < least and _young(known):
            return known
        place = what, name, now
        task = self._looking.get(place)
        if task is None:
            task = self._looking[place] = asyncio.create_task(self._look_anew(what, name, now))
            task.add_done_callback(lambda _: self._looking.pop(place, None))
        return await asyncio.shield(task)

    async def _look_anew(self, what: str, name: str, now: int) -> Look:
        (look,) = await self._read(what, [name], now)
        if look is None:
            look = Look([Part(0, 0, 0, 0, [], [])] * self._cells, time.monotonic())
        if not now:
            self._keep(what, name, look)
        return look

    def _keep(self, what: str, name: str, look: Look) -> None:
        if len(self._looks) >= KNOWN:
            self._looks.clear()
        self._looks[what, name] = look

    async def _read(self, what: str, names: Sequence[str], now: int) -> list[Look | None]:
        """A look at each; None where a cell has no bounded part of it."""
        server, script = self._acting.server, scripts.load("stock_look")
        places = [keys.cell_key(tag) for tag in self._acting.tags]
        argument = _pack([now, what, list(names)])
        at = time.monotonic()
        try:
            try:
                replies = await server.read_all(places, script, argument)
            except NoScriptError:
                self._acting.fence.doubt()
                await self._acting.fence.verify(0)
                replies = await server.read_all(places, script, argument)
        except (RedisError, OSError, TimeoutError) as error:
            raise Unavailable(f"Redis does not answer ({type(error).__name__})") from error
        cells = [_parts(reply) for reply in replies]
        looks: list[Look | None] = []
        for row in zip(*cells, strict=True):
            parts = [part for part in row if part is not None]
            looks.append(Look(parts, at) if len(parts) == self._cells else None)
        return looks


def _young(look: Look) -> bool:
    return time.monotonic() - look.at < FRESH_SECONDS


def _answer(queue: deque[_Waiting], said: bool, number: int) -> None:
    for _ in range(number):
        waiting = queue.popleft()
        if not waiting.future.done():
            waiting.future.set_result(said)


def _serve_first(queue: deque[_Waiting], here: list[int]) -> list[int]:
    """Tell those who wait first that there is enough for them, of all; what is left then."""
    served = 0
    while queue and (queue[0].future.done() or queue[0].n <= min(here) - served):
        if not queue[0].future.done():
            served += queue[0].n
        _answer(queue, True, 1)
    return [one - served for one in here]
