"""What the mall has promised: coupons that may still be used, stored value, points."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import msgspec
from sqlalchemy import case, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from engine.books.schema import (
    campaign_terms,
    campaigns,
    coupons,
    entries,
    points_entries,
    tenants,
)
from engine.books.settlement import total
from engine.definitions import Campaign, Settings
from engine.definitions.exposure import most_off
from engine.lots import worth

if TYPE_CHECKING:
    from engine.books.db import Books

COLUMNS = ("kind", "campaign_id", "count", "points", "outstanding")


async def liability(books: Books, tenant: str, now: int) -> list[dict[str, Any]]:
    """Rows as of now: ``kind`` coupons or stored_value by campaign, and points in one.

    ``count``: coupons, or people with points. ``outstanding``: fen; of coupons the most that they
    can still cost, at most what is left of the budget, None = nothing bounds it.
    """
    async with books.connect() as conn:
        rows = await _coupons(conn, tenant, now)
        rows.append(await _points(conn, tenant))
    return rows


async def _coupons(conn: AsyncConnection, tenant: str, now: int) -> list[dict[str, Any]]:
    c = coupons.c
    group = (c.campaign_id, c.terms_revision)
    query = (
        select(*group, func.count(), total(c.used), total(c.spent))
        .where(
            c.tenant == tenant,
            c.state.in_(("issued", "held")),
            (c.valid_until_ms == 0) | (c.valid_until_ms > now),
        )
        .group_by(*group)
        .order_by(*group)
    )
    found = (await conn.execute(query)).all()
    names = sorted({row.campaign_id for row in found})
    left = await _budgets_left(conn, tenant, names)
    terms = await _terms(conn, tenant, names)
    rows: dict[str, dict[str, Any]] = {}
    for campaign_id, revision, count, used, spent in found:
        body = terms[campaign_id, revision]
        each = most_off(body)
        if body.kind == "stored_value":
            kind, most = "stored_value", None if each is None else count * each - spent
        else:
            uses = count * body.usage.uses - used
            kind, most = "coupons", None if each is None else uses * each
        row = rows.setdefault(
            campaign_id,
            {"kind": kind, "campaign_id": campaign_id, "count": 0, "points": None,
             "outstanding": 0},
        )  # fmt: skip
        row["count"] += count
        so_far = row["outstanding"]
        row["outstanding"] = None if most is None or so_far is None else so_far + most
    for name, row in rows.items():
        if name in left and row["kind"] == "coupons":
            most = row["outstanding"]
            row["outstanding"] = left[name] if most is None else min(most, left[name])
    return list(rows.values())


async def _terms(
    conn: AsyncConnection, tenant: str, names: list[str]
) -> dict[tuple[str, int], Campaign]:
    t = campaign_terms.c
    query = select(t.campaign_id, t.revision, t.body).where(
        t.tenant == tenant, t.campaign_id.in_(names)
    )
    return {
        (name, revision): msgspec.json.decode(body, type=Campaign)
        for name, revision, body in await conn.execute(query)
    }


async def _budgets_left(conn: AsyncConnection, tenant: str, names: list[str]) -> dict[str, int]:
    """Of campaigns with a budget, what redemptions have left of it."""
    query = select(campaigns.c.id, campaigns.c.budgets).where(
        campaigns.c.tenant == tenant, campaigns.c.id.in_(names), campaigns.c.budgets != "[]"
    )
    left = {name: sum(json.loads(text)) for name, text in await conn.execute(query)}
    taken = (
        select(entries.c.campaign_id, total(entries.c.discount))
        .where(entries.c.tenant == tenant, entries.c.campaign_id.in_(list(left)))
        .group_by(entries.c.campaign_id)
    )
    for name, discount in await conn.execute(taken):
        left[name] = max(0, left[name] - discount)
    return left


async def _points(conn: AsyncConnection, tenant: str) -> dict[str, Any]:
    """Points of everybody who has any; what somebody owes is nobody else's."""
    e = points_entries.c
    balance = total(e.points).label("balance")
    each = select(balance).where(e.tenant == tenant).group_by(e.user_id).subquery("each")
    has = each.c.balance > 0
    count, points = (
        await conn.execute(
            select(total(case((has, 1), else_=0)), total(case((has, each.c.balance), else_=0)))
        )
    ).one()
    told = await conn.scalar(select(tenants.c.settings).where(tenants.c.id == tenant))
    per_yuan = msgspec.json.decode(told or "{}", type=Settings).points_per_yuan
    return {
        "kind": "points", "campaign_id": None, "count": count, "points": points,
        "outstanding": worth(points, per_yuan),
    }  # fmt: skip
