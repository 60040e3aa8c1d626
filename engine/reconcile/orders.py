"""Orders against the books: each the same, and what is open is known wherever it must be."""

from __future__ import annotations

import json
from typing import Any

import msgspec
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from engine import keys
from engine.books.schema import campaigns, orders, refunds
from engine.order_records import OpenOrder, OrderRecord, OrderState
from engine.reconcile.check import Check
from engine.reconcile.live import BATCH, Cell, pairs

_PLACE = keys.HANDLE_LENGTH + keys.SERIAL_LENGTH
_STATES = {
    OrderState.PENDING: "pending",
    OrderState.PAID: "paid",
    OrderState.CANCELLED: "cancelled",
    OrderState.LAPSED: "expired",
}
_COLUMNS = (
    orders.c.state, orders.c.user_id, orders.c.at_ms, orders.c.until_ms, orders.c.amount,
    orders.c.points, orders.c.payment_ref, orders.c.paid_ms,
)  # fmt: skip

_order = msgspec.msgpack.Decoder(OrderRecord).decode
_open = msgspec.msgpack.Decoder(list[OpenOrder]).decode


async def check_orders(
    check: Check, cell: Cell, order_keys: list[bytes], *, again: bool = False
) -> None:
    """Each order in Redis is one in the books, the same, with the same refunds."""
    packed = await check.live.many([("GET", key) for key in order_keys])
    found = {
        "O" + key[-_PLACE:].decode(): (_order(value), ("order", cell.number, key.decode()))
        for key, value in zip(order_keys, packed, strict=True)
        if value and (again or key[-_PLACE:] not in check.orders)
    }
    check.orders.update(key[-_PLACE:] for key in order_keys)
    async with check.books.connect() as conn:
        query = select(orders.c.id, *_COLUMNS).where(
            orders.c.tenant == check.tenant, orders.c.id.in_(found)
        )
        told = {name: tuple(columns) for name, *columns in await conn.execute(query)}
        back = await _refunds(check, conn, list(found))
    for name, (record, place) in found.items():
        live = (
            _STATES[OrderState(record.state)], record.user_id, record.at, record.until,
            record.amount, record.points, record.payment_ref, record.paid_at,
        )  # fmt: skip
        if live != told.get(name):
            check.differs("order", name, live, told.get(name, ""), place)
        if record.state == OrderState.PENDING:
            check.order_fields.add(name[1:])
        handle = name[1 : 1 + keys.HANDLE_LENGTH]
        mine = sorted(
            (keys.make_id("C", handle, one.coupon), one.ref, one.amount, one.points, one.failed)
            for one in record.refunds
        )
        if mine != sorted(back.get(name, [])):
            check.differs("refunds", name, mine, sorted(back.get(name, [])), place)
    if not again:
        check.report.count("orders", len(found))


async def _refunds(
    check: Check, conn: AsyncConnection, names: list[str]
) -> dict[str, list[tuple[Any, ...]]]:
    c = refunds.c
    query = select(c.order_id, c.coupon_id, c.ref, c.amount, c.points, c.failed_ms).where(
        c.tenant == check.tenant, c.order_id.in_(names)
    )
    found: dict[str, list[tuple[Any, ...]]] = {}
    for order_id, *columns in await conn.execute(query):
        found.setdefault(order_id, []).append(tuple(columns))
    return found


async def pending(check: Check, conn: AsyncConnection) -> dict[tuple[int, str], int]:
    """What orders that the books know as pending set aside, by cell and campaign."""
    query = select(orders.c.cell, orders.c["items"]).where(
        orders.c.tenant == check.tenant, orders.c.state == "pending"
    )
    aside: dict[tuple[int, str], int] = {}
    for cell, items in await conn.execute(query):
        for item in json.loads(items):
            place = cell, item["campaign_id"]
            aside[place] = aside.get(place, 0) + item["quantity"]
    return aside


async def pending_of(
    check: Check, conn: AsyncConnection, users: list[str]
) -> dict[tuple[str, str], int]:
    """The same by user and campaign: it counts among what they may have."""
    query = select(orders.c.user_id, orders.c["items"]).where(
        orders.c.tenant == check.tenant,
        orders.c.state == "pending",
        orders.c.user_id.in_(users),
    )
    aside: dict[tuple[str, str], int] = {}
    for user_id, items in await conn.execute(query):
        for item in json.loads(items):
            place = user_id, item["campaign_id"]
            aside[place] = aside.get(place, 0) + item["quantity"]
    return aside


async def check_open_orders(check: Check, cell: Cell) -> None:
    """Open orders are those that the sweeper, their campaigns and their wallets know."""
    (listed,) = await check.live.many([("ZRANGE", keys.orders_key(cell.tag), 0, -1, "WITHSCORES")])
    known = {name.decode(): int(float(score)) for name, score in pairs(listed)}
    mine = known.keys() | {name for name in check.order_fields if _is_in(check, cell, name)}
    expected: dict[str, dict[str, int]] = {}  # by campaign: member of its list, until
    names = sorted(mine)
    again = ("orders",)
    for start in range(0, len(names), BATCH):
        batch = names[start : start + BATCH]
        found = await check.live.many([("GET", _key(cell, name)) for name in batch])
        wallets = await check.live.many(
            [("HGET", keys.wallet_key(cell.tag, name[: keys.HANDLE_LENGTH]), "q") for name in batch]
        )
        for name, packed, field in zip(batch, found, wallets, strict=True):
            record = _order(packed) if packed else None
            is_open = record is not None and record.state == OrderState.PENDING
            until = record.until if record and is_open else None
            serial = name[keys.HANDLE_LENGTH :]
            carried = {one.serial: one.until for one in (_open(field) if field else [])}
            if known.get(name) != until or carried.get(serial) != until:
                told = f"listed {known.get(name)}, wallet {carried.get(serial)}"
                check.differs("open order", f"O{name}", until, told, again)
            for item in record.items if record and is_open else ():
                member = f"{name}:{item.quantity}"
                expected.setdefault(item.campaign_id, {})[member] = until or 0
    await _check_campaigns(check, cell, expected)


async def _check_campaigns(check: Check, cell: Cell, expected: dict[str, dict[str, int]]) -> None:
    async with check.books.connect() as conn:
        query = select(campaigns.c.id).where(campaigns.c.tenant == check.tenant)
        names = sorted(await conn.scalars(query))
    for start in range(0, len(names), BATCH):
        batch = names[start : start + BATCH]
        lists = await check.live.many(
            [("ZRANGE", keys.pending_key(cell.tag, name), 0, -1, "WITHSCORES") for name in batch]
        )
        for campaign, members in zip(batch, lists, strict=True):
            listed = {name.decode(): int(float(score)) for name, score in pairs(members)}
            if listed != expected.get(campaign, {}):
                where = f"{campaign} cell {cell.number}"
                check.differs("open orders", where, listed, expected.get(campaign, {}), ("orders",))


def _is_in(check: Check, cell: Cell, name: str) -> bool:
    return keys.cell_of(name[: keys.HANDLE_LENGTH], len(check.cells)) == cell.number


def _key(cell: Cell, name: str) -> str:
    return keys.order_key(cell.tag, name[: keys.HANDLE_LENGTH], name[keys.HANDLE_LENGTH :])


async def missing_orders(check: Check) -> None:
    """Name orders that the books have and Redis has not."""
    if await check.count_of(orders) == check.report.checked.get("orders", 0):
        return
    query = select(orders.c.id).where(orders.c.tenant == check.tenant)
    async with check.books.connect() as conn:
        ids = [str(name) for name in await conn.scalars(query)]
    cells = {name: check.cell_of(name[1 : 1 + keys.HANDLE_LENGTH]) for name in ids}
    await check.missing(
        "order", {name: (cell, _key(cell, name[1:])) for name, cell in cells.items()}
    )
