"""JSON ↔ acts for gifts and printed coupons that somebody takes: shapes and translation, no I/O."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import UNSET, Meta, UnsetType

from api.routes import Id
from api.wire import CouponReply, Reply, Request, Rule, Scanned, moment
from engine.gifts import Gift

DAY_SECONDS = 86_400

GiftStatus = Literal["open", "accepted", "taken_back", "declined", "expired", "withdrawn"]


class GiftRequest(Request):
    """Offer a coupon for a day, or so many seconds; at most until it ends."""

    seconds: Annotated[int, Meta(ge=60, le=30 * DAY_SECONDS)] = DAY_SECONDS


class AcceptRequest(Request):
    """Who receives it, named by ``user_id`` or ``member_code``."""

    user_id: Id | None = None
    member_code: Scanned | None = None


class DeclineRequest(Request):
    """Nothing but the gift in the path."""


class GiftReply(Reply):
    """A gift; ``coupon_id`` and below are told to its giver and to the mall, nobody else."""

    gift_code: str
    status: GiftStatus
    expires_at: str
    created_at: str
    campaign_id: str
    kind: str
    valid_from: str
    valid_until: str | None
    uses_left: int
    balance: int | None
    name: dict[str, str] | str | UnsetType = UNSET  # when it is read
    rules: list[Rule] | UnsetType = UNSET
    coupon_id: str | UnsetType = UNSET
    user_id: str | UnsetType = UNSET  # who gives
    received_as: str | UnsetType = UNSET  # the coupon that it went on as


def gift(
    found: Gift, code: str, coupon: CouponReply, *, status: GiftStatus | None = None, named: bool
) -> GiftReply:
    """A gift of a coupon as it was given; ``status``: as an act first answered it."""
    record = found.record
    current: GiftStatus = status or found.status  # type: ignore[assignment]
    reply = GiftReply(
        gift_code=code,
        status=current,
        expires_at=moment(record.until),
        created_at=moment(record.at),
        campaign_id=coupon.campaign_id,
        kind=coupon.kind,
        valid_from=coupon.valid_from,
        valid_until=coupon.valid_until,
        uses_left=coupon.uses_left,
        balance=coupon.balance,
        name=coupon.name,
        rules=coupon.rules,
    )
    if named:
        reply.coupon_id = found.coupon_id
        reply.user_id = record.user_id
        if current == "accepted":
            reply.received_as = record.went_to
    return reply
