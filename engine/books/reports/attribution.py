"""Attribution: what the coupons given out by a campaign, channel, entry … have brought.

``issued`` counts coupons issued in the period. All else is of redemptions made in the period, and
credited to the channel, entry and tier under which the coupon was claimed; reversals count against
the redemption they answer, whenever they came. A redemption wholly reversed is none.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from sqlalchemy import Select, and_, case, func, select

from engine.books.schema import coupons, entries, redemptions
from engine.books.settlement import total

if TYPE_CHECKING:
    from engine.books.db import Books

GROUPS = ("campaign", "channel", "store", "entry", "tier")
MEASURES = (
    "issued",
    "redeemed",
    "redemption_rate",
    "discount",
    "sales",
    "basket",
    "baseline_basket",
    "basket_change",
)
_OF_COUPON = {
    "campaign": coupons.c.campaign_id,
    "channel": coupons.c.channel,
    "entry": coupons.c.entry,
    "tier": coupons.c.tier,
}


async def attribution(
    books: Books,
    tenant: str,
    groups: Sequence[str],
    start: int | None = None,
    end: int | None = None,
    merchant_id: str | None = None,
) -> list[dict[str, Any]]:
    """Rows by ``groups`` (of GROUPS) for ``[start, end)``.

    Grouped by store, ``issued`` is that of the row's other groups: a coupon is not issued for one
    store, so the rate says what part of them came there. For one merchant it is None.
    """
    async with books.connect() as conn:
        issued: dict[tuple[Any, ...], int] = {}
        if not merchant_id:
            for *key, count in await conn.execute(_issued(tenant, groups, start, end)):
                issued[tuple(key)] = count
        redeemed = (await conn.execute(_redeemed(tenant, groups, start, end, merchant_id))).all()
    store = groups.index("store") if "store" in groups else None
    rows, seen = [], set()
    for row in redeemed:
        *key, used, discount, sales, baskets, gross = row
        without_store = tuple(k for i, k in enumerate(key) if i != store)
        seen.add(without_store)
        count = None if merchant_id else issued.get(without_store, 0)
        rows.append(_row(groups, key, count, used, discount, sales, baskets, gross))
    if store is None:
        rows += [
            _row(groups, key, count, 0, 0, 0, 0, 0)
            for key, count in issued.items()
            if key not in seen
        ]
    return sorted(rows, key=lambda row: [row[group] or "" for group in groups])


def _row(
    groups: Sequence[str],
    key: Sequence[str],
    issued: int | None,
    redeemed: int,
    discount: int,
    sales: int,
    baskets: int,
    gross: int,
) -> dict[str, Any]:
    return {
        **{group: value or None for group, value in zip(groups, key, strict=True)},
        "issued": issued,
        "redeemed": redeemed,
        "redemption_rate": round(redeemed / issued, 4) if issued else None,
        "discount": discount,
        "sales": sales,
        "basket": (2 * gross + baskets) // (2 * baskets) if baskets else None,  # half up
        "baseline_basket": None,  # purchases without coupons are not told to the engine yet
        "basket_change": None,
    }


def _issued(tenant: str, groups: Sequence[str], start: int | None, end: int | None) -> Select[Any]:
    columns = [_OF_COUPON[group].label(group) for group in groups if group != "store"]
    query = select(*columns, func.count()).where(coupons.c.tenant == tenant)
    if start is not None:
        query = query.where(coupons.c.issued_ms >= start)
    if end is not None:
        query = query.where(coupons.c.issued_ms < end)
    return query.group_by(*columns)


def _redeemed(
    tenant: str,
    groups: Sequence[str],
    start: int | None,
    end: int | None,
    merchant_id: str | None,
) -> Select[Any]:
    """By group: coupons still redeemed, discount, sales, redemptions and their gross baskets."""
    first = case((entries.c.kind == "redemption", entries.c.discount), else_=0)
    query = (
        select(
            entries.c.redemption_id,
            entries.c.coupon_id,
            entries.c.store_id,
            redemptions.c.amount,
            redemptions.c.state,
            total(first).label("at_first"),
            total(entries.c.discount).label("discount"),
            total(entries.c.sales).label("sales"),
        )
        .join_from(
            entries,
            redemptions,
            and_(
                redemptions.c.tenant == entries.c.tenant,
                redemptions.c.id == entries.c.redemption_id,
            ),
        )
        .where(entries.c.tenant == tenant)
    )
    if start is not None:
        query = query.where(redemptions.c.at_ms >= start)
    if end is not None:
        query = query.where(redemptions.c.at_ms < end)
    if merchant_id:
        query = query.where(entries.c.merchant_id == merchant_id)
    used = query.group_by(
        entries.c.redemption_id,
        entries.c.coupon_id,
        entries.c.store_id,
        redemptions.c.amount,
        redemptions.c.state,
    ).subquery("used")

    columns = [
        (used.c.store_id if group == "store" else _OF_COUPON[group]).label(group)
        for group in groups
    ]
    # Wholly returned: the redemption is reversed, or all that the coupon took off went back.
    gone = (used.c.state == "reversed") | and_(used.c.at_first > 0, used.c.discount == 0)
    by_redemption = (
        select(
            *columns,
            used.c.redemption_id,
            used.c.amount,
            total(case((gone, 0), else_=1)).label("live"),
            total(used.c.discount).label("discount"),
            total(used.c.sales).label("sales"),
        )
        .join_from(
            used, coupons, and_(coupons.c.tenant == tenant, coupons.c.id == used.c.coupon_id)
        )
        .group_by(*columns, used.c.redemption_id, used.c.amount)
        .subquery("by_redemption")
    )
    live = by_redemption.c.live > 0
    keys = [by_redemption.c[group] for group in groups]
    return select(
        *keys,
        total(by_redemption.c.live),
        total(by_redemption.c.discount),
        total(by_redemption.c.sales),
        total(case((live, 1), else_=0)),
        total(case((live, by_redemption.c.amount), else_=0)),
    ).group_by(*keys)
