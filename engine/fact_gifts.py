"""Facts about coupons that are given on (see facts.py)."""

from __future__ import annotations

from engine.fact_parts import Fact


class Gifted(Fact, tag="gifted", frozen=True):
    """A coupon was offered as a gift until ``until``; ``act`` is its id.

    ``held`` 1: its state says so; one of several uses counts the gift among its holds.
    """

    user_id: str
    campaign_id: str
    gift_id: str
    until: int
    held: int


class GiftEnded(Fact, tag="gift_ended", frozen=True):
    """A gift ended (2 taken back, 3 declined, 4 lapsed, 5 withdrawn); ``act`` is the coupon.

    ``freed`` 1: it is in state issued from then on.
    """

    user_id: str
    gift_id: str
    how: int  # gift_records.GiftState
    freed: int


class Given(Fact, tag="given", frozen=True):
    """A coupon was given on; ``act`` is its id, ``to_coupon`` the one that stands for it now."""

    user_id: str
    campaign_id: str
    gift_id: str  # "" of a printed coupon
    to_user: str
    to_coupon: str
    terms_revision: int = 0
    used: int = -1  # uses and fen that are gone of it; -1: not told, by an older version
    spent: int = 0


class Received(Fact, tag="received", frozen=True):
    """A coupon that was given on came into a wallet; ``act`` is its id there."""

    user_id: str
    campaign_id: str
    terms_revision: int
    issued: int
    valid_from: int
    valid_until: int  # 0 = no end
    channel: str
    source: str
    metadata: str
    came_from: str  # id of the coupon that it was
    paid: int
    used: int = 0  # uses and fen that were gone when it came
    spent: int = 0
