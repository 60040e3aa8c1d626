"""How stays were paid for, against the books: each payment names a redemption, none is missing."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
from sqlalchemy import func, select

from engine import keys
from engine.books.schema import redemptions
from engine.parking.records import StayUse
from engine.reconcile.live import Cell

if TYPE_CHECKING:
    from engine.reconcile.check import Again, Check

_use = msgspec.msgpack.Decoder(StayUse).decode
_ID = keys.HANDLE_LENGTH + keys.SERIAL_LENGTH


async def check_payments(
    check: Check, cell: Cell, use_keys: list[bytes], *, again: bool = False
) -> None:
    """Each payment of a stay is a redemption of its lot, session and fee in the books."""
    rows = await check.live.many([("GET", key) for key in use_keys])
    found: dict[str, tuple[Again, tuple[str, str]]] = {}
    for key, packed in zip(use_keys, rows, strict=True):
        use = _use(packed) if packed else StayUse("", "")
        place: Again = ("stay use", cell.number, key.decode())
        handle = key.decode()[-_ID : -keys.SERIAL_LENGTH]
        for payment in use.payments:
            order_ref = use.session_id
            if payment.fee_id != use.session_id:
                order_ref += f"/{payment.fee_id}"
            name = keys.make_id("R", handle, payment.serial)
            found[name] = (place, (use.lot_id, order_ref))
    c = redemptions.c
    query = select(c.id, c.lot_id, c.order_ref).where(c.tenant == check.tenant, c.id.in_(found))
    async with check.books.connect() as conn:
        books = {name: (lot, ref) for name, lot, ref in await conn.execute(query)}
    for name, (place, live) in found.items():
        if live != books.get(name):
            check.differs("payment of a stay", name, live, books.get(name, ""), place)
    if not again:
        check.report.count("payments of stays", len(found))


async def missing_payments(check: Check) -> None:
    """Every fee that the books know is in Redis: a fee may have had several holds, one counts."""
    c = redemptions.c
    fees = (
        select(c.lot_id, c.order_ref, func.substr(c.id, 2, keys.HANDLE_LENGTH))
        .where(c.tenant == check.tenant, c.lot_id != "")
        .distinct()
        .subquery("fees")
    )
    async with check.books.connect() as conn:
        known = int(await conn.scalar(select(func.count()).select_from(fees)) or 0)
    seen = check.report.checked.get("payments of stays", 0)
    if known > seen:
        check.differs("payments of stays", "in all", seen, known, ())
