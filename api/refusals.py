"""Refused tries at tills and lots on their way to the books: kept in memory, written in batches.

A refusal must not wait for a database: it leaves its answer here and is gone. Once a second what
has gathered is written; a crash loses at most that second. What comes faster than can be kept is
dropped, oldest first, and counted. No state hangs on any of it.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from collections import deque
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

import orjson
import structlog
from sqlalchemy.exc import SQLAlchemyError

from api import wire
from api.wire_payments import PaymentReply
from api.wire_redemptions import RedemptionReply, ResolveReply
from engine.books import attempts
from engine.books.attempts import Attempt

if TYPE_CHECKING:
    from api.routes import Call, Reply
    from api.tenants import Tenant
    from engine.books.db import Books

WRITE_SECONDS = 1.0
TRIM_SECONDS = 600.0
MAX_WAITING = 4000  # calls of one process between two writes
MAX_OF_A_CALL = 50  # coupons of one call

log = structlog.get_logger()


class _Seen(NamedTuple):
    """A refused call, its answer still as it was sent."""

    tenant: Tenant
    at: int
    verb: str
    store_id: str
    role: str
    label: str
    request_id: str
    body: Any  # as decoded
    answer: Any  # as sent


class Refusals:
    """What one API process has seen and not yet written. ``stamp``: what no other process has."""

    def __init__(self, books: Books, stamp: str) -> None:
        self.dropped = 0
        self._books = books
        self._stamp = stamp
        self._waiting: deque[_Seen] = deque(maxlen=MAX_WAITING)
        self._tally = itertools.count(1)
        self._writing = asyncio.Lock()

    def saw(self, call: Call, reply: Reply) -> None:
        """Keep it if it is a refused try; called with every answer of a route that asks for it."""
        answer, verb = reply.body, call.route.attempts
        if reply.replayed or not _tells_a_refusal(call, reply.status or call.route.status, answer):
            return
        if len(self._waiting) == MAX_WAITING:
            self.dropped += 1
        seen = _Seen(
            call.tenant, call.clock(), verb,
            _place(call),
            call.key.role, call.key.label, call.request_id, call.body, answer,
        )  # fmt: skip
        self._waiting.append(seen)

    async def write(self) -> None:
        """Write what has gathered."""
        async with self._writing:
            rows: list[Attempt] = []
            while self._waiting:
                rows += self._rows(self._waiting.popleft())
            await attempts.add(self._books, rows)
            if self.dropped:
                log.warning("attempts_dropped", calls=self.dropped)
                self.dropped = 0

    async def watch(self, *, trims: bool, rehearsal: bool) -> None:
        """Write each second for as long as the process lives; ``trims``: strike off the oldest."""
        trimmed = 0.0
        while True:
            await asyncio.sleep(WRITE_SECONDS)
            try:
                await self.write()
                if trims and time.monotonic() - trimmed > TRIM_SECONDS:
                    # A rehearsal's tries are as old as its clock says: only their number counts.
                    now = 0 if rehearsal else time.time_ns() // 1_000_000
                    await attempts.trim(self._books, now)
                    trimmed = time.monotonic()
            except (SQLAlchemyError, OSError) as error:
                log.warning("attempts_lost", error=repr(error)[:300])

    async def close(self) -> None:
        """Write the rest, if the books are there."""
        try:
            async with asyncio.timeout(5):
                await self.write()
        except (SQLAlchemyError, OSError) as error:
            log.warning("attempts_lost", error=repr(error)[:300])

    def _rows(self, seen: _Seen) -> Iterator[Attempt]:
        body = seen.body
        held = seen.verb == "redeem" and getattr(body, "mode", None) == "hold"
        verb = "hold" if held else seen.verb
        for coupon_id, code, short_by in itertools.islice(_refused(seen), MAX_OF_A_CALL):
            if not code:  # nothing to be done with it, and no rule refuses it
                continue
            yield Attempt(
                tenant=seen.tenant.id,
                id=f"{seen.at:015d}-{self._stamp}{next(self._tally):x}",
                at_ms=seen.at,
                verb=verb,
                code=code,
                coupon_id=coupon_id,
                short_by=short_by,
                store_id=seen.store_id,
                terminal_id=getattr(body, "terminal_id", None) or getattr(body, "gate", None) or "",
                staff_id=getattr(body, "staff_id", None) or "",
                channel=getattr(body, "channel", None) or "",
                order_ref=getattr(body, "order_ref", None) or "",
                role=seen.role,
                label=seen.label,
                request_id=seen.request_id,
            )


def _place(call: Call) -> str:
    """The store it was tried in, or the lot."""
    key, body = call.key, call.body
    named = getattr(body, "store_id", None) or getattr(body, "lot_id", None)
    return key.store_id or key.lot_id or named or ""


def _tells_a_refusal(call: Call, status: int, answer: Any) -> bool:
    if isinstance(answer, RedemptionReply):  # best effort: some were used, some were not
        return bool(answer.skipped) and call.body.choose is None
    if isinstance(answer, PaymentReply):  # named ones that a fee was not paid with
        return bool(answer.skipped and call.body.coupons) and answer.status != "quoted"
    if isinstance(answer, ResolveReply):
        return not answer.usable
    return status == 409 or isinstance(answer, wire.VerifyReply)


def _refused(seen: _Seen) -> Iterator[tuple[str, str, int]]:
    """(coupon or "", code, short by) of each coupon that was refused."""
    answer = seen.answer
    if isinstance(answer, wire.VerifyReply):
        for item in answer.items:
            if not item.ok:
                yield item.coupon_id or "", item.reason or "", 0
    elif isinstance(answer, ResolveReply):
        yield answer.coupon.id if answer.coupon else "", answer.code or "", 0
    elif isinstance(answer, RedemptionReply | PaymentReply):
        for skipped in answer.skipped:
            yield skipped.coupon_id or "", skipped.code, skipped.short_by or 0
    else:
        told = orjson.loads(answer)
        for one in told.get("failed") or _named(seen, told):
            code, short_by = one.get("code", told["code"]), one.get("short_by", 0)
            yield one.get("coupon_id") or "", code, short_by


def _named(seen: _Seen, told: dict[str, Any]) -> list[dict[str, Any]]:
    """What was refused where the answer names no list: one coupon, or all that were presented."""
    if "coupon_id" in told:
        return [told]
    found = []
    for ref in getattr(seen.body, "coupons", None) or ():
        coupon_id = ref.id
        if coupon_id is None and ref.code is not None:
            coupon_id = seen.tenant.codes.read(ref.code, seen.at).coupon_id
        if coupon_id is not None:
            found.append({"coupon_id": coupon_id})
    return found or [{}]
