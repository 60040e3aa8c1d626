"""Redemption records against the books, and each coupon in at most one that stands."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

import msgspec
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from engine import keys
from engine.books.ledger import OWN, benefit_of, deduction_id
from engine.books.schema import campaigns, coupons, redemption_coupons, redemptions, reversals
from engine.reconcile.check import Check
from engine.reconcile.live import BATCH, Cell, pairs
from engine.records import (
    AppliedCoupon,
    Deduction,
    RedemptionRecord,
    RedemptionState,
    Tender,
)

_ID = keys.HANDLE_LENGTH + keys.SERIAL_LENGTH
_STATES = {
    RedemptionState.HELD: "held",
    RedemptionState.REDEEMED: "redeemed",
    RedemptionState.RELEASED: "released",
    RedemptionState.LAPSED: "released",
    RedemptionState.REVERSED: "reversed",
}
_GIVEN_BACK = 1  # AppliedCoupon.returned
_record = msgspec.msgpack.Decoder(RedemptionRecord).decode


class _Redemption(NamedTuple):
    """A redemption as both sides can say it."""

    state: str
    at: int
    user_id: str
    store_id: str
    merchant_id: str
    terminal_id: str
    staff_id: str
    channel: str
    order_ref: str
    amount: int
    discount: int
    payable: int
    discount_back: int
    refunded: int
    tendered: int
    tendered_back: int
    lot_id: str


_COLUMNS = (
    redemptions.c.state,
    redemptions.c.at_ms,
    *(redemptions.c[name] for name in _Redemption._fields[2:]),
)
_COUPON_COLUMNS = (
    redemption_coupons.c.coupon_id,
    redemption_coupons.c.campaign_id,
    redemption_coupons.c.terms_revision,
    redemption_coupons.c.benefit,
    redemption_coupons.c.discount,
    redemption_coupons.c.value,
    redemption_coupons.c.discount_back,
    redemption_coupons.c.tendered,
    redemption_coupons.c.tendered_back,
    redemption_coupons.c.points,
    redemption_coupons.c.points_back,
)
_REVERSAL_COLUMNS = (
    reversals.c.id,
    reversals.c.at_ms,
    reversals.c.gross,
    reversals.c.discount_back,
    reversals.c.refund,
)


async def check_redemptions(
    check: Check, cell: Cell, redemption_keys: list[bytes], *, again: bool = False
) -> None:
    """Compare these records with the books, with their coupons and reversals."""
    packed = await check.live.many([("GET", key) for key in redemption_keys])
    records: dict[str, tuple[RedemptionRecord, Any]] = {}
    for key, value in zip(redemption_keys, packed, strict=True):
        if value is not None and (again or key[-_ID:] not in check.redemptions):
            check.redemptions.add(key[-_ID:])
            redemption_id = "R" + key[-_ID:].decode()
            records[redemption_id] = (_record(value), ("redemption", cell.number, key.decode()))
    if not records:
        return
    async with check.books.connect() as conn:
        await _compare_heads(check, conn, records)
        await _compare_parts(check, conn, records)
        await _check_uses(check, conn, records)
    for redemption_id, (record, _) in records.items():
        if record.state == RedemptionState.HELD:
            field = f"{record.store_id}/{record.order_ref}"
            check.open_holds[redemption_id[1:]] = (record.until, field)
            named = {t.campaign_id for t in record.tenders if t.serial}
            check.hold_campaigns[redemption_id[1:]] = {
                c.campaign_id for c in record.coupons
            } | named
        else:
            check.open_holds.pop(redemption_id[1:], None)
    if not again:
        check.report.count("redemptions", len(records))


Records = dict[str, tuple[RedemptionRecord, Any]]


async def _compare_heads(check: Check, conn: AsyncConnection, records: Records) -> None:
    query = select(redemptions.c.id, *_COLUMNS).where(
        redemptions.c.tenant == check.tenant, redemptions.c.id.in_(records)
    )
    told = {name: tuple(columns) for name, *columns in await conn.execute(query)}
    for redemption_id, (record, again) in records.items():
        live = _head(record)
        if live != told.get(redemption_id):
            check.differs("redemption", redemption_id, *_apart(live, told.get(redemption_id)),
                          again)  # fmt: skip


def _head(record: RedemptionRecord) -> _Redemption:
    back = sum(share.back for coupon in record.coupons for share in coupon.lines)
    back += sum(one.back for one in record.deductions if one.type in OWN)
    gross_back = sum(line.returned for line in record.lines)
    tendered = sum(tender.amount for tender in record.tenders)
    tendered_back = sum(tender.back for tender in record.tenders)
    return _Redemption(
        _STATES[RedemptionState(record.state)],
        record.committed or record.at,
        record.user_id,
        record.store_id,
        record.merchant_id,
        record.terminal_id,
        record.staff_id,
        record.channel,
        record.order_ref,
        record.amount,
        record.discount,
        record.amount - record.discount - tendered,
        back,
        gross_back - back - tendered_back,
        tendered,
        tendered_back,
        record.lot_id,
    )


def _apart(live: _Redemption, books: tuple[Any, ...] | None) -> tuple[str, str]:
    """Both sides, of each only what is not the same."""
    if books is None:
        return " ".join(map(str, live)), ""
    names = [name for name, a, b in zip(live._fields, live, books, strict=True) if a != b]
    theirs = dict(zip(live._fields, books, strict=True))
    return (
        ", ".join(f"{name} {getattr(live, name)}" for name in names),
        ", ".join(f"{name} {theirs[name]}" for name in names),
    )


async def _compare_parts(check: Check, conn: AsyncConnection, records: Records) -> None:
    """Coupons in order of application, and reversals."""
    used = await _by_redemption(
        conn,
        select(redemption_coupons.c.redemption_id, *_COUPON_COLUMNS)
        .where(
            redemption_coupons.c.tenant == check.tenant,
            redemption_coupons.c.redemption_id.in_(records),
        )
        .order_by(redemption_coupons.c.position),
    )
    back = await _by_redemption(
        conn,
        select(reversals.c.redemption_id, *_REVERSAL_COLUMNS).where(
            reversals.c.tenant == check.tenant, reversals.c.redemption_id.in_(records)
        ),
    )
    for redemption_id, (record, again) in records.items():
        handle = redemption_id[1 : 1 + keys.HANDLE_LENGTH]
        live = [_part(handle, coupon) for coupon in record.coupons]
        live += [_paid(handle, tender) for tender in record.tenders]
        own = [one for one in record.deductions if one.type in OWN]
        live += [_taken_off(*one) for one in enumerate(own)]
        if live != used.get(redemption_id, []):
            where = f"{redemption_id} coupons"
            check.differs("redemption", where, live, used.get(redemption_id, []), again)
        undone = sorted(_reversals(handle, record))
        if undone != sorted(back.get(redemption_id, [])):
            where = f"{redemption_id} reversals"
            check.differs("redemption", where, undone, sorted(back.get(redemption_id, [])), again)


async def _by_redemption(conn: AsyncConnection, query: Any) -> dict[str, list[tuple[Any, ...]]]:
    found: dict[str, list[tuple[Any, ...]]] = {}
    for redemption_id, *columns in await conn.execute(query):
        found.setdefault(redemption_id, []).append(tuple(columns))
    return found


def _part(handle: str, coupon: AppliedCoupon) -> tuple[Any, ...]:
    return (
        keys.make_id("C", handle, coupon.serial),
        coupon.campaign_id,
        coupon.terms_revision,
        coupon.benefit,
        coupon.discount,
        coupon.value,
        sum(share.back for share in coupon.lines),
        *(0, 0, 0, 0),
    )


def _taken_off(number: int, one: Deduction) -> tuple[Any, ...]:
    name = deduction_id(one.type, number)
    return (name, "", 0, one.type, one.amount, 0, one.back, *(0, 0, 0, 0))


def _paid(handle: str, tender: Tender) -> tuple[Any, ...]:
    return (
        keys.make_id("C", handle, tender.serial) if tender.serial else "",
        tender.campaign_id,
        tender.terms_revision,
        benefit_of(tender.kind),
        *(0, 0, 0),
        tender.amount,
        tender.back,
        tender.points,
        tender.points_back,
    )


def _reversals(handle: str, record: RedemptionRecord) -> Iterable[tuple[Any, ...]]:
    for reversal in record.reversals:
        gross = sum(amount for _, amount, _ in reversal.lines)
        back = sum(amount for _, _, amount in reversal.lines)
        refund = gross - back - sum(reversal.line_tenders)
        yield keys.make_id("V", handle, reversal.serial), reversal.at, gross, back, refund


async def _check_uses(check: Check, conn: AsyncConnection, records: Records) -> None:
    """A coupon that a redemption still uses names that redemption: so there is only one.

    Those of several uses: ``uses``.
    """
    uses: dict[str, list[tuple[str, str, bool]]] = {}
    for redemption_id, (record, _) in records.items():
        handle = redemption_id[1 : 1 + keys.HANDLE_LENGTH]
        lapsed = record.state == RedemptionState.HELD and record.until <= check.now
        if record.state in (RedemptionState.RELEASED, RedemptionState.LAPSED):
            continue
        state = "held" if record.state == RedemptionState.HELD else "redeemed"
        for coupon in record.coupons:
            if coupon.returned != _GIVEN_BACK and coupon.uses == 1:
                coupon_id = keys.make_id("C", handle, coupon.serial)
                uses.setdefault(coupon_id, []).append((redemption_id, state, lapsed))
    query = select(coupons.c.id, coupons.c.state, coupons.c.redemption_id).where(
        coupons.c.tenant == check.tenant, coupons.c.id.in_(uses)
    )
    now = {name: (state, holder) for name, state, holder in await conn.execute(query)}
    for coupon_id, mine in uses.items():
        for redemption_id, state, lapsed in mine:
            found = now.get(coupon_id)
            if found != (state, redemption_id) and not lapsed:
                where = f"{coupon_id} in {redemption_id}"
                check.differs("use of a coupon", where, state, found, records[redemption_id][1])


async def check_holds(check: Check, cell: Cell) -> None:
    """Open holds are exactly those that the sweeper knows, and a wallet names none that is not."""
    (members,) = await check.live.many([("ZRANGE", keys.holds_key(cell.tag), 0, -1, "WITHSCORES")])
    known = {name.decode(): int(float(score)) for name, score in pairs(members)}
    count = len(check.cells)
    mine = {
        name: hold
        for name, hold in check.open_holds.items()
        if keys.cell_of(name[: keys.HANDLE_LENGTH], count) == cell.number
    }
    again = ("holds",)
    for name in sorted(mine.keys() | known.keys()):
        until = mine[name][0] if name in mine else ""
        if known.get(name, "") != until:
            check.differs("open hold", f"R{name}", until, f"listed {known.get(name, '')}", again)
    for name, field in check.hold_fields.items():
        if keys.cell_of(name[: keys.HANDLE_LENGTH], count) != cell.number:
            continue
        if name not in mine or mine[name][1] != field:
            check.differs("open hold", f"R{name}", mine.get(name, ""), f"wallet {field}", again)
    check.report.count("open holds", len(mine))
    await _check_limited(check, cell, mine)


async def _check_limited(check: Check, cell: Cell, mine: dict[str, tuple[int, str]]) -> None:
    """A campaign's own list of open holds: no others; with a budget, all on it."""
    async with check.books.connect() as conn:
        query = select(campaigns.c.id, campaigns.c.budgets).where(
            campaigns.c.tenant == check.tenant
        )
        budgets = {name: told != "[]" for name, told in await conn.execute(query)}
    names = sorted(budgets)
    for start in range(0, len(names), BATCH):
        batch = names[start : start + BATCH]
        lists = await check.live.many(
            [("ZRANGE", keys.opens_key(cell.tag, name), 0, -1, "WITHSCORES") for name in batch]
        )
        for campaign, members in zip(batch, lists, strict=True):
            listed = {name.decode(): int(float(score)) for name, score in pairs(members)}
            on_it = {
                name: until
                for name, (until, _) in mine.items()
                if campaign in check.hold_campaigns[name]
            }
            for name in sorted(listed.keys() | (on_it.keys() if budgets[campaign] else set())):
                if listed.get(name) != on_it.get(name):
                    told = f"listed {listed.get(name, '')}"
                    where = f"R{name} of {campaign}"
                    check.differs("open hold", where, on_it.get(name, ""), told, ("holds",))


async def missing_redemptions(check: Check) -> None:
    """Name redemptions that the books have and Redis has not."""
    if await check.count_of(redemptions) == check.report.checked.get("redemptions", 0):
        return
    query = select(redemptions.c.id).where(redemptions.c.tenant == check.tenant)
    async with check.books.connect() as conn:
        ids = [str(name) for name in await conn.scalars(query)]
    for cell in check.cells:
        here = [
            name
            for name in ids
            if keys.cell_of(name[1 : 1 + keys.HANDLE_LENGTH], len(check.cells)) == cell.number
        ]
        for start in range(0, len(here), BATCH):
            batch = here[start : start + BATCH]
            there = await check.live.many([("EXISTS", _key(cell, name)) for name in batch])
            for name, exists in zip(batch, there, strict=True):
                if not exists:
                    check.differs("redemption", name, "", "there", ())


def _key(cell: Cell, redemption_id: str) -> str:
    handle, serial = redemption_id[1 : 1 + keys.HANDLE_LENGTH], redemption_id[-keys.SERIAL_LENGTH :]
    return keys.redemption_key(cell.tag, handle, serial)
