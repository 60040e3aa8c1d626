"""The journal: every posting in order of its number, and what each account comes to."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import case, select

from engine.books.schema import postings
from engine.books.settlement import total

if TYPE_CHECKING:
    from engine.books.db import Books

COLUMNS = (
    "n",
    "act_id",
    "at",
    "account",
    "party",
    "amount",
    "currency",
    "merchant_id",
    "store_id",
    "campaign_id",
    "redemption_id",
    "coupon_id",
)
BALANCE_COLUMNS = ("account", "party", "currency", "debits", "credits", "balance")


async def feed(books: Books, tenant: str, after: int, limit: int) -> list[dict[str, Any]]:
    """Postings with a number above ``after``, in order; their numbers have no gap."""
    query = (
        select(
            postings.c.n,
            postings.c.act.label("act_id"),
            postings.c.at_ms.label("at"),
            *(postings.c[name] for name in COLUMNS[3:]),
        )
        .where(postings.c.tenant == tenant, postings.c.n > after)
        .order_by(postings.c.n)
        .limit(limit)
    )
    async with books.connect() as conn:
        # SQLAlchemy's names are no plain strings, which orjson asks of keys.
        return [dict(zip(COLUMNS, row, strict=True)) for row in await conn.execute(query)]


def control(rows: list[dict[str, Any]], after: int) -> dict[str, int]:
    """Control totals of a page: what a reader must come to as well. ``last``: where to go on."""
    amounts = [row["amount"] for row in rows]
    return {
        "count": len(rows),
        "debits": sum(a for a in amounts if a > 0),
        "credits": -sum(a for a in amounts if a < 0),
        "last": rows[-1]["n"] if rows else after,
    }


async def balances(
    books: Books, tenant: str, before: int | None = None, merchant_id: str | None = None
) -> list[dict[str, Any]]:
    """What each account of each party comes to by postings of acts before ``before`` (ms)."""
    amount = postings.c.amount
    query = select(
        postings.c.account,
        postings.c.party,
        postings.c.currency,
        total(case((amount > 0, amount), else_=0)).label("debits"),
        total(case((amount < 0, -amount), else_=0)).label("credits"),
        total(amount).label("balance"),
    ).where(postings.c.tenant == tenant)
    if before is not None:
        query = query.where(postings.c.at_ms < before)
    if merchant_id:
        query = query.where(postings.c.merchant_id == merchant_id)
    group = (postings.c.account, postings.c.party, postings.c.currency)
    async with books.connect() as conn:
        rows = await conn.execute(query.group_by(*group).order_by(*group))
        return [dict(zip(BALANCE_COLUMNS, row, strict=True)) for row in rows]
