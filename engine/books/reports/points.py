"""Points by local day and kind of entry: what came in and what went out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from sqlalchemy import Integer, case, func, literal_column, select

from engine.books.reports.redemptions import local_day
from engine.books.schema import points_entries
from engine.books.settlement import total

if TYPE_CHECKING:
    from engine.books.db import Books

GROUPS = ("kind", "day")
MEASURES = ("entries", "points_in", "points_out", "worth")
_BUCKET_MS = 15 * 60_000  # a bucket never lies in two local days


async def by_group(
    books: Books,
    tenant: str,
    groups: Sequence[str],
    timezone: str,
    start: int | None = None,
    end: int | None = None,
) -> list[dict[str, Any]]:
    """Rows by ``groups`` (of GROUPS) for entries in ``[start, end)``.

    ``worth``: by how many fen the mall owes more (or less: negative) for points after it; those
    paid with at tills included, though their money is settled with the redemption.
    """
    e = points_entries.c
    bucket = e.at_ms // literal_column(str(_BUCKET_MS), Integer)
    columns = [(bucket if group == "day" else e.kind).label(group) for group in groups]
    query = select(
        *columns,
        func.count(),
        total(case((e.points > 0, e.points), else_=0)),
        total(case((e.points < 0, -e.points), else_=0)),
        total(e.value),
    ).where(e.tenant == tenant)
    if start is not None:
        query = query.where(e.at_ms >= start)
    if end is not None:
        query = query.where(e.at_ms < end)
    async with books.connect() as conn:
        found = (await conn.execute(query.group_by(*columns))).all()
    zone = ZoneInfo(timezone)
    folded: dict[tuple[str, ...], list[int]] = {}
    for row in found:
        key = tuple(
            local_day(value * _BUCKET_MS, zone) if group == "day" else value
            for group, value in zip(groups, row, strict=False)
        )
        sums = folded.setdefault(key, [0] * len(MEASURES))
        for i, value in enumerate(row[len(groups) :]):
            sums[i] += value
    return [
        {**dict(zip(groups, key, strict=True)), **dict(zip(MEASURES, sums, strict=True))}
        for key, sums in folded.items()
    ]
