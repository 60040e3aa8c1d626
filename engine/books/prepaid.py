"""Money that is paid before it is used. Pure functions; double entry as in ``ledger``.

What a customer pays for a coupon is owed to them until it is used. A use takes its part of the
price: a single coupon all of it, a pass by uses, by largest remainder, stored value in proportion
to what was spent, half up. Of that, what the discount (of stored value: what was tendered) comes to
is owed to the merchant (``ledger``); the excess, like what rounding leaves, is breakage.

=========================  =============  ===================================================
account                    party          meaning
=========================  =============  ===================================================
``mall.received``          ``mall``       what customers paid for coupons, less what went back
``customer.prepaid``       ``customers``  what is owed to them for it
``customer.stored_value``  ``customers``  the same, of stored value that they bought
``customer.breakage``      ``customers``  the part of both that was used up and came to nothing
``mall.breakage``          ``mall``       the same, as the mall's gain
=========================  =============  ===================================================
"""

from __future__ import annotations

from engine.books.ledger import CUSTOMERS, MALL, Posting, Terms

OWED = ("customer.prepaid", "customer.stored_value", "customer.breakage")  # to customers, in all


def used_up(paid: int, terms: Terms, used: int, spent: int) -> int:
    """What ``used`` uses of a pass, or ``spent`` fen of stored value, take of the price.

    The first uses take a fen more, money its part, half up: what ``refund.lua`` does not send back.
    """
    if terms.value:
        return (2 * paid * spent + terms.value) // (2 * terms.value)
    each, rest = divmod(paid, terms.uses)
    return used * each + min(used, rest)


def sold(paid: int, terms: Terms) -> tuple[Posting, ...]:
    """A coupon was bought."""
    return _kept(Posting("mall.received", MALL, paid), Posting(_account(terms), CUSTOMERS, -paid))


def refunded(amount: int, owed: int, terms: Terms) -> tuple[Posting, ...]:
    """``amount`` goes back of what is ``owed`` for a coupon; a fen of rounding is breakage.

    With both negative: it did not go back after all.
    """
    rest = owed - amount
    return _kept(
        Posting(_account(terms), CUSTOMERS, amount),
        Posting("mall.received", MALL, -amount),
        Posting("customer.breakage", CUSTOMERS, rest),
        Posting("mall.breakage", MALL, -rest),
    )


def _account(terms: Terms) -> str:
    return "customer.stored_value" if terms.value else "customer.prepaid"


def _kept(*postings: Posting) -> tuple[Posting, ...]:
    return tuple(posting for posting in postings if posting.amount)
