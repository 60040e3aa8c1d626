"""Points against the books: a balance is the sum of its entries; every entry, every purchase."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import msgspec
from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from engine import keys
from engine.books.schema import points_entries, purchase_refunds, purchases
from engine.fastpath import handle_of, serial_of
from engine.reconcile.check import Again, Check
from engine.reconcile.live import Cell
from engine.records import EntryRecord, PointsRecord, PurchaseRecord

if TYPE_CHECKING:
    from collections.abc import Mapping

_record = msgspec.msgpack.Decoder(PointsRecord).decode
_entry = msgspec.msgpack.Decoder(EntryRecord).decode
_purchase = msgspec.msgpack.Decoder(PurchaseRecord).decode
_PLACE = keys.HANDLE_LENGTH + keys.SERIAL_LENGTH


class _Wallet(Protocol):
    again: Again
    points: bytes  # field p, b"" without


async def compare_points(
    check: Check, conn: AsyncConnection, wallets: Mapping[str, _Wallet], again: bool
) -> None:
    """A balance is its lots, what is set aside and its debt; and the sum of all entries told."""
    query = (
        select(points_entries.c.user_id, func.sum(points_entries.c.points), func.count())
        .where(points_entries.c.tenant == check.tenant, points_entries.c.user_id.in_(wallets))
        .group_by(points_entries.c.user_id)
    )
    told = {user: (int(total), count) for user, total, count in await conn.execute(query)}
    for user_id, wallet in wallets.items():
        record = _record(wallet.points) if wallet.points else PointsRecord()
        parts = sum(lot.points for lot in record.lots) - record.debt
        parts += sum(hold.points for hold in record.holds)
        if parts != record.balance:
            where = f"{user_id}: lots, holds and debt"
            check.differs("points", where, parts, f"balance {record.balance}", wallet.again)
        if record.balance != told.get(user_id, (0, 0))[0]:
            books = told.get(user_id, (0, 0))[0]
            check.differs("points", user_id, record.balance, books, wallet.again)
        low = [lot.serial for lot in record.lots if lot.points <= 0]
        if low or record.debt < 0 or (record.debt and record.lots):
            check.differs("points", f"{user_id}: lots", f"{low} debt {record.debt}", "", ())
    if told and not again:
        check.report.count("points entries", sum(count for _, count in told.values()))


async def check_entries(
    check: Check, cell: Cell, entry_keys: list[bytes], *, again: bool = False
) -> None:
    """Each entry in Redis is one in the books, the same."""
    rows = await check.live.many([("GET", key) for key in entry_keys])
    found = {
        keys.make_id("P", *_place(key)): (("points", cell.number, key.decode()), _entry(packed))
        for key, packed in zip(entry_keys, rows, strict=True)
        if packed
    }
    c = points_entries.c
    query = select(c.id, c.user_id, c.points, c.balance, c.at_ms).where(
        c.tenant == check.tenant, c.id.in_(found)
    )
    async with check.books.connect() as conn:
        books = {name: tuple(rest) for name, *rest in await conn.execute(query)}
    for name, (place, entry) in found.items():
        live = entry.user_id, entry.points, entry.balance, entry.at
        if live != books.get(name):
            check.differs("entry of points", name, live, books.get(name, ""), place)
        if not 0 <= entry.reversed <= abs(entry.points):
            what = f"{entry.reversed} reversed"
            check.differs("entry of points", name, what, f"of {entry.points}", place)
    if not again:
        check.report.count("entries of points", len(found))


async def check_purchases(
    check: Check, cell: Cell, purchase_keys: list[bytes], *, again: bool = False
) -> None:
    """Each purchase and refund in Redis is in the books, the same."""
    rows = await check.live.many([("GET", key) for key in purchase_keys])
    found = {}
    for key, packed in zip(purchase_keys, rows, strict=True):
        if packed:
            record = _purchase(packed)
            found[record.transaction_id] = ("purchase", cell.number, key.decode()), record
    c, r = purchases.c, purchase_refunds.c
    async with check.books.connect() as conn:
        query = select(c.transaction_id, c.user_id, c.store_id, c.amount, c.refunded, c.earned)
        books = {
            name: tuple(rest)
            for name, *rest in await conn.execute(
                query.where(c.tenant == check.tenant, c.transaction_id.in_(found))
            )
        }
        back: dict[str, set[tuple[str, int, int]]] = {}
        refunds = select(r.transaction_id, r.refund_id, r.amount, r.points).where(
            r.tenant == check.tenant, r.transaction_id.in_(found)
        )
        for name, *told in await conn.execute(refunds):
            back.setdefault(name, set()).add((told[0], told[1], told[2]))
    for name, (place, record) in found.items():
        live = record.user_id, record.store_id, record.amount, record.refunded, record.earned
        if books.get(name) != (live if record.known else None):
            check.differs("purchase", name, live, books.get(name, ""), place)
        mine = {(one.refund_id, one.amount, one.points_back) for one in record.refunds}
        if mine != back.get(name, set()):
            check.differs("refunds", name, sorted(mine), sorted(back.get(name, set())), place)
    if not again:
        check.report.count("purchases", sum(record.known for _, record in found.values()))


async def missing_purchases(check: Check) -> None:
    """Name purchases that the books have and Redis has not."""
    if await check.count_of(purchases) == check.report.checked.get("purchases", 0):
        return
    c = purchases.c
    query = select(c.transaction_id, c.user_id).where(c.tenant == check.tenant)
    named = {}
    async with check.books.connect() as conn:
        for name, user_id in await conn.execute(query):
            handle = handle_of(check.handle_key, user_id)
            serial = serial_of(check.handle_key, "purchase", handle, name, 0)
            cell = check.cell_of(handle)
            named[name] = cell, keys.purchase_key(cell.tag, handle, serial)
    await check.missing("purchase", named)


def _place(key: bytes) -> tuple[str, str]:
    place = key[-_PLACE:].decode()
    return place[: keys.HANDLE_LENGTH], place[keys.HANDLE_LENGTH :]
