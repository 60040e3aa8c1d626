"""Stock: of each campaign what there is, what was given out and what became of it."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import orjson
from sqlalchemy import and_, case, func, select

from engine.books.schema import campaigns, coupons, entries, quotas
from engine.books.settlement import total

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection

    from engine.books.db import Books

COLUMNS = (
    "campaign_id", "status", "total", "issued", "left", "redeemed", "held", "voided", "expired",
    "budget", "spent",
)  # fmt: skip
_UNUSED = ("issued", "held")


async def stock(
    books: Books, tenant: str, campaign_id: str | None = None, now: int = 0
) -> list[dict[str, Any]]:
    """Rows by campaign.

    ``held`` counts holds that nobody ended yet, lapsed ones included; ``expired`` those of the
    issued and held whose time is over at ``now`` (ms). ``total``, ``left`` and ``budget`` are None
    where there is no bound; of tickets ``left`` is bounded by their quotas as well, whatever
    campaign has used them; ``spent`` (fen) is net of reversals.
    """
    c, e = coupons.c, entries.c
    listed = select(
        campaigns.c.id, campaigns.c.status, campaigns.c.total, campaigns.c.budgets
    ).where(campaigns.c.tenant == tenant)
    over = and_(c.state.in_(_UNUSED), c.valid_until_ms > 0, c.valid_until_ms <= now)
    counted = select(c.campaign_id, c.state, func.count(), total(case((over, 1), else_=0))).where(
        c.tenant == tenant,
        c.restocked == 0,  # what was refunded whole is stock again
        c.state != "transferred",  # it goes on as another one
    )
    taken = select(e.campaign_id, total(e.discount)).where(e.tenant == tenant)
    if campaign_id:
        listed = listed.where(campaigns.c.id == campaign_id)
        counted = counted.where(c.campaign_id == campaign_id)
        taken = taken.where(e.campaign_id == campaign_id)
    async with books.connect() as conn:
        found = (await conn.execute(listed.order_by(campaigns.c.id))).all()
        by_state: dict[str, dict[str, int]] = {}
        expired: Counter[str] = Counter()
        for campaign, state, count, over_now in await conn.execute(
            counted.group_by(c.campaign_id, c.state)
        ):
            by_state.setdefault(campaign, {})[state] = count
            expired[campaign] += over_now
        room = await _room_in_quotas(conn, tenant)
        taken = taken.group_by(e.campaign_id)
        spent = {row.campaign_id: row[1] for row in await conn.execute(taken)}
    rows = []
    for campaign in found:
        states = by_state.get(campaign.id, {})
        issued = sum(states.values())
        bounds = [*room.get(campaign.id, [])]
        if campaign.total is not None:
            bounds.append(campaign.total - issued)
        rows.append(
            {
                "campaign_id": campaign.id,
                "status": campaign.status,
                "total": campaign.total,
                "issued": issued,
                "left": min(bounds, default=None),
                "redeemed": states.get("redeemed", 0),
                "held": states.get("held", 0),
                "voided": states.get("voided", 0),
                "expired": expired[campaign.id],
                "budget": sum(orjson.loads(campaign.budgets)) if campaign.budgets != "[]" else None,
                "spent": spent.get(campaign.id, 0),
            }
        )
    return rows


async def _room_in_quotas(conn: AsyncConnection, tenant: str) -> dict[str, list[int]]:
    """What is left of each quota that a campaign's tickets count against, by campaign."""
    listed = select(campaigns.c.id, campaigns.c.body).where(
        campaigns.c.tenant == tenant, campaigns.c.event_id != ""
    )
    named: dict[str, list[tuple[str, str]]] = {}
    for row in await conn.execute(listed):
        event = orjson.loads(row.body)["event"]
        named[row.id] = [(event["id"], quota["id"]) for quota in event["quotas"] or []]
    if not any(named.values()):
        return {}
    bounds = select(quotas.c.event_id, quotas.c.id, quotas.c.total).where(quotas.c.tenant == tenant)
    left = {(event, name): number for event, name, number in await conn.execute(bounds)}
    c = coupons.c
    counted = select(c.campaign_id, func.count()).where(
        c.tenant == tenant,
        c.restocked == 0,
        c.state != "transferred",
        c.campaign_id.in_(list(named)),
    )
    for campaign, number in await conn.execute(counted.group_by(c.campaign_id)):
        for quota in named[campaign]:
            left[quota] -= number
    return {campaign: [left[quota] for quota in names] for campaign, names in named.items()}
