"""Receipts of what the books were asked to write: kept as long as a key may be repeated."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

from sqlalchemy import delete, select, tuple_

from engine.books.schema import receipts

if TYPE_CHECKING:
    from engine.books.db import Books

KEPT_MS = 37 * 86_400_000  # 30 days as the contract says, and a week for clocks and time zones
AT_ONCE = 2000


async def prune(books: Books, now: int, batches: int | None = None) -> int:
    """Strike off those that are older; how many. In small transactions: others write as well.

    ``batches``: so many of AT_ONCE at most; None = all.
    """
    name = (receipts.c.tenant, receipts.c.scope, receipts.c.key)
    old = select(*name).where(receipts.c.created_ms < now - KEPT_MS).limit(AT_ONCE)
    gone = 0
    for _ in itertools.count() if batches is None else range(batches):
        async with books.begin() as connection:
            done = await connection.execute(delete(receipts).where(tuple_(*name).in_(old)))
        gone += done.rowcount
        if done.rowcount < AT_ONCE:
            break
    return gone
