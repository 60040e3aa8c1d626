"""Quotas of events against the books: the share of each cell, what is used of it, open orders."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from typing import Any

from sqlalchemy import Row, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from engine import keys
from engine.books.schema import campaigns, coupons, orders, quotas
from engine.reconcile.check import Check
from engine.reconcile.live import BATCH, Cell, pairs
from engine.reconcile.moves import Packed, compare_moves, law, moves_of

AGAIN = ("quotas",)
Place = tuple[int, str, str]  # cell, event, quota


async def check_quotas(check: Check) -> None:
    """Compare each quota in each cell with the tickets and open orders that the books have."""
    async with check.books.connect() as conn:
        query = select(quotas).where(quotas.c.tenant == check.tenant)
        rows = (await conn.execute(query.order_by(quotas.c.event_id, quotas.c.id))).all()
    if rows:
        live = {cell.number: await _read(check, cell, rows) for cell in check.cells}
        async with check.books.connect() as conn:
            counts = await _counts(check, conn)
            moves = await moves_of(check, conn, "quota")
        for i, row in enumerate(rows):
            shares, name = json.loads(row.shares), f"{row.event_id}/{row.id}"
            if sum(shares) != row.total:
                check.differs("quota", name, "", f"{shares} of {row.total}", AGAIN)
            parts, ways = [], []
            for cell in check.cells:
                place = (cell.number, row.event_id, row.id)
                told = {"share": shares[cell.number], "used": counts[place], "version": row.version}
                mine, packed = live[cell.number][i]
                told["moved"] = compare_moves(check, "quota", cell, name, packed, moves, AGAIN)
                _compare(check, f"{name} cell {cell.number}", mine, told)
                parts.append(mine["share"] + mine["moved"])
                ways.append(packed)
            law(check, "quota", name, parts, ways, row.total, AGAIN)
    check.report.checked["quotas"] = len(rows)


async def _read(
    check: Check, cell: Cell, rows: Sequence[Row[Any]]
) -> list[tuple[dict[str, int], Packed]]:
    found: list[tuple[dict[str, int], Packed]] = []
    for start in range(0, len(rows), BATCH):
        some = rows[start : start + BATCH]
        asked = [
            ("HMGET", keys.quotas_key(cell.tag, row.event_id), *(f"{f}{row.id}" for f in "smuvoi"))
            for row in some
        ]
        for values in await check.live.many(asked):
            named = zip(("share", "moved", "used", "version"), values[:4], strict=True)
            found.append(({name: int(value or 0) for name, value in named}, values[4:]))
    return found


def _compare(check: Check, where: str, live: dict[str, int], told: dict[str, int]) -> None:
    for name, value in told.items():
        if live[name] != value:
            check.differs(f"quota {name}", where, live[name], value, AGAIN)
    left = live["share"] + live["moved"] - live["used"]
    if left < 0:
        check.differs("quota", where, f"left {left}", "never below 0", AGAIN)


async def _named(check: Check, conn: AsyncConnection) -> dict[str, list[tuple[str, str]]]:
    """(event, quota) that each campaign's tickets count against."""
    query = select(campaigns.c.id, campaigns.c.body).where(
        campaigns.c.tenant == check.tenant, campaigns.c.event_id != ""
    )
    named = {}
    for name, body in await conn.execute(query):
        event = json.loads(body)["event"]
        named[name] = [(event["id"], quota["id"]) for quota in event["quotas"] or []]
    return named


async def _counts(check: Check, conn: AsyncConnection) -> Counter[Place]:
    """How many tickets are out or set aside, by cell, event and quota."""
    named = await _named(check, conn)
    counts: Counter[Place] = Counter()
    out = (
        select(coupons.c.cell, coupons.c.campaign_id, func.count())
        .where(
            coupons.c.tenant == check.tenant,
            coupons.c.restocked == 0,
            coupons.c.came_from == "",  # given on, it counts where it was issued
            coupons.c.campaign_id.in_(list(named)),
        )
        .group_by(coupons.c.cell, coupons.c.campaign_id)
    )
    for cell, campaign, number in await conn.execute(out):
        for event, quota in named[campaign]:
            counts[cell, event, quota] += number
    for cell, campaign, number, _ in await _pending(check, conn):
        for event, quota in named.get(campaign, []):
            counts[cell, event, quota] += number
    return counts


async def _pending(check: Check, conn: AsyncConnection) -> list[tuple[int, str, int, str]]:
    """What pending orders set aside: (cell, campaign, number, order)."""
    query = select(orders.c.cell, orders.c.id, orders.c["items"]).where(
        orders.c.tenant == check.tenant, orders.c.state == "pending"
    )
    return [
        (cell, item["campaign_id"], item["quantity"], name)
        for cell, name, items in await conn.execute(query)
        for item in json.loads(items)
    ]


async def known_quotas(check: Check, cell: Cell, event_keys: list[bytes]) -> None:
    """Name events in the cell that the books do not know."""
    at = len(keys.quotas_key(cell.tag, ""))
    ids = {key.decode()[at:] for key in event_keys}
    query = select(quotas.c.event_id).where(
        quotas.c.tenant == check.tenant, quotas.c.event_id.in_(ids)
    )
    async with check.books.connect() as conn:
        known = set(await conn.scalars(query))
    for event_id in sorted(ids - known):
        check.differs("quotas", f"{event_id} cell {cell.number}", "there", "", ())


async def check_lapsing(check: Check, cell: Cell) -> None:
    """The lists of open orders of quotas are those that the books know as pending."""
    async with check.books.connect() as conn:
        named = await _named(check, conn)
        pending = await _pending(check, conn) if named else []
    expected: dict[tuple[str, str], set[str]] = {
        place: set() for places in named.values() for place in places
    }
    for where, campaign, number, order in pending:
        for place in named.get(campaign, []) if where == cell.number else ():
            expected[place].add(f"{order[1:]}:{number}:{campaign}")
    places = sorted(expected)
    lists = await check.live.many(
        [("ZRANGE", keys.lapsing_key(cell.tag, *place), 0, -1, "WITHSCORES") for place in places]
    )
    for place, members in zip(places, lists, strict=True):
        listed = {name.decode() for name, _ in pairs(members)}
        if listed != expected[place]:
            where_ = f"{'/'.join(place)} cell {cell.number}"
            check.differs("open orders", where_, listed, expected[place], AGAIN)
