"""Adjustments of what a merchant is owed: one person asks, another agrees, the books are posted.

A person is who ``Hexiao-Actor`` names, else the key. So two people may share the key of their
office, if both are named and differently; who isn't named needs a key of their own.
"""

from __future__ import annotations

import unicodedata
from typing import TYPE_CHECKING, Any

from sqlalchemy import Row, insert, select, update

from engine.books import definitions, numbers
from engine.books.ledger import MALL, OFFICE_CELL
from engine.books.schema import adjustments, postings, tenants
from engine.books.settlement import merchant_known
from engine.outcomes import Outcome

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection

    from engine.books.db import Books
    from engine.books.definitions import Body, By, Change, Receipt
    from engine.views import Answer

COLUMNS = (
    "id", "merchant_id", "amount", "reason", "status", "asked_by", "asked_at",
    "decided_by", "decided_at", "rejection", "statement_id",
)  # fmt: skip


async def ask(
    books: Books,
    tenant: str,
    by: By,
    receipt: Receipt,
    *,
    merchant_id: str,
    amount: int,
    reason: str,
    actor: str,
) -> Answer[Body]:
    """Ask for an adjustment: ``amount`` fen more (negative: less) to the merchant. Pending.

    ``actor``: Hexiao-Actor as it was sent, "" = not. Refusal: NOT_FOUND (no such merchant).
    """

    async def work(change: Change) -> Body:
        conn = change.connection
        if not await merchant_known(conn, tenant, merchant_id):
            change.refuse(Outcome.NOT_FOUND, field="merchant_id")
        number = await numbers.take(conn, tenant, "adjustments")
        row = {
            "tenant": tenant,
            "id": f"AD{number:08d}",
            "n": number,
            "merchant_id": merchant_id,
            "amount": amount,
            "reason": reason,
            "status": "pending",
            "asked_ms": by.at,
            "asked_by": by.actor,
            "asked_actor": actor,
            "asked_key": by.key_id,
        }
        await conn.execute(insert(adjustments), row)
        told = {"merchant_id": merchant_id, "amount": amount, "reason": reason}
        await change.note("adjustment.ask", f"adjustment:{row['id']}", told)
        return shown(await _row(conn, tenant, str(row["id"])))

    return await definitions.change(books, tenant, by, work, receipt=receipt, defines=False)


async def decide(
    books: Books,
    tenant: str,
    by: By,
    receipt: Receipt,
    adjustment_id: str,
    *,
    actor: str,
    rejection: str | None = None,
) -> Answer[Body]:
    """Agree to an adjustment, which posts it, or (``rejection``: why) turn it down.

    Refusals: NOT_FOUND, WRONG_STATUS (decided already), FORBIDDEN (who asked may not agree; to
    turn it down is anybody's).
    """

    async def work(change: Change) -> Body:
        conn = change.connection
        row = await _row(conn, tenant, adjustment_id)
        if row is None:
            change.refuse(Outcome.NOT_FOUND)
        if rejection is None and same_person(row, by, actor):
            change.refuse(
                Outcome.FORBIDDEN, field="Hexiao-Actor", asked_by=row.asked_by, same_person=True
            )
        if row.status != "pending":
            change.refuse(Outcome.WRONG_STATUS, current=row.status)
        agreed = rejection is None
        await conn.execute(
            update(adjustments)
            .where(adjustments.c.tenant == tenant, adjustments.c.id == adjustment_id)
            .values(
                status="approved" if agreed else "rejected",
                decided_ms=by.at,
                decided_by=by.actor,
                decided_key=by.key_id,
                rejection=rejection or "",
            )
        )
        if agreed:
            await _post(conn, tenant, row, by.at)
        verb = "approve" if agreed else "reject"
        told = {"merchant_id": row.merchant_id, "amount": row.amount, "reason": row.reason}
        if rejection:
            told["rejection"] = rejection
        await change.note(f"adjustment.{verb}", f"adjustment:{adjustment_id}", told)
        return shown(await _row(conn, tenant, adjustment_id))

    return await definitions.change(books, tenant, by, work, receipt=receipt, defines=False)


def same_person(row: Row[Any], by: By, actor: str) -> bool:
    """Whether who decides may be who asked: by name where both are named, else by key."""
    if row.asked_actor and actor:
        return _folded(row.asked_actor) == _folded(actor)
    return bool(row.asked_key == by.key_id)


def _folded(name: str) -> str:
    return " ".join(unicodedata.normalize("NFKC", name).casefold().split())


async def _post(conn: AsyncConnection, tenant: str, row: Row[Any], at: int) -> None:
    """Credit the merchant, debit the mall; the other way round where the merchant owes."""
    currency = await conn.scalar(select(tenants.c.currency).where(tenants.c.id == tenant))
    common = {
        "tenant": tenant, "cell": OFFICE_CELL, "epoch": 0, "seq": row.n, "position": 0,
        "act": row.id, "at_ms": at, "currency": currency, "merchant_id": row.merchant_id,
        "store_id": "", "campaign_id": "", "redemption_id": "", "coupon_id": "",
    }  # fmt: skip
    for account, party, amount in (
        ("mall.adjustment", MALL, row.amount),
        ("merchant.adjustment", f"merchant:{row.merchant_id}", -row.amount),
    ):
        number = await numbers.take(conn, tenant, "postings")
        side = {"n": number, "account": account, "party": party, "amount": amount}
        await conn.execute(insert(postings), {**common, **side})


async def find(
    books: Books,
    tenant: str,
    *,
    merchant_id: str | None = None,
    status: str | None = None,
    before: int | None = None,
    limit: int = 50,
) -> list[Body]:
    """Adjustments, the newest first, with ``n`` below ``before``."""
    query = select(adjustments).where(adjustments.c.tenant == tenant)
    if merchant_id:
        query = query.where(adjustments.c.merchant_id == merchant_id)
    if status:
        query = query.where(adjustments.c.status == status)
    if before is not None:
        query = query.where(adjustments.c.n < before)
    async with books.connect() as conn:
        rows = await conn.execute(query.order_by(adjustments.c.n.desc()).limit(limit))
        return [{**shown(row), "n": row.n} for row in rows]


async def _row(conn: AsyncConnection, tenant: str, adjustment_id: str) -> Any:
    query = select(adjustments).where(
        adjustments.c.tenant == tenant, adjustments.c.id == adjustment_id
    )
    return (await conn.execute(query)).first()


def shown(row: Any) -> Body:
    """A row as the API names its fields; times are Unix ms."""
    return {
        "id": row.id,
        "merchant_id": row.merchant_id,
        "amount": row.amount,
        "reason": row.reason,
        "status": row.status,
        "asked_by": row.asked_by,
        "asked_at": row.asked_ms,
        "decided_by": row.decided_by or None,
        "decided_at": row.decided_ms or None,
        "rejection": row.rejection or None,
        "statement_id": row.statement_id,
    }
