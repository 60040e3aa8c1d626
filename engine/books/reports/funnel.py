"""The funnel: how many different people were seen at each step, by channel, store, campaign, entry.

Each step counts people who did it in the period, not those who came from the step before. Claims
and redemptions are credited to the channel and entry under which the coupon was claimed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from sqlalchemy import ColumnElement, Select, func, select, union

from engine.books.reports.attribution import by_redemption, people_of
from engine.books.schema import coupons, track_events
from engine.keys import PRINTED

if TYPE_CHECKING:
    from engine.books.db import Books

GROUPS = ("channel", "store", "campaign", "entry")
STEPS = ("exposure", "click", "claim", "pay", "redeem", "repurchase")
DEFINITIONS = {
    "exposure": (
        "people with an event of type exposure in the period",
        "期内有 exposure 事件的人数",
    ),
    "click": ("people with an event of type click in the period", "期内有 click 事件的人数"),
    "claim": (
        "people who were issued a coupon, or with an event of type order, in the period",
        "期内领到券或有 order 事件的人数",
    ),
    "pay": (
        "people who paid an order, or with an event of type pay, in the period",
        "期内支付了订单或有 pay 事件的人数",
    ),
    "redeem": (
        "people with a redemption in the period that was not wholly reversed",
        "期内有核销且未全部撤销的人数",
    ),
    "repurchase": (
        "of these, who bought again within 30 days: another purchase or redemption",
        "其中核销后30天内再次消费(另一笔消费或核销)的人数",
    ),
}
_TRACKED = {
    "channel": track_events.c.channel,
    "campaign": track_events.c.campaign_id,
    "entry": track_events.c.entry,
}
_CLAIMED = {
    "channel": coupons.c.channel,
    "campaign": coupons.c.campaign_id,
    "entry": coupons.c.entry,
}
Key = tuple[Any, ...]


async def funnel(
    books: Books,
    tenant: str,
    groups: Sequence[str],
    start: int | None = None,
    end: int | None = None,
) -> list[dict[str, Any]]:
    """Rows by ``groups`` (of GROUPS) for ``[start, end)``.

    Grouped by store, the steps before redemption are None: nobody is shown a coupon in a store.
    """
    used = by_redemption(tenant, groups, start, end, None)
    counts: dict[Key, dict[str, int]] = {}
    async with books.connect() as conn:
        if "store" not in groups:
            claims = _claims(tenant, groups, start, end)
            bought = claims.where(coupons.c.order_id != "")  # issued when the order was paid
            steps: dict[str, Any] = {
                "exposure": _events(tenant, groups, "exposure", start, end),
                "click": _events(tenant, groups, "click", start, end),
                "claim": union(_events(tenant, groups, "order", start, end), claims),
                "pay": union(_events(tenant, groups, "pay", start, end), bought),
            }
            for step, people in steps.items():
                for *key, count in await conn.execute(_distinct(people, groups)):
                    counts.setdefault(tuple(key), {})[step] = count
        for key, (users, again) in (await people_of(conn, tenant, used, groups)).items():
            counts.setdefault(key, {}).update(redeem=users, repurchase=again)
    early = dict.fromkeys(STEPS[:4], None if "store" in groups else 0)
    late = dict.fromkeys(STEPS[4:], 0)
    return [
        {
            **{group: value or None for group, value in zip(groups, key, strict=True)},
            **early,
            **late,
            **found,
        }
        for key, found in counts.items()
    ]


def _events(
    tenant: str, groups: Sequence[str], kind: str, start: int | None, end: int | None
) -> Select[Any]:
    columns = [_TRACKED[group].label(group) for group in groups]
    wanted = (track_events.c.tenant == tenant, track_events.c.type == kind)
    query = select(*columns, track_events.c.user_id).where(*wanted)
    return query.where(*_within(track_events.c.occurred_ms, start, end))


def _claims(tenant: str, groups: Sequence[str], start: int | None, end: int | None) -> Select[Any]:
    columns = [_CLAIMED[group].label(group) for group in groups]
    query = select(*columns, coupons.c.user_id).where(
        coupons.c.tenant == tenant,
        coupons.c.came_from == "",  # not what somebody else gave them
        ~coupons.c.user_id.startswith(PRINTED),  # and a printed coupon is nobody's
    )
    return query.where(*_within(coupons.c.issued_ms, start, end))


def _within(
    column: ColumnElement[int], start: int | None, end: int | None
) -> list[ColumnElement[bool]]:
    conditions = [] if start is None else [column >= start]
    return conditions if end is None else [*conditions, column < end]


def _distinct(people: Any, groups: Sequence[str]) -> Select[Any]:
    told = people.subquery("told")
    keys = [told.c[group] for group in groups]
    return select(*keys, func.count(told.c.user_id.distinct())).group_by(*keys)
