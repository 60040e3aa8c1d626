"""JSON ↔ acts for points and purchases: shapes and translation, no I/O."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, UnsetType

from api.routes import Id
from api.wire import NO_CONTROL, Reply, Request, Scanned, Text128, moment, moment_or_none
from engine import lots
from engine.definitions import parse_time
from engine.errors import InvalidRequest
from engine.points import Entry, Purse
from engine.records import PurchaseRecord, PurchaseRefund

MOST_POINTS = 10**9

Some = Annotated[int, msgspec.Meta(ge=1, le=MOST_POINTS)]
Change = Annotated[int, msgspec.Meta(ge=-MOST_POINTS, le=MOST_POINTS)]
Told = Annotated[str, msgspec.Meta(max_length=500, pattern=NO_CONTROL)]
Moment = Annotated[str, msgspec.Meta(max_length=64, description="RFC 3339, any offset.")]
Fen = Annotated[int, msgspec.Meta(ge=0, le=10**11, description="Minor units (fen).")]
SomeFen = Annotated[int, msgspec.Meta(ge=1, le=10**11, description="Minor units (fen).")]
Channel = Annotated[str, msgspec.Meta(max_length=64, pattern=NO_CONTROL)]
Policy = Literal["within_balance", "only_unspent", "allow_negative"]
EntryType = Literal[
    "earn", "spend", "adjust", "reversal", "expiry", "purchase", "refund", "redemption", "return"
]


class PointsRequest(Request, kw_only=True):
    """Points of a person; ``available_at`` and ``expires_at`` are for those that come in."""

    points: Some
    user_id: Id | None = None
    member_code: Scanned | None = None
    reason: Told = ""
    ref: Text128 = ""
    available_at: Moment | None = None
    expires_at: Moment | None = None


class AdjustRequest(Request, kw_only=True):
    """A correction by the office, either way; never 0."""

    points: Change
    user_id: Id | None = None
    member_code: Scanned | None = None
    reason: Told = ""
    ref: Text128 = ""
    available_at: Moment | None = None
    expires_at: Moment | None = None


class PointsReversalRequest(Request, kw_only=True):
    """How much of an entry is reversed (null = as much as the policy allows), and from what.

    ``only_unspent``: what is left of the entry's own points; ``within_balance``: other points as
    well; ``allow_negative``: a debt, which the next points that come in repay.
    """

    points: Some | None = None
    policy: Policy = "within_balance"
    reason: Told = ""


class EntryReply(Reply, kw_only=True):
    """One change of a balance; points of what was taken are negative."""

    id: str
    type: EntryType
    user_id: str
    points: int
    balance: int  # after it
    reason: str
    ref: str
    available_at: str | None  # of what came in
    expires_at: str | None  # null = never
    of: str | None  # the entry that it reverses, or whose points expired
    redemption_id: str | UnsetType = UNSET
    transaction_id: str | UnsetType = UNSET
    at: str


class PointsEntries(Reply):
    """Entries of a person, newest first, as far as the books have come."""

    items: list[EntryReply]
    next_cursor: str | None
    complete_until: str | None  # entries before this moment are all here


class Expiring(Reply):
    """Points that expire together."""

    points: int
    expires_at: str


class PointsReply(Reply, kw_only=True):
    """A person's points now. ``balance`` is the sum of all entries, pending and held included.

    ``available`` can be spent now; ``value`` is what the balance is worth in fen; ``debt`` is what
    a negative balance lacks; ``expiring`` says when what is left will be gone, the next first.
    """

    user_id: str
    balance: int
    available: int
    value: int
    pending: int
    held: int
    debt: int
    expiring: list[Expiring]
    as_of: str


class PurchaseRequest(Request, kw_only=True):
    """A purchase as the mall's payment platform reports it; its transaction is its key."""

    transaction_id: Id
    store_id: Id
    amount: Fen
    occurred_at: Moment
    user_id: Id | None = None
    member_code: Scanned | None = None
    channel: Channel = ""
    receipt_no: Text128 = ""


EarnReason = Literal[
    "no_rule", "user_frozen", "store_excluded", "below_minimum", "too_small", "purchase_cap",
    "day_cap", "refunded",
]  # fmt: skip


class PurchaseReply(Reply, kw_only=True):
    """What a purchase earned; ``reason`` says why nothing, or less than the rule alone gives."""

    transaction_id: str
    user_id: str
    points_earned: int
    balance: int
    reason: EarnReason | UnsetType = UNSET


class PurchaseView(Reply, kw_only=True):
    """A purchase as it stands now."""

    transaction_id: str
    user_id: str
    store_id: str
    merchant_id: str
    amount: int
    refunded: int
    occurred_at: str
    channel: str
    receipt_no: str
    points_earned: int
    points_back: int  # taken back by refunds
    parking: str | None  # the stay that it has freed a car for
    at: str


class PurchaseRefundRequest(Request, kw_only=True):
    """A refund of a purchase, in part or whole; it may come before its purchase."""

    refund_id: Id
    amount: SomeFen
    user_id: Id | None = None
    member_code: Scanned | None = None


class PurchaseRefundReply(Reply, kw_only=True):
    """What a refund took back. ``points_short``: what it should have, had they not been spent."""

    transaction_id: str
    refund_id: str
    user_id: str
    amount: int
    refunded: int  # of the purchase so far, this included
    points_back: int
    points_short: int
    balance: int


# ---- translation -----------------------------------------------------------------------------


def time_of(field: str, text: str | None) -> int:
    """Unix ms; 0 for none; InvalidRequest where it is no time."""
    if text is None:
        return 0
    try:
        return parse_time(text)
    except ValueError:
        raise InvalidRequest(field, "This is no date and time.", "不是有效的日期时间。") from None


def times_of(body: PointsRequest | AdjustRequest, *, incoming: bool) -> tuple[int, int]:
    """(available, expires) in ms; only what comes in has them, in that order."""
    available = time_of("available_at", body.available_at)
    expires = time_of("expires_at", body.expires_at)
    if not incoming and (available or expires):
        field = "available_at" if available else "expires_at"
        raise InvalidRequest(field, "Only points that come in have it.", "仅用于入账的积分。")
    if expires and expires <= available:
        raise InvalidRequest(
            "expires_at", "It must be after available_at.", "expires_at 必须晚于 available_at。"
        )
    return available, expires


def entry(found: Entry) -> EntryReply:
    """An entry as its act first answered it."""
    record = found.record
    handle = found.id[1:17]
    type_: Any = "reversal" if record.of else record.kind
    return EntryReply(
        id=found.id,
        type=type_,
        user_id=record.user_id,
        points=record.points,
        balance=record.balance,
        reason=record.reason,
        ref=record.ref,
        available_at=moment_or_none(record.available),
        expires_at=moment_or_none(record.expires),
        of="P" + handle + record.of if record.of else None,
        at=moment(record.at),
    )


def booked(row: Any) -> EntryReply:
    """An entry as the books have it."""
    reply = EntryReply(
        id=row.id,
        type=row.kind,
        user_id=row.user_id,
        points=row.points,
        balance=row.balance,
        reason=row.reason,
        ref=row.ref,
        available_at=moment_or_none(row.available_ms),
        expires_at=moment_or_none(row.expires_ms),
        of=row.of_id or None,
        at=moment(row.at_ms),
    )
    if row.redemption_id:
        reply.redemption_id = row.redemption_id
    if row.transaction_id:
        reply.transaction_id = row.transaction_id
    return reply


def points(user_id: str, purse: Purse, per_yuan: int) -> PointsReply:
    """A person's points; ``per_yuan`` of them are worth one yuan."""
    record, now = purse.record, purse.now
    return PointsReply(
        user_id=user_id,
        balance=record.balance,
        available=lots.available(record, now),
        value=max(0, lots.worth(record.balance, per_yuan)),
        pending=lots.pending(record, now),
        held=lots.held(record),
        debt=record.debt,
        expiring=[Expiring(number, moment(when)) for when, number in lots.expiring(record)],
        as_of=moment(now),
    )


def purchase(record: PurchaseRecord) -> PurchaseReply:
    """What a purchase earned, as first answered."""
    reply = PurchaseReply(
        transaction_id=record.transaction_id,
        user_id=record.user_id,
        points_earned=record.points,
        balance=record.balance,
    )
    if record.reason:
        reason: Any = record.reason
        reply.reason = reason
    return reply


def purchase_view(record: PurchaseRecord) -> PurchaseView:
    """A purchase as it stands."""
    return PurchaseView(
        transaction_id=record.transaction_id,
        user_id=record.user_id,
        store_id=record.store_id,
        merchant_id=record.merchant_id,
        amount=record.amount,
        refunded=record.refunded,
        occurred_at=moment(record.occurred),
        channel=record.channel,
        receipt_no=record.receipt_no,
        points_earned=record.points,
        points_back=sum(refund.points_back for refund in record.refunds),
        parking=record.used or None,
        at=moment(record.at),
    )


def refund(record: PurchaseRecord, made: PurchaseRefund) -> PurchaseRefundReply:
    """What a refund did, as first answered."""
    return PurchaseRefundReply(
        transaction_id=record.transaction_id,
        refund_id=made.refund_id,
        user_id=record.user_id,
        amount=made.amount,
        refunded=made.refunded,
        points_back=made.points_back,
        points_short=made.short,
        balance=made.balance,
    )
