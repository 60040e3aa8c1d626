"""JSON of the gate that could not ask: the list it goes by, and the exits it tells later."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import UNSET, Meta, UnsetType

from api.routes import Id
from api.wire import Reply, Request, Scanned, Text64
from api.wire_payments import FeeId, PaymentRequest
from api.wire_redemptions import Fen
from engine.definitions import Time

MOST_EXITS = 1000


class FallbackItem(Reply):
    """The most that may be taken off a stay; ``amount`` null: all of its fee.

    ``amount`` has the worth of the minutes in it where the lot's tariff is known here.
    """

    plate: str
    session_id: str
    minutes: int
    amount: int | None


class FallbackReply(Reply):
    """Plates that something may be taken off for; of others nothing.

    ``signed``: the same as a JWS (EdDSA): iss the mall, sub the lot, iat, exp, plates. ``key``: its
    public key (JWK, RFC 8037), the same as long as the installation's secret is.
    """

    lot_id: str
    issued_at: str
    valid_until: str
    items: list[FallbackItem]
    complete: bool  # false: more stays are open than a list has room for
    key: dict[str, str]
    signed: str


class OfflineExit(Request, kw_only=True):
    """A car that left while the gate could not ask; ``deducted``: what was taken off its fee."""

    session_id: Id
    entered_at: Time
    exited_at: Time
    fee: Fen
    deducted: Fen = 0
    lot_id: Id | None = None
    fee_id: FeeId | None = None
    plate: Annotated[str, Meta(max_length=64)] | None = None
    user_id: Id | None = None
    member_code: Scanned | None = None
    staff_id: Text64 | None = None

    def payment(self, plate: str | None) -> PaymentRequest:
        """What of the fee the driver did not pay, to be covered as far as it can be."""
        return PaymentRequest(
            session_id=self.session_id,
            fee_total=self.fee,
            lot_id=self.lot_id,
            fee_id=self.fee_id,
            plate=plate,
            user_id=self.user_id,
            member_code=self.member_code,
            entered_at=self.entered_at,
            as_of=self.exited_at,
            already_paid=max(0, self.fee - self.deducted),
            mode="commit",
            staff_id=self.staff_id,
        )


class OfflineRequest(Request):
    """Exits, in any order."""

    exits: Annotated[list[OfflineExit], Meta(min_length=1, max_length=MOST_EXITS)]


class OfflineItem(Reply, kw_only=True):
    """``conflict``: what was taken off is not covered by ``short_by``, or the reason is named."""

    session_id: str
    fee_id: str
    status: Literal["recorded", "conflict"]
    redemption_id: str | None
    deducted: int
    covered: int
    short_by: int
    code: str | UnsetType = UNSET
    detail: str | UnsetType = UNSET


class OfflineReply(Reply):
    """One item an exit, in the order sent. All of them are recorded."""

    items: list[OfflineItem]
    recorded: int
    conflicts: int
