"""Tickets of an event as the books have them: what its gates are told."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from sqlalchemy import or_, select

from engine.books.schema import campaigns, coupons

if TYPE_CHECKING:
    from engine.books.db import Books

SPENT = ("voided", "refunded", "transferred", "redeemed")


class Spent(NamedTuple):
    """A ticket that lets nobody in any more, or that somebody has entered with."""

    coupon_id: str
    state: str
    at: int


async def campaigns_of(books: Books, tenant: str, event_id: str) -> dict[str, str]:
    """The campaigns that give out tickets for an event, with their bodies (JSON)."""
    query = select(campaigns.c.id, campaigns.c.body).where(
        campaigns.c.tenant == tenant, campaigns.c.event_id == event_id
    )
    async with books.connect() as conn:
        rows = (await conn.execute(query.order_by(campaigns.c.id))).all()
    return {row.id: row.body for row in rows}


async def spent(
    books: Books, tenant: str, campaign_ids: list[str], after: tuple[int, str], limit: int
) -> list[Spent]:
    """Tickets of these campaigns that are spent, from (time in ms, id) on, by time."""
    c, (at, name) = coupons.c, after
    query = select(c.id, c.state, c.changed_ms).where(
        c.tenant == tenant,
        c.campaign_id.in_(campaign_ids),
        c.state.in_(SPENT),
        or_(c.changed_ms > at, (c.changed_ms == at) & (c.id > name)),
    )
    async with books.connect() as conn:
        rows = await conn.execute(query.order_by(c.changed_ms, c.id).limit(limit))
        return [Spent(*row) for row in rows]
