"""What facts are made of (MessagePack arrays; fields are only ever added at the end)."""

from __future__ import annotations

import msgspec


class Fact(msgspec.Struct, array_like=True, frozen=True):
    """Common to all: position, server time (ms), the act's id and its request's fingerprint.

    ``who`` is JSON: ``{"key", "label", "role", "actor"?, "staff"?, "terminal"?, "request"?}``.
    """

    seq: int
    at: int
    act: str
    fingerprint: str
    who: str


class FactLine(msgspec.Struct, array_like=True, frozen=True):
    """A basket line."""

    id: str
    amount: int
    quantity: int
    sku: str
    category: str


class FactShare(msgspec.Struct, array_like=True, frozen=True):
    """What one coupon took off one line (index from 0)."""

    line: int
    discount: int


class FactCoupon(msgspec.Struct, array_like=True, frozen=True):
    """A coupon applied. ``value`` is an exchange's worth, settled like a discount."""

    coupon_id: str
    campaign_id: str
    terms_revision: int
    benefit: str
    value: int
    discount: int
    lines: list[FactShare]
    used: int = -1  # of a pass: uses redeemed so far, this one included once it is; else -1
    done: int = 0  # 1: of a pass, that was the last use
    uses: int = 1  # more than 1: a pass


class FactTender(msgspec.Struct, array_like=True, frozen=True):
    """Something paid with: ``kind`` 0 stored value (of a coupon), 1 points.

    The money is settled with the redemption (``books/ledger.py``); entries of points are made from
    these.
    """

    kind: int
    coupon_id: str  # "" for points
    campaign_id: str
    terms_revision: int
    amount: int  # fen
    points: int
    balance: int  # what was left after it
    spent: int  # fen of the coupon redeemed so far; of points: their whole balance after it
    done: int  # 1: nothing of the stored value is left
    lines: list[FactShare]
    per_yuan: int = 100  # points


class FactDeduction(msgspec.Struct, array_like=True, frozen=True):
    """What takes money off a parking fee, coupons and points included."""

    type: str
    id: str
    minutes: int
    amount: int
    bearer: str
    label: str


class BackLine(msgspec.Struct, array_like=True, frozen=True):
    """Goods returned: gross price, and what of the discount went back."""

    id: str
    gross: int
    discount_back: int
    tendered_back: int = 0


class BackCoupon(msgspec.Struct, array_like=True, frozen=True):
    """One coupon in a reversal: what stayed redeemed of it before and after.

    ``value_before``/``value_after`` are an exchange's worth still redeemed (value or 0).
    """

    coupon_id: str
    campaign_id: str
    terms_revision: int
    discount_before: int
    discount_after: int
    value_before: int
    value_after: int
    returned: int  # 1: the coupon went back to its owner
    used: int = -1  # of a pass that gets its use back: uses that stay redeemed; else -1


class BackTender(msgspec.Struct, array_like=True, frozen=True):
    """What went back to where it was paid from; before and after: what of it stays tendered."""

    kind: int
    coupon_id: str
    campaign_id: str
    terms_revision: int
    amount_before: int
    amount_after: int
    points_before: int
    points_after: int
    spent: int  # fen of the coupon that stay redeemed; of points: their whole balance after it
    per_yuan: int = 100  # points
    returned: int = 1  # 0: the coupon is refunded or given on by then, nobody gets it


class FactItem(msgspec.Struct, array_like=True, frozen=True):
    """What an order sets aside of one campaign."""

    campaign_id: str
    quantity: int
    price: int
    points_price: int
    terms_revision: int
