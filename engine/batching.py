"""Group commit: while one call to a cell is in flight, the next requests for it gather.

They leave together in one round trip, 64 operations a call, up to four calls a verb, redemptions
first. No timer: an idle cell adds no latency. Each operation is answered on its own;
a request that was cancelled meanwhile is simply not told. Nothing is retried here: after a fault
nobody knows, and the caller asks again with the same key.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable
from contextvars import ContextVar
from typing import Protocol

import msgspec
import structlog
from redis.exceptions import NoScriptError, RedisError

from engine import scripts
from engine.admission import Admission
from engine.errors import Unavailable
from engine.server import Server

BATCH = 64
# Calls of one verb in a round trip: with `appendfsync always` they share a sync of the disk, so a
# long queue is not held to 64 a sync (512 callers, a disk of some ms a sync: +35 % claims/s).
CALLS = 4
WAITING = 8192  # operations that may wait for one cell; more are refused at once
SPARED = 1024  # of these, room that is kept from claims
CLAIM_SECONDS = 2.0  # after which a claim that still waits (Redis stalled) is not sent any more
TIMEOUT_SECONDS = 5.0
# Taking coupons back goes before giving out: a till has a queue, a claim has a phone.
PRIORITY = (
    "stock_receive", "stock_send",
    "park", "redeem", "checkin", "commit", "release", "reverse", "void", "lapse", "profile",
    "member", "points_credit",
    "order_pay", "order_ready", "order_cancel", "order_lapse", "refund", "refund_fail",
    "vehicle", "attend", "amend", "validate", "pocket",
    "points_reverse", "transaction", "purchase", "purchase_refund", "points_expire",
    "gift_send", "gift_receive", "gift_end", "gift", "gift_ask",
    "line_open", "line_mark", "line_move", "line_leave", "claim", "order", "note_key", "line_join",
    "line_read", "shut",
)  # fmt: skip

deadline: ContextVar[float | None] = ContextVar("deadline", default=None)
"""loop.time() past which an operation that has not been sent is not sent any more."""

log = structlog.get_logger()


class Reply(msgspec.Struct, array_like=True):
    """What a script answered to one operation; ``value`` and ``detail`` stay packed."""

    outcome: int
    now: int
    value: msgspec.Raw = msgspec.Raw(b"\xc0")
    detail: msgspec.Raw = msgspec.Raw(b"\xc0")


_decode = msgspec.msgpack.Decoder(list[Reply]).decode
_text = msgspec.msgpack.Decoder(str).decode


class ScriptError(RuntimeError):
    """A script failed on one operation: a bug of ours, with file and line."""


class Fence(Protocol):
    """Says whether the cell may be used; raises Unavailable(recovering) where it may not."""

    async def verify(self, cell: int) -> None: ...

    def doubt(self) -> None: ...

    @property
    def trusted(self) -> bool: ...

    @property
    def doubts(self) -> int: ...


Observer = Callable[[str, int, float], None]
"""Told after each call: verb, operations in it, seconds."""


class _Waiting:
    __slots__ = ("deadline", "future", "operation", "shed", "since")

    def __init__(
        self,
        operation: bytes,
        future: asyncio.Future[Reply],
        until: float | None,
        since: float,
        shed: bool,
    ) -> None:
        self.operation = operation
        self.future = future
        self.deadline = until
        self.since = since
        self.shed = shed


def pack_array(items: list[bytes]) -> bytes:
    """A MessagePack array of what is packed already."""
    count = len(items)
    head = bytes([0x90 + count]) if count < 16 else b"\xdc" + count.to_bytes(2, "big")
    return head + b"".join(items)


def as_text(packed: bytes) -> msgspec.Raw:
    """What is packed already, as a text of MessagePack: the scripts' cmsgpack knows no ``bin``."""
    count = len(packed)
    if count < 0x10000:
        return msgspec.Raw(b"\xda" + count.to_bytes(2, "big") + packed)
    return msgspec.Raw(b"\xdb" + count.to_bytes(4, "big") + packed)


class Lane:
    """All acts of this process on one cell."""

    def __init__(
        self, server: Server, fence: Fence, cell: int, key: str, observe: Observer | None = None
    ) -> None:
        self._server = server
        self._fence = fence
        self._cell = cell
        self._key = key
        self._observe = observe
        self._queues: dict[str, deque[_Waiting]] = {verb: deque() for verb in PRIORITY}
        self._waiting = 0
        self._flying = 0  # operations in the call that is in flight
        self._admission = Admission()
        self._runner: asyncio.Task[None] | None = None

    def submit(self, verb: str, operation: bytes, *, shed: bool = False) -> asyncio.Future[Reply]:
        """Queue one packed operation; Unavailable at once when too many wait.

        ``shed``: it may be told to come back for others' sake: in a flood, and after a stall.
        """
        loop = asyncio.get_running_loop()
        now = loop.time()
        if self._waiting >= WAITING:
            raise Unavailable("too many requests wait for this cell")
        if shed and (
            self._waiting >= WAITING - SPARED
            or not self._admission.admits(self._waiting + self._flying, now)
        ):
            raise Unavailable("more is asked of this cell than it can do")
        future: asyncio.Future[Reply] = loop.create_future()
        until = deadline.get()
        if shed:
            until = min(until or now + CLAIM_SECONDS, now + CLAIM_SECONDS)
        self._queues[verb].append(_Waiting(operation, future, until, now, shed))
        self._waiting += 1
        if self._runner is None:
            self._runner = asyncio.create_task(self._run())
        return future

    async def drain(self) -> None:
        """Wait until nothing is queued or in flight."""
        while self._runner is not None:
            await asyncio.wait([self._runner])

    async def _run(self) -> None:
        try:
            while self._waiting:
                await self._round()
        finally:
            self._runner = None

    def _gather(self) -> list[tuple[str, list[_Waiting]]]:
        """What leaves now: up to CALLS batches a verb."""
        now = asyncio.get_running_loop().time()
        # In a cluster each call is a round trip of its own.
        calls = 1 if self._server.cluster else CALLS
        batches = [
            (verb, batch)
            for verb, queue in self._queues.items()
            if queue
            for _ in range(calls)
            if queue and (batch := self._next_batch(queue, now))
        ]
        shed = [now - batch[0].since for _, batch in batches if batch[0].shed]
        if self._admission.left(max(shed, default=0.0), now):
            self._turn_away(self._admission.limit or 0)
        return batches

    def _turn_away(self, keep: int) -> None:
        """A flood begins: the latest of those who may be shed are told at once, but so many."""
        for queue in self._queues.values():
            for item in [item for item in queue if item.shed][keep:]:
                if not item.future.done():
                    item.future.set_exception(
                        Unavailable("more is asked of this cell than it can do")
                    )

    def _next_batch(self, queue: deque[_Waiting], now: float) -> list[_Waiting]:
        """Up to BATCH of a queue; what was cancelled or is past its deadline is not sent."""
        batch: list[_Waiting] = []
        while queue and len(batch) < BATCH:
            item = queue.popleft()
            self._waiting -= 1
            if item.future.done():
                continue
            if item.deadline is not None and now > item.deadline:
                item.future.set_exception(Unavailable("the deadline passed; nothing was done"))
                continue
            batch.append(item)
        return batch

    async def _round(self) -> None:
        batches = self._gather()
        if not batches:
            return
        try:
            async with asyncio.timeout(TIMEOUT_SECONDS):
                if not self._fence.trusted:
                    await self._fence.verify(self._cell)
                again = await self._send(batches)
                if again:  # NOSCRIPT: nothing of these was run; compare, load, send once more
                    self._fence.doubt()
                    await self._fence.verify(self._cell)
                    for _, batch in await self._send(again):
                        _fail(batch, Unavailable(recovering=True))
        except Unavailable as error:
            for _, batch in batches:
                _fail(batch, error)
        except (TimeoutError, RedisError, OSError) as error:
            self._fence.doubt()
            log.warning("batch_failed", cell=self._cell, error=repr(error))
            for _, batch in batches:
                _fail(batch, Unavailable("no answer from Redis; ask again with the same key"))
        except Exception as error:  # a bug of ours must not leave the others waiting
            log.exception("batch_failed", cell=self._cell)
            for _, batch in batches:
                _fail(batch, error)

    async def _send(
        self, batches: list[tuple[str, list[_Waiting]]]
    ) -> list[tuple[str, list[_Waiting]]]:
        """Send, hand the answers back; returns what met NOSCRIPT."""
        calls = [
            (scripts.load(verb), pack_array([item.operation for item in batch]))
            for verb, batch in batches
        ]
        self._flying = operations = sum(len(batch) for _, batch in batches)
        started = time.perf_counter()
        try:
            replies = await self._server.call(self._key, calls)
            if self._server.slowed:
                due = started + operations * self._server.slowed
                await asyncio.sleep(max(0.0, due - time.perf_counter()))
        finally:
            self._flying = 0
        seconds = time.perf_counter() - started
        self._admission.came_back(operations, seconds)
        again = []
        for (script, _), (verb, batch), reply in zip(calls, batches, replies, strict=True):
            if self._observe is not None:
                self._observe(verb, len(batch), seconds)
            if isinstance(reply, NoScriptError):
                again.append((verb, batch))
            elif isinstance(reply, Exception):
                self._fence.doubt()
                log.warning("script_failed", verb=verb, error=script.where(str(reply)))
                _fail(batch, Unavailable("Redis refused; ask again with the same key"))
            else:
                self._hand_back(script, batch, reply)
        return again

    def _hand_back(self, script: scripts.Script, batch: list[_Waiting], reply: bytes) -> None:
        answers = _decode(reply)
        for item, answer in zip(batch, answers, strict=True):
            if item.future.done():
                continue
            if answer.outcome < 0:
                fault = ScriptError(script.where(_text(answer.value)))
                item.future.set_exception(fault)
            else:
                item.future.set_result(answer)


def _fail(batch: list[_Waiting], error: Exception) -> None:
    for item in batch:
        if not item.future.done():
            item.future.set_exception(error)
