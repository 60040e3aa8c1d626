"""Statements: what the mall owes each merchant for a period, to the fen the sum of the postings.

An entry (one settled act on one coupon) belongs to the period of its time. What reaches the books
after its period was closed goes into the merchant's next statement, marked late. A statement is
written once: asking for the same period again gives the one that exists.

Beside the lines of what a merchant redeemed, its statement has ``elsewhere``, what it bears of
coupons that others redeemed, and ``adjustments``, those that two people agreed on since the last.
``payable_to_merchant`` of the totals is that of the lines and the adjustments; what it bears
elsewhere is not taken off that (section 8 says what is in it) but off ``net_payable``, which is
what is really paid, or asked for when it is negative; ``breakage``, what customers paid beyond the
discount where the campaign leaves that to the merchant, is added there for the same reason.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Table,
    and_,
    bindparam,
    case,
    cast,
    distinct,
    exists,
    func,
    insert,
    literal,
    or_,
    select,
    update,
)
from sqlalchemy.ext.asyncio import AsyncConnection

from engine import keys
from engine.books import definitions, numbers
from engine.books.schema import (
    adjustments,
    cells,
    entries,
    fundings,
    merchants,
    statements,
    tenants,
)
from engine.outcomes import Outcome
from engine.views import Answer

if TYPE_CHECKING:
    from engine.books.db import Books
    from engine.books.definitions import By, Change, Receipt
    from engine.server import Server

AMOUNTS = (
    "sales",
    "discount",
    "prepaid",
    "mall_bears",
    "merchant_bears",
    "others_bear",
    "stored_value",
    "points_value",
    "commission",
    "breakage",
)
LINE = ("store_id", "lot_id", "campaign_id", "redemptions", "reversals", *AMOUNTS)
LINE_COLUMNS = (*LINE, "payable_to_merchant")
TOTAL_COLUMNS = (*LINE_COLUMNS[3:], "adjustments", "bears_elsewhere", "net_payable")
RETRY_MS = 1000  # when to ask again while the writer is catching up


class Reach(NamedTuple):
    """How far a tenant is: its clock, and before which moment the books hold every fact."""

    clock: int
    complete: int


async def reach(
    books: Books, server: Server, tenant: str, *, rehearsal: bool = False, now: int = 0
) -> Reach:
    """The tenant's clock and the moment up to which its books are complete, both in ms.

    Complete is what the watermarks of the cells say, or the clock itself when the books have
    every fact that Redis has. On a rehearsal server the clock is the latest ``Hexiao-Now`` seen,
    ``now`` (of this call, 0 = none) included, and watermarks say nothing: the next act may have any
    time, so only books that have every fact are complete.
    """
    async with books.connect() as conn:
        count = await conn.scalar(select(tenants.c.cells).where(tenants.c.id == tenant)) or 0
    # Redis first, the books after: what the books have by then was all that there was.
    clock, seen, live = 0, now, []
    for cell in range(count):
        key = keys.cell_key(keys.cell_tag(tenant, cell, count))
        seconds, micros = await server.ask(server.node_of(key), "TIME")
        clock = max(clock, int(seconds) * 1000 + int(micros) // 1000)
        epoch, seq, told = await server.fields(key, "epoch", "seq", "clock")
        live.append((int(epoch or 1), int(seq or 0)))
        seen = max(seen, int(told or 0))
    if rehearsal and seen:
        clock = seen
    async with books.connect() as conn:
        rows = await conn.execute(select(cells).where(cells.c.tenant == tenant))
        known = {row.cell: (row.epoch, row.seq, row.complete_ms) for row in rows}
    nothing = (1, 0, 0)
    if all(known.get(cell, nothing)[:2] >= place for cell, place in enumerate(live)):
        return Reach(clock, clock)
    if rehearsal:
        return Reach(clock, 0)
    return Reach(clock, min(known.get(cell, nothing)[2] for cell in range(count)))


async def close_period(
    books: Books,
    tenant: str,
    by: By,
    at: Reach,
    *,
    merchant_id: str | None,
    start: int,
    end: int,
    receipt: Receipt | None = None,
) -> Answer[dict[str, Any]]:
    """Settle ``[start, end)`` (ms) for one merchant or all: ``{"items": [statement]}``.

    Refusals: NOT_FOUND (no such merchant), PERIOD_OPEN (not ended, or the books are not complete
    up to its end) and PERIOD_OVERLAPS (another statement covers a part of it).
    """

    async def work(change: Change) -> dict[str, Any]:
        conn = change.connection
        if merchant_id and not await merchant_known(conn, tenant, merchant_id):
            change.refuse(Outcome.NOT_FOUND)
        if end > at.clock:
            change.refuse(Outcome.PERIOD_OPEN, retry_at=end)
        if end > at.complete:
            change.refuse(Outcome.PERIOD_OPEN, retry_at=at.clock + RETRY_MS)
        mine = of_merchant(statements, tenant, merchant_id)
        same = and_(mine, statements.c.start_ms == start, statements.c.end_ms == end)
        overlapping = await conn.execute(
            select(statements.c.id, statements.c.merchant_id)
            .where(mine, statements.c.start_ms < end, statements.c.end_ms > start, ~same)
            .order_by(statements.c.merchant_id, statements.c.start_ms)
            .limit(1)
        )
        if other := overlapping.first():
            change.refuse(
                Outcome.PERIOD_OVERLAPS, statement_id=other.id, merchant_id=other.merchant_id
            )
        settled = set(await conn.scalars(select(statements.c.merchant_id).where(same)))
        due = await _with_anything(conn, tenant, merchant_id, start, end)
        if new := [name for name in due if name not in settled]:
            await _settle(change, new, start, end)
        change.changed = True  # keep the receipt even where all statements were there
        rows = await conn.execute(select(statements).where(same).order_by(statements.c.merchant_id))
        return {"items": [statement_row(row) for row in rows]}

    return await definitions.change(books, tenant, by, work, receipt=receipt, defines=False)


def of_merchant(table: Any, tenant: str, merchant_id: str | None) -> ColumnElement[bool]:
    """The rows of one merchant of a tenant, or of all of them."""
    mine: ColumnElement[bool] = table.c.tenant == tenant
    return and_(mine, table.c.merchant_id == merchant_id) if merchant_id else mine


async def merchant_known(conn: AsyncConnection, tenant: str, merchant_id: str) -> bool:
    """Whether the mall has such a merchant, or the books hold anything of one."""
    for table, column in (
        (merchants, merchants.c.id),
        (entries, entries.c.merchant_id),
        (fundings, fundings.c.merchant_id),
    ):
        found = select(literal(1)).where(table.c.tenant == tenant, column == merchant_id).limit(1)
        if await conn.scalar(found):
            return True
    return False


def _due(table: Table, tenant: str, start: int, end: int) -> ColumnElement[bool]:
    """Unsettled rows (entries, fundings) of the period, and late ones of periods closed before."""
    closed = exists().where(
        statements.c.tenant == table.c.tenant,
        statements.c.merchant_id == table.c.merchant_id,
        statements.c.start_ms <= table.c.at_ms,
        statements.c.end_ms > table.c.at_ms,
    )
    return and_(
        table.c.tenant == tenant,
        table.c.statement_id.is_(None),
        table.c.at_ms < end,
        or_(table.c.at_ms >= start, closed),
    )


def _agreed(tenant: str) -> ColumnElement[bool]:
    """Adjustments that are in no statement yet: they go into the next one, whatever its period."""
    return and_(
        adjustments.c.tenant == tenant,
        adjustments.c.statement_id.is_(None),
        adjustments.c.status == "approved",
    )


async def _with_anything(
    conn: AsyncConnection, tenant: str, merchant_id: str | None, start: int, end: int
) -> list[str]:
    found: set[str] = set()
    for table, condition in (
        (entries, _due(entries, tenant, start, end)),
        (fundings, _due(fundings, tenant, start, end)),
        (adjustments, _agreed(tenant)),
    ):
        # "": an entry to the mall's own event, for which no merchant is owed anything.
        due = select(table.c.merchant_id).where(condition, table.c.merchant_id != "").distinct()
        if merchant_id:
            due = due.where(table.c.merchant_id == merchant_id)
        found.update(await conn.scalars(due))
    return sorted(found)


async def _settle(change: Change, merchant_ids: Sequence[str], start: int, end: int) -> None:
    """Take what is due into new statements. The entries first: what they sum to is the body."""
    conn, tenant = change.connection, change.tenant
    currency = await conn.scalar(select(tenants.c.currency).where(tenants.c.id == tenant))
    made = {}
    for merchant_id in merchant_ids:
        number = await numbers.take(conn, tenant, "statements")
        made[merchant_id] = f"ST{number:08d}"
    row = {"tenant": tenant, "start_ms": start, "end_ms": end, "status": "closed",
           "currency": currency, "body": "", "created_ms": change.by.at,
           "status_ms": change.by.at}  # fmt: skip
    heads = [{**row, "id": name, "merchant_id": merchant} for merchant, name in made.items()]
    await conn.execute(insert(statements), heads)
    for table in (entries, fundings):
        await conn.execute(
            update(table)
            .where(_due(table, tenant, start, end), table.c.merchant_id.in_(merchant_ids))
            .values(
                statement_id=_its_statement(table, start, end),
                late=case((table.c.at_ms < start, 1), else_=0),
            )
        )
    await conn.execute(
        update(adjustments)
        .where(_agreed(tenant), adjustments.c.merchant_id.in_(merchant_ids))
        .values(statement_id=_its_statement(adjustments, start, end))
    )
    bodies = await sums(conn, tenant, list(made.values()))
    await conn.execute(
        update(statements)
        .where(statements.c.tenant == tenant, statements.c.id == bindparam("statement_id"))
        .values(body=bindparam("json")),
        [{"statement_id": name, "json": json.dumps(body)} for name, body in bodies.items()],
    )
    for merchant_id, name in made.items():
        told = {"merchant_id": merchant_id, "start": start, "end": end}
        totals = bodies[name]["totals"]
        await change.note("statement.close", f"statement:{name}", {**told, "totals": totals})


def _its_statement(table: Table, start: int, end: int) -> Any:
    """One statement of SQL for all merchants: each would read the whole period again."""
    return (
        select(statements.c.id)
        .where(
            statements.c.tenant == table.c.tenant,
            statements.c.merchant_id == table.c.merchant_id,
            statements.c.start_ms == start,
            statements.c.end_ms == end,
        )
        .scalar_subquery()
    )


async def sums(
    conn: AsyncConnection, tenant: str, statement_ids: Sequence[str]
) -> dict[str, dict[str, Any]]:
    """Lines, what is borne elsewhere, adjustments and totals of statements, by statement."""
    bodies: dict[str, dict[str, Any]] = {
        name: {
            "lines": [],
            "elsewhere": [],
            "adjustments": [],
            "totals": dict.fromkeys(TOTAL_COLUMNS, 0),
            "late": 0,
        }
        for name in statement_ids
    }
    group = (
        entries.c.statement_id,
        entries.c.store_id,
        entries.c.lot_id,
        entries.c.campaign_id,
    )
    rows = await conn.execute(
        select(
            *group, *_acts(), *(total(entries.c[name]) for name in AMOUNTS), total(entries.c.late)
        )
        .where(entries.c.tenant == tenant, entries.c.statement_id.in_(statement_ids))
        .group_by(*group)
        .order_by(*group)
    )
    for statement_id, *columns, late in rows:
        body = bodies[statement_id]
        line = with_payable(dict(zip(LINE, columns, strict=True)))
        line["lot_id"] = line["lot_id"] or None
        body["lines"].append(line)
        body["late"] += late
        for name in LINE_COLUMNS[3:]:
            body["totals"][name] += line[name]
    await _add_elsewhere(conn, tenant, bodies)
    await _add_adjustments(conn, tenant, bodies)
    for body in bodies.values():
        totals = body["totals"]
        totals["payable_to_merchant"] += totals["adjustments"]
        totals["net_payable"] = (
            totals["payable_to_merchant"] + totals["breakage"] - totals["bears_elsewhere"]
        )
    return bodies


def _acts() -> tuple[ColumnElement[int], ...]:
    """How many redemptions and reversals there are among entries."""
    return tuple(
        func.count(distinct(case((entries.c.kind == kind, entries.c.act))))
        for kind in ("redemption", "reversal")
    )


async def _add_elsewhere(
    conn: AsyncConnection, tenant: str, bodies: dict[str, dict[str, Any]]
) -> None:
    """What the merchants bear of coupons that others redeemed, by who did, where, and campaign."""
    group = (
        fundings.c.statement_id,
        entries.c.merchant_id,
        entries.c.store_id,
        entries.c.lot_id,
        entries.c.campaign_id,
    )
    rows = await conn.execute(
        select(*group, *_acts(), total(fundings.c.amount), total(fundings.c.late))
        .join_from(fundings, entries, same_place(fundings, entries))
        .where(fundings.c.tenant == tenant, fundings.c.statement_id.in_(list(bodies)))
        .group_by(*group)
        .order_by(*group)
    )
    for statement_id, *columns, late in rows:
        body = bodies[statement_id]
        line = dict(zip(ELSEWHERE_COLUMNS, columns, strict=True))
        line["lot_id"] = line["lot_id"] or None
        body["elsewhere"].append(line)
        body["late"] += late
        body["totals"]["bears_elsewhere"] += line["bears_elsewhere"]


ELSEWHERE_COLUMNS = (
    "merchant_id", "store_id", "lot_id", "campaign_id", "redemptions", "reversals",
    "bears_elsewhere",
)  # fmt: skip


def same_place(one: Table, other: Table) -> ColumnElement[bool]:
    """Rows of two tables that come from the same coupon of the same act."""
    names = ("tenant", "cell", "epoch", "seq", "position")
    return and_(*(one.c[name] == other.c[name] for name in names))


async def _add_adjustments(
    conn: AsyncConnection, tenant: str, bodies: dict[str, dict[str, Any]]
) -> None:
    rows = await conn.execute(
        select(adjustments)
        .where(adjustments.c.tenant == tenant, adjustments.c.statement_id.in_(list(bodies)))
        .order_by(adjustments.c.n)
    )
    for row in rows:
        body = bodies[row.statement_id]
        body["adjustments"].append(
            {"id": row.id, "amount": row.amount, "reason": row.reason, "decided_at": row.decided_ms}
        )
        body["totals"]["adjustments"] += row.amount


def total(column: ColumnElement[Any]) -> ColumnElement[int]:
    """SUM as an integer, 0 of nothing: PostgreSQL would make a NUMERIC of it."""
    return cast(func.coalesce(func.sum(column), 0), BigInteger)


def with_payable(row: dict[str, Any]) -> dict[str, Any]:
    """The row with what the merchant is owed by it (CONTRACT.md section 8)."""
    row["payable_to_merchant"] = (
        row["mall_bears"]
        + row["others_bear"]
        + row["prepaid"]
        + row["stored_value"]
        + row["points_value"]
        - row["commission"]
    )
    return row


def statement_row(row: Any) -> dict[str, Any]:
    """A row of ``statements`` as the contract names its fields; times are Unix ms."""
    body = json.loads(row.body)
    totals = body["totals"]
    if "net_payable" not in totals:  # closed by an older version
        body |= {"elsewhere": [], "adjustments": []}
        totals |= {"adjustments": 0, "bears_elsewhere": 0}
        totals["net_payable"] = totals["payable_to_merchant"]
    for sums in (*body["lines"], totals):  # an older version knew of none
        sums.setdefault("breakage", 0)
    return {
        "id": row.id,
        "merchant_id": row.merchant_id,
        "start": row.start_ms,
        "end": row.end_ms,
        "status": row.status,
        "currency": row.currency,
        "created_at": row.created_ms,
        "status_at": row.status_ms,
        "dispute": row.reason or None,
        "payment_ref": row.payment_ref or None,
        **body,
    }
