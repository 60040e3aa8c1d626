"""Parking against the books: lots in every cell, whose car a plate is, stays, validations."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import msgspec
from sqlalchemy import select

from engine import keys
from engine.books.schema import lots, parking_stays, parking_validations, vehicle_users
from engine.fastpath import handle_of
from engine.parking.records import LotRecord, StayRecord, ValidationRecord, VehicleRecord
from engine.reconcile.live import BATCH, Cell

if TYPE_CHECKING:
    from engine.reconcile.check import Again, Check

_lot = msgspec.msgpack.Decoder(LotRecord).decode
_vehicle = msgspec.msgpack.Decoder(VehicleRecord).decode
_stay = msgspec.msgpack.Decoder(StayRecord).decode
_pocket = msgspec.msgpack.Decoder(list[ValidationRecord]).decode


async def check_lots(check: Check, cell: Cell) -> None:
    """Each cell knows every lot, its operator above all: that is who gets the money."""
    async with check.books.connect() as conn:
        query = select(lots).where(lots.c.tenant == check.tenant).order_by(lots.c.id)
        rows = (await conn.execute(query)).all()
    for start in range(0, len(rows), BATCH):
        batch = rows[start : start + BATCH]
        key = keys.cell_key(cell.tag)
        (packed,) = await check.live.many([("HMGET", key, *(f"l{row.id}" for row in batch))])
        for row, record in zip(batch, packed, strict=True):
            live = _lot(record) if record else None
            if live is None or (live.version, live.merchant_id) != (row.revision, row.merchant_id):
                told = f"revision {row.revision} of {row.merchant_id}"
                check.differs("lot", f"{row.id} cell {cell.number}", live, told, ("store",))


async def check_vehicles(
    check: Check, cell: Cell, vehicle_keys: list[bytes], *, again: bool = False
) -> None:
    """Each vehicle in Redis is the same in the books."""
    found = {
        record.plate: (place, record.user_ids)
        for place, packed in await _read(check, cell, "vehicle", vehicle_keys)
        for record in [_vehicle(packed)]
    }
    c = vehicle_users.c
    query = select(c.plate, c.user_id).where(
        c.tenant == check.tenant, c.plate.in_(found), c.present == 1
    )
    books: dict[str, list[str]] = {}
    async with check.books.connect() as conn:
        for plate, user in await conn.execute(query.order_by(c.plate, c.position)):
            books.setdefault(plate, []).append(user)
    for plate, (place, users) in found.items():
        if users != books.get(plate):
            check.differs("vehicle", plate, users, books.get(plate, ""), place)
    if not again:
        check.report.count("vehicles", sum(len(users) for _, users in found.values()))


async def check_stays(
    check: Check, cell: Cell, stay_keys: list[bytes], *, again: bool = False
) -> None:
    """Each stay in Redis is the same in the books."""
    found = {
        place[2][-keys.HANDLE_LENGTH :]: (place, _stay(packed))
        for place, packed in await _read(check, cell, "stay", stay_keys)
    }
    c = parking_stays.c
    query = select(
        c.id, c.lot_id, c.session_id, c.plate, c.user_id, c.entered_ms, c.recorded_ms,
        c.closed_ms, c.exited_ms,
    ).where(c.tenant == check.tenant, c.id.in_(found))  # fmt: skip
    async with check.books.connect() as conn:
        books = {name: tuple(rest) for name, *rest in await conn.execute(query)}
    for name, (place, stay) in found.items():
        live = (
            stay.lot_id, stay.session_id, stay.plate, stay.user_id, stay.entered, stay.recorded,
            stay.closed, stay.exited,
        )  # fmt: skip
        if live != books.get(name):
            check.differs("stay", name, live, books.get(name, ""), place)
    if not again:
        check.report.count("stays", len(found))


async def check_pockets(
    check: Check, cell: Cell, pocket_keys: list[bytes], *, again: bool = False
) -> None:
    """Each validation in Redis is in the books, the same."""
    found = {
        keys.make_id("K", place[2][-keys.HANDLE_LENGTH :], one.serial): (place, one)
        for place, packed in await _read(check, cell, "pocket", pocket_keys)
        for one in _pocket(packed)
    }
    c = parking_validations.c
    query = select(
        c.id, c.campaign_id, c.store_id, c.merchant_id, c.minutes, c.amount, c.at_ms
    ).where(c.tenant == check.tenant, c.id.in_(found))
    async with check.books.connect() as conn:
        books = {name: tuple(rest) for name, *rest in await conn.execute(query)}
    for name, (place, one) in found.items():
        live = one.campaign_id, one.store_id, one.merchant_id, one.minutes, one.amount, one.at
        if live != books.get(name):
            check.differs("validation", name, live, books.get(name, ""), place)
    if not again:
        check.report.count("validations", len(found))


async def missing_parking(check: Check) -> None:
    """Name vehicles and stays that the books have and Redis has not (validations are dropped)."""
    v, s = vehicle_users.c, parking_stays.c
    checked = check.report.checked
    if await check.count_of(vehicle_users, v.present == 1) != checked.get("vehicles", 0):
        plates = select(v.plate).where(v.tenant == check.tenant, v.present == 1).distinct()
        async with check.books.connect() as conn:
            names = [str(plate) for plate in await conn.scalars(plates)]
        vehicles = {}
        for plate in names:
            handle = handle_of(check.handle_key, f"plate/{plate}")
            cell = check.cell_of(handle)
            vehicles[plate] = cell, keys.vehicle_key(cell.tag, handle)
        await check.missing("vehicles", vehicles)
    if await check.count_of(parking_stays) != checked.get("stays", 0):
        stays = select(s.id).where(s.tenant == check.tenant)
        async with check.books.connect() as conn:
            handles = [str(handle) for handle in await conn.scalars(stays)]
        cells = {handle: check.cell_of(handle) for handle in handles}
        await check.missing(
            "stay", {h: (cell, keys.stay_key(cell.tag, h)) for h, cell in cells.items()}
        )


async def _read(
    check: Check, cell: Cell, kind: str, found: list[bytes]
) -> Iterator[tuple[Again, bytes]]:
    rows = await check.live.many([("GET", key) for key in found])
    places: list[Again] = [(kind, cell.number, key.decode()) for key in found]
    return ((place, row) for place, row in zip(places, rows, strict=True) if row)
