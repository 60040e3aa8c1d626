"""Passes and stored value: what a coupon counts is what its redemptions and holds took of it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, NamedTuple

import msgspec
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from engine import keys
from engine.books.schema import redemption_coupons
from engine.reconcile.check import Again, Check
from engine.reconcile.gifts import gifts_of
from engine.records import CouponRecord, RedemptionRecord, RedemptionState

if TYPE_CHECKING:
    from collections.abc import Mapping

_record = msgspec.msgpack.Decoder(RedemptionRecord).decode


class Counted(NamedTuple):
    """A coupon that counts its uses or its money itself."""

    handle: str
    record: CouponRecord
    again: Again


async def check_uses(check: Check, conn: AsyncConnection, coupons: Mapping[str, Counted]) -> None:
    """Uses and fen redeemed of each coupon, and its open holds, against its redemptions."""
    if not coupons:
        return
    query = select(redemption_coupons.c.coupon_id, redemption_coupons.c.redemption_id).where(
        redemption_coupons.c.tenant == check.tenant, redemption_coupons.c.coupon_id.in_(coupons)
    )
    named: dict[str, list[str]] = {coupon_id: [] for coupon_id in coupons}
    for coupon_id, redemption_id in await conn.execute(query):
        named[coupon_id].append(redemption_id)
    for coupon_id, coupon in coupons.items():
        records = await _records(check, coupon.handle, named[coupon_id])
        serial = coupon_id[-keys.SERIAL_LENGTH :]
        taken = [_taken(name, record, serial) for name, record in records]
        mine = coupon.record
        used = mine.came_used + sum(t[0] for t in taken)
        spent = mine.came_spent + sum(t[1] for t in taken)
        if (mine.used, mine.spent) != (used, spent):
            live = f"used {mine.used}, spent {mine.spent}"
            check.differs("use of a coupon", coupon_id, live, f"{used}, {spent}", coupon.again)
        gifts = await gifts_of(check, coupon.handle, [h.redemption for h in mine.holds])
        holds = sorted(
            _open(h.redemption, h.until, check.now) for h in mine.holds if h.redemption not in gifts
        )
        open_ = sorted(
            _open(name[-keys.SERIAL_LENGTH :], record.until, check.now)
            for name, record in records
            if record.state == RedemptionState.HELD
        )
        if [h for h in holds if h] != [h for h in open_ if h]:
            check.differs("use of a coupon", coupon_id, holds, open_, coupon.again)
    check.report.count("coupons of several uses", len(coupons))


def _open(serial: str, until: int, now: int) -> str:
    """ "" once it has lapsed: then either side may have forgotten it."""
    return serial if until > now else ""


async def _records(
    check: Check, handle: str, ids: Sequence[str]
) -> list[tuple[str, RedemptionRecord]]:
    cell = check.cells[keys.cell_of(handle, len(check.cells))]
    wanted: Iterable[tuple[str, str]] = (
        ("GET", keys.redemption_key(cell.tag, handle, name[-keys.SERIAL_LENGTH :])) for name in ids
    )
    found = await check.live.many(list(wanted)) if ids else []
    return [(name, _record(raw)) for name, raw in zip(ids, found, strict=True) if raw is not None]


def _taken(redemption_id: str, record: RedemptionRecord, serial: str) -> tuple[int, int]:
    """(uses, fen) of this coupon that stay redeemed."""
    if record.state not in (RedemptionState.REDEEMED, RedemptionState.REVERSED):
        return 0, 0
    uses = sum(c.returned != 1 for c in record.coupons if c.serial == serial and c.uses > 1)
    fen = sum(t.amount - t.back for t in record.tenders if t.serial == serial)
    return uses, fen
