"""What points put into the books. Pure functions; double entry as in ``ledger``.

Points are a promise: the mall owes what they can pay. Per person the liability is what the balance
is worth, rounded down, so entries of any sizes never leave a fen behind.

====================  =============  ==========================================================
account               party          meaning
====================  =============  ==========================================================
``points.liability``  ``customers``  what points outstanding are worth
``points.expense``    ``mall``       what points cost that were given (earned, bought, adjusted)
``points.spent``      ``mall``       what was spent elsewhere than at a till (gifts, games)
``points.breakage``   ``mall``       what expired
====================  =============  ==========================================================
"""

from __future__ import annotations

from engine.books.ledger import CUSTOMERS, MALL, Posting
from engine.lots import worth

LIABILITY = "points.liability"
_AGAINST = {"spend": "points.spent", "expiry": "points.breakage"}


def value_of(points: int, balance: int, per_yuan: int) -> int:
    """By how much the liability changes, in fen, when ``points`` lead to ``balance``."""
    return worth(balance, per_yuan) - worth(balance - points, per_yuan)


def postings_of(kind: str, value: int) -> tuple[Posting, ...]:
    """An entry of that kind (of a reversal: the kind it reverses) that changes what is owed."""
    if not value:
        return ()
    against = _AGAINST.get(kind, "points.expense")
    return Posting(against, MALL, value), Posting(LIABILITY, CUSTOMERS, -value)
