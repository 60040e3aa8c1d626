"""What a coupon takes off a basket and what a return gives back, in Python.

CONTRACT.md section 4, "The arithmetic"; the twin of ``engine/lua/lib/arithmetic.lua``, held to it
by a property test. Money is fen, every number an exact integer.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass

from engine.outcomes import Outcome
from engine.records import AppliedCoupon, Line, Tender, Terms


def split(amount: int, weights: Sequence[int]) -> list[int]:
    """Share ``amount`` out in proportion to weights: largest remainder, ties to the earlier.

    The shares sum to ``amount`` unless all weights are 0; then each share is 0.
    """
    total = sum(weights)
    if total == 0:
        return [0] * len(weights)
    parts = [divmod(amount * weight, total) for weight in weights]
    shares = [quotient for quotient, _ in parts]
    by_rest = sorted(range(len(parts)), key=lambda i: -parts[i][1])  # sorted() keeps ties in order
    for i in by_rest[: amount - sum(shares)]:
        shares[i] += 1
    return shares


# What the benefit of a coupon may take off a parking fee.
_FOR_PARKING = {"parking_minutes", "parking_free", "amount_off", "percent_off", "fixed_price"}


@dataclass(slots=True, frozen=True)
class Fee:
    """What makes a basket a parking fee: one line, of which more than coupons takes something off.

    Minutes go before amounts. What they are worth is looked up in ``worth``, a table of (minutes,
    fen) from ``engine.parking.tariff``; None: the tariff is not known, so they are worth nothing
    yet. ``taken`` minutes are given already: those before this payment, and those that are no
    coupons' and take ``off`` fen from the line.
    """

    worth: Sequence[tuple[int, int]] | None
    taken: int = 0
    off: int = 0
    most_minutes: int | None = None  # that a stay may be given, those taken included
    most_coupons: int = 12
    amounts: int = 0  # fen that is taken off after the minutes and before other coupons


def _worth(table: Sequence[tuple[int, int]], minutes: int) -> int:
    at = bisect_right(table, minutes, key=lambda row: row[0])
    return table[at - 1][1] if at else 0


class Basket:
    """A basket as it stands while coupons are applied."""

    __slots__ = ("amounts", "fee", "floor", "lines", "paying", "running", "taken")

    def __init__(self, lines: Sequence[Line], floor: int, fee: Fee | None = None) -> None:
        self.lines = lines
        self.running = [line.amount for line in lines]
        self.paying = [line.quantity for line in lines]  # units that are not free yet
        self.floor = floor
        self.fee = fee
        self.taken = fee.taken if fee else 0
        self.amounts = fee.amounts if fee else 0  # not yet taken off
        if fee:
            self.running[0] -= fee.off

    def settle_amounts(self) -> None:
        """Take off what goes after minutes and before other coupons; once."""
        if self.amounts:
            self.running[0] -= max(0, min(self.amounts, self.running[0] - self.floor))
            self.amounts = 0

    def minutes_of(self, terms: Terms) -> int:
        """How many minutes a parking coupon still gives."""
        if self.fee is None or self.fee.most_minutes is None:
            return terms.amount
        return min(terms.amount, self.fee.most_minutes - self.taken)

    def worth_table(self) -> Sequence[tuple[int, int]]:
        """What minutes are worth, as far as the stay may be given any."""
        if self.fee is None or not self.fee.worth:
            return ()
        most = self.fee.most_minutes
        return [row for row in self.fee.worth if most is None or row[0] <= most]

    def worth_of(self, minutes: int) -> int:
        """What so many more minutes take off a parking fee."""
        table = self.fee.worth if self.fee else None
        return _worth(table, self.taken + minutes) - _worth(table, self.taken) if table else 0

    def most_worth(self, minutes: int) -> int:
        """The most that so many minutes may take off, whatever was given before them."""
        table = self.worth_table()
        return max((fen - _worth(table, at - minutes) for at, fen in table), default=0)

    def eligible(self, terms: Terms) -> list[int]:
        """Indices of the lines a coupon is for: include is a union, exclude wins, a gift's sku.

        Parking coupons are for a parking fee alone; others reach it only where they name "parking".
        """
        everything = terms.include_categories is None and terms.include_skus is None
        if self.fee is not None:
            if terms.benefit not in _FOR_PARKING:
                return []
            everything = everything and terms.kind == "parking"
        elif terms.kind == "parking":
            return []
        return [
            i
            for i, line in enumerate(self.lines)
            if (
                everything
                or line.category in (terms.include_categories or ())
                or line.sku in (terms.include_skus or ())
            )
            and line.category not in (terms.exclude_categories or ())
            and line.sku not in (terms.exclude_skus or ())
            and (terms.benefit != "gift" or line.sku == terms.sku)
        ]

    def initial_of(self, eligible: Sequence[int]) -> int:
        """What these lines cost untouched."""
        return sum(self.lines[i].amount for i in eligible)

    def running_of(self, eligible: Sequence[int]) -> int:
        """What these lines cost after what was applied before."""
        return sum(self.running[i] for i in eligible)

    def cheapest_unit(self, eligible: Sequence[int]) -> tuple[int, int] | None:
        """(line, price) of the cheapest unit not yet free, the earlier line on a tie."""
        units = [(self.running[i] // self.paying[i], i) for i in eligible if self.paying[i] > 0]
        if not units:
            return None
        price, line = min(units)
        return line, price


@dataclass(slots=True)
class Effect:
    """What one coupon would do to a basket."""

    outcome: Outcome = Outcome.DONE
    short_by: int = 0
    discount: int = 0
    lines: Sequence[int] = ()
    shares: Sequence[int] = ()
    free: int | None = None  # line of the unit that becomes free


def _capped(amount: int, cap: int) -> int:
    return min(amount, cap) if cap >= 0 else amount


def _amount_off(terms: Terms, spend: int) -> tuple[int | None, int]:
    """(amount, 0), or (None, what is missing)."""
    if terms.every > 0:
        times = spend // terms.every
        if times == 0:
            return None, terms.every - spend
        return _capped(times * terms.amount, terms.max_amount), 0
    if terms.steps:
        reached = [amount for least, amount in terms.steps if least <= spend]
        return (reached[-1], 0) if reached else (None, terms.steps[0][0] - spend)
    return terms.amount, 0


def _basket_conditions(basket: Basket, terms: Terms, eligible: Sequence[int]) -> Effect:
    if not eligible:
        return Effect(Outcome.NO_ELIGIBLE_ITEMS)
    quantity = sum(basket.lines[i].quantity for i in eligible)
    if quantity < terms.min_quantity:
        return Effect(Outcome.MIN_QUANTITY, terms.min_quantity - quantity)
    spend = _spend(basket, terms, eligible)
    if spend < terms.min_spend:
        return Effect(Outcome.MIN_SPEND, terms.min_spend - spend)
    return Effect()


def _spend(basket: Basket, terms: Terms, eligible: Sequence[int]) -> int:
    """The total that min_spend, steps and every compare with."""
    return (basket.running_of if terms.min_spend_running else basket.initial_of)(eligible)


def stands_alone(benefit: str) -> bool:
    """Whether it takes nothing off the basket and is settled at its value."""
    return benefit in ("exchange", "admission")


def effect_of(basket: Basket, terms: Terms, balance: int = 0) -> Effect:
    """What this coupon would do; the basket is not changed.

    Of stored value, which is no discount: ``discount`` is what it pays, at most ``balance``.
    """
    eligible = basket.eligible(terms)
    if stands_alone(terms.benefit) and basket.fee is None:
        if terms.min_spend == 0 and terms.min_quantity == 0:
            return Effect()
        return _basket_conditions(basket, terms, eligible)
    refused = _basket_conditions(basket, terms, eligible)
    if refused.outcome is not Outcome.DONE:
        return refused

    left = basket.running_of(eligible)
    free = None
    match terms.benefit:
        case "amount_off":
            amount, short = _amount_off(terms, _spend(basket, terms, eligible))
            if amount is None:
                return Effect(Outcome.MIN_SPEND, short)
            discount = amount
        case "percent_off":
            base = basket.initial_of(eligible) if terms.base_initial else left
            discount = _capped((base * terms.basis_points + 5000) // 10_000, terms.max_amount)
        case "fixed_price":
            discount = left - terms.amount
        case "parking_minutes":
            discount = basket.worth_of(basket.minutes_of(terms))
        case "parking_free":
            discount = _capped(left, terms.amount)
        case "gift":
            unit = basket.cheapest_unit(eligible)
            if unit is None:
                return Effect()  # all units are free already: no effect
            free, price = unit
            discount, left = _capped(price, terms.amount), basket.running[free]
        case "stored_value":
            discount = balance
        case benefit:
            raise ValueError(f"unknown benefit: {benefit}")
    if terms.benefit != "stored_value":
        left = min(left, sum(basket.running) - basket.floor)
    discount = max(0, min(discount, left))
    if free is not None:
        return Effect(discount=discount, lines=(free,), shares=(discount,), free=free)
    shares = split(discount, [basket.running[i] for i in eligible])
    return Effect(discount=discount, lines=eligible, shares=shares)


# ---- reversal ----------------------------------------------------------------------------------


@dataclass(slots=True, frozen=True)
class LineBack:
    """Goods of one line that come back; ``refund`` is what the customer gets at the till."""

    line: int
    gross: int
    discount_back: int
    tendered_back: int = 0

    @property
    def refund(self) -> int:
        return self.gross - self.discount_back - self.tendered_back


@dataclass(slots=True, frozen=True)
class CouponBack:
    """What of one coupon goes back; ``whole``: nothing of it stays redeemed."""

    serial: str
    discount_back: int
    lines: list[tuple[int, int]]  # (line, discount back)
    whole: bool


@dataclass(slots=True, frozen=True)
class TenderBack:
    """What goes back to one tender."""

    amount: int
    points: int
    lines: list[tuple[int, int]]  # (line, fen back)


@dataclass(slots=True, frozen=True)
class Return:
    """One reversal: lines with goods in it, every coupon; ``whole``: all goods are back."""

    lines: list[LineBack]
    coupons: list[CouponBack]
    whole: bool
    tenders: list[TenderBack]


def back(discount: int, returned: int, gross: int) -> int:
    """Of a line's discounts, what has gone back once ``returned`` of its ``gross`` has: half up.

    Cumulative, so that the parts of any sequence of returns sum to the whole.
    """
    return (2 * discount * returned + gross) // (2 * gross) if gross else discount


def reverse(
    lines: Sequence[Line],
    coupons: Sequence[AppliedCoupon],
    goods: Sequence[tuple[int, int]] | None = None,
    tenders: Sequence[Tender] = (),
) -> Return | Outcome:
    """What a return of goods gives back; records are read, not changed.

    What is refunded of a line goes back to its tenders in proportion, cumulative too.

    A line's discounts go back together, so that no refund is below zero; each coupon's part is in
    proportion to what of it is still there, by largest remainder, ties to the earlier coupon.

    ``goods``: (line index, gross amount), None = all that is left. MORE_THAN_REDEEMED when more
    comes back than is there, NOTHING_TO_REVERSE when goods are named and worth nothing.
    """
    left = [line.amount - line.returned for line in lines]
    if goods is None:
        gross = left
    else:
        gross = [0] * len(lines)
        for i, amount in goods:
            gross[i] += amount
        if any(g > rest for g, rest in zip(gross, left, strict=True)):
            return Outcome.MORE_THAN_REDEEMED
        if not any(gross):
            return Outcome.NOTHING_TO_REVERSE
    returned = [line.returned + g for line, g in zip(lines, gross, strict=True)]
    done = [r == line.amount for line, r in zip(lines, returned, strict=True)]
    line_back = [0] * len(lines)
    to_tenders = [0] * len(lines)
    of_tender: list[list[tuple[int, int]]] = [[] for _ in tenders]
    parts: dict[tuple[int, int], int] = {}  # (coupon, line): what goes back now
    for i, line in enumerate(lines):
        on_line = [(n, s) for n, c in enumerate(coupons) for s in c.lines if s.line == i]
        gone = sum(s.back for _, s in on_line)
        line_back[i] = back(sum(s.discount for _, s in on_line), returned[i], line.amount) - gone
        shares = split(line_back[i], [s.discount - s.back for _, s in on_line])
        parts.update(((n, i), part) for (n, _), part in zip(on_line, shares, strict=True))
        off = sum(s.discount for _, s in on_line)
        paid = [(n, s) for n, t in enumerate(tenders) for s in t.lines if s.line == i]
        refunded, price = returned[i] - gone - line_back[i], line.amount - off
        to_tenders[i] = back(sum(s.discount for _, s in paid), refunded, price)
        to_tenders[i] -= sum(s.back for _, s in paid)
        shares = split(to_tenders[i], [s.discount - s.back for _, s in paid])
        for (n, _), part in zip(paid, shares, strict=True):
            of_tender[n].append((i, part))
    coupon_backs = []
    for n, coupon in enumerate(coupons):
        taken = [(s.line, parts[n, s.line]) for s in coupon.lines]
        whole = all(done[s.line] for s in coupon.lines) if coupon.lines else all(done)
        coupon_backs.append(CouponBack(coupon.serial, sum(p for _, p in taken), taken, whole))
    line_backs = [LineBack(i, g, line_back[i], to_tenders[i]) for i, g in enumerate(gross) if g]
    given = []
    for tender, taken in zip(tenders, of_tender, strict=True):
        fen = sum(part for _, part in taken)
        points = back(tender.points, tender.back + fen, tender.amount) if fen else 0
        given.append(TenderBack(fen, points - tender.points_back if fen else 0, taken))
    return Return(line_backs, coupon_backs, all(done), given)
