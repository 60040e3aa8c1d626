"""Campaigns against the books: the stock law cell by cell, counters, versions; stores."""

from __future__ import annotations

import json
from collections.abc import Collection
from typing import Any

import msgspec
from sqlalchemy import and_, case, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from engine import keys
from engine.books.ledger import STORED_VALUE
from engine.books.schema import (
    campaigns,
    coupons,
    parking_validations,
    redemption_coupons,
    redemptions,
    stores,
)
from engine.reconcile.check import Check
from engine.reconcile.live import BATCH, Cell
from engine.reconcile.moves import DIRECTIONS, compare_moves, law, moves_of
from engine.reconcile.orders import pending
from engine.reconcile.pools import check_pools
from engine.records import StoreRecord

_COUNTERS = ("version", "share", "left", "issued", "redeemed", "budget", "budget_left",
             "aside", "moved")
_store = msgspec.msgpack.Decoder(StoreRecord).decode

Spent = dict[tuple[int, str], int]  # by cell and campaign: fen redeemed or set aside
Counts = dict[tuple[int, str], dict[str, int]]  # by cell and campaign: coupons by state


async def check_campaigns(check: Check, only: Collection[str] | None) -> None:
    """Compare counters with the coupons that the books have; ``only``: these campaigns."""
    listed = select(campaigns).where(campaigns.c.tenant == check.tenant)
    once = and_(coupons.c.state == "redeemed", coupons.c.used == 0, coupons.c.spent == 0)
    counted = select(
        coupons.c.cell,
        coupons.c.campaign_id,
        coupons.c.state,
        func.sum(case((coupons.c.came_from == "", 1), else_=0)),  # given on, it was issued there
        func.sum(case((once, 1), else_=0)),
        func.sum(coupons.c.used - coupons.c.came_used),
    ).where(coupons.c.tenant == check.tenant, coupons.c.restocked == 0)
    given = select(
        parking_validations.c.cell, parking_validations.c.campaign_id, func.count()
    ).where(parking_validations.c.tenant == check.tenant)
    if only is not None:
        given = given.where(parking_validations.c.campaign_id.in_(only))
        listed = listed.where(campaigns.c.id.in_(only))
        counted = counted.where(coupons.c.campaign_id.in_(only))
    counts: Counts = {}
    redeemed: dict[tuple[int, str], int] = {}  # uses that stay redeemed
    # Live first: what the books have by then was at least as much.
    async with check.books.connect() as conn:
        found = (await conn.execute(listed.order_by(campaigns.c.id))).all()
    rows = {cell: await _read(check, cell, [row.id for row in found]) for cell in check.cells}
    async with check.books.connect() as conn:
        groups = counted.group_by(coupons.c.cell, coupons.c.campaign_id, coupons.c.state)
        for cell, campaign, state, count, single, used in await conn.execute(groups):
            place = cell, campaign
            counts.setdefault(place, {})[state] = int(count)
            redeemed[place] = redeemed.get(place, 0) + int(single) + int(used)
        for place, number in (await _paid(check, conn)).items():
            redeemed[place] = redeemed.get(place, 0) + number
        validated = given.group_by(parking_validations.c.cell, parking_validations.c.campaign_id)
        for cell, campaign, count in await conn.execute(validated):
            counts.setdefault((cell, campaign), {})["given to stays"] = count
        spent = await _spent(check, conn, only)
        moves = await moves_of(check, conn, "stock")
        aside = await pending(check, conn)
    for i, campaign in enumerate(found):
        shares, budgets = json.loads(campaign.shares), json.loads(campaign.budgets)
        budget = json.loads(campaign.body)["stock"].get("budget")
        again = ("campaign", campaign.id)
        if campaign.total is not None and sum(shares) != campaign.total:
            check.differs("stock", campaign.id, "", f"{shares} of {campaign.total}", again)
        if (sum(budgets) if budgets else None) != budget:
            check.differs("budget", campaign.id, "", f"{budgets} of {budget}", again)
        for cell in check.cells:
            money: dict[str, int | None] = {"budget": None, "budget_left": None}
            if budgets:
                left = budgets[cell.number] - spent.get((cell.number, campaign.id), 0)
                money = {"budget": budgets[cell.number], "budget_left": left}
            row = rows[cell][i]
            moved = compare_moves(check, "stock", cell, campaign.id, row[:2], moves, again)
            money["moved"] = moved
            share = shares[cell.number] + moved if campaign.total is not None else -1
            states = counts.get((cell.number, campaign.id), {})
            money["aside"] = aside.get((cell.number, campaign.id), 0)
            told = redeemed.get((cell.number, campaign.id), 0)
            _compare(check, cell, campaign, share, row[2:], states, money, told)
        everywhere = [rows[cell][i] for cell in check.cells]
        if campaign.total is not None and all(row[2] is not None for row in everywhere):
            parts = [int(row[3] or 0) for row in everywhere]
            packed = [row[:2] for row in everywhere]
            law(check, "stock", campaign.id, parts, packed, campaign.total, again)
    await check_pools(
        check, [row.id for row in found if json.loads(row.body)["stock"].get("pool")]
    )
    if only is None:
        check.report.count("campaigns", len(found))


async def _paid(check: Check, conn: AsyncConnection) -> dict[tuple[int, str], int]:
    """How often stored value was paid with and not wholly given back, by cell and campaign."""
    used = redemption_coupons
    query = (
        select(redemptions.c.cell, used.c.campaign_id, func.count())
        .join_from(
            used,
            redemptions,
            and_(redemptions.c.tenant == used.c.tenant, redemptions.c.id == used.c.redemption_id),
        )
        .where(used.c.tenant == check.tenant, used.c.benefit == STORED_VALUE)
        .where(used.c.tendered > used.c.tendered_back)
        .where(redemptions.c.state.in_(("redeemed", "reversed")))
        .group_by(redemptions.c.cell, used.c.campaign_id)
    )
    return {(cell, name): count for cell, name, count in await conn.execute(query)}


async def _spent(check: Check, conn: AsyncConnection, only: Collection[str] | None) -> Spent:
    """What redemptions and open holds take of budgets; an exchange its worth, until it is back."""
    used = redemption_coupons
    worth = case((redemptions.c.state != "reversed", used.c.value), else_=0)
    query = (
        select(
            redemptions.c.cell,
            used.c.campaign_id,
            func.sum(used.c.discount - used.c.discount_back + worth),
        )
        .join_from(
            used,
            redemptions,
            and_(redemptions.c.tenant == used.c.tenant, redemptions.c.id == used.c.redemption_id),
        )
        .where(used.c.tenant == check.tenant)
        .where(redemptions.c.state.in_(("held", "redeemed", "reversed")))
        .group_by(redemptions.c.cell, used.c.campaign_id)
    )
    if only is not None:
        query = query.where(used.c.campaign_id.in_(only))
    return {(cell, name): int(money) for cell, name, money in await conn.execute(query)}


async def _read(check: Check, cell: Cell, ids: list[str]) -> list[list[bytes | None]]:
    rows: list[list[bytes | None]] = []
    for start in range(0, len(ids), BATCH):
        some = ids[start : start + BATCH]
        counters = [("HMGET", keys.campaign_key(cell.tag, name), *_COUNTERS) for name in some]
        totals = [("HMGET", keys.campaign_key(cell.tag, name), *DIRECTIONS) for name in some]
        lengths = [("STRLEN", keys.holders_key(cell.tag, name)) for name in some]
        found = await check.live.many(counters + totals + lengths)
        parts = [found[n * len(some) : (n + 1) * len(some)] for n in range(3)]
        rows += [
            [*moved, *row, length // keys.HOLDER_LENGTH]
            for row, moved, length in zip(*parts, strict=True)
        ]
    return rows


def _compare(
    check: Check,
    cell: Cell,
    campaign: Any,
    share: int,
    row: list[bytes | None],
    states: dict[str, int],
    money: dict[str, int | None],
    redeemed: int,
) -> None:
    again = ("campaign", campaign.id)
    where = f"{campaign.id} cell {cell.number}"
    if row[0] is None:
        check.differs("campaign", where, "", f"version {campaign.version}", again)
        return
    names = (*_COUNTERS, "holders")
    live = {name: None if v is None else int(v) for name, v in zip(names, row, strict=True)}
    issued, aside = sum(states.values()), money["aside"] or 0
    for name in ("redeemed", "aside", "moved"):
        live[name] = live[name] or 0
    # Who had one set aside, or gave it back, stays among the holders.
    out = (live["issued"] or 0) + (live["aside"] or 0)
    holders = max(live["holders"] or 0, out)
    expected: dict[str, int | None] = {
        "version": campaign.version,
        "share": share,
        "issued": issued,
        "holders": holders,
        "redeemed": redeemed,
        "left": share - issued - aside if share >= 0 else None,
        **money,
    }
    for name, value in expected.items():
        if live[name] != value:
            check.differs(name, where, live[name], value, again)
    left = live["left"]
    if left is not None and (left < 0 or left + out != live["share"]):
        told = f"left {left} + issued {live['issued']} + aside {live['aside']}"
        check.differs("stock law", where, told, f"share {live['share']}", again)


async def known_campaigns(check: Check, cell: Cell, campaign_keys: list[bytes]) -> None:
    """Name campaigns in the cell that the books do not know."""
    at = len(keys.campaign_key(cell.tag, ""))
    ids = {key.decode()[at:] for key in campaign_keys}
    query = select(campaigns.c.id).where(
        campaigns.c.tenant == check.tenant, campaigns.c.id.in_(ids)
    )
    async with check.books.connect() as conn:
        known = set(await conn.scalars(query))
    for campaign_id in sorted(ids - known):
        check.differs("campaign", f"{campaign_id} cell {cell.number}", "there", "", ())


async def check_stores(check: Check, cell: Cell) -> None:
    """Each cell knows every store, its merchant above all: that is who gets the money."""
    async with check.books.connect() as conn:
        rows = (
            await conn.execute(
                select(stores).where(stores.c.tenant == check.tenant).order_by(stores.c.id)
            )
        ).all()
    for start in range(0, len(rows), BATCH):
        batch = rows[start : start + BATCH]
        key = keys.cell_key(cell.tag)
        (packed,) = await check.live.many([("HMGET", key, *(f"s{row.id}" for row in batch))])
        for row, record in zip(batch, packed, strict=True):
            live = tuple(msgspec.structs.astuple(_store(record))) if record else ""
            told = (row.revision, row.merchant_id, row.closed)
            if live != told:
                check.differs("store", f"{row.id} cell {cell.number}", live, told, ("store",))
    if cell.number == 0 and "stores" not in check.report.checked:
        check.report.count("stores", len(rows))
