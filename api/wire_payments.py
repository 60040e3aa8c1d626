"""JSON of parking payments: what a lot asks, what takes money off, and what the driver is told."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import UNSET, UnsetType

from api.routes import Id
from api.wire import Reply, Request, Scanned, Text64
from api.wire_redemptions import CouponRef, DeductionType, Fen, Skipped, Vendor
from engine.definitions import ID_PATTERN, Tariff, Time

Plate = Annotated[str, msgspec.Meta(min_length=1, max_length=32)]
Transactions = Annotated[list[Id], msgspec.Meta(max_length=20)]
Use = Annotated[list[Literal["free", "points"]], msgspec.Meta(max_length=2)]
Choose = Literal["best"] | None
# With the session it is the order_ref of the books, of at most 128 characters.
FeeId = Annotated[str, msgspec.Meta(pattern=ID_PATTERN, max_length=63)]


Coupons = Annotated[list[CouponRef], msgspec.Meta(max_length=50)]


class PaymentRequest(Request, kw_only=True):
    """What a stay costs, and what is to be taken off it.

    ``choose`` is best unless coupons are named; null = none. ``as_of`` is now unless said.
    """

    session_id: Id
    fee_total: Fen
    lot_id: Id | None = None
    fee_id: FeeId | None = None
    plate: Plate | None = None
    user_id: Id | None = None
    member_code: Scanned | None = None
    entered_at: Time | None = None
    as_of: Time | None = None
    already_paid: Fen = 0
    tariff: Tariff | None = None
    transactions: Transactions | None = None
    coupons: Coupons | None = None
    choose: Choose | UnsetType = UNSET
    use: Use = msgspec.field(default_factory=lambda: ["free"])
    mode: Literal["quote", "hold", "commit"] = "quote"
    hold_seconds: Annotated[int, msgspec.Meta(ge=1)] | None = None
    deductions: Vendor | None = None
    channel: Id | None = None
    staff_id: Text64 | None = None


class ExitRequest(Request, kw_only=True):
    """A car leaves: what it owes is settled (a payment with mode commit), and the stay is over."""

    session_id: Id
    fee: Fen
    exited_at: Time
    lot_id: Id | None = None
    fee_id: FeeId | None = None
    plate: Plate | None = None
    user_id: Id | None = None
    member_code: Scanned | None = None
    entered_at: Time | None = None
    already_paid: Fen = 0
    tariff: Tariff | None = None
    transactions: Transactions | None = None
    coupons: Coupons | None = None
    choose: Choose | UnsetType = UNSET
    use: Use = msgspec.field(default_factory=lambda: ["free"])
    deductions: Vendor | None = None
    channel: Id | None = None
    staff_id: Text64 | None = None

    def payment(self) -> PaymentRequest:
        """The same as a payment."""
        return PaymentRequest(
            session_id=self.session_id,
            fee_total=self.fee,
            lot_id=self.lot_id,
            fee_id=self.fee_id,
            plate=self.plate,
            user_id=self.user_id,
            member_code=self.member_code,
            entered_at=self.entered_at,
            as_of=self.exited_at,
            already_paid=self.already_paid,
            tariff=self.tariff,
            transactions=self.transactions,
            coupons=self.coupons,
            choose=self.choose,
            use=self.use,
            mode="commit",
            deductions=self.deductions,
            channel=self.channel,
            staff_id=self.staff_id,
        )


class DeductionReply(Reply, omit_defaults=True, kw_only=True):
    """What takes money off. ``minutes`` of what gives time; ``bearer``: who pays the lot for it."""

    type: DeductionType
    coupon_id: str | UnsetType = UNSET
    minutes: int | UnsetType = UNSET
    amount: int
    bearer: str
    label: str


class PaymentReply(Reply, kw_only=True):
    """What is taken off and what is left to pay: ``fee_total - already_paid - already_deducted -
    deductions``. ``redemption_id``: null where nothing was recorded. Where no tariff is known,
    minutes are worth 0 until the commit says."""

    session_id: str
    fee_id: str
    lot_id: str
    redemption_id: str | None
    status: Literal["quoted", "held", "redeemed", "reversed"]
    fee_total: int
    deductions: list[DeductionReply]
    already_deducted: int
    already_paid: int
    payable: int
    leave_by: str
    until: str | UnsetType = UNSET  # of a hold
    skipped: list[Skipped]
    exact: bool | UnsetType = UNSET
    say: str
