"""The best permitted set of coupons for a basket, in plain Python; `_best_c` means the same.

A depth-first search in the order of application: each coupon is used or left out, what it takes
off is reckoned on what the ones before it left, and a branch ends where a coupon would be refused
or where what is still to come can't beat the best set found. Exact over every subset. The
arithmetic is that of ``engine/arithmetic.py`` (CONTRACT.md section 4), to which a property test
holds it. Money is fen.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from typing import NamedTuple

MOST = 12  # coupons of one search
GIFT, FIXED_PRICE, PERCENT_OFF, AMOUNT_OFF, STEPS, EVERY, MINUTES = range(7)


class Offer(NamedTuple):
    """One coupon that is usable by itself, as numbers; amounts are at most the basket's total."""

    benefit: int
    amount: int  # gift: most it takes off; MINUTES: minutes; unused by PERCENT_OFF and STEPS
    cap: int  # -1 = none; not for gifts
    basis_points: int
    every: int
    steps: Sequence[tuple[int, int]]  # (min, amount), ascending
    min_spend: int
    spend_running: bool
    base_initial: bool
    initial: int  # what its lines cost untouched
    lines: Sequence[int]  # indices of its eligible lines, ascending
    bars: int  # bit i: it can't stand beside offer i
    group: int  # number of its group, -1 = none
    group_limit: int  # -1 = unlimited
    campaign: int  # number of its campaign
    campaign_limit: int
    most: int  # it never takes off more than this
    end: int  # larger = better when all else is equal: sums compare ends, earliest first
    name: int  # the same for ids
    paid: int = 0  # by the customer, for it: of two sets that take off as much, less is better


class _Search:
    """One search; what is changed on the way down is put back on the way up."""

    def __init__(
        self,
        lines: Sequence[tuple[int, int]],
        floor: int,
        offers: Sequence[Offer],
        budgets: Sequence[int],
        worth: Sequence[tuple[int, int]],
        taken: int,
        most: int,
    ) -> None:
        self.worth, self.taken = worth, taken
        self.most_used = most
        self.running = [amount for amount, _ in lines]
        self.paying = [quantity for _, quantity in lines]
        self.room = sum(self.running) - floor  # what may still be taken off the basket
        self.offers = offers
        self.budgets = list(budgets)
        self.to_come = [0] * (len(offers) + 1)  # most that offers from here on take off
        for i in reversed(range(len(offers))):
            self.to_come[i] = self.to_come[i + 1] + offers[i].most
        self.used: list[int] = []
        self.best: tuple[int, int, int, int, int] = (0, 0, 0, 0, 0)
        self.found: tuple[int, ...] = ()

    def visit(self, i: int, discount: int, paid: int, ends: int, names: int) -> None:
        bound = min(self.to_come[i], max(0, self.room))
        count = len(self.used)
        if bound == 0:
            key = discount, -paid, -count, ends, names
            if key > self.best:
                self.best, self.found = key, tuple(self.used)
            return
        most = discount + bound
        # To take off more than now needs at least one coupon more.
        if (most, -paid, -count - 1) < self.best[:3]:
            return
        offer = self.offers[i]
        if self._joins(offer):
            taken, shares, free = self._take(offer)
            if taken:
                self._move(offer, i, taken, shares, free)
                self.visit(
                    i + 1, discount + taken, paid + offer.paid, ends + offer.end, names + offer.name
                )
                self._back(offer, taken, shares, free)
        self.visit(i + 1, discount, paid, ends, names)

    def _joins(self, offer: Offer) -> bool:
        """Whether stacking lets it stand beside what is used already."""
        if len(self.used) >= self.most_used:
            return False
        group_limit, campaign_limit = offer.group_limit, offer.campaign_limit
        in_group = in_campaign = 1
        for n in self.used:
            other = self.offers[n]
            if offer.bars >> n & 1:
                return False
            if other.group == offer.group and offer.group >= 0:
                in_group += 1
                group_limit = _smaller(group_limit, other.group_limit)
            if other.campaign == offer.campaign:
                in_campaign += 1
                campaign_limit = _smaller(campaign_limit, other.campaign_limit)
        return not (0 <= group_limit < in_group or 0 <= campaign_limit < in_campaign)

    def _take(self, offer: Offer) -> tuple[int, Sequence[int], int]:
        """(discount, share of each of its lines, line of the unit that becomes free or -1).

        A discount of 0: it would be refused here.
        """
        running = self.running
        left = sum([running[n] for n in offer.lines])
        spend = left if offer.spend_running else offer.initial
        if spend < offer.min_spend:
            return 0, (), -1
        free, discount = -1, 0
        match offer.benefit:
            case 0:  # GIFT
                price, free = self._cheapest(offer)
                if free < 0:
                    return 0, (), -1
                discount, left = min(price, offer.amount), running[free]
            case 1:  # FIXED_PRICE
                discount = left - offer.amount
            case 2:  # PERCENT_OFF
                base = offer.initial if offer.base_initial else left
                discount = (base * offer.basis_points + 5000) // 10_000
            case 3:  # AMOUNT_OFF
                discount = offer.amount
            case 4:  # STEPS
                for least, amount in offer.steps:
                    if least <= spend:
                        discount = amount
            case 5:  # EVERY
                discount = spend // offer.every * offer.amount
            case 6:  # MINUTES
                discount = self._worth(self.taken + offer.amount) - self._worth(self.taken)
        if 0 <= offer.cap < discount:
            discount = offer.cap
        discount = min(discount, left, self.room)
        budget = self.budgets[offer.campaign]
        if discount <= 0 or 0 <= budget < discount:
            return 0, (), -1
        if free >= 0:
            return discount, (discount,), free
        return discount, _split(discount, [running[n] for n in offer.lines], left), -1

    def _worth(self, minutes: int) -> int:
        at = bisect_right(self.worth, minutes, key=lambda row: row[0])
        return self.worth[at - 1][1] if at else 0

    def _cheapest(self, offer: Offer) -> tuple[int, int]:
        """(price, line) of the cheapest unit not yet free, the earlier line on a tie; or -1s."""
        units = [(self.running[n] // self.paying[n], n) for n in offer.lines if self.paying[n] > 0]
        return min(units) if units else (-1, -1)

    def _move(self, offer: Offer, i: int, taken: int, shares: Sequence[int], free: int) -> None:
        self._shift(offer, -taken, [-share for share in shares], free, -1)
        self.used.append(i)

    def _back(self, offer: Offer, taken: int, shares: Sequence[int], free: int) -> None:
        self.used.pop()
        self._shift(offer, taken, shares, free, 1)

    def _shift(
        self, offer: Offer, amount: int, shares: Sequence[int], free: int, units: int
    ) -> None:
        self.room += amount
        if offer.benefit == MINUTES:
            self.taken += offer.amount if amount < 0 else -offer.amount
        if self.budgets[offer.campaign] >= 0:
            self.budgets[offer.campaign] += amount
        if free >= 0:
            self.running[free] += amount
            self.paying[free] += units
            return
        for n, share in zip(offer.lines, shares, strict=True):
            self.running[n] += share


def _smaller(a: int, b: int) -> int:
    """The smaller of two limits; -1 = none."""
    if a < 0 or b < 0:
        return max(a, b)
    return min(a, b)


def _split(amount: int, weights: Sequence[int], total: int) -> list[int]:
    """By largest remainder, ties to the earlier."""
    shares = [amount * weight // total for weight in weights]
    left = amount - sum(shares)
    if left:
        rests = sorted(range(len(weights)), key=lambda n: -(amount * weights[n] % total))
        for n in rests[:left]:
            shares[n] += 1
    return shares


def search(
    lines: Sequence[tuple[int, int]],
    floor: int,
    offers: Sequence[Offer],
    budgets: Sequence[int],
    worth: Sequence[tuple[int, int]] = (),
    taken: int = 0,
    most: int = MOST,
) -> tuple[int, ...]:
    """Which offers make up the best set; () when none takes anything off.

    ``lines``: (amount, quantity); ``floor``: the least the basket may cost; ``offers`` in order
    of application, at most MOST, else ValueError; ``budgets``: by campaign number, -1 = none.
    Of a parking fee: ``worth`` (minutes, fen), ascending, what minutes take off it, of which
    ``taken`` are given already. At most ``most`` offers are used.
    The best: largest discount, then least paid for, fewest coupons, earliest ends, smallest ids.
    """
    if len(offers) > MOST:
        raise ValueError(f"more than {MOST} offers")
    found = _Search(lines, floor, offers, budgets, worth, taken, most)
    found.visit(0, 0, 0, 0, 0)
    return found.found
