"""Gifts: each open one holds its coupon until the same moment; what is on its way is known."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from engine import keys
from engine.gift_records import GiftRecord, GiftState, Take
from engine.reconcile.check import Check
from engine.reconcile.live import Cell, pairs
from engine.records import CouponRecord, CouponState

_PLACE = keys.HANDLE_LENGTH + keys.SERIAL_LENGTH

_gift = msgspec.msgpack.Decoder(GiftRecord).decode
_takes = msgspec.msgpack.Decoder(list[Take]).decode
_coupon = msgspec.msgpack.Decoder(CouponRecord).decode


async def check_gifts(
    check: Check, cell: Cell, gift_keys: list[bytes], *, again: bool = False
) -> None:
    """Each gift's coupon is as the gift says: held by it, gone to whom it says, or free of it."""
    packed = await check.live.many([("GET", key) for key in gift_keys])
    found = {
        key[-_PLACE:].decode(): (_gift(value), ("gift", cell.number, key.decode()))
        for key, value in zip(gift_keys, packed, strict=True)
        if value
    }
    asked = [
        ("HGET", keys.wallet_key(cell.tag, name[: keys.HANDLE_LENGTH]), f"C{record.coupon}")
        for name, (record, _) in found.items()
    ]
    coupons = await check.live.many(asked)
    for (name, (record, place)), value in zip(found.items(), coupons, strict=True):
        coupon = _coupon(value) if value else None
        if record.state == GiftState.OPEN:
            check.gifts[name] = record.until
            held = coupon is not None and _holds(name[keys.HANDLE_LENGTH :], record, coupon)
            if record.until > check.now and not held:
                check.differs("gift", f"G{name}", "open", "its coupon is not held by it", place)
        elif record.state == GiftState.ACCEPTED and (
            coupon is None or coupon.given_to != record.went_to
        ):
            went_to = coupon.given_to if coupon else ""
            check.differs("gift", f"G{name}", record.went_to, went_to, place)
    if not again:
        check.report.count("gifts", len(found))


def _holds(serial: str, record: GiftRecord, coupon: CouponRecord) -> bool:
    if any(hold.redemption == serial and hold.until == record.until for hold in coupon.holds):
        return True
    return coupon.state == CouponState.HELD and coupon.held_until == record.until


async def gifts_of(check: Check, handle: str, serials: Sequence[str]) -> set[str]:
    """Those of these holds on a coupon that are gifts."""
    cell = check.cell_of(handle)
    asked = [("EXISTS", keys.gift_key(cell.tag, handle, serial)) for serial in serials]
    found = await check.live.many(asked)
    return {serial for serial, there in zip(serials, found, strict=True) if there}


async def check_open_gifts(check: Check, cell: Cell) -> None:
    """The sweeper knows what is open, and what is on its way."""
    again = ("gifts",)
    for key, expected in (
        (keys.gifts_key(cell.tag), check.gifts.keys()),
        (keys.takes_key(cell.tag), check.takes),
    ):
        (members,) = await check.live.many([("ZRANGE", key, 0, -1, "WITHSCORES")])
        listed = {name.decode() for name, _ in pairs(members)}
        mine = {name for name in expected if _is_in(check, cell, name)}
        for name in sorted(listed ^ mine):
            if not await _agrees(check, cell, key, name):
                told = "listed" if name in listed else ""
                check.differs("open gift", name, told, "" if told else "open", again)


def _is_in(check: Check, cell: Cell, name: str) -> bool:
    return check.cell_of(name[: keys.HANDLE_LENGTH]) is cell


async def _agrees(check: Check, cell: Cell, key: str, name: str) -> bool:
    """Looked at once more: it may have come or gone since the first side was read."""
    handle, serial = name[: keys.HANDLE_LENGTH], name[keys.HANDLE_LENGTH :]
    score, gift, takes = await check.live.many([
        ("ZSCORE", key, name),
        ("GET", keys.gift_key(cell.tag, handle, serial)),
        ("HGET", keys.wallet_key(cell.tag, handle), "t"),
    ])  # fmt: skip
    if key == keys.gifts_key(cell.tag):
        is_open = gift is not None and _gift(gift).state == GiftState.OPEN
    else:
        is_open = any(one.serial == serial for one in (_takes(takes) if takes else []))
    return is_open == (score is not None)
