"""Looking orders up in the books."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import and_, or_, select

from engine.books.schema import cells, orders

if TYPE_CHECKING:
    from engine.books.db import Books


async def told_of(books: Books, tenant: str, cell: int) -> tuple[int, int]:
    """(epoch, seq) that the books have come to in a cell."""
    query = select(cells.c.epoch, cells.c.seq).where(cells.c.tenant == tenant, cells.c.cell == cell)
    async with books.connect() as conn:
        row = (await conn.execute(query)).first()
    return (row.epoch, row.seq) if row else (1, 0)


async def orders_of(
    books: Books, tenant: str, user_id: str, after: tuple[int, str] | None, limit: int
) -> list[str]:
    """Ids of a user's orders, the newest first; ``after``: (time, id) to go on from."""
    query = select(orders.c.id).where(orders.c.tenant == tenant, orders.c.user_id == user_id)
    if after:
        at, name = after
        query = query.where(
            or_(orders.c.at_ms < at, and_(orders.c.at_ms == at, orders.c.id > name))
        )
    query = query.order_by(orders.c.at_ms.desc(), orders.c.id).limit(limit)
    async with books.connect() as conn:
        return [str(name) for name in await conn.scalars(query)]
