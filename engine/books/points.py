"""Looking points up in the books."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from sqlalchemy import Row, select, tuple_

from engine.books.schema import points_entries

if TYPE_CHECKING:
    from engine.books.db import Books

Place = tuple[int, int, int, int]
"""Where a page ended: time, epoch, seq and position of its last entry (one person, one cell)."""


async def entries_of(
    books: Books, tenant: str, user_id: str, *, before: Place | None = None, limit: int = 50
) -> Sequence[Row[Any]]:
    """Entries of a person, newest first; ``before``: those that come after it in that order."""
    c = points_entries.c
    order = (c.at_ms, c.epoch, c.seq, c.position)
    query = select(points_entries).where(c.tenant == tenant, c.user_id == user_id)
    if before is not None:
        query = query.where(tuple_(*order) < before)
    query = query.order_by(*(column.desc() for column in order)).limit(limit)
    async with books.connect() as conn:
        return (await conn.execute(query)).all()
