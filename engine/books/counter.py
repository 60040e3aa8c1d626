"""What the counter and the office ask of the books: what a member saved, what a till has taken.

A till's day is the local day of the acts. A redemption belongs to the terminal that made it, a
reversal to the one that made that, or to the redemption's where none is named.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import orjson
from sqlalchemy import and_, func, select

from engine.books.feeds import complete_until
from engine.books.schema import NO_CLAIM, facts, redemptions, reversals
from engine.books.settlement import total

if TYPE_CHECKING:
    from engine.books.db import Books

STANDING = ("redeemed", "reversed")  # states of a redemption that was made; not holds


async def saved(books: Books, tenant: str, user_id: str) -> tuple[int, int | None]:
    """(fen that a member's redemptions took off and kept off, complete until, ms or None)."""
    complete = await complete_until(books, tenant)
    query = select(total(redemptions.c.discount - redemptions.c.discount_back)).where(
        redemptions.c.tenant == tenant,
        redemptions.c.user_id == user_id,
        redemptions.c.state.in_(STANDING),
    )
    async with books.connect() as conn:
        return int(await conn.scalar(query) or 0), complete


def local_day(day: date, timezone: str) -> tuple[int, int]:
    """(start, end) of a local day, ms; days on which clocks change are longer or shorter."""
    zone = ZoneInfo(timezone)
    edges = (datetime.combine(one, time(), zone) for one in (day, day + timedelta(days=1)))
    start, end = (int(edge.timestamp() * 1000) for edge in edges)
    return start, end


# ---- what a terminal took ----------------------------------------------------------------------


async def terminal_totals(
    books: Books, tenant: str, terminal_id: str, store_id: str | None, start: int, end: int
) -> dict[str, int]:
    """Counts and sums (fen) of a terminal's acts in ``[start, end)``; one store's, or any."""
    r = redemptions.c
    query = select(
        func.count(), total(r.amount), total(r.discount), total(r.payable)
    ).where(
        r.tenant == tenant, r.terminal_id == terminal_id, r.state.in_(STANDING),
        r.at_ms >= start, r.at_ms < end,
        *([r.store_id == store_id] if store_id else []),
    )  # fmt: skip
    async with books.connect() as conn:
        count, amount, discount, payable = (await conn.execute(query)).one()
        undone = [
            row
            for row in await conn.execute(_reversals(tenant, store_id, start, end))
            if (_terminal(row.body) or row.terminal_id) == terminal_id
        ]
    back = {name: sum(getattr(row, name) for row in undone)
            for name in ("gross", "discount_back", "refund")}  # fmt: skip
    return {
        "redemptions": count,
        "amount": amount,
        "discount": discount,
        "tendered": amount - discount - payable,
        "payable": payable,
        "reversals": len(undone),
        **back,
        "tendered_back": back["gross"] - back["discount_back"] - back["refund"],
        "net_discount": discount - back["discount_back"],
        "net_payable": payable - back["refund"],
    }


def _reversals(tenant: str, store_id: str | None, start: int, end: int) -> Any:
    """Reversals of a time with the facts that tell who made them."""
    v = reversals.c
    query = (
        select(v.gross, v.discount_back, v.refund, redemptions.c.terminal_id, facts.c.body)
        .join_from(
            reversals,
            redemptions,
            and_(redemptions.c.tenant == v.tenant, redemptions.c.id == v.redemption_id),
        )
        .join(facts, and_(facts.c.tenant == v.tenant, facts.c.act == v.id, NO_CLAIM))
        .where(v.tenant == tenant, v.at_ms >= start, v.at_ms < end, facts.c.type == "reversed")
    )
    return query.where(v.store_id == store_id) if store_id else query


def _terminal(body: str) -> str:
    """The terminal that a reversal was made at; "" where nobody said."""
    try:
        return str(orjson.loads(orjson.loads(body)["who"]).get("terminal") or "")
    except (orjson.JSONDecodeError, KeyError, AttributeError):
        return ""


# ---- the till's own list -----------------------------------------------------------------------


@dataclass(slots=True)
class TillLine:
    """One line of a till's list: what it says was taken off, fen, net of what came back."""

    order_ref: str
    redemption_id: str
    discount: int


@dataclass(slots=True)
class Side:
    """What one side knows of an order: a sum, and the redemptions in it."""

    order_ref: str
    discount: int = 0
    redemption_ids: list[str] = field(default_factory=list)
    standing: bool = True  # False: wholly reversed by the end of the day


@dataclass(slots=True)
class Comparison:
    """The books (here) against a till's list (there)."""

    matched: list[dict[str, Any]] = field(default_factory=list)
    missing_here: list[dict[str, Any]] = field(default_factory=list)
    missing_there: list[dict[str, Any]] = field(default_factory=list)
    differs: list[dict[str, Any]] = field(default_factory=list)


async def redeemed_on(
    books: Books, tenant: str, store_id: str, terminal_id: str | None, start: int, end: int
) -> list[Side]:
    """Redemptions of a store (or of one terminal in it) in ``[start, end)``, net as of ``end``."""
    r = redemptions.c
    query = (
        select(r.id, r.order_ref, r.amount, r.discount)
        .where(
            r.tenant == tenant, r.store_id == store_id, r.state.in_(STANDING),
            r.at_ms >= start, r.at_ms < end,
            *([r.terminal_id == terminal_id] if terminal_id else []),
        )
        .order_by(r.at_ms, r.id)
    )  # fmt: skip
    v = reversals.c
    later = (
        select(v.redemption_id, total(v.discount_back), total(v.gross))
        .join(redemptions, and_(r.tenant == v.tenant, r.id == v.redemption_id))
        .where(
            v.tenant == tenant, v.at_ms < end,
            r.store_id == store_id, r.at_ms >= start, r.at_ms < end,
        )
        .group_by(v.redemption_id)
    )  # fmt: skip
    async with books.connect() as conn:
        rows = (await conn.execute(query)).all()
        back = {name: (taken, gross) for name, taken, gross in await conn.execute(later)}
    sides = []
    for row in rows:
        taken, gross = back.get(row.id, (0, -1))
        sides.append(Side(row.order_ref, row.discount - taken, [row.id], gross < row.amount))
    return sides


def compare(ours: Sequence[Side], theirs: Iterable[TillLine]) -> Comparison:
    """Match by redemption id where a line names one, else by order, the sums of both sides.

    What was wholly reversed the same day is no difference when the till does not list it.
    """
    found = Comparison()
    by_id = {side.redemption_ids[0]: side for side in ours}
    named: dict[str, Side] = {}
    by_order: dict[str, Side] = {}
    for line in theirs:
        sides = named if line.redemption_id else by_order
        there = sides.setdefault(line.redemption_id or line.order_ref, Side(line.order_ref))
        there.discount += line.discount
        if line.redemption_id and line.redemption_id not in there.redemption_ids:
            there.redemption_ids.append(line.redemption_id)
    for name, there in named.items():
        _judge(found, by_id.pop(name, None), there)
    left: dict[str, Side] = {}
    for side in by_id.values():
        if not side.order_ref or side.order_ref not in by_order:
            if side.standing:
                _judge(found, side, None)
            continue
        here = left.setdefault(side.order_ref, Side(side.order_ref))
        here.discount += side.discount
        here.redemption_ids += side.redemption_ids
    for order_ref, there in by_order.items():
        _judge(found, left.get(order_ref), there)
    return found


def _judge(found: Comparison, here: Side | None, there: Side | None) -> None:
    side = here or there
    assert side is not None
    item = {
        "order_ref": (here and here.order_ref) or (there and there.order_ref) or None,
        "redemption_ids": side.redemption_ids,
        "here": here.discount if here else None,
        "there": there.discount if there else None,
    }
    if here is None:
        found.missing_here.append(item)
    elif there is None:
        found.missing_there.append(item)
    elif here.discount == there.discount:
        found.matched.append(item)
    else:
        found.differs.append(item)
