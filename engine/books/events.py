"""The events feed: what happened, in order, from the books; resumable, nothing left out.

A position names how far a caller is in each cell and in the notices, so a fact that reaches the
books late is told late and never skipped. With several cells an event waits until the books hold
everything before its moment: then the order is that of time over all of them.
"""

from __future__ import annotations

from collections.abc import Collection
from heapq import merge
from itertools import islice
from operator import itemgetter
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import msgspec
from sqlalchemy import select, tuple_
from sqlalchemy.ext.asyncio import AsyncConnection

from engine.books.arrivals import Position as Place
from engine.books.claim_runs import told_after
from engine.books.fact_body import InWords, in_words, words_of
from engine.books.feeds import complete_until
from engine.books.schema import facts, notices, tenants
from engine.keys import PRINTED
from engine.outcomes import Outcome

if TYPE_CHECKING:
    from engine.books.db import Books

# Facts by the name of their event; those that are nobody's business outside are left out.
NAMES = {
    "claimed": "issued",
    "held": "held",
    "redeemed": "redeemed",
    "committed": "redeemed",
    "released": "released",
    "reversed": "reversed",
    "voided": "voided",
    "ordered": "ordered",
    "order_paid": "order_paid",
    "order_ended": "order_lapsed",  # or order_cancelled
    "refunded": "refunded",
    "refund_failed": "refund_failed",
    "gifted": "gift_offered",
    "gift_ended": "gift_ended",
    "given": "given",
    "received": "received",
    "checked": "checkin",
}
OFFERS = {"ordered": "offer_made", "order_ended": "offer_lapsed"}  # to a waiting line
NOTICES = ("expiring_soon", "budget_alarm")
TYPES = tuple(dict.fromkeys([*NAMES.values(), "order_cancelled", *OFFERS.values(), *NOTICES]))
SCANNED = 2000  # facts of a cell that one page looks at

# Of a fact, what the event shows; moments are Unix ms, 0 = none.
_SHOWN = (
    "user_id", "campaign_id", "order_id", "channel", "valid_from", "valid_until", "redemption_id",
    "store_id", "merchant_id", "lot_id", "order_ref", "amount", "discount", "payable", "until",
    "points", "payment_ref", "coupon_ids", "reason", "refund_ref", "items", "gift_id",
    "to_user", "to_coupon", "came_from", "coupon_id", "event_id", "gate", "entries",
)  # fmt: skip
_ID = {
    "issued": "coupon_id", "voided": "coupon_id", "refunded": "coupon_id",
    "refund_failed": "coupon_id", "reversed": "reversal_id", "ordered": "order_id",
    "gift_offered": "coupon_id", "gift_ended": "coupon_id", "given": "coupon_id",
    "received": "coupon_id",
    "order_paid": "order_id", "order_lapsed": "order_id", "order_cancelled": "order_id",
    "checkin": "checkin_id",
    "offer_made": "order_id", "offer_lapsed": "order_id",
}  # fmt: skip
MOMENTS = frozenset({"valid_from", "valid_until", "until"})


Number = Annotated[int, msgspec.Meta(ge=0, le=1 << 53)]


class Position(msgspec.Struct, array_like=True):
    """How far one is: (epoch, seq) of each cell, and the number of the last notice."""

    cells: list[tuple[Number, Number]]
    notice: Number = 0


class Event(NamedTuple):
    """One event; ``place`` orders those of a moment: cell (-1: a notice), epoch, seq."""

    at: int
    place: tuple[int, int, int]
    type: str
    body: dict[str, Any]

    @property
    def id(self) -> str:
        """Unlike all others of the mall."""
        cell, epoch, seq = self.place
        return f"n{seq}" if cell < 0 else f"{cell}-{epoch}-{seq}"


class Page(NamedTuple):
    """Events and where to go on; ``more``: there are some already."""

    events: list[Event]
    position: Position
    more: bool


async def feed(
    books: Books,
    tenant: str,
    after: Position | None,
    types: Collection[str] | None,
    limit: int,
    *,
    rehearsal: bool,
) -> Page:
    """The next events of these types (None = all); the position moves over all others, too.

    ``rehearsal``: clocks are what callers say, so nothing waits for anything.
    """
    complete = await complete_until(books, tenant)
    wanted = set(types or TYPES)
    async with books.connect() as conn:
        cells = await conn.scalar(select(tenants.c.cells).where(tenants.c.id == tenant)) or 1
        known = after.cells if after else []
        places = [known[n] if n < len(known) else (1, 0) for n in range(cells)]
        notice = after.notice if after else 0
        end = None if rehearsal or cells == 1 else complete or 0
        streams = [await _cell(conn, tenant, n, place, end) for n, place in enumerate(places)]
        streams.append(await _notices(conn, tenant, notice, end))
    events: list[Event] = []
    cut = [stream[-1].at for stream in streams if len(stream) >= SCANNED]
    more, last = bool(cut), min(cut, default=None)
    for event in merge(*streams):
        if last is not None and event.at > last:
            break  # a stream that was cut may go on before it
        if event.type in wanted and len(events) >= limit:
            more = True
            break
        cell, epoch, seq = event.place
        if cell < 0:
            notice = seq
        else:
            places[cell] = epoch, seq
        if event.type in wanted:
            events.append(event)
    return Page(events, Position(places, notice), more)


async def _cell(
    conn: AsyncConnection, tenant: str, cell: int, place: tuple[int, int], end: int | None
) -> list[Event]:
    """The facts of a cell after ``place`` as far as they may be told yet, in their order."""
    c = facts.c
    query = select(c.epoch, c.seq, c.type, c.act, c.at_ms, c.body).where(
        c.tenant == tenant,
        c.cell == cell,
        tuple_(c.epoch, c.seq) > place,  # alone: with ``epoch >=`` SQLite reads all before it too
    )
    rows = await conn.execute(query.order_by(c.epoch, c.seq).limit(SCANNED))
    alone = (((row.epoch, row.seq), words_of(row)) for row in rows)
    claims = await told_after(conn, tenant, cell, Place(*place), SCANNED)
    in_runs = ((tuple(claim.place), in_words(claim.fact)) for claim in claims)
    found, at = [], 0
    for (epoch, seq), fact in islice(merge(alone, in_runs, key=itemgetter(0)), SCANNED):
        if end is not None and fact.at_ms >= end:
            break  # what follows waits with it: the order of a cell is never turned
        name = NAMES.get(fact.type, "")
        if name:
            at = max(at, fact.at_ms)  # and a clock that was put back does not turn it either
        if fact.type == "order_ended" and not fact.body["lapsed"]:
            name = "order_cancelled"
        elif fact.body.get("offer"):  # of a waiting line
            name = OFFERS[fact.type]
        found.append(Event(at, (cell, epoch, seq), name, _told(name, fact)))
    return found


async def _notices(conn: AsyncConnection, tenant: str, after: int, end: int | None) -> list[Event]:
    c = notices.c
    query = select(c.n, c.type, c.at_ms, c.body).where(c.tenant == tenant, c.n > after)
    found, at = [], 0
    for row in await conn.execute(query.order_by(c.n).limit(SCANNED)):
        if end is not None and row.at_ms >= end:
            break
        at = max(at, row.at_ms)
        body = msgspec.json.decode(row.body)
        told = _somebodys({"at": row.at_ms, **body})
        found.append(Event(at, (-1, 0, row.n), row.type, told))
    return found


def _somebodys(told: dict[str, Any]) -> dict[str, Any]:
    """An event without the name of nobody, who owns a printed coupon."""
    if str(told.get("user_id", "")).startswith(PRINTED):
        del told["user_id"]
    return told


def _told(name: str, fact: InWords) -> dict[str, Any]:
    body = fact.body
    told: dict[str, Any] = {"at": fact.at_ms}
    if name:
        told[_ID.get(name, "redemption_id")] = fact.act
        told |= {field: body[field] for field in _SHOWN if body.get(field) not in (None, "")}
        used = [one["coupon_id"] for one in body.get("coupons", ())]
        if used:
            told["coupon_ids"] = used
    if name == "checkin":
        told["direction"] = "out" if body["out"] else "in"
        told["code"] = Outcome(body["outcome"]).code if body["outcome"] else None
    return _somebodys(told)
