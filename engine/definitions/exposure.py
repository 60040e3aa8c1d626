"""The most that a campaign can cost, fen: what its terms, stock, limits and budget leave room for.

Only what the definition itself bounds counts. Limits of a person bound nothing, since nobody says
how many members there are; money that is not in the definition (a basket, a parking tariff) has no
bound, save by the budget.
"""

from __future__ import annotations

from datetime import datetime
from zoneinfo import ZoneInfo

from engine.definitions.bodies import (
    Admission,
    AmountOff,
    Campaign,
    Exchange,
    FixedValidity,
    Gift,
    ParkingFree,
    PercentOff,
    StoredValue,
    valid_end,
)
from engine.definitions.times import parse_time

MINUTE_MS = 60_000


def most_off(campaign: Campaign) -> int | None:
    """The most that one use of a coupon can take off, fen; None = nothing in its terms says."""
    benefit = campaign.benefit
    match benefit:
        case AmountOff():
            if benefit.steps:
                return max(step.amount for step in benefit.steps)
            return benefit.max_amount if benefit.every else benefit.amount
        case PercentOff() | ParkingFree():
            return benefit.max_amount
        case Gift() | StoredValue():  # of stored value: the whole balance, in any parts
            return benefit.amount
        case Exchange() | Admission():
            return benefit.value
        case _:  # a fixed price takes off whatever the goods cost more; minutes, what they cost
            return None


def max_exposure(campaign: Campaign, now: int, timezone: str) -> int | None:
    """The most that the whole campaign can take off from ``now`` (ms) on; None = no bound.

    The least of: coupons that can be given out, times uses, times ``most_off``; uses that its days
    take, times ``most_off``; its budget. Days and minutes are the tenant's, those of the start and
    of the end included.
    """
    zone, each = ZoneInfo(timezone), most_off(campaign)
    uses = _least(_uses_of_coupons(campaign, now, zone), _uses_of_days(campaign, now, zone))
    if uses == 0:
        return 0
    most = None if uses is None or each is None else uses * each
    return _least(most, campaign.stock.budget)


def _uses_of_coupons(c: Campaign, now: int, zone: ZoneInfo) -> int | None:
    issued = most_issued(c, now, zone)
    return None if issued is None else issued * (1 if c.kind == "stored_value" else c.usage.uses)


def most_issued(c: Campaign, now: int, zone: ZoneInfo) -> int | None:
    """The most coupons that can be given out from ``now`` on; None = no bound."""
    issue = c.issue
    limits = (
        issue.per_user, issue.per_user_per_day, issue.per_user_per_week, issue.per_user_per_month,
        issue.per_day, issue.per_minute,
    )  # fmt: skip
    if 0 in limits or [] in (issue.channels, issue.tiers, issue.audiences):
        return 0
    start, end = now, _ms(issue.end)
    if issue.start is not None:
        starts = [issue.start, *(one.start for one in issue.early or [])]
        start = max(now, min(map(parse_time, starts)))
    quotas = (c.event.quotas if c.event else None) or []
    in_stock = _least(c.stock.total, *(quota.total for quota in quotas))
    if end is None:
        return in_stock
    if end <= start:
        return 0
    by_day, by_minute = issue.per_day, issue.per_minute
    if by_day is not None:
        by_day *= _days(start, end, zone)
    if by_minute is not None:
        by_minute *= (end - 1) // MINUTE_MS - start // MINUTE_MS + 1
    return _least(in_stock, by_day, by_minute)


def _uses_of_days(c: Campaign, now: int, zone: ZoneInfo) -> int | None:
    """Uses that the limits of a day and of a store leave until the last coupon has expired."""
    usage = c.usage
    nowhere = [] in (usage.stores, usage.channels, usage.weekdays, usage.hours)
    if nowhere or 0 in (usage.per_day, usage.per_store_per_day):
        return 0
    if c.kind == "stored_value":  # a use takes any part of the balance: uses bound nothing
        return None
    a_day = usage.per_day
    if usage.per_store_per_day is not None and usage.stores is not None:
        a_day = _least(a_day, usage.per_store_per_day * len(set(usage.stores)))
    validity, first, last = c.validity, now, _ms(valid_end(c))
    if isinstance(validity, FixedValidity):
        first = max(now, _ms(validity.start) or 0)
    if last is None or a_day is None:
        return None
    return a_day * _days(first, last, zone) if last > first else 0


def _days(start: int, end: int, zone: ZoneInfo) -> int:
    """Local days that [start, end) touches."""
    first, last = (datetime.fromtimestamp(at / 1000, zone).date() for at in (start, end - 1))
    return (last - first).days + 1


def _ms(text: str | None) -> int | None:
    return None if text is None else parse_time(text)


def _least(*bounds: int | None) -> int | None:
    """The least of what bounds; None where nothing does."""
    return min((bound for bound in bounds if bound is not None), default=None)
