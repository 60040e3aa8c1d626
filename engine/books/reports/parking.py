"""Parking by lot and local day: how many stays there were, and what was taken off their fees."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from sqlalchemy import (
    ColumnElement,
    Integer,
    case,
    exists,
    func,
    literal_column,
    or_,
    select,
)

from engine.books.reports.redemptions import local_day
from engine.books.schema import entries, parking_stays, redemptions
from engine.books.settlement import total

if TYPE_CHECKING:
    from engine.books.db import Books

GROUPS = ("lot", "day")
MEASURES = ("stays", "with_deduction", "penetration", "discount")
_BUCKET_MS = 15 * 60_000  # a bucket never lies in two local days


def deducted() -> ColumnElement[bool]:
    """Of rows of ``parking_stays``: something was taken off a fee of the stay, and stayed off."""
    session, ref = parking_stays.c.session_id, redemptions.c.order_ref
    return exists().where(
        redemptions.c.tenant == parking_stays.c.tenant,
        redemptions.c.user_id == parking_stays.c.user_id,
        redemptions.c.lot_id == parking_stays.c.lot_id,
        redemptions.c.state == "redeemed",
        redemptions.c.discount + redemptions.c.tendered > 0,
        # The session, and the fee where it has an id of its own (engine/parking/payments.py).
        or_(ref == session, func.substr(ref, 1, func.length(session) + 1) == session + "/"),
    )


async def by_group(
    books: Books,
    tenant: str,
    groups: Sequence[str],
    timezone: str,
    start: int | None = None,
    end: int | None = None,
) -> list[dict[str, Any]]:
    """Rows by ``groups`` (of GROUPS): stays by the time of their entry, ``discount`` by the act's.

    ``penetration``: stays with a deduction / stays; None where there were none.
    """
    stays = parking_stays.c
    counted = _grouped(
        groups,
        stays.entered_ms,
        stays.lot_id,
        (func.count(), total(case((deducted(), 1), else_=0))),
    ).where(stays.tenant == tenant, *_within(stays.entered_ms, start, end))
    taken = entries.c.discount + entries.c.stored_value + entries.c.points_value
    money = _grouped(groups, entries.c.at_ms, entries.c.lot_id, (total(taken),)).where(
        entries.c.tenant == tenant,
        entries.c.lot_id != "",
        *_within(entries.c.at_ms, start, end),
    )
    zone, rows = ZoneInfo(timezone), dict[tuple[str, ...], dict[str, Any]]()
    async with books.connect() as conn:
        for query, names in ((counted, MEASURES[:2]), (money, MEASURES[3:])):
            for row in await conn.execute(query):
                key = tuple(
                    local_day(value * _BUCKET_MS, zone) if group == "day" else value
                    for group, value in zip(groups, row, strict=False)
                )
                sums = rows.setdefault(key, dict.fromkeys(MEASURES, 0))
                for name, value in zip(names, row[len(groups) :], strict=True):
                    sums[name] += value
    for sums in rows.values():
        stayed = sums["stays"]
        sums["penetration"] = round(sums["with_deduction"] / stayed, 4) if stayed else None
    return [{**dict(zip(groups, key, strict=True)), **sums} for key, sums in rows.items()]


def _grouped(
    groups: Sequence[str],
    at: ColumnElement[int],
    lot: ColumnElement[str],
    sums: Sequence[ColumnElement[int]],
) -> Any:
    bucket = at // literal_column(str(_BUCKET_MS), Integer)
    columns = [(bucket if group == "day" else lot).label(group) for group in groups]
    grouped: Any = select(*columns, *sums).group_by(*columns)
    return grouped


def _within(
    column: ColumnElement[int], start: int | None, end: int | None
) -> list[ColumnElement[bool]]:
    conditions = [] if start is None else [column >= start]
    return conditions if end is None else [*conditions, column < end]
