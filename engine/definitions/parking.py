"""Car parks as the mall defines them: lots with their tariff, and the settings of parking."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, field

from engine.definitions.shapes import (
    MAX_COUNT,
    PARTY_PATTERN,
    Body,
    Count,
    Id,
    Money,
    Name,
    PositiveMoney,
)

MOST_MINUTES = 366 * 24 * 60
GRACE_MINUTES = 15

Minutes = Annotated[int, Meta(ge=0, le=MOST_MINUTES, description="Minutes.")]
SomeMinutes = Annotated[int, Meta(ge=1, le=MOST_MINUTES, description="Minutes.")]
Grace = Annotated[int, Meta(ge=0, le=1440, description="Minutes to leave in, once paid.")]


class FirstPeriod(Body, frozen=True):
    """The first charged ``minutes`` cost ``fee``, however few of them are used."""

    minutes: SomeMinutes
    fee: Money


class Tariff(Body, frozen=True, kw_only=True):
    """What a stay costs (``engine/parking/tariff.py`` has the arithmetic).

    Up to ``free_minutes`` nothing; a longer stay is charged from its start, or from the end of the
    free minutes where ``free_deducted``: the first period, then units begun, at most
    ``cap_per_day`` for each calendar day, or for each 24 h from the entry.
    """

    free_minutes: Minutes = 0
    free_deducted: bool = True
    first: FirstPeriod | None = None
    unit_minutes: SomeMinutes
    unit_fee: Money
    cap_per_day: Money | None = None
    day: Literal["calendar", "24h"] = "calendar"


class Lot(Body, frozen=True, kw_only=True):
    """A car park. ``merchant_id``: its operator, who is owed what others take off its fees.

    ``grace_minutes``: to leave in, once paid; null = as the settings say.
    """

    name: Name
    merchant_id: Id
    tariff: Tariff | None = None
    grace_minutes: Grace | None = None


class TierParking(Body, frozen=True, kw_only=True):
    """What a tier is given with each stay; ``per_day``: with how many stays a day."""

    minutes: SomeMinutes | None = None
    amount: PositiveMoney | None = None
    per_day: Count | None = None


class SpendParking(Body, frozen=True, kw_only=True):
    """What receipts that sum to ``min`` give; of several rows the highest ``min`` reached."""

    min: PositiveMoney
    minutes: SomeMinutes | None = None
    amount: PositiveMoney | None = None


class StayCaps(Body, frozen=True, kw_only=True):
    """The most that one stay takes, over all its payments: coupons, minutes, fen, points."""

    coupons: Count | None = None
    minutes: Count | None = None
    amount: Money | None = None
    points: Count | None = None


class ParkingSettings(Body, frozen=True, kw_only=True):
    """How the mall helps with parking.

    ``validations_per_day``: how many a store may give a day. ``bearer``: who bears what ``tiers``
    and ``spend`` take off; ``redeeming`` is the lot's operator.
    """

    grace_minutes: Grace = GRACE_MINUTES
    tiers: Annotated[dict[Id, TierParking], Meta(max_length=100)] = field(default_factory=dict)
    spend: Annotated[list[SpendParking], Meta(max_length=50)] = field(default_factory=list)
    validations_per_day: Annotated[int, Meta(ge=0, le=MAX_COUNT)] | None = None
    caps: StayCaps = field(default_factory=StayCaps)
    bearer: Annotated[str, Meta(pattern=PARTY_PATTERN)] = "mall"
