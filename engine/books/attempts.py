"""Refused tries at tills and lots: a bounded log beside the books; nothing is settled by it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from sqlalchemy import Integer, delete, func, literal_column, select
from sqlalchemy.dialects import postgresql, sqlite

from engine.books.reports.redemptions import local_day
from engine.books.schema import attempts, stores, tenants

if TYPE_CHECKING:
    from engine.books.db import Books

KEPT_MS = 180 * 86_400_000
MAX_KEPT = 200_000  # of a tenant

GROUPS = ("code", "store", "terminal", "day")
MEASURES = ("attempts", "coupons")
_BUCKET_MS = 15 * 60_000  # a bucket never lies in two local days
_COLUMNS = {
    "code": attempts.c.code,
    "store": attempts.c.store_id,
    "terminal": attempts.c.terminal_id,
}


@dataclass(slots=True, frozen=True)
class Attempt:
    """One refused try on one coupon; "" = nobody said, ``id`` sorts by time."""

    tenant: str
    id: str
    at_ms: int
    verb: str  # redeem | hold | park | checkin | scan | verify
    code: str
    coupon_id: str
    short_by: int
    store_id: str
    terminal_id: str
    staff_id: str
    channel: str
    order_ref: str
    role: str
    label: str
    request_id: str


async def add(books: Books, rows: Sequence[Attempt]) -> None:
    """Write them; one whose id is there already was told before."""
    if rows:
        values = [{name: getattr(row, name) for name in Attempt.__slots__} for row in rows]
        insert = sqlite.insert if books.sqlite else postgresql.insert
        async with books.begin() as connection:
            await connection.execute(insert(attempts).on_conflict_do_nothing(), values)


async def of_coupon(
    books: Books, tenant: str, coupon_id: str, before: str | None, limit: int
) -> list[Attempt]:
    """Refused tries on a coupon, the newest first, those before the one of that id."""
    a = attempts.c
    query = select(attempts).where(a.tenant == tenant, a.coupon_id == coupon_id)
    if before is not None:
        query = query.where(a.id < before)
    async with books.connect() as connection:
        rows = await connection.execute(query.order_by(a.id.desc()).limit(limit))
        return [Attempt(**row) for row in rows.mappings()]


async def trim(books: Books, now: int) -> None:
    """Strike off what is older than KEPT_MS at ``now`` (ms, 0 = nothing is) or beyond MAX_KEPT."""
    a = attempts.c
    async with books.connect() as connection:
        malls = (await connection.scalars(select(tenants.c.id))).all()
    for tenant in malls:
        newest = select(a.id).where(a.tenant == tenant).order_by(a.id.desc())
        async with books.connect() as connection:
            last = await connection.scalar(newest.offset(MAX_KEPT).limit(1))
        gone = [a.at_ms < now - KEPT_MS] if now else []
        gone += [a.id <= last] if last is not None else []
        for condition in gone:
            async with books.begin() as connection:
                await connection.execute(delete(attempts).where(a.tenant == tenant, condition))


async def by_group(
    books: Books,
    tenant: str,
    groups: Sequence[str],
    timezone: str,
    start: int | None = None,
    end: int | None = None,
    merchant_id: str | None = None,
) -> list[dict[str, Any]]:
    """Rows by ``groups`` (of GROUPS) for ``[start, end)``, local days: tries and their coupons.

    ``coupons`` of a row are different ones, those that a code named; a coupon that was refused in
    two rows counts in both. ``merchant_id``: in the stores that are that merchant's now.
    """
    a = attempts.c
    # Spelled out: PostgreSQL takes two parameters of one value for two expressions.
    bucket = a.at_ms // literal_column(str(_BUCKET_MS), Integer)
    columns = [(bucket if group == "day" else _COLUMNS[group]).label(group) for group in groups]
    query = select(*columns, a.coupon_id, func.count()).where(a.tenant == tenant)
    if start is not None:
        query = query.where(a.at_ms >= start)
    if end is not None:
        query = query.where(a.at_ms < end)
    if merchant_id:
        own = select(stores.c.id).where(
            stores.c.tenant == tenant, stores.c.merchant_id == merchant_id
        )
        query = query.where(a.store_id.in_(own))
    zone = ZoneInfo(timezone)
    tries: dict[tuple[str, ...], int] = {}
    coupons: dict[tuple[str, ...], set[str]] = {}
    async with books.connect() as connection:
        for *key, coupon_id, count in await connection.execute(
            query.group_by(*columns, a.coupon_id)
        ):
            row = tuple(
                local_day(value * _BUCKET_MS, zone) if group == "day" else value
                for group, value in zip(groups, key, strict=True)
            )
            tries[row] = tries.get(row, 0) + count
            coupons.setdefault(row, set()).update([coupon_id] if coupon_id else [])
    return [
        {
            **{group: value or None for group, value in zip(groups, row, strict=True)},
            "attempts": tries[row],
            "coupons": len(coupons[row]),
        }
        for row in sorted(tries)
    ]
