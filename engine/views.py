"""What the engine hands back: answers of acts and snapshots of live state, as plain data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import msgspec

from engine import keys, tenders
from engine.outcomes import Outcome
from engine.records import (
    CouponRecord,
    CouponState,
    EventTerms,
    Issue,
    PointsRecord,
    RedemptionRecord,
    ReversalRecord,
    Terms,
    UserRecord,
)

T = TypeVar("T")


class Answer(msgspec.Struct, Generic[T], frozen=True):
    """What an act answered. ``value`` is there on success (DONE, REPEATED) only.

    ``details`` carries what helps with a refusal: ``field``, ``coupon_id``, ``short_by``,
    ``retry_at``, ``until`` (ms), ``failed`` (list of {coupon_id, outcome}).
    """

    outcome: Outcome
    value: T | None = None
    details: dict[str, Any] = {}

    @property
    def ok(self) -> bool:
        """Whether the act stands (now or since its first asking)."""
        return self.outcome <= Outcome.REPEATED


class CouponView(msgspec.Struct, frozen=True):
    """One coupon of one person, as of ``now``; times in ms."""

    id: str
    user_id: str
    record: CouponRecord
    now: int
    kind: str = "coupon"
    uses: int = 1  # that it was issued with
    value: int | None = None  # fen that it was issued with; stored value only
    event: EventTerms | None = None  # of a ticket

    @property
    def left(self) -> tuple[int, int]:
        """(uses, fen) neither redeemed nor set aside."""
        return tenders.what_is_left(self.record, self.uses, self.value or 0, self.now)

    @property
    def used_up(self) -> bool:
        """Whether open holds leave nothing to use of a coupon of several uses or stored value."""
        uses, money = self.left
        if self.value is not None:
            return money <= 0
        return self.uses > 1 and uses <= 0

    @property
    def valid_from(self) -> int:
        return self.record.issued + self.record.valid_from

    @property
    def valid_until(self) -> int:
        """0 = no end."""
        return self.record.issued + self.record.valid_until if self.record.valid_until else 0

    @property
    def status(self) -> str:
        """issued | held | redeemed | expired | voided | refunded | transferred, by the clock."""
        record = self.record
        if record.state == CouponState.REDEEMED:
            return "redeemed"
        if record.state == CouponState.VOIDED:
            return "voided"
        if record.state == CouponState.REFUNDED:
            return "refunded"
        if record.state == CouponState.TRANSFERRED:
            return "transferred"
        if record.state == CouponState.HELD and self.now < record.held_until:
            return "held"
        if self.used_up:
            return "held"
        if self.valid_until and self.now >= self.valid_until:
            return "expired"
        return "issued"

    def under(self, terms: Terms | None) -> CouponView:
        """The same with what the terms it was issued under say of it."""
        if terms is None:
            return self
        value = terms.amount if terms.benefit == tenders.STORED_VALUE else None
        return msgspec.structs.replace(
            self, kind=terms.kind, uses=terms.uses, value=value, event=terms.event
        )


def owner(user_id: str) -> str | None:
    """Who a coupon belongs to, as callers see it: None of a printed one that nobody took."""
    return None if not user_id or user_id.startswith(keys.PRINTED) else user_id


class RoomView(msgspec.Struct, array_like=True, frozen=True):
    """What a cell's share of a campaign still takes, lapsed holds not counted."""

    budget: int | None  # fen; None = unlimited
    used: int  # uses of the local day
    used_here: int  # and of those, in the store that was asked about


@dataclass(slots=True, frozen=True)
class CampaignShare:
    """One cell's share of a campaign as a snapshot saw it."""

    issue: Issue
    left: int | None  # None = unlimited
    room: RoomView | None = None  # None: nothing of it is limited or used


@dataclass(slots=True, frozen=True)
class Wallet:
    """A snapshot of one person's live state, taken by one script at one moment (``now``).

    ``campaigns`` and ``terms`` hold what the coupons in it name.
    """

    handle: str
    now: int
    user: UserRecord | None
    coupons: dict[str, CouponRecord]  # by serial
    counts: dict[str, int]  # campaign id -> claimed in all
    campaigns: dict[str, CampaignShare]
    terms: dict[tuple[str, int], Terms]
    points: PointsRecord | None = None

    @property
    def user_id(self) -> str:
        return self.user.user_id if self.user else ""

    def view(self, serial: str) -> CouponView:
        """One coupon of it; KeyError when it is not there."""
        record = self.coupons[serial]
        view = CouponView("C" + self.handle + serial, self.user_id, record, self.now)
        return view.under(self.terms.get((record.campaign_id, record.terms_revision)))


@dataclass(slots=True, frozen=True)
class Redemption:
    """A redemption record with its place and the moment it was read."""

    id: str
    handle: str
    record: RedemptionRecord
    now: int


@dataclass(slots=True, frozen=True)
class Reversal:
    """One reversal with the redemption it belongs to (as it is now)."""

    id: str
    record: ReversalRecord
    redemption: Redemption


@dataclass(slots=True, frozen=True)
class QuotaLeft:
    """A quota of an event over all cells, whichever campaign its tickets are of."""

    id: str
    total: int
    left: int


@dataclass(slots=True, frozen=True)
class Live:
    """A campaign's live counters over all cells; ``as_of`` in ms.

    ``left``: the room there is, in its stock and in its quotas; None = without bound.
    """

    left: int | None
    set_aside: int
    issued: int
    redeemed: int
    as_of: int
    budget_left: int | None = None  # fen; None = unlimited
    quotas: tuple[QuotaLeft, ...] | None = None  # of a ticket


@dataclass(slots=True, frozen=True)
class Offer:
    """Whether a user could claim a campaign now; ``outcome`` DONE = yes."""

    campaign_id: str
    outcome: Outcome
    mine: int
    left: int | None
    opens_at: int  # 0 = not in the future
    price: int = 0  # fen; with a price it is ordered and paid, not claimed
    points_price: int = 0
