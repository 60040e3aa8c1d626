"""Stock: of each campaign what there is, what was given out and what became of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import func, select

from engine.books.schema import campaigns, coupons

if TYPE_CHECKING:
    from engine.books.db import Books

COLUMNS = ("campaign_id", "status", "total", "issued", "left", "redeemed", "held", "voided")


async def stock(books: Books, tenant: str, campaign_id: str | None = None) -> list[dict[str, Any]]:
    """Rows by campaign.

    ``held`` counts holds that nobody ended yet, lapsed ones included. ``total`` and ``left`` are
    None where stock is unlimited.
    """
    listed = select(campaigns.c.id, campaigns.c.status, campaigns.c.total).where(
        campaigns.c.tenant == tenant
    )
    counted = select(coupons.c.campaign_id, coupons.c.state, func.count()).where(
        coupons.c.tenant == tenant
    )
    if campaign_id:
        listed = listed.where(campaigns.c.id == campaign_id)
        counted = counted.where(coupons.c.campaign_id == campaign_id)
    async with books.connect() as conn:
        found = (await conn.execute(listed.order_by(campaigns.c.id))).all()
        by_state: dict[str, dict[str, int]] = {}
        groups = counted.group_by(coupons.c.campaign_id, coupons.c.state)
        for campaign, state, count in await conn.execute(groups):
            by_state.setdefault(campaign, {})[state] = count
    rows = []
    for campaign in found:
        states = by_state.get(campaign.id, {})
        issued = sum(states.values())
        rows.append(
            {
                "campaign_id": campaign.id,
                "status": campaign.status,
                "total": campaign.total,
                "issued": issued,
                "left": None if campaign.total is None else campaign.total - issued,
                "redeemed": states.get("redeemed", 0),
                "held": states.get("held", 0),
                "voided": states.get("voided", 0),
            }
        )
    return rows
