"""How stays were paid for, against the books: each payment names a redemption, none is missing."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
from sqlalchemy import func, select

from engine import keys
from engine.books.schema import redemptions
from engine.fastpath import serial_of
from engine.parking.records import StayUse
from engine.reconcile.live import BATCH, Cell

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
        select(c.lot_id, c.order_ref, func.substr(c.id, 2, keys.HANDLE_LENGTH).label("handle"))
        .where(c.tenant == check.tenant, c.lot_id != "")
        .distinct()
    )
    async with check.books.connect() as conn:
        known = (await conn.execute(fees)).all()
    if len(known) == check.report.checked.get("payments of stays", 0):
        return
    for cell in check.cells:
        here = [row for row in known if check.cell_of(row.handle) is cell]
        for start in range(0, len(here), BATCH):
            some = here[start : start + BATCH]
            found = await check.live.many([("GET", _use_key(check, *row)) for row in some])
            for row, packed in zip(some, found, strict=True):
                session_id, _, fee_id = row.order_ref.partition("/")
                told = _use(packed).payments if packed else []
                if all(one.fee_id != (fee_id or session_id) for one in told):
                    check.differs("payment of a stay", row.order_ref, "", "there", ())


def _use_key(check: Check, lot_id: str, order_ref: str, handle: str) -> str:
    stay = f"{lot_id}/{order_ref.partition('/')[0]}"
    serial = serial_of(check.handle_key, "stay", handle, stay, 0)
    return keys.stay_use_key(check.cell_of(handle).tag, handle, serial)
