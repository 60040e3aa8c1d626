"""Wallets against the books: coupons, counts and limits, the user, audiences."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple

import msgspec
from sqlalchemy import and_, or_, select
from sqlalchemy.ext.asyncio import AsyncConnection

from engine import keys
from engine.books.schema import audience_members, coupons, points_entries, users
from engine.gift_records import Take
from engine.order_records import OpenOrder, OrderRecord
from engine.reconcile.check import Again, Check, Limits
from engine.reconcile.live import Cell
from engine.reconcile.orders import pending_of
from engine.reconcile.points import compare_points
from engine.reconcile.pools import check_codes
from engine.reconcile.uses import Counted, check_uses
from engine.records import CountRecord, CouponRecord, CouponState, UserRecord

STATES = ("issued", "held", "redeemed", "voided", "refunded", "transferred")

_coupon = msgspec.msgpack.Decoder(CouponRecord).decode
_count = msgspec.msgpack.Decoder(CountRecord).decode
_user = msgspec.msgpack.Decoder(UserRecord).decode
_open = msgspec.msgpack.Decoder(list[OpenOrder]).decode
_takes = msgspec.msgpack.Decoder(list[Take]).decode
_order = msgspec.msgpack.Decoder(OrderRecord).decode


class _Coupon(NamedTuple):
    """A coupon as both sides can say it."""

    campaign_id: str
    terms_revision: int
    state: str
    issued: int
    valid_from: int
    valid_until: int
    channel: str
    redemption_id: str
    used: int
    spent: int


_COLUMNS = (
    coupons.c.campaign_id,
    coupons.c.terms_revision,
    coupons.c.state,
    coupons.c.issued_ms,
    coupons.c.valid_from_ms,
    coupons.c.valid_until_ms,
    coupons.c.channel,
    coupons.c.redemption_id,
    coupons.c.used,
    coupons.c.spent,
)


_HOLDER = _Coupon._fields.index("redemption_id")


@dataclass
class _Wallet:
    again: Again
    handle: str
    user: UserRecord
    coupons: dict[str, _Coupon] = field(default_factory=dict)  # by id
    counted: dict[str, Counted] = field(default_factory=dict)  # of several uses, by id
    extras: dict[str, str] = field(default_factory=dict)  # source and metadata as claimed, by id
    counts: dict[str, int] = field(default_factory=dict)  # by campaign
    audiences: set[str] = field(default_factory=set)
    points: bytes = b""
    refunded: dict[str, str] = field(default_factory=dict)  # serial of its order, by coupon
    returned: set[str] = field(default_factory=set)  # of these, those that were whole
    received: set[str] = field(default_factory=set)  # coupons that were given to them, by id
    bought: set[str] = field(default_factory=set)  # coupons that were ordered, by id
    ordered: dict[str, int] = field(default_factory=dict)  # by campaign: set aside, not yet paid
    coming: Counter[str] = field(default_factory=Counter)  # by campaign: given to them, on its way


async def check_wallets(
    check: Check, cell: Cell, wallet_keys: list[bytes], *, again: bool = False
) -> None:
    """Compare these wallets, both ways, with what the books say of the same people."""
    rows = await check.live.many([("HGETALL", key) for key in wallet_keys])
    wallets: dict[str, _Wallet] = {}
    for key, fields in zip(wallet_keys, rows, strict=True):
        wallet = _read(check, cell, key.decode(), fields)
        if wallet and (again or wallet.user.user_id not in check.users):
            check.users.add(wallet.user.user_id)
            wallets[wallet.user.user_id] = wallet
    if not wallets:
        return
    await _read_returned(check, cell, wallets)
    async with check.books.connect() as conn:
        await _compare_coupons(check, conn, wallets, again)
        counted = {k: v for wallet in wallets.values() for k, v in wallet.counted.items()}
        await check_uses(check, conn, counted)
        extras = {
            name: (extra, one.again)
            for one in wallets.values()
            for name, extra in one.extras.items()
            if name not in one.received  # its code is known with the coupon that it was
        }
        await check_codes(check, conn, extras)
        await _compare_users(check, conn, wallets, again)
        await _compare_audiences(check, conn, wallets, again)
        await compare_points(check, conn, wallets, again)
        for (user, name), count in (await pending_of(check, conn, list(wallets))).items():
            wallets[user].ordered[name] = count
    await _check_frozen(check, cell, wallets)
    for wallet in wallets.values():
        _check_limits(check, wallet)
    if not again:
        check.report.count("wallets", len(wallets))


def _read(check: Check, cell: Cell, key: str, fields: dict[bytes, bytes]) -> _Wallet | None:
    handle = key[-keys.HANDLE_LENGTH :]
    again = ("wallet", cell.number, key)
    if not fields:
        return None  # gone since it was seen
    if b"u" not in fields:
        check.differs("wallet", handle, "no user", "", again)
        return None
    wallet = _Wallet(again, handle, _user(fields[b"u"]))
    if keys.cell_of(handle, len(check.cells)) != cell.number:
        check.differs("wallet", handle, f"in cell {cell.number}", "of another cell", again)
    for name, value in fields.items():
        first, rest = name[:1], name[1:].decode()
        if first == b"C":
            record = _coupon(value)
            coupon_id = keys.make_id("C", handle, rest)
            if record.extra:
                wallet.extras[coupon_id] = record.extra
            wallet.coupons[coupon_id] = _live_coupon(record, handle)
            if record.came_from:
                wallet.received.add(coupon_id)
            if record.order:
                wallet.bought.add(coupon_id)
                if record.state == CouponState.REFUNDED:
                    wallet.refunded[coupon_id] = record.order
            if record.used or record.spent or record.holds:
                wallet.counted[coupon_id] = Counted(handle, record, again)
        elif first == b"n":
            wallet.counts[rest] = _count(value).total
        elif first == b"a":
            wallet.audiences.add(rest)
        elif first == b"h":
            check.hold_fields[handle + value.decode()] = rest
        elif name == b"q":
            check.order_fields.update(handle + one.serial for one in _open(value))
        elif name == b"t":
            wallet.coming.update(one.campaign_id for one in _takes(value))
            check.takes.update(handle + one.serial for one in _takes(value))
        elif name == b"p":
            wallet.points = value
        elif name != b"u":
            check.differs("wallet", handle, f"field {name!r}", "unknown", again)
    return wallet


def _live_coupon(record: CouponRecord, handle: str) -> _Coupon:
    issued = record.issued
    return _Coupon(
        record.campaign_id,
        record.terms_revision,
        STATES[record.state],
        issued,
        issued + record.valid_from,
        issued + record.valid_until if record.valid_until else 0,
        record.channel,
        keys.make_id("R", handle, record.redemption) if record.redemption else "",
        record.used,
        record.spent,
    )


async def _compare_coupons(
    check: Check, conn: AsyncConnection, wallets: dict[str, _Wallet], again: bool
) -> None:
    query = select(
        coupons.c.user_id, coupons.c.id, coupons.c.source, coupons.c.metadata, *_COLUMNS
    )
    mine = coupons.c.tenant == check.tenant
    found = 0
    owners = {wallet.handle: user for user, wallet in wallets.items()}
    left = {user: dict(wallet.coupons) for user, wallet in wallets.items()}
    theirs = or_(*(
        and_(mine, coupons.c.id.between(*keys.ids_between("C", handle))) for handle in owners
    ))  # fmt: skip
    for user_id, coupon_id, source, metadata, *columns in await conn.execute(query.where(theirs)):
        found += 1
        columns[_HOLDER] = columns[_HOLDER] or ""
        owner = owners[coupon_id[1 : 1 + keys.HANDLE_LENGTH]]
        wallet = wallets[owner]
        live = left[owner].pop(coupon_id, None)
        if user_id != owner:
            check.differs("coupon", coupon_id, f"of {owner}", f"of {user_id}", wallet.again)
        if live is None:
            check.differs("coupon", coupon_id, "", _told(columns), wallet.again)
        elif live != tuple(columns):
            check.differs("coupon", coupon_id, _told(live), _told(columns), wallet.again)
        elif (source or metadata or wallet.extras) and not _same_extra(
            wallet.extras.get(coupon_id, ""), source, metadata
        ):
            told = f"{source} {metadata}"
            check.differs("coupon", coupon_id, wallet.extras.get(coupon_id), told, wallet.again)
    for user_id, rest in left.items():
        for coupon_id, coupon in rest.items():
            check.differs("coupon", coupon_id, _told(coupon), "", wallets[user_id].again)
    if not again:
        check.report.count("coupons", found)


def _told(columns: Any) -> str:
    return " ".join(str(column) for column in columns)


def _same_extra(extra: str, source: str, metadata: str) -> bool:
    live: dict[str, Any] = json.loads(extra) if extra else {}
    told = {"source": json.loads(source or "{}"), "metadata": json.loads(metadata or "{}")}
    return all((live.get(name) or {}) == value for name, value in told.items())


async def _read_returned(check: Check, cell: Cell, wallets: dict[str, _Wallet]) -> None:
    """Coupons that were whole when they were refunded: stock and counts had them back."""
    asked = [
        (wallet, coupon_id, keys.order_key(cell.tag, wallet.handle, order))
        for wallet in wallets.values()
        for coupon_id, order in wallet.refunded.items()
    ]
    found = await check.live.many([("GET", key) for _, _, key in asked])
    for (wallet, coupon_id, _), packed in zip(asked, found, strict=True):
        refunds = _order(packed).refunds if packed else []
        if any(one.stock and not one.failed and coupon_id.endswith(one.coupon) for one in refunds):
            wallet.returned.add(coupon_id)


async def _compare_users(
    check: Check, conn: AsyncConnection, wallets: dict[str, _Wallet], again: bool
) -> None:
    query = select(users.c.user_id, users.c.tier, users.c.tier_until_ms, users.c.frozen).where(
        users.c.tenant == check.tenant, users.c.user_id.in_(wallets)
    )
    told = {user_id: tuple(rest) for user_id, *rest in await conn.execute(query)}
    for user_id, wallet in wallets.items():
        live = (wallet.user.tier, wallet.user.tier_until, wallet.user.frozen)
        if live != told.get(user_id, ("", 0, 0)):
            check.differs("user", user_id, live, told.get(user_id, ""), wallet.again)
    if not again:
        check.report.count("users", len(told))


async def _compare_audiences(
    check: Check, conn: AsyncConnection, wallets: dict[str, _Wallet], again: bool
) -> None:
    names = (
        await conn.scalars(
            select(audience_members.c.audience_id)
            .where(audience_members.c.tenant == check.tenant)
            .distinct()
        )
    ).all()
    told: dict[str, set[str]] = {}
    if names:
        query = select(audience_members.c.user_id, audience_members.c.audience_id).where(
            audience_members.c.tenant == check.tenant,
            audience_members.c.audience_id.in_(names),
            audience_members.c.user_id.in_(wallets),
            audience_members.c.present == 1,
        )
        for user_id, audience in await conn.execute(query):
            told.setdefault(user_id, set()).add(audience)
    for user_id, wallet in wallets.items():
        mine = told.get(user_id, set())
        for audience in sorted(mine ^ wallet.audiences):
            live = "member" if audience in wallet.audiences else ""
            books = "member" if audience in mine else ""
            check.differs("audience", f"{audience} {user_id}", live, books, wallet.again)
        if not again:
            check.report.count("memberships", len(mine))


async def _check_frozen(check: Check, cell: Cell, wallets: dict[str, _Wallet]) -> None:
    """The set of frozen members is of those whose records say so."""
    handles = [wallet.handle for wallet in wallets.values()]
    key = keys.frozen_key(cell.tag)
    (listed,) = await check.live.many([("SMISMEMBER", key, *handles)])
    for wallet, found in zip(wallets.values(), listed, strict=True):
        if wallet.user.frozen != found:
            told = f"in the set: {found}"
            check.differs("frozen", wallet.user.user_id, told, wallet.user.frozen, wallet.again)


def _check_limits(check: Check, wallet: _Wallet) -> None:
    """Counts say how many coupons there are; nobody has more than the terms allow.

    A limit may have changed: the latest coupon was claimed under one of the revisions seen here,
    so their largest limit holds for all of them.
    """
    by_campaign: dict[str, list[_Coupon]] = {}
    claimed: dict[str, list[_Coupon]] = {}  # an order counts on its own day, not on its coupons'
    for coupon_id, coupon in wallet.coupons.items():
        if coupon_id not in wallet.returned:
            by_campaign.setdefault(coupon.campaign_id, []).append(coupon)
            if coupon_id not in wallet.bought:
                claimed.setdefault(coupon.campaign_id, []).append(coupon)
    for campaign in sorted(by_campaign.keys() | wallet.counts.keys()):
        mine = by_campaign.get(campaign, [])
        where = f"{campaign} of {wallet.user.user_id}"
        counted, expected = wallet.counts.get(campaign, 0), len(mine)
        expected += wallet.ordered.get(campaign, 0) + wallet.coming[campaign]
        if counted != expected:
            check.differs("count", where, counted, f"{expected} coupons", wallet.again)
        revisions = {coupon.terms_revision for coupon in mine}
        limits = [check.limits.get((campaign, revision), Limits()) for revision in revisions]
        for name, limit in _largest(limits).items():
            some = mine if name == "per_user" else claimed.get(campaign, [])
            most = _most(check, some, name)
            if most > limit:
                check.differs(f"limit {name}", where, most, f"at most {limit}", wallet.again)


def _largest(limits: list[Limits]) -> dict[str, int]:
    """By name, the largest of each limit that every one of ``limits`` sets."""
    largest = {}
    for name in Limits._fields:
        values = [getattr(limit, name) for limit in limits]
        if values and None not in values:
            largest[name] = max(values)
    return largest


def _most(check: Check, mine: list[_Coupon], name: str) -> int:
    """How many coupons fell into the fullest day, week or month; all, for ``per_user``."""
    if name == "per_user":
        return len(mine)
    spans: Counter[Any] = Counter()
    for coupon in mine:
        day = datetime.fromtimestamp(coupon.issued / 1000, check.zone).date()
        if name == "per_day":
            spans[day] += 1
        elif name == "per_week":
            spans[day.isocalendar()[:2]] += 1
        else:
            spans[day.year, day.month] += 1
    return max(spans.values(), default=0)


async def missing_people(check: Check) -> None:
    """Name who is in the books and has no wallet; who came meanwhile is looked at now."""
    present = audience_members.c.present == 1
    for what, table, conditions in (
        ("coupons", coupons, ()),
        ("users", users, ()),
        ("memberships", audience_members, (present,)),
        ("points entries", points_entries, ()),
    ):
        if await check.count_of(table, *conditions) == check.report.checked.get(what, 0):
            continue
        query = select(table.c.user_id).where(table.c.tenant == check.tenant, *conditions)
        async with check.books.connect() as conn:
            missing = set(await conn.scalars(query.distinct())) - check.users
        for user_id in sorted(missing):
            cell, key = check.wallet_of(user_id)
            await check_wallets(check, cell, [key.encode()], again=True)
            if user_id not in check.users:
                check.differs("wallet", user_id, "", f"has {what}", ())
