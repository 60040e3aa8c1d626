"""Reading statements: lists, entries, and the proof that each is the sum of its postings."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from sqlalchemy import and_, case, literal, or_, select, tuple_
from sqlalchemy.ext.asyncio import AsyncConnection

from engine.books.ledger import OFFICE_CELL
from engine.books.schema import adjustments, entries, fundings, postings, statements
from engine.books.settlement import (
    AMOUNTS,
    of_merchant,
    same_place,
    statement_row,
    total,
    with_payable,
)

if TYPE_CHECKING:
    from engine.books.db import Books

Position = tuple[int, int, int, int, int]  # at_ms, cell, epoch, seq, position

ENTRY_COLUMNS = (
    "kind",
    "act_id",
    "redemption_id",
    "coupon_id",
    "campaign_id",
    "store_id",
    "lot_id",
    "order_ref",
    "at",
    *AMOUNTS,
    "payable_to_merchant",
    "late",
)


async def find_statements(
    books: Books, tenant: str, merchant_id: str | None, after: tuple[int, str] | None, limit: int
) -> list[dict[str, Any]]:
    """Statements without their lines, the latest period first; ``after``: (start, id) to go on."""
    query = select(statements).where(of_merchant(statements, tenant, merchant_id))
    if after:
        start, name = after
        query = query.where(
            or_(
                statements.c.start_ms < start,
                and_(statements.c.start_ms == start, statements.c.id > name),
            )
        )
    query = query.order_by(statements.c.start_ms.desc(), statements.c.id).limit(limit)
    async with books.connect() as conn:
        rows = [statement_row(row) for row in await conn.execute(query)]
    return [head(row) for row in rows]


def head(statement: dict[str, Any]) -> dict[str, Any]:
    """A statement without its lines."""
    return {name: value for name, value in statement.items() if name not in _PARTS}


_PARTS = ("lines", "elsewhere", "adjustments")


async def statement(books: Books, tenant: str, statement_id: str) -> dict[str, Any] | None:
    """One statement with its lines and totals; None when there is none."""
    query = select(statements).where(statements.c.tenant == tenant, statements.c.id == statement_id)
    async with books.connect() as conn:
        row = (await conn.execute(query)).first()
    return statement_row(row) if row else None


_PLACE = (
    entries.c.at_ms,
    entries.c.cell,
    entries.c.epoch,
    entries.c.seq,
    entries.c.position,
)


async def entries_of(
    books: Books, tenant: str, statement_id: str, after: Position | None, limit: int
) -> tuple[list[dict[str, Any]], Position | None]:
    """Entries of a statement in order of time, and where the next page goes on (None: the end)."""
    query = (
        select(entries)
        .where(entries.c.tenant == tenant, entries.c.statement_id == statement_id)
        .order_by(*_PLACE)
        .limit(limit + 1)
    )
    if after:
        query = query.where(tuple_(*_PLACE) > tuple_(*map(literal, after)))
    async with books.connect() as conn:
        rows = (await conn.execute(query)).all()
    found = [_entry(row) for row in rows[:limit]]
    if len(rows) <= limit:
        return found, None
    last = rows[limit - 1]
    return found, (last.at_ms, last.cell, last.epoch, last.seq, last.position)


def _entry(row: Any) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "kind": row.kind,
        "act_id": row.act,
        "redemption_id": row.redemption_id,
        "coupon_id": row.coupon_id,
        "campaign_id": row.campaign_id,
        "store_id": row.store_id,
        "lot_id": row.lot_id or None,
        "order_ref": row.order_ref or None,
        "at": row.at_ms,
        **{name: getattr(row, name) for name in AMOUNTS},
        "late": bool(row.late),
    }
    return with_payable(entry)


# Which account carries which amount of an entry, and with which sign (books/ledger.py).
ACCOUNTS = {
    "sales": ("customer.paid", 1),
    "discount": ("merchant.discount", -1),
    "prepaid": ("customer.prepaid", 1),
    "mall_bears": ("mall.subsidy", 1),
    "merchant_bears": ("merchant.subsidy", 1),
    "others_bear": ("other.subsidy", 1),
    "stored_value": ("merchant.stored_value", -1),
    "points_value": ("merchant.points", -1),
    "commission": ("merchant.commission", 1),
    "breakage": ("merchant.breakage", -1),
}
# payable_to_merchant is the credit of the merchant's own accounts but breakage (settlement.py).
OWED = (
    "merchant.discount", "merchant.subsidy", "merchant.stored_value", "merchant.points",
    "merchant.commission",
)  # fmt: skip


Place = tuple[str, str, str]  # store, lot, campaign


async def prove(conn: AsyncConnection, tenant: str, *statement_ids: str) -> list[dict[str, Any]]:
    """Compare statements, line by line, with the sums of their postings; [] when all is equal.

    Each item: ``id``, ``line`` (store, lot, campaign; None for the totals), ``field``,
    ``statement`` and ``postings`` amounts.
    """
    query = select(statements.c.id, statements.c.body).where(
        statements.c.tenant == tenant, statements.c.id.in_(statement_ids)
    )
    bodies = (await conn.execute(query.order_by(statements.c.id))).all()
    booked = await _booked(conn, tenant, statement_ids)
    beside = await _booked_beside(conn, tenant, statement_ids)
    wrong: list[dict[str, Any]] = []
    for statement_id, body in bodies:
        found = _differences(
            json.loads(body), booked.get(statement_id, {}), beside.get(statement_id, (0, 0))
        )
        wrong += [{"id": statement_id, **item} for item in found]
    return wrong


def _differences(
    body: dict[str, Any], booked: dict[Place, dict[str, int]], beside: tuple[int, int]
) -> list[dict[str, Any]]:
    told = {
        (line["store_id"], line["lot_id"] or "", line["campaign_id"]): line
        for line in body["lines"]
    }
    nothing = dict.fromkeys((*ACCOUNTS, "payable_to_merchant"), 0)
    everything = {name: sum(line[name] for line in booked.values()) for name in nothing}
    wrong = []
    for place in sorted(told.keys() | booked.keys()):
        wrong += _compare(list(place), told.get(place, nothing), booked.get(place, nothing))
    totals = {"adjustments": 0, "bears_elsewhere": 0, **body["totals"]}
    everything["adjustments"], everything["bears_elsewhere"] = beside
    everything["payable_to_merchant"] += beside[0]
    if "net_payable" in totals:  # an older version closed none with it
        net = everything["payable_to_merchant"] + everything["breakage"] - beside[1]
        everything["net_payable"] = net
    return wrong + _compare(None, totals, everything)


def _compare(line: Any, told: dict[str, int], booked: dict[str, int]) -> list[dict[str, Any]]:
    return [
        {"line": line, "field": name, "statement": told.get(name, 0), "postings": amount}
        for name, amount in booked.items()
        if told.get(name, 0) != amount  # an older version knew of no breakage
    ]


async def _booked(
    conn: AsyncConnection, tenant: str, statement_ids: Sequence[str]
) -> dict[str, dict[Place, dict[str, int]]]:
    """By statement and line, what the postings of its entries sum to."""
    place = (entries.c.store_id, entries.c.lot_id, entries.c.campaign_id)
    account, amount = postings.c.account, postings.c.amount
    columns = [
        total(case((account == name, amount * sign), else_=0)) for name, sign in ACCOUNTS.values()
    ]
    columns.append(total(case((account.in_(OWED), -amount), else_=0)))
    query = (
        select(entries.c.statement_id, *place, *columns)
        .select_from(entries)
        # An outer join makes SQLite begin with the few entries, not with all postings.
        .outerjoin(
            postings,
            and_(
                postings.c.tenant == entries.c.tenant,
                postings.c.cell == entries.c.cell,
                postings.c.epoch == entries.c.epoch,
                postings.c.seq == entries.c.seq,
                postings.c.position == entries.c.position,
            ),
        )
        .where(entries.c.tenant == tenant, entries.c.statement_id.in_(statement_ids))
        .group_by(entries.c.statement_id, *place)
    )
    names = (*ACCOUNTS, "payable_to_merchant")
    found: dict[str, dict[Place, dict[str, int]]] = {}
    for statement_id, store, lot, campaign, *sums in await conn.execute(query):
        line = dict(zip(names, sums, strict=True))
        found.setdefault(statement_id, {})[store, lot, campaign] = line
    return found


async def _booked_beside(
    conn: AsyncConnection, tenant: str, statement_ids: Sequence[str]
) -> dict[str, tuple[int, int]]:
    """By statement, the postings of its adjustments and of what it bears elsewhere."""
    found: dict[str, tuple[int, int]] = {}
    agreed = (
        select(adjustments.c.statement_id, total(-postings.c.amount))
        .join_from(
            adjustments,
            postings,
            and_(
                postings.c.tenant == adjustments.c.tenant,
                postings.c.cell == OFFICE_CELL,
                postings.c.epoch == 0,
                postings.c.seq == adjustments.c.n,
            ),
        )
        .where(
            adjustments.c.tenant == tenant,
            adjustments.c.statement_id.in_(statement_ids),
            postings.c.account == "merchant.adjustment",
        )
        .group_by(adjustments.c.statement_id)
    )
    for statement_id, amount in await conn.execute(agreed):
        found[statement_id] = (amount, 0)
    borne = (
        select(fundings.c.statement_id, total(postings.c.amount))
        .join_from(fundings, postings, same_place(fundings, postings))
        .where(
            fundings.c.tenant == tenant,
            fundings.c.statement_id.in_(statement_ids),
            postings.c.account == "other.subsidy",
            postings.c.party == literal("merchant:").concat(fundings.c.merchant_id),
        )
        .group_by(fundings.c.statement_id)
    )
    for statement_id, amount in await conn.execute(borne):
        found[statement_id] = (found.get(statement_id, (0, 0))[0], amount)
    return found
