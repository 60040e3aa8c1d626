"""Receipts of what the books were asked to write: kept as long as a key may be repeated."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import delete, select, tuple_

from engine.books.schema import receipts

if TYPE_CHECKING:
    from engine.books.db import Books

KEPT_MS = 37 * 86_400_000  # 30 days as the contract says, and a week for clocks and time zones
_AT_ONCE = 2000


async def prune(books: Books, now: int) -> int:
    """Strike off those that are older; how many. In small transactions: others write as well."""
    name = (receipts.c.tenant, receipts.c.scope, receipts.c.key)
    old = select(*name).where(receipts.c.created_ms < now - KEPT_MS).limit(_AT_ONCE)
    gone = 0
    while True:
        async with books.begin() as connection:
            done = await connection.execute(delete(receipts).where(tuple_(*name).in_(old)))
        gone += done.rowcount
        if done.rowcount < _AT_ONCE:
            return gone
