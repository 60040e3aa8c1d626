"""What is paid with after all discounts, in Python: coupons of several uses, and points.

CONTRACT.md section 4; the twin of ``engine/lua/lib/uses.lua`` and ``tenders.lua``, held to them by
a property test. Money is fen, times are Unix ms.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import msgspec

from engine import lots
from engine.arithmetic import split
from engine.outcomes import Outcome
from engine.records import CouponRecord, LineShare, PointsRecord, SettingsRecord, Terms

STORED_VALUE = "stored_value"


@dataclass(slots=True, frozen=True)
class Paid:
    """One tender: what it pays, of which lines, and what is left of it. ``id`` "" = points."""

    id: str
    amount: int
    points: int
    balance: int  # fen on the coupon, or points
    shares: list[LineShare]


@dataclass(slots=True, frozen=True)
class Purse:
    """A person's points as a redemption may spend them, with the mall's rate and caps."""

    asked: int  # to spend; -1 = as many as are useful
    available: int
    per_yuan: int = 100
    most: int = -1  # points in one redemption
    most_basis_points: int = -1  # of what is left to pay


def many(terms: Terms) -> bool:
    """Whether uses or money are counted in the coupon itself."""
    return terms.benefit == STORED_VALUE or terms.uses > 1


def left(record: CouponRecord, terms: Terms, now: int, given_up: str = "") -> tuple[int, int]:
    """(uses, fen) neither redeemed nor set aside. ``given_up``: a hold that gives way (serial)."""
    return what_is_left(
        record, terms.uses, terms.amount if terms.benefit == STORED_VALUE else 0, now, given_up
    )


def what_is_left(
    record: CouponRecord, uses: int, value: int, now: int, given_up: str = ""
) -> tuple[int, int]:
    """The same of a coupon of so many uses, or worth so much when it was issued."""
    uses -= record.used
    money = value - record.spent
    for hold in record.holds:
        if now < hold.until and hold.redemption != given_up:
            uses -= hold.uses
            money -= hold.amount
    return uses, money


def available(record: PointsRecord | None, now: int, given_up: str = "") -> int:
    """The points that can be spent: usable now, not set aside, not owed."""
    if record is None:
        return 0
    holds = [
        msgspec.structs.replace(hold, until=0) if hold.serial == given_up else hold
        for hold in record.holds
    ]
    settled = lots.settled(msgspec.structs.replace(record, holds=holds), now)
    return lots.available(settled, now)


def worth(purse: Purse, number: int, to_pay: int) -> tuple[int, int]:
    """(points, fen): of ``number`` points as many as are useful, no more than the fen need."""
    if purse.most >= 0:
        number = min(number, purse.most)
    if purse.most_basis_points >= 0:
        to_pay = min(to_pay, to_pay * purse.most_basis_points // 10_000)
    fen = min(number * 100 // purse.per_yuan, to_pay)
    needed = -(-fen * purse.per_yuan // 100)
    if needed * 100 // purse.per_yuan > fen:  # a point is worth more than a fen: whole ones only
        needed -= 1
    return needed, needed * 100 // purse.per_yuan


def pay_with_points(purse: Purse, running: Sequence[int]) -> tuple[Outcome, int, Paid | None]:
    """(outcome, what is missing, what they pay); ``running``: what each line still costs."""
    if purse.asked > purse.available:
        return Outcome.POINTS_INSUFFICIENT, purse.asked - purse.available, None
    number = purse.available if purse.asked < 0 else purse.asked
    number, fen = worth(purse, number, sum(running))
    if fen == 0:
        return Outcome.NO_EFFECT, 0, None
    shares = [LineShare(i, share) for i, share in enumerate(split(fen, running)) if share]
    return Outcome.DONE, 0, Paid("", fen, number, purse.available - number, shares)


def purse_of(
    asked: int, record: PointsRecord | None, settings: SettingsRecord, now: int, given_up: str = ""
) -> Purse | None:
    """What a request may spend; None when it asks for no points."""
    if asked == 0:
        return None
    return Purse(
        asked,
        available(record, now, given_up),
        settings.points_per_yuan,
        settings.points_max_per_redemption,
        settings.points_max_basis_points,
    )
