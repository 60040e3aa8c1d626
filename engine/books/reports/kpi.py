"""Key figures: each a numerator, a denominator, and in words what they count."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import ColumnElement, and_, case, exists, func, or_, select
from sqlalchemy.ext.asyncio import AsyncConnection

from engine.books.reports.buying import MONTH_MS, later_redemptions, without_coupons
from engine.books.reports.parking import deducted
from engine.books.schema import (
    adjustments,
    attempts,
    campaigns,
    checkins,
    coupons,
    entries,
    parking_overrides,
    parking_stays,
    points_entries,
    purchases,
    redemptions,
)
from engine.books.settlement import total
from engine.keys import PRINTED

if TYPE_CHECKING:
    from engine.books.db import Books

COLUMNS = ("name", "value", "numerator", "denominator", "definition")
FAILURES = "failures."
USES = ("redeem", "hold", "park", "checkin")  # what tries to use a coupon are kept as
DEFINITIONS = {
    "redemption_rate": (
        (
            "coupons issued in the period that were used at least once and not given back / coupons"
            " issued in the period"
        ),
        "期内发放且至少核销一次(未退回)的券 / 期内发放的券",
    ),
    "attendance": (
        (
            "tickets issued in the period that somebody entered with and that were not given back"
            " / tickets issued in the period, those withdrawn or refunded left out"
        ),
        "期内发放且已检票入场(未撤销)的门票 / 期内发放且未作废、未退款的门票",
    ),
    "parking_use": (
        "stays entered in the period of whose fees something was taken off / stays entered in it",
        "期内入场且享受减免的停车次数 / 期内入场的停车次数",
    ),
    "points_use_rate": (
        (
            "points spent in the period, at tills and elsewhere, less what was given back / points"
            " earned, bought or added in it, less what was taken back"
        ),
        "期内消耗的积分(扣除退回) / 期内获得的积分(扣除收回)",
    ),
    FAILURES: (
        (
            "tries to use a coupon that were refused for this cause in the period / all tries:"
            " those refused for any cause, and the coupons redeemed"
        ),
        "期内因此原因被拒的用券次数 / 期内全部用券次数(被拒与核销之和)",
    ),
    "manual_interventions": (
        (
            "coupons voided, fees overridden at the booth, points and merchants' dues adjusted by"
            " hand in the period / redemptions in it"
        ),
        "期内人工作废券、岗亭改价、手工调整积分与商户调账的次数 / 期内核销笔数",
    ),
    "repurchases_per_head": (
        (
            "purchases and redemptions within 30 days after a redemption of the period, its own"
            " payment left out / people who redeemed in the period"
        ),
        "期内核销后30天内的再次消费与核销次数(不含该笔核销自身的付款) / 期内核销人数",
    ),
}


async def kpi(
    books: Books, tenant: str, start: int | None = None, end: int | None = None
) -> list[dict[str, Any]]:
    """``name``, ``value`` (None where there is nothing to divide by), numerator, denominator."""

    def within(column: ColumnElement[int]) -> ColumnElement[bool]:
        since = column >= (start or 0)
        return since if end is None else and_(since, column < end)

    async with books.connect() as conn:
        counted: dict[str, tuple[int, int]] = {
            "redemption_rate": await _used(conn, tenant, within),
            "attendance": await _attended(conn, tenant, within),
            "parking_use": await _parked(conn, tenant, within),
            "points_use_rate": await _points(conn, tenant, within),
            "manual_interventions": await _by_hand(conn, tenant, within),
            "repurchases_per_head": await _repurchases(conn, tenant, within),
            **await _failures(conn, tenant, within),
        }
    return [
        {
            "name": name,
            "value": round(numerator / denominator, 4) if denominator else None,
            "numerator": numerator,
            "denominator": denominator,
        }
        for name, (numerator, denominator) in counted.items()
    ]


def definition(name: str, language: str) -> str:
    """What a figure counts, in words."""
    both = DEFINITIONS[FAILURES if name.startswith(FAILURES) else name]
    return both[language != "en"]


async def _used(conn: AsyncConnection, tenant: str, within: Any) -> Any:
    c = coupons.c
    used = or_(c.state == "redeemed", c.used > 0, c.spent > 0)
    query = select(total(case((used, 1), else_=0)), func.count()).where(
        c.tenant == tenant, c.state != "transferred", within(c.issued_ms)
    )
    return tuple((await conn.execute(query)).one())


async def _attended(conn: AsyncConnection, tenant: str, within: Any) -> Any:
    c = coupons.c
    came = exists().where(
        checkins.c.tenant == tenant,
        checkins.c.coupon_id == c.id,
        checkins.c.redemption_id == c.redemption_id,
    )
    a_ticket = exists().where(
        campaigns.c.tenant == tenant, campaigns.c.id == c.campaign_id, campaigns.c.kind == "ticket"
    )
    query = select(total(case((came, 1), else_=0)), func.count()).where(
        c.tenant == tenant,
        within(c.issued_ms),
        c.state.in_(("issued", "held", "redeemed")),
        a_ticket,
    )
    return tuple((await conn.execute(query)).one())


async def _parked(conn: AsyncConnection, tenant: str, within: Any) -> Any:
    query = select(total(case((deducted(), 1), else_=0)), func.count()).where(
        parking_stays.c.tenant == tenant, within(parking_stays.c.entered_ms)
    )
    return tuple((await conn.execute(query)).one())


async def _points(conn: AsyncConnection, tenant: str, within: Any) -> Any:
    e = points_entries.c
    back = e.kind == "reversal"  # of a spending if points came back by it, else of an earning
    spent = or_(e.kind.in_(("spend", "redemption", "return")), and_(back, e.points > 0))
    earned = or_(
        e.kind.in_(("earn", "purchase", "refund")),
        and_(e.kind == "adjust", e.points > 0),
        and_(back, e.points < 0),
    )
    query = select(
        total(case((spent, -e.points), else_=0)), total(case((earned, e.points), else_=0))
    ).where(e.tenant == tenant, within(e.at_ms))
    return tuple((await conn.execute(query)).one())


async def _by_hand(conn: AsyncConnection, tenant: str, within: Any) -> tuple[int, int]:
    acts = 0
    for table, condition in (
        (coupons, and_(coupons.c.state == "voided", within(coupons.c.changed_ms))),
        (parking_overrides, within(parking_overrides.c.at_ms)),
        (points_entries, and_(points_entries.c.kind == "adjust", within(points_entries.c.at_ms))),
        (
            adjustments,
            and_(adjustments.c.status == "approved", within(adjustments.c.decided_ms)),
        ),
    ):
        query = select(func.count()).select_from(table).where(table.c.tenant == tenant, condition)
        acts += await conn.scalar(query) or 0
    redeemed = select(func.count()).where(
        redemptions.c.tenant == tenant,
        redemptions.c.state.in_(("redeemed", "reversed")),
        within(redemptions.c.at_ms),
    )
    return acts, await conn.scalar(redeemed) or 0


async def _repurchases(conn: AsyncConnection, tenant: str, within: Any) -> tuple[int, int]:
    first = redemptions.alias("first")
    of_period = and_(first.c.tenant == tenant, first.c.state == "redeemed", within(first.c.at_ms))
    bought = select(func.count()).where(
        purchases.c.tenant == tenant,
        without_coupons(),
        exists().where(
            of_period,
            first.c.user_id == purchases.c.user_id,
            purchases.c.occurred_ms > first.c.at_ms,
            purchases.c.occurred_ms <= first.c.at_ms + MONTH_MS,
        ),
    )
    again = select(func.count()).where(
        redemptions.c.tenant == tenant,
        exists().where(of_period, *later_redemptions(first, redemptions)),
    )
    known = ~first.c.user_id.startswith(PRINTED)  # who had a printed coupon, nobody knows
    people = select(func.count(first.c.user_id.distinct())).where(of_period, known)
    counts = [await conn.scalar(query) or 0 for query in (bought, again, people)]
    return counts[0] + counts[1], counts[2]


async def _failures(conn: AsyncConnection, tenant: str, within: Any) -> dict[str, tuple[int, int]]:
    a = attempts.c
    query = (
        select(a.code, func.count().label("tries"))
        .where(a.tenant == tenant, a.verb.in_(USES), within(a.at_ms))
        .group_by(a.code)
    )
    causes = {row.code: row.tries for row in await conn.execute(query)}
    redeemed = select(func.count()).where(
        entries.c.tenant == tenant,
        entries.c.kind == "redemption",
        entries.c.coupon_id != "",  # no points, no deduction that is no coupon
        within(entries.c.at_ms),
    )
    tries = sum(causes.values()) + (await conn.scalar(redeemed) or 0)
    return {FAILURES + code: (count, tries) for code, count in causes.items()}
