"""What the counter and the office ask of the books: what a member saved, what a till has taken."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import select

from engine.books.feeds import complete_until
from engine.books.schema import redemptions
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
