"""JSON ↔ acts for orders and refunds: shapes and translation, no I/O."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import orjson
from msgspec import UNSET, Meta, UnsetType

from api.routes import Id
from api.wire import (
    CouponReply,
    Reason,
    Reply,
    Request,
    Scanned,
    Text64,
    Text128,
    moment,
    moment_or_none,
)
from engine.definitions import MAX_MONEY
from engine.keys import make_id
from engine.orders import MOST, Order, Refund

OrderStatus = Literal["pending", "paid", "cancelled", "expired"]


class OrderItem(Request):
    """So many coupons of a campaign."""

    campaign_id: Id
    quantity: Annotated[int, Meta(ge=1, le=MOST)] = 1


class OrderRequest(Request):
    """Set coupons aside until they are paid; all of them or none. Each campaign is named once."""

    items: Annotated[list[OrderItem], Meta(min_length=1, max_length=20)]
    channel: Id
    user_id: Id | None = None
    member_code: Scanned | None = None
    hold_seconds: Annotated[int, Meta(ge=1)] = 900
    source: Annotated[dict[Text64, Text64], Meta(max_length=16)] | None = None


class PayRequest(Request):
    """A payment notice; ``payment_ref`` is the payment's own number."""

    payment_ref: Annotated[Text128, Meta(min_length=1)]
    paid_amount: Annotated[int, Meta(ge=0, le=MAX_MONEY)]


class CancelRequest(Request):
    """Nothing but the order in the path."""


class RefundRequest(Request):
    """``refund_ref`` is the refund's own number."""

    reason: Reason
    refund_ref: Annotated[Text128, Meta(min_length=1)]


class RefundFailedRequest(Request):
    """Nothing but the refund in the path."""


class OrderedItem(Reply):
    """What an order sets aside of a campaign, at the price of that moment (fen, each)."""

    campaign_id: str
    quantity: int
    price: int
    points_price: int
    terms_revision: int


class OrderReply(Reply):
    """An order; ``coupons`` as they were issued once it was paid."""

    id: str
    status: OrderStatus
    user_id: str
    amount: int
    points: int
    expires_at: str
    created_at: str
    channel: str
    source: dict[str, Any] | None
    items: list[OrderedItem]
    payment_ref: str | None
    paid_at: str | None
    coupon_ids: list[str]
    coupons: list[CouponReply] | UnsetType = UNSET


class OrderList(Reply):
    """A page of a user's orders, the newest first."""

    items: list[OrderReply]
    next_cursor: str | None


class RefundReply(Reply):
    """What goes back for a coupon; ``status`` failed: it could not, and the coupon stands again."""

    coupon_id: str
    refund_ref: str
    status: Literal["refunded", "failed"]
    refund_amount: int
    points_back: int
    at: str


def order(
    found: Order,
    *,
    status: OrderStatus | None = None,
    coupons: list[CouponReply] | None = None,
) -> OrderReply:
    """An order; ``status``: as an act first answered it."""
    record, handle = found.record, found.place[0]
    named: Any = found.status
    paid = (status or named) == "paid"
    reply = OrderReply(
        id=found.id,
        status=status or named,
        user_id=record.user_id,
        amount=record.amount,
        points=record.points,
        expires_at=moment(record.until),
        created_at=moment(record.at),
        channel=record.channel,
        source=orjson.loads(record.source) if record.source else None,
        items=[
            OrderedItem(
                campaign_id=item.campaign_id,
                quantity=item.quantity,
                price=item.price,
                points_price=item.points_price,
                terms_revision=item.terms_revision,
            )
            for item in record.items
        ],
        payment_ref=record.payment_ref or None if paid else None,
        paid_at=moment_or_none(record.paid_at) if paid else None,
        coupon_ids=[make_id("C", handle, serial) for serial in record.coupons] if paid else [],
    )
    if coupons is not None:
        reply.coupons = coupons
    return reply


def refunded(found: Refund, *, failed: bool) -> RefundReply:
    """A refund as it was first answered, or (``failed``) that it could not be sent."""
    record = found.record
    return RefundReply(
        coupon_id=found.coupon_id,
        refund_ref=record.ref,
        status="failed" if failed else "refunded",
        refund_amount=record.amount,
        points_back=record.points,
        at=moment(record.failed if failed else record.at),
    )
