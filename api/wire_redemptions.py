"""JSON ↔ acts for quotes, redemptions, holds, reversals and scans: shapes, and what is asked.

How answers are made from records is in ``wire_answers``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, UnsetType

from api.routes import Id
from api.wire import (
    CouponReply,
    Reason,
    Reply,
    Request,
    Scanned,
    Text64,
    Text128,
)
from engine.definitions import MAX_MONEY
from engine.errors import InvalidRequest
from engine.records import Line

Fen = Annotated[int, msgspec.Meta(ge=0, le=MAX_MONEY, description="Minor units (fen).")]
Status = Literal["held", "redeemed", "released", "lapsed", "reversed"]

DeductionType = Literal["coupon", "tier", "spend", "points", "merchant", "manual"]

DEFAULT_HOLD_SECONDS = 900


# ---- requests --------------------------------------------------------------------------------


class CouponRef(Request):
    """One coupon, by the ``code`` it shows or by its ``id``."""

    code: Scanned | None = None
    id: Id | None = None


class BasketLine(Request):
    """A line of the basket; ``amount`` is the line's total. ``id`` defaults to its position."""

    amount: Fen
    id: Text64 | None = None
    sku: Text128 | None = None
    category: Text128 | None = None
    quantity: Annotated[int, msgspec.Meta(ge=1, le=1_000_000)] = 1


class Basket(Request):
    """What is bought. Without lines it is one line with id ``1``."""

    amount: Fen | None = None
    lines: Annotated[list[BasketLine], msgspec.Meta(max_length=500)] | None = None


class RedemptionRequest(Request):
    """Redeem, hold or quote coupons of one person for one basket.

    ``use``: what ``choose`` may pick, ["free"] unless said; with points among it as many pay as
    are useful, where ``points`` names none.
    """

    coupons: Annotated[list[CouponRef], msgspec.Meta(max_length=50)] | None = None
    user_id: Id | None = None
    member_code: Scanned | None = None
    points: Annotated[
        int, msgspec.Meta(ge=0, le=MAX_MONEY, description="Points to pay with, last.")
    ] = 0
    store_id: Id | None = None
    terminal_id: Id | None = None
    staff_id: Text64 | None = None
    channel: Id | None = None
    order_ref: Text128 | None = None
    basket: Basket | None = None
    mode: Literal["commit", "hold"] = "commit"
    hold_seconds: Annotated[int, msgspec.Meta(ge=1)] | None = None
    policy: Literal["all", "best_effort"] = "all"
    choose: Literal["best"] | None = None
    use: list[Literal["free", "bought", "stored_value", "points"]] | None = None


class VendorDeduction(Request):
    """What a lot's own tariff makes of a deduction: a coupon by its id, else by its type, several
    of one type in the order they were answered. What else the answer says of it may be sent back.
    """

    amount: Fen
    coupon_id: Id | None = None
    type: DeductionType | None = None
    minutes: int | None = None
    bearer: str | None = None
    label: str | None = None


Vendor = Annotated[list[VendorDeduction], msgspec.Meta(max_length=50)]


class CommitRequest(Request):
    """Commit a hold. ``amount``: what was tendered at last; the rest of what was held returns."""

    amount: Fen | None = None
    deductions: Vendor | None = None
    staff_id: Text64 | None = None
    terminal_id: Id | None = None


class ReleaseRequest(Request):
    """Release a hold."""

    staff_id: Text64 | None = None
    terminal_id: Id | None = None


class ReturnedLine(Request):
    """Goods returned of one line; ``amount`` is their gross price."""

    id: Text64
    amount: Fen


class ReversalRequest(Request):
    """Reverse a redemption: all that is left, or the goods named by ``lines``."""

    reason: Reason
    lines: Annotated[list[ReturnedLine], msgspec.Meta(max_length=500)] | None = None
    restore: bool = True
    staff_id: Text64 | None = None
    terminal_id: Id | None = None


class ResolveRequest(Request):
    """What a scanned code is, and what can be done with it in this store."""

    code: Scanned
    store_id: Id | None = None
    channel: Id | None = None


# ---- replies ---------------------------------------------------------------------------------


class LineDiscount(Reply):
    """What a coupon took off one line."""

    id: str
    discount: int


class Applied(Reply):
    """One coupon used; ``item`` and ``value`` are an exchange's."""

    coupon_id: str
    campaign_id: str
    discount: int
    lines: list[LineDiscount]
    uses_left: int
    item: str | UnsetType = UNSET
    value: int | UnsetType = UNSET


class TenderReply(Reply):
    """Something paid with: stored value (with its coupon and what is left on it) or points."""

    type: Literal["stored_value", "points"]
    amount: int
    coupon_id: str | UnsetType = UNSET
    campaign_id: str | UnsetType = UNSET
    points: int | UnsetType = UNSET
    balance: int | UnsetType = UNSET


class Skipped(Reply):
    """One coupon not used, and why; ``coupon_id`` is null for points and codes that name none."""

    coupon_id: str | None
    code: str
    detail: str
    short_by: int | UnsetType = UNSET


class ReversedLine(Reply):
    """Goods returned: gross price, what of discounts and tenders went back, refund at the till."""

    id: str
    gross: int
    discount_back: int
    tendered_back: int
    refund: int


class ReversedCoupon(Reply):
    """One coupon in a reversal; ``returned``: it is its owner's again."""

    coupon_id: str
    discount_back: int
    returned: bool
    status: Literal["issued", "expired", "redeemed"] | UnsetType = UNSET


class ReversalReply(Reply):
    """One reversal. ``status``: of the redemption after it."""

    id: str
    redemption_id: str
    status: Literal["redeemed", "reversed"]
    gross: int
    discount_back: int
    tendered_back: int
    refund: int
    points_back: int
    lines: list[ReversedLine]
    coupons: list[ReversedCoupon]
    tenders: list[TenderReply]
    reason: str
    at: str
    say: str | UnsetType = UNSET


class QuoteReply(Reply):
    """What a redemption would give now; nothing is written."""

    amount: int
    discount: int
    tendered: int
    payable: int
    applied: list[Applied]
    tenders: list[TenderReply]
    skipped: list[Skipped]
    store_id: str | None
    channel: str | None
    order_ref: str | None
    at: str
    say: str
    exact: bool | UnsetType = UNSET  # of choose best: no permitted set takes off more


class RedemptionReply(Reply):
    """A redemption or a hold; money in fen, ``payable = amount − discount − tendered``."""

    id: str
    status: Status
    amount: int
    discount: int
    tendered: int
    payable: int
    applied: list[Applied]
    tenders: list[TenderReply]
    skipped: list[Skipped]
    store_id: str
    channel: str | None
    order_ref: str | None
    at: str
    until: str | UnsetType = UNSET  # of a hold
    say: str | UnsetType = UNSET
    lot_id: str | UnsetType = UNSET  # of a parking payment
    deductions: list[dict[str, Any]] | UnsetType = UNSET  # of it, besides coupons and points
    # in look-ups only
    user_id: str | UnsetType | None = UNSET  # null: of a printed coupon
    merchant_id: str | UnsetType = UNSET
    terminal_id: str | UnsetType | None = UNSET
    staff_id: str | UnsetType | None = UNSET
    discount_back: int | UnsetType = UNSET
    tendered_back: int | UnsetType = UNSET
    refunded: int | UnsetType = UNSET
    reversals: list[ReversalReply] | UnsetType = UNSET


class RedemptionList(Reply):
    """A page of redemptions, newest first."""

    items: list[RedemptionReply]
    next_cursor: str | None


class ResolveReply(Reply):
    """What a scanned code is, and what ``can`` be done with it here; else ``code`` says why."""

    type: Literal["coupon", "member"]
    usable: bool
    can: list[Literal["quote", "redeem", "hold"]]
    say: str
    user_id: str | None  # null: of a printed coupon
    code: str | UnsetType = UNSET
    coupon: CouponReply | UnsetType = UNSET
    coupons: list[CouponReply] | UnsetType = UNSET  # a member's, usable in this store now


# ---- what is asked ---------------------------------------------------------------------------


def points_of(body: RedemptionRequest) -> int:
    """Points to pay with: as many as named, -1 = as many as are useful, 0 = none."""
    return body.points or (-1 if "points" in may_use(body) else 0)


def may_use(body: RedemptionRequest) -> Sequence[str]:
    """What may be picked: never the customer's own money unasked."""
    return ("free",) if body.use is None else body.use


def basket_lines(basket: Basket | None) -> tuple[int, list[Line]]:
    """(amount, lines) of a basket; none at all where an exchange needs none.

    InvalidRequest: the amount is not the sum of the lines, or two lines have one id.
    """
    if basket is None:
        return 0, []
    if not basket.lines:
        amount = basket.amount or 0
        return amount, [Line("1", amount, 1, "", "")]
    lines = [
        Line(
            str(position) if line.id is None else line.id,
            line.amount,
            line.quantity,
            line.sku or "",
            line.category or "",
        )
        for position, line in enumerate(basket.lines, 1)
    ]
    total = sum(line.amount for line in lines)
    if basket.amount is not None and basket.amount != total:
        raise InvalidRequest(
            "basket.amount", f"The lines sum to {total}.", f"各行金额之和为 {total}。"
        )
    if total > MAX_MONEY:
        raise InvalidRequest("basket.amount", f"At most {MAX_MONEY}.", f"最多 {MAX_MONEY}。")
    if len({line.id for line in lines}) != len(lines):
        raise InvalidRequest("basket.lines", "Two lines have the same id.", "行编号重复。")
    return total, lines


def hold_seconds(body: RedemptionRequest, longest: int) -> int:
    """For how long to set aside; 0 = redeem at once. ``longest``: settings.max_hold_seconds."""
    if body.mode == "commit":
        if body.hold_seconds is not None:
            raise InvalidRequest("hold_seconds", "It goes with mode hold.", "仅用于占用模式。")
        return 0
    if body.hold_seconds is None:
        return min(DEFAULT_HOLD_SECONDS, longest)
    if body.hold_seconds > longest:
        raise InvalidRequest("hold_seconds", f"At most {longest} seconds.", f"最多 {longest} 秒。")
    return body.hold_seconds
