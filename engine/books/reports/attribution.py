"""Attribution: what the coupons given out by a campaign, channel, entry … have brought.

``issued`` counts coupons issued in the period. All else is of redemptions made in the period, and
credited to the channel, entry and tier under which the coupon was claimed; reversals count against
the redemption they answer, whenever they came. A redemption wholly reversed is none.

``baseline_basket`` is the mean of what the same people (those who redeemed) bought without coupons
in the period, refunds taken off, by the mall's payment platform; ``basket_change`` is how much
larger the basket was. ``repurchase_30d``: who bought again within 30 days of a redemption, of those
who redeemed. For one merchant only what was bought there counts.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from sqlalchemy import Select, Subquery, and_, case, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from engine.books.reports.buying import NET, bought_again, without_coupons
from engine.books.schema import coupons, entries, purchases, redemptions
from engine.books.settlement import total
from engine.keys import PRINTED

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
    "users",
    "repurchase_30d",
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
        used = by_redemption(tenant, groups, start, end, merchant_id)
        redeemed = (await conn.execute(_redeemed(used, groups))).all()
        people = await people_of(conn, tenant, used, groups, merchant_id)
        baselines = await _baselines(conn, tenant, used, groups, start, end, merchant_id)
    store = groups.index("store") if "store" in groups else None
    rows, seen = [], set()
    for found in redeemed:
        *key, live, discount, sales, baskets, gross = found
        without_store = tuple(k for i, k in enumerate(key) if i != store)
        seen.add(without_store)
        count = None if merchant_id else issued.get(without_store, 0)
        row = _row(groups, key, count, live, discount, sales, baskets, gross)
        _compare(row, baselines.get(tuple(key)), people.get(tuple(key), (0, 0)))
        rows.append(row)
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
        "baseline_basket": None,
        "basket_change": None,
        "users": 0,
        "repurchase_30d": None,
    }


def _compare(
    row: dict[str, Any], baseline: tuple[int, int] | None, people: tuple[int, int]
) -> None:
    """Add what needs purchases: (how many, fen) without coupons; (users, those who came back)."""
    if baseline:
        count, money = baseline
        row["baseline_basket"] = (2 * money + count) // (2 * count)
        if row["basket"] is not None and row["baseline_basket"]:
            row["basket_change"] = round(row["basket"] / row["baseline_basket"] - 1, 4)
    users, again = people
    row["users"] = users
    row["repurchase_30d"] = round(again / users, 4) if users else None


def _issued(tenant: str, groups: Sequence[str], start: int | None, end: int | None) -> Select[Any]:
    columns = [_OF_COUPON[group].label(group) for group in groups if group != "store"]
    first = coupons.c.came_from == ""  # one that was given on was issued once
    query = select(*columns, func.count()).where(coupons.c.tenant == tenant, first)
    if start is not None:
        query = query.where(coupons.c.issued_ms >= start)
    if end is not None:
        query = query.where(coupons.c.issued_ms < end)
    return query.group_by(*columns)


def by_redemption(
    tenant: str,
    groups: Sequence[str],
    start: int | None,
    end: int | None,
    merchant_id: str | None,
) -> Subquery:
    """By group and redemption: ``live`` coupons, discount, sales, gross amount, user_id."""
    first = case((entries.c.kind == "redemption", entries.c.discount), else_=0)
    query = (
        select(
            entries.c.redemption_id,
            entries.c.coupon_id,
            entries.c.store_id,
            redemptions.c.user_id,
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
        redemptions.c.user_id,
        redemptions.c.amount,
        redemptions.c.state,
    ).subquery("used")

    columns = [
        (used.c.store_id if group == "store" else _OF_COUPON[group]).label(group)
        for group in groups
    ]
    # Wholly returned: the redemption is reversed, or all that the coupon took off went back.
    gone = (used.c.state == "reversed") | and_(used.c.at_first > 0, used.c.discount == 0)
    return (
        select(
            *columns,
            used.c.redemption_id,
            used.c.user_id,
            used.c.amount,
            total(case((gone, 0), else_=1)).label("live"),
            total(used.c.discount).label("discount"),
            total(used.c.sales).label("sales"),
        )
        .join_from(
            used, coupons, and_(coupons.c.tenant == tenant, coupons.c.id == used.c.coupon_id)
        )
        .group_by(*columns, used.c.redemption_id, used.c.user_id, used.c.amount)
        .subquery("by_redemption")
    )


def _redeemed(used: Subquery, groups: Sequence[str]) -> Select[Any]:
    """By group: coupons still redeemed, discount, sales, redemptions and their gross baskets."""
    live = used.c.live > 0
    keys = [used.c[group] for group in groups]
    return select(
        *keys,
        total(used.c.live),
        total(used.c.discount),
        total(used.c.sales),
        total(case((live, 1), else_=0)),
        total(case((live, used.c.amount), else_=0)),
    ).group_by(*keys)


async def people_of(
    conn: AsyncConnection,
    tenant: str,
    used: Subquery,
    groups: Sequence[str],
    merchant_id: str | None = None,
) -> dict[tuple[Any, ...], tuple[int, int]]:
    """By group: how many people redeemed, and how many of them bought again within 30 days."""
    again = case((bought_again(redemptions, merchant_id), 1), else_=0)
    keys = [used.c[group] for group in groups]
    people = (
        select(*keys, used.c.user_id, func.max(again).label("again"))
        .join_from(used, redemptions, redemptions.c.id == used.c.redemption_id)
        .where(redemptions.c.tenant == tenant, used.c.live > 0)
        .where(~used.c.user_id.startswith(PRINTED))  # nobody knows who had a printed coupon
        .group_by(*keys, used.c.user_id)
        .subquery("people")
    )
    grouped = [people.c[group] for group in groups]
    query = select(*grouped, func.count(), total(people.c.again)).group_by(*grouped)
    return {tuple(key): (users, back) for *key, users, back in await conn.execute(query)}


async def _baselines(
    conn: AsyncConnection,
    tenant: str,
    used: Subquery,
    groups: Sequence[str],
    start: int | None,
    end: int | None,
    merchant_id: str | None,
) -> dict[tuple[Any, ...], tuple[int, int]]:
    """By group: how many purchases without coupons the people who redeemed made, and their sum."""
    keys = [used.c[group] for group in groups]
    people = select(*keys, used.c.user_id).where(used.c.live > 0).distinct().subquery("people")
    grouped = [people.c[group] for group in groups]
    query = (
        select(*grouped, func.count(), total(NET))
        .join_from(people, purchases, purchases.c.user_id == people.c.user_id)
        .where(purchases.c.tenant == tenant, without_coupons())
    )
    if start is not None:
        query = query.where(purchases.c.occurred_ms >= start)
    if end is not None:
        query = query.where(purchases.c.occurred_ms < end)
    if merchant_id:
        query = query.where(purchases.c.merchant_id == merchant_id)
    rows = await conn.execute(query.group_by(*grouped))
    return {tuple(key): (count, money) for *key, count, money in rows}
