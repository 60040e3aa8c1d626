"""Money that is paid before it is used. Pure functions; double entry as in ``ledger``.

What a customer pays for a coupon is owed to them until it is used. A use takes its part of the
price: a single coupon all of it, a pass by uses, by largest remainder. Of that, what the discount
comes to is owed to the merchant (``ledger``); the excess, like what a refund's rounding leaves, is
breakage.

=====================  =============  =======================================================
account                party          meaning
=====================  =============  =======================================================
``mall.received``      ``mall``       what customers paid for coupons, less what went back
``customer.prepaid``   ``customers``  what is owed to them for it
``customer.breakage``  ``customers``  the part of that which was used up and came to nothing
``mall.breakage``      ``mall``       the same, as the mall's gain
=====================  =============  =======================================================
"""

from __future__ import annotations

from engine.books.ledger import CUSTOMERS, MALL, Posting


def used_up(paid: int, uses: int, used: int) -> int:
    """What the first ``used`` of ``uses`` take of the price: the first ones a fen more."""
    each, rest = divmod(paid, uses)
    return used * each + min(used, rest)


def sold(paid: int) -> tuple[Posting, ...]:
    """A coupon was bought."""
    return _kept(
        Posting("mall.received", MALL, paid), Posting("customer.prepaid", CUSTOMERS, -paid)
    )


def refunded(amount: int, owed: int) -> tuple[Posting, ...]:
    """``amount`` goes back of what is ``owed`` for a coupon; a fen of rounding is breakage.

    With both negative: it did not go back after all.
    """
    rest = owed - amount
    return _kept(
        Posting("customer.prepaid", CUSTOMERS, amount),
        Posting("mall.received", MALL, -amount),
        Posting("customer.breakage", CUSTOMERS, rest),
        Posting("mall.breakage", MALL, -rest),
    )


def _kept(*postings: Posting) -> tuple[Posting, ...]:
    return tuple(posting for posting in postings if posting.amount)
