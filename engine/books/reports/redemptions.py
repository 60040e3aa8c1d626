"""Redemptions by day, store, campaign …: the entries of statements, counted by their own time.

Over the same period the sums are those of the statements.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from sqlalchemy import Integer, and_, case, distinct, func, literal_column, select

from engine.books.schema import entries, redemptions
from engine.books.settlement import AMOUNTS, total, with_payable

if TYPE_CHECKING:
    from engine.books.db import Books

GROUPS = ("day", "store", "merchant", "campaign", "channel")
COUNTS = ("redemptions", "reversals", "coupons")
MEASURES = (*COUNTS, *AMOUNTS, "payable_to_merchant")
# Every time zone's distance from UTC is a multiple of this: a bucket never lies in two days.
_BUCKET_MS = 15 * 60_000
_COLUMNS = {
    "store": entries.c.store_id,
    "merchant": entries.c.merchant_id,
    "campaign": entries.c.campaign_id,
    "channel": redemptions.c.channel,  # of the till
}


async def by_group(
    books: Books,
    tenant: str,
    groups: Sequence[str],
    timezone: str,
    start: int | None = None,
    end: int | None = None,
    merchant_id: str | None = None,
) -> list[dict[str, Any]]:
    """Rows by ``groups`` (of GROUPS) for acts in ``[start, end)``; days are local ones.

    ``redemptions`` counts acts, reversed ones included, ``coupons`` the coupons they used.
    """
    # Spelled out: PostgreSQL takes two parameters of one value for two expressions.
    bucket = entries.c.at_ms // literal_column(str(_BUCKET_MS), Integer)
    columns = [(bucket if g == "day" else _COLUMNS[g]).label(g) for g in groups]
    used = entries.c.kind == "redemption"
    query = select(
        *columns,
        func.count(distinct(case((used, entries.c.act)))),
        func.count(distinct(case((~used, entries.c.act)))),
        total(case((used, 1), else_=0)),
        *(total(entries.c[name]) for name in AMOUNTS),
    ).where(entries.c.tenant == tenant)
    if "channel" in groups:
        query = query.join_from(
            entries,
            redemptions,
            and_(
                redemptions.c.tenant == entries.c.tenant,
                redemptions.c.id == entries.c.redemption_id,
            ),
        )
    if start is not None:
        query = query.where(entries.c.at_ms >= start)
    if end is not None:
        query = query.where(entries.c.at_ms < end)
    if merchant_id:
        query = query.where(entries.c.merchant_id == merchant_id)
    async with books.connect() as conn:
        found = (await conn.execute(query.group_by(*columns))).all()
    return _fold(found, groups, ZoneInfo(timezone))


def _fold(found: Sequence[Any], groups: Sequence[str], zone: ZoneInfo) -> list[dict[str, Any]]:
    names = (*COUNTS, *AMOUNTS)
    folded: dict[tuple[str, ...], list[int]] = {}
    for row in found:
        key = tuple(
            local_day(value * _BUCKET_MS, zone) if group == "day" else value
            for group, value in zip(groups, row, strict=False)
        )
        sums = folded.setdefault(key, [0] * len(names))
        for i, value in enumerate(row[len(groups) :]):
            sums[i] += value
    return [
        {
            **dict(zip(groups, key, strict=True)),
            **with_payable(dict(zip(names, sums, strict=True))),
        }
        for key, sums in sorted(folded.items())
    ]


def local_day(ms: int, zone: ZoneInfo) -> str:
    """The local date of a moment, ``2026-03-01``."""
    return datetime.fromtimestamp(ms / 1000, zone).date().isoformat()
