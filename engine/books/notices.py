"""Notices: what no act did and the events feed tells. Each is told once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import msgspec
from sqlalchemy import func, insert, select, tuple_

from engine.books import numbers
from engine.books.schema import coupons, notices

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection

    from engine.books.db import Books

LEAD_MS = 72 * 3_600_000  # so long before its end a coupon expires soon
AT_ONCE = 500
_EXPIRING = "expiring:"
_json = msgspec.json.Encoder().encode


async def budget_alarm(
    books: Books, tenant: str, campaign_id: str, *, mark: float, budget: int, left: int, now: int
) -> None:
    """A campaign has used up ``mark`` percent of its budget."""
    key = f"budget:{campaign_id}:{budget}:{mark}"
    body = {"campaign_id": campaign_id, "mark": mark, "budget": budget, "budget_left": left}
    async with books.begin() as conn:
        known = select(notices.c.n).where(notices.c.tenant == tenant, notices.c.key == key)
        if await conn.scalar(known) is None:
            await _tell(conn, tenant, now, [("budget_alarm", key, body)])


async def expiring_soon(books: Books, tenant: str, now: int) -> int:
    """Tell of coupons that are not used and come within ``LEAD_MS`` of their end; how many.

    A coupon whose whole life is shorter is not told of. The key of the last one told is where the
    next call goes on: ends rise, so nobody is told of twice or left out.
    """
    c = coupons.c
    async with books.begin() as conn:
        last = await conn.scalar(
            select(func.max(notices.c.key)).where(
                notices.c.tenant == tenant,
                notices.c.key > _EXPIRING,
                notices.c.key < _EXPIRING + "A",  # digits come first in any collation
            )
        )
        ends, name = (last or f"{_EXPIRING}{now:015d}:").removeprefix(_EXPIRING).split(":")
        rows = await conn.execute(
            select(c.id, c.campaign_id, c.user_id, c.valid_until_ms)
            .where(
                c.tenant == tenant,
                tuple_(c.valid_until_ms, c.id) > (int(ends), name),
                c.valid_until_ms >= int(ends),  # what an index can begin with
                c.valid_until_ms <= now + LEAD_MS,
                c.valid_until_ms > now,
                c.state.in_(("issued", "held")),
                c.issued_ms <= c.valid_until_ms - LEAD_MS,
            )
            .order_by(c.valid_until_ms, c.id)
            .limit(AT_ONCE)
        )
        told = [
            (
                "expiring_soon",
                f"{_EXPIRING}{row.valid_until_ms:015d}:{row.id}",
                {
                    "coupon_id": row.id,
                    "campaign_id": row.campaign_id,
                    "user_id": row.user_id,
                    "valid_until": row.valid_until_ms,
                },
            )
            for row in rows
        ]
        await _tell(conn, tenant, now, told)
    return len(told)


async def _tell(
    conn: AsyncConnection, tenant: str, now: int, told: Sequence[tuple[str, str, dict[str, Any]]]
) -> None:
    for kind, key, body in told:
        number = await numbers.take(conn, tenant, "notices")
        row = {"tenant": tenant, "n": number, "type": kind, "key": key, "at_ms": now,
               "body": _json(body).decode()}  # fmt: skip
        await conn.execute(insert(notices), row)
