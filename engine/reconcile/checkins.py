"""Check-ins against the books: each attempt the same, and no passing that was not one of them."""

from __future__ import annotations

from typing import Any

import msgspec
from sqlalchemy import select

from engine import keys
from engine.books.schema import checkins
from engine.checkin_records import AttendanceRecord, CheckInRecord
from engine.outcomes import Outcome
from engine.reconcile.check import Check
from engine.reconcile.live import Cell

_PLACE = keys.HANDLE_LENGTH + keys.SERIAL_LENGTH
_COLUMNS = (
    checkins.c.code, checkins.c.at_ms, checkins.c.user_id, checkins.c.coupon_id,
    checkins.c.campaign_id, checkins.c.event_id, checkins.c.gate, checkins.c.direction,
    checkins.c.offline, checkins.c.scanned_ms, checkins.c.staff_id, checkins.c.redemption_id,
    checkins.c.entries, checkins.c.other_gate, checkins.c.other_ms,
)  # fmt: skip

_checkin = msgspec.msgpack.Decoder(CheckInRecord).decode
_attendance = msgspec.msgpack.Decoder(AttendanceRecord).decode


def _id(kind: str, handle: str, serial: str) -> str:
    return keys.make_id(kind, handle, serial) if serial else ""


def _live(handle: str, one: CheckInRecord) -> tuple[Any, ...]:
    return (
        Outcome(one.outcome).code if one.outcome else "", one.at, one.user_id,
        _id("C", handle, one.ticket), one.campaign_id, one.event_id, one.gate,
        "out" if one.out else "in", one.offline, one.scanned, one.staff_id,
        _id("R", handle, one.redemption), one.entries, one.other_gate, one.other_at,
    )  # fmt: skip


async def check_checkins(
    check: Check, cell: Cell, checkin_keys: list[bytes], *, again: bool = False
) -> None:
    """Each attempt in Redis is one in the books, the same."""
    packed = await check.live.many([("GET", key) for key in checkin_keys])
    found: dict[str, tuple[CheckInRecord, Any]] = {}
    for key, value in zip(checkin_keys, packed, strict=True):
        name = "I" + key[-_PLACE:].decode()
        if value and (again or name not in check.checkins):
            check.checkins.add(name)
            found[name] = _checkin(value), ("checkin", cell.number, key.decode())
    query = select(checkins.c.id, *_COLUMNS).where(
        checkins.c.tenant == check.tenant, checkins.c.id.in_(found)
    )
    async with check.books.connect() as conn:
        told = {name: tuple(columns) for name, *columns in await conn.execute(query)}
    for name, (record, place) in found.items():
        live = _live(name[1 : 1 + keys.HANDLE_LENGTH], record)
        if live != told.get(name):
            check.differs("check-in", name, live, told.get(name, ""), place)


async def check_attendances(check: Check, cell: Cell, attendance_keys: list[bytes]) -> None:
    """Whoever went through a gate with a ticket did so by a check-in of that ticket."""
    packed = await check.live.many([("GET", key) for key in attendance_keys])
    found: dict[str, tuple[AttendanceRecord, Any]] = {}
    for key, value in zip(attendance_keys, packed, strict=True):
        if value:
            name = "C" + key[-_PLACE:].decode()
            found[name] = _attendance(value), ("attendance", cell.number, key.decode())
    c = checkins.c
    query = select(c.coupon_id, c.id, c.scanned_ms, c.direction, c.gate).where(
        c.tenant == check.tenant, c.coupon_id.in_(found)
    )
    told: dict[str, set[tuple[Any, ...]]] = {}
    async with check.books.connect() as conn:
        for coupon_id, *columns in await conn.execute(query):
            told.setdefault(coupon_id, set()).add(tuple(columns))
    for coupon_id, (record, place) in found.items():
        handle = coupon_id[1 : 1 + keys.HANDLE_LENGTH]
        passed = {
            (_id("I", handle, one.serial), one.at, "out" if one.out else "in", one.gate)
            for one in record.passings
        }
        if strange := passed - told.get(coupon_id, set()):
            check.differs("attendance", coupon_id, strange, "no such check-in", place)


async def missing_checkins(check: Check) -> None:
    """Name check-ins that the books have and Redis has not."""
    if check.checkins:
        check.report.count("check-ins", len(check.checkins))
    if await check.count_of(checkins) == len(check.checkins):
        return
    query = select(checkins.c.id).where(checkins.c.tenant == check.tenant)
    async with check.books.connect() as conn:
        ids = [str(name) for name in await conn.scalars(query)]
    named = {}
    for name in ids:
        handle, serial = name[1 : 1 + keys.HANDLE_LENGTH], name[-keys.SERIAL_LENGTH :]
        cell = check.cell_of(handle)
        named[name] = cell, keys.checkin_key(cell.tag, handle, serial)
    await check.missing("check-in", named)
