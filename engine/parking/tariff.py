"""What a stay costs, and what minutes taken off it are worth.

A stay of T minutes (begun ones count whole) costs nothing up to ``free_minutes``. A longer one is
charged from its start, or from the end of the free minutes where ``free_deducted``: the first
period once, then every unit begun. Each of these charges belongs to the day in which its period
begins (the tenant's calendar day, or 24 h from the entry), and the charges of a day together are
at most ``cap_per_day``. Free minutes and first period are given once a stay, not once a day.

Minutes are taken off the end of a stay: m of them are worth ``fee(T) - fee(T - m)``, the entry
stays where it was and so do the days. Some minutes are worth nothing (the rest of a unit begun,
hours behind a day's cap), and the last ones before ``free_minutes`` are worth all that is left.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence

from engine.definitions.parking import Tariff

MINUTE_MS = 60_000
DAY_MS = 86_400_000

Worth = list[tuple[int, int]]
"""(minutes, fen) ascending: so many minutes, and up to the next row, take so much off."""


def minutes_of(entered_ms: int, until_ms: int) -> int:
    """The minutes of a stay, a minute begun counts; 0 where it ends before it starts."""
    return max(0, -(-(until_ms - entered_ms) // MINUTE_MS))


def fee(tariff: Tariff, entered_ms: int, until_ms: int, offset: int) -> int:
    """What a stay costs, in fen. ``offset``: the tenant's distance from UTC, ms."""
    minutes = minutes_of(entered_ms, until_ms)
    return sum(amount for _, amount in _charges(tariff, entered_ms, minutes, offset))


def worth(
    tariff: Tariff,
    entered_ms: int,
    as_of_ms: int,
    offset: int,
    already_minutes: int = 0,
    vendor_fee: int | None = None,
    at_most: int | None = None,
) -> Worth:
    """What m more minutes take off, after ``already_minutes`` were given: where it grows.

    That is ``fee(T - already) - fee(T - already - m)``, never more than ``vendor_fee`` (what the
    vendor still asks; None = no such bound). ``at_most``: no more minutes can come, so rows beyond
    are left out. Both columns rise strictly; [] = nothing is to gain.
    """
    stay = minutes_of(entered_ms, as_of_ms) - already_minutes
    charges = list(_charges(tariff, entered_ms, stay, offset))
    whole = sum(amount for _, amount in charges)
    most = whole if vendor_fee is None else min(whole, vendor_fee)
    rows: Worth = []
    total = 0
    for start, amount in reversed(charges):
        at_once = start <= tariff.free_minutes  # then all that is left goes with the free minutes
        minutes = stay - max(start, tariff.free_minutes)
        if total >= most or (at_most is not None and minutes > at_most):
            break
        total = min(most, whole if at_once else total + amount)
        rows.append((minutes, total))
        if at_once:
            break
    return rows


def worth_of(table: Sequence[tuple[int, int]], minutes: int) -> int:
    """What so many minutes take off, by the table; the same look-up as in park.lua."""
    at = bisect_right(table, minutes, key=lambda row: row[0])
    return table[at - 1][1] if at else 0


def _charges(
    tariff: Tariff, entered_ms: int, minutes: int, offset: int
) -> Iterator[tuple[int, int]]:
    """(minute it begins, fen over 0) of each charge of a stay, in order, the days' caps applied."""
    if minutes <= tariff.free_minutes:
        return
    days = _Days(tariff, entered_ms, offset)
    start = tariff.free_minutes if tariff.free_deducted else 0
    if tariff.first is not None:
        if amount := days.take(start, tariff.first.fee):
            yield start, amount
        start += tariff.first.minutes
    unit = tariff.unit_minutes
    while start < minutes and tariff.unit_fee > 0:
        amount = days.take(start, tariff.unit_fee)
        if amount:
            yield start, amount
            start += unit
        elif tariff.cap_per_day == 0:
            return
        else:  # nothing more today: the first unit that begins tomorrow
            start += -(-(days.next_day(start) - start) // unit) * unit


class _Days:
    """What each day of a stay still takes."""

    def __init__(self, tariff: Tariff, entered_ms: int, offset: int) -> None:
        self._cap = tariff.cap_per_day
        # A day's number is (minute * 60000 + shift) // DAY_MS.
        self._shift = (entered_ms + offset) if tariff.day == "calendar" else 0
        self._day = -1
        self._spent = 0

    def take(self, minute: int, amount: int) -> int:
        """How much of a charge that begins then is charged."""
        day = (minute * MINUTE_MS + self._shift) // DAY_MS
        if day != self._day:
            self._day, self._spent = day, 0
        if self._cap is not None:
            amount = min(amount, self._cap - self._spent)
        self._spent += amount
        return amount

    def next_day(self, minute: int) -> int:
        """The first minute of the stay that begins on the day after."""
        day = (minute * MINUTE_MS + self._shift) // DAY_MS
        return -(-((day + 1) * DAY_MS - self._shift) // MINUTE_MS)
