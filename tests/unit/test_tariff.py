"""The tariff against a twin that counts minute by minute."""

from __future__ import annotations

import os
from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from engine.definitions.parking import FirstPeriod, Tariff
from engine.parking.tariff import DAY_MS, MINUTE_MS, fee, worth, worth_of

EXAMPLES = 1000 if os.environ.get("HEXIAO_LONG") else 100
OFFSET = 8 * 3_600_000
MIDNIGHT = 20_000 * DAY_MS - OFFSET  # of a local day

tariffs = st.builds(
    Tariff,
    free_minutes=st.integers(0, 90),
    free_deducted=st.booleans(),
    first=st.none() | st.builds(FirstPeriod, minutes=st.integers(1, 300), fee=st.integers(0, 900)),
    unit_minutes=st.integers(1, 120),
    unit_fee=st.integers(0, 500),
    cap_per_day=st.none() | st.integers(0, 3000),
    day=st.sampled_from(["calendar", "24h"]),
)
entries = st.integers(0, DAY_MS).map(lambda ms: MIDNIGHT + ms)
stays = st.integers(0, 4 * 1440 * MINUTE_MS)  # up to four days, in ms


def by_the_minute(tariff: Tariff, entered: int, minutes: int) -> int:
    """The fee, told by walking through every minute begun."""
    if minutes <= tariff.free_minutes:
        return 0
    days: dict[int, int] = {}
    skipped = tariff.free_minutes if tariff.free_deducted else 0
    for minute in range(skipped, minutes):
        charged = minute - skipped
        if tariff.first is not None and charged < tariff.first.minutes:
            amount = 0 if charged else tariff.first.fee
        else:
            later = charged - (tariff.first.minutes if tariff.first else 0)
            amount = 0 if later % tariff.unit_minutes else tariff.unit_fee
        if amount:
            began = entered + minute * MINUTE_MS
            day = (began + OFFSET if tariff.day == "calendar" else began - entered) // DAY_MS
            days[day] = days.get(day, 0) + amount
    cap = tariff.cap_per_day
    return sum(days.values() if cap is None else (min(cap, spent) for spent in days.values()))


@settings(max_examples=EXAMPLES, deadline=None)
@given(tariffs, entries, stays)
def test_the_fee_is_what_the_minutes_say(tariff: Tariff, entered: int, stay: int) -> None:
    minutes = -(-stay // MINUTE_MS)
    expected = by_the_minute(tariff, entered, minutes)
    assert fee(tariff, entered, entered + stay, OFFSET) == expected
    # A longer stay never costs less.
    assert fee(tariff, entered, entered + stay + 7 * MINUTE_MS, OFFSET) >= expected


@settings(max_examples=EXAMPLES, deadline=None)
@given(
    tariffs, entries, stays, st.integers(0, 300), st.none() | st.integers(0, 5000),
    st.lists(st.integers(0, 6000), max_size=8),
)  # fmt: skip
def test_minutes_are_worth_what_a_shorter_stay_costs_less(
    tariff: Tariff, entered: int, stay: int, already: int, vendor: int | None, asked: list[int]
) -> None:
    until = entered + stay
    table = worth(tariff, entered, until, OFFSET, already, vendor)
    assert all(a < c and b < d for (a, b), (c, d) in pairwise(table))
    assert all(minutes > 0 and amount > 0 for minutes, amount in table)
    whole = fee(tariff, entered, until - already * MINUTE_MS, OFFSET)
    near = [minutes + step for minutes, _ in table[:3] + table[-3:] for step in (-1, 0)]
    for minutes in [*near, *asked]:
        shorter = fee(tariff, entered, until - (already + minutes) * MINUTE_MS, OFFSET)
        expected = whole - shorter if vendor is None else min(vendor, whole - shorter)
        assert worth_of(table, minutes) == expected
        cut = worth(tariff, entered, until, OFFSET, already, vendor, at_most=minutes)
        assert worth_of(cut, minutes) == expected


def test_a_year_without_a_cap_is_counted_too() -> None:
    tariff = Tariff(unit_minutes=15, unit_fee=100)
    until = MIDNIGHT + 365 * DAY_MS
    assert fee(tariff, MIDNIGHT, until, OFFSET) == 365 * 96 * 100
    assert worth(tariff, MIDNIGHT, until, OFFSET, at_most=60) == [
        (15, 100), (30, 200), (45, 300), (60, 400),
    ]  # fmt: skip
