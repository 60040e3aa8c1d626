"""What purchases earn, as the mall's settings say it (``settings.earn``)."""

from __future__ import annotations

from datetime import date
from typing import Annotated, Literal

from msgspec import Meta, field

from engine import records
from engine.definitions.shapes import MAX_COUNT, Body, Count, Id, Ids, Money, Weekday

_EPOCH = date(1970, 1, 1).toordinal()
_EVER = 10**6  # days: beyond any purchase

# int and float apart, so that 2 is returned as 2.
Rate = (
    Annotated[int, Meta(ge=0, le=100)]
    | Annotated[float, Meta(ge=0, le=100, description="At most two decimals.")]
)
Factor = (
    Annotated[int, Meta(ge=0, le=10)]
    | Annotated[float, Meta(ge=0, le=10, description="At most two decimals.")]
)
Day = Annotated[
    str,
    Meta(
        pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}(?!\n)$",
        max_length=10,
        description="A local day, YYYY-MM-DD.",
        extra_json_schema={"format": "date"},
    ),
]
Policy = Literal["within_balance", "only_unspent", "allow_negative"]


class SpecialDays(Body, frozen=True, kw_only=True):
    """Local days on which ``factor`` times as much is earned: all that are named must fit.

    ``dates``, or ``first`` to ``last`` (both included), or ``weekdays``; of several rows that fit
    a day the highest factor counts.
    """

    factor: Factor
    weekdays: Annotated[list[Weekday], Meta(max_length=7)] | None = None
    dates: Annotated[list[Day], Meta(min_length=1, max_length=366)] | None = None
    first: Day | None = None
    last: Day | None = None


class EarnRule(Body, frozen=True, kw_only=True):
    """Points = amount in yuan x ``per_yuan`` x the tier's factor x the day's, rounded down once.

    The day is that of ``occurred_at``, the tier the one at the time of the notice. Caps come after.
    Points can be spent from ``pending_days`` days later on (0 = at once) and expire at the end of
    the ``expires_days``-th day after that (0 = the same day, null = never). ``refunds``: what a
    refund may take back when the points have been spent meanwhile.
    """

    per_yuan: Rate
    tiers: Annotated[dict[Id, Factor], Meta(max_length=100)] = field(default_factory=dict)
    days: Annotated[list[SpecialDays], Meta(max_length=100)] = field(default_factory=list)
    min_amount: Money = 0
    max_per_purchase: Count | None = None
    max_per_day: Annotated[int, Meta(ge=0, le=MAX_COUNT, description="Of a person.")] | None = None
    excluded_stores: Ids = field(default_factory=list)
    pending_days: Annotated[int, Meta(ge=0, le=366)] = 0
    expires_days: Annotated[int, Meta(ge=0, le=36_600)] | None = None
    refunds: Policy = "within_balance"


def hundredths(number: float) -> int | None:
    """100 times the number; None where it has more than two decimals."""
    whole = round(number * 100)
    return whole if abs(number * 100 - whole) < 1e-6 else None


def number_of(day: str) -> int | None:
    """The number of a local day (days since 1970-01-01); None when there is no such day."""
    try:
        return _number(day)
    except ValueError:
        return None


def faults(rule: EarnRule) -> list[tuple[str, str]]:
    """(field, what is wrong with it): ``decimals``, ``day`` or ``order``."""
    found = [("per_yuan", "decimals")] if hundredths(rule.per_yuan) is None else []
    found += [(f"tiers.{t}", "decimals") for t, f in rule.tiers.items() if hundredths(f) is None]
    for i, row in enumerate(rule.days):
        if hundredths(row.factor) is None:
            found.append((f"days[{i}].factor", "decimals"))
        for name in ("first", "last"):
            value = getattr(row, name)
            if value is not None and number_of(value) is None:
                found.append((f"days[{i}].{name}", "day"))
        found += [
            (f"days[{i}].dates[{n}]", "day")
            for n, value in enumerate(row.dates or [])
            if number_of(value) is None
        ]
        if row.first and row.last and row.first > row.last:
            found.append((f"days[{i}].last", "order"))
    return found


def compile_earn(rule: EarnRule) -> records.EarnRule:
    """The rule as the scripts read it; ``faults`` has found none."""
    days = []
    for row in rule.days:
        first = _number(row.first) if row.first else -_EVER
        last = _number(row.last) if row.last else _EVER
        spans = [(first, last)]
        if row.dates is not None:
            numbers = sorted({_number(value) for value in row.dates})
            spans = [(n, n) for n in numbers if first <= n <= last]
        factor = hundredths(row.factor) or 0
        days += [records.SpecialDays(a, b, row.weekdays, factor) for a, b in spans]
    return records.EarnRule(
        rate=hundredths(rule.per_yuan) or 0,
        tiers=[(tier, hundredths(factor) or 0) for tier, factor in rule.tiers.items()],
        days=days,
        min_amount=rule.min_amount,
        max_per_purchase=_limit(rule.max_per_purchase),
        max_per_day=_limit(rule.max_per_day),
        excluded_stores=list(rule.excluded_stores),
        pending_days=rule.pending_days,
        expires_days=_limit(rule.expires_days),
        refunds=rule.refunds,
    )


def _number(day: str) -> int:
    return date.fromisoformat(day).toordinal() - _EPOCH


def _limit(value: int | None) -> int:
    return -1 if value is None else value
