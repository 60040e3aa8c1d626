"""What happened, past tense: the facts that scripts append to a cell's outbox.

An entry of the stream ``facts`` has the id ``<epoch>-<last seq>`` and one field ``f``: a
MessagePack array of facts, each an array whose first element is its type. ``seq`` is gapless
within (cell, epoch). A fact carries all that the books need, so nobody asks Redis again.
Fields are only ever added at the end, with a default.
"""

from __future__ import annotations

import msgspec

from engine.fact_gifts import Gifted as Gifted
from engine.fact_gifts import GiftEnded as GiftEnded
from engine.fact_gifts import Given as Given
from engine.fact_gifts import Received as Received
from engine.fact_parts import BackCoupon as BackCoupon
from engine.fact_parts import BackLine as BackLine
from engine.fact_parts import BackTender as BackTender
from engine.fact_parts import Fact as Fact
from engine.fact_parts import FactCoupon as FactCoupon
from engine.fact_parts import FactDeduction as FactDeduction
from engine.fact_parts import FactItem as FactItem
from engine.fact_parts import FactLine as FactLine
from engine.fact_parts import FactShare as FactShare
from engine.fact_parts import FactTender as FactTender

VERSION = 1


class Claimed(Fact, tag="claimed", frozen=True):
    """A coupon was issued to a user; ``act`` is the coupon id."""

    user_id: str
    campaign_id: str
    terms_revision: int
    valid_from: int
    valid_until: int  # 0 = no end
    channel: str
    source: str  # JSON object or ""
    metadata: str  # JSON object or ""
    order_id: str = ""  # that it was bought with
    paid: int = 0  # fen
    points_paid: int = 0
    external_code: str = ""  # of a third party


class ProfileTold(Fact, tag="profile_told", frozen=True):
    """A user's tier or freeze was told; ``act`` is the handle."""

    user_id: str
    tier: str
    tier_until: int
    frozen: int


class MemberTold(Fact, tag="member_told", frozen=True):
    """A user was put into an audience (present 1) or taken out (0); ``act`` is the handle."""

    user_id: str
    audience_id: str
    present: int


class FactSkipped(msgspec.Struct, array_like=True, frozen=True):
    """A coupon that was asked for and not used: its serial, the outcome, what was missing."""

    serial: str
    outcome: int
    short_by: int = 0


class Redeemed(Fact, tag="redeemed", frozen=True):
    """Coupons were redeemed; ``act`` is the redemption id."""

    user_id: str
    store_id: str
    merchant_id: str  # the store's merchant at that moment
    terminal_id: str
    staff_id: str
    channel: str
    order_ref: str
    amount: int
    discount: int
    payable: int
    lines: list[FactLine]
    coupons: list[FactCoupon]
    replaces: str  # redemption id of the hold that this one took the place of, or ""
    tenders: list[FactTender] = []
    lot_id: str = ""
    deductions: list[FactDeduction] = []
    skipped: list[FactSkipped] = []


class Held(Fact, tag="held", frozen=True):
    """Coupons were set aside until ``until``; ``act`` is the redemption id."""

    user_id: str
    store_id: str
    merchant_id: str
    terminal_id: str
    staff_id: str
    channel: str
    order_ref: str
    amount: int
    discount: int
    payable: int
    lines: list[FactLine]
    coupons: list[FactCoupon]
    replaces: str
    until: int
    tenders: list[FactTender] = []
    lot_id: str = ""
    deductions: list[FactDeduction] = []
    skipped: list[FactSkipped] = []


class Committed(Fact, tag="committed", frozen=True):
    """A hold was committed: from now on it is a redemption at ``at``; ``act`` is its id.

    Carries the whole redemption again, so the books need not have seen the hold.
    """

    user_id: str
    store_id: str
    merchant_id: str
    terminal_id: str
    staff_id: str
    channel: str
    order_ref: str
    amount: int
    discount: int
    payable: int
    lines: list[FactLine]
    coupons: list[FactCoupon]
    tenders: list[FactTender] = []
    lot_id: str = ""
    deductions: list[FactDeduction] = []
    freed: list[str] = []  # coupons of the hold that took nothing off in the end
    skipped: list[FactSkipped] = []


class Released(Fact, tag="released", frozen=True):
    """A hold ended unused; ``act`` is the redemption id. ``lapsed`` 1: its time had passed."""

    user_id: str
    coupon_ids: list[str]
    lapsed: int
    tenders: list[FactTender] = []  # what is free again


class BackDeduction(msgspec.Struct, array_like=True, frozen=True):
    """One deduction of a parking payment that is no coupon's: what stays of it, before and after.

    All of them are told, in the order of the payment.
    """

    type: str
    id: str
    bearer: str
    label: str
    before: int
    after: int


class Reversed(Fact, tag="reversed", frozen=True):
    """A redemption was reversed in part or whole; ``act`` is the reversal id."""

    redemption_id: str
    redeemed_at: int
    user_id: str
    store_id: str  # of the redemption
    merchant_id: str  # of the redemption
    reversed_at_store: str  # of the caller, or ""
    order_ref: str
    reason: str
    lines: list[BackLine]
    coupons: list[BackCoupon]
    gross_before: int  # of the basket, not yet returned
    gross_after: int
    payable_before: int  # of what was not yet returned
    payable_after: int
    whole: int  # 1: nothing stays redeemed
    tenders: list[BackTender] = []
    lot_id: str = ""
    deductions: list[BackDeduction] = []


class Voided(Fact, tag="voided", frozen=True):
    """A coupon was withdrawn; ``act`` is the coupon id."""

    user_id: str
    campaign_id: str
    reason: str


class Ordered(Fact, tag="ordered", frozen=True):
    """Stock, limits and points were set aside until ``until``; ``act`` is the order id."""

    user_id: str
    channel: str
    source: str
    amount: int
    points: int
    until: int
    items: list[FactItem]
    offer: int = 0  # 1: made to somebody of a waiting line


class OrderPaid(Fact, tag="order_paid", frozen=True):
    """An order was paid; its coupons follow as ``claimed`` facts. ``act`` is the order id."""

    user_id: str
    amount: int
    points: int
    payment_ref: str
    coupon_ids: list[str]


class OrderReady(Fact, tag="order_ready", frozen=True):
    """The group of an order has formed; ``act`` is the order's id."""

    user_id: str
    until: int


class OrderEnded(Fact, tag="order_ended", frozen=True):
    """What an order set aside is free again: cancelled, or ``lapsed`` 1. ``act``: the order id."""

    user_id: str
    lapsed: int
    until: int
    offer: int = 0


class Repaid(Fact, frozen=True):
    """What is paid back for a coupon; ``act`` is its id. ``stock`` 1: whole, it was restocked."""

    user_id: str
    campaign_id: str
    terms_revision: int
    order_id: str
    refund_ref: str
    reason: str
    amount: int
    points: int
    stock: int


class Refunded(Repaid, tag="refunded", frozen=True):
    """What is unused of a bought coupon goes back to its buyer."""


class RefundFailed(Repaid, tag="refund_failed", frozen=True):
    """The money could not be sent: the coupon is its buyer's again, taken from the stock again."""

    voided: int  # 1: it is withdrawn, as it was before


class Published(Fact, tag="published", frozen=True):
    """A campaign reached this cell; ``act`` is the campaign id."""

    version: int
    share: int  # -1 = unlimited
    added: int  # change of the share (0 when unlimited)


class StockMoved(Fact, frozen=True):
    """Part of a cell's stock or quota went to another cell or came from one.

    ``act`` is the campaign id, or event/quota.
    """

    what: str  # stock or quota
    peer: int  # the other cell
    number: int
    total: int  # between the two in this direction, ever
    share: int  # after it


class StockSent(StockMoved, tag="stock_sent", frozen=True):
    """This cell has sent it."""


class StockReceived(StockMoved, tag="stock_received", frozen=True):
    """This cell has received it."""


class PointsChanged(Fact, tag="points_changed", frozen=True):
    """An entry of points was made; ``act`` is its id. ``per_yuan`` points are worth one yuan."""

    user_id: str
    kind: str  # earn, spend, adjust; <kind>_reversal
    points: int  # signed
    balance: int  # after it
    reason: str
    ref: str
    available: int
    expires: int
    of: str  # id of the entry it reverses, or ""
    per_yuan: int


class PointsExpired(Fact, tag="points_expired", frozen=True):
    """Points of a lot expired at ``expires``; ``act`` is the entry that had brought them."""

    user_id: str
    points: int  # positive
    expires: int
    balance: int  # after it
    per_yuan: int


class Purchased(Fact, tag="purchased", frozen=True):
    """A purchase was reported; ``act`` is the id of its entry of points, made if ``points`` > 0."""

    user_id: str
    transaction_id: str
    store_id: str
    merchant_id: str
    amount: int
    occurred: int
    channel: str
    receipt_no: str
    refunded: int  # by refunds that were reported before it
    earned: int  # by the rule
    points: int  # of them, what stayed after those refunds
    balance: int  # after it
    reason: str
    available: int
    expires: int
    per_yuan: int


class PurchaseRefunded(Fact, tag="purchase_refunded", frozen=True):
    """A refund was reported; ``act`` is the id of the purchase's entry of points."""

    user_id: str
    transaction_id: str
    refund_id: str
    amount: int
    refunded: int  # of the purchase so far
    known: int  # 0: the purchase was not reported yet
    points: int  # taken back, positive
    short: int  # could not be taken back
    balance: int  # after it
    store_id: str
    merchant_id: str
    per_yuan: int


class VehicleTold(Fact, tag="vehicle_told", frozen=True):
    """Whose car a plate is; ``act`` is the plate's handle."""

    plate: str
    user_ids: list[str]
    removed: list[str]  # whose it was before and is not any more


class StayTold(Fact, tag="stay_told", frozen=True):
    """Something became of a stay; ``act`` is its handle. The stay as it is from then on.

    ``what``: entered | owned | left | plate | override.
    """

    what: str
    lot_id: str
    session_id: str
    plate: str
    entered: int
    closed: int
    exited: int
    user_id: str
    before: str  # of a correction: the plate before it
    amount: int  # of an override
    reason: str
    staff_id: str


class Validated(Fact, tag="validated", frozen=True):
    """A shop gave parking; ``act`` is the validation's id. See parking/records.ValidationRecord."""

    lot_id: str  # and session_id: of the stay it was given to, or ""
    session_id: str
    plate: str
    user_id: str
    campaign_id: str
    terms_revision: int
    store_id: str
    merchant_id: str
    minutes: int
    amount: int
    valid_until: int


class CodesLoaded(Fact, tag="codes_loaded", frozen=True):
    """A third party's codes came to a cell; ``act`` is the campaign, the books have the codes."""

    batch: int
    codes: int


class Checked(Fact, tag="checked", frozen=True):
    """A ticket was tried at a gate; ``act`` is the id of the check-in."""

    user_id: str
    coupon_id: str  # "" = a member's code, and no ticket
    campaign_id: str
    event_id: str
    gate: str
    out: int  # 0 in, 1 out
    outcome: int  # 0, or why it was refused; offline: why it would have been
    offline: int
    scanned: int  # when; offline by the gate's clock
    staff_id: str
    redemption_id: str  # of a first entry
    entries: int
    other_gate: str  # that let the ticket in before
    other_at: int


class LineTold(Fact, tag="line_told", frozen=True):
    """Somebody joined a waiting line, was offered, or left it; ``act``: the id of their entry."""

    user_id: str
    campaign_id: str
    party: int
    priority: int
    place: int
    joined: int
    state: str  # waiting | offered | skipped | left | ended
    order_id: str  # what is offered
    until: int
    why: int  # they were skipped: an outcome


AnyFact = (
    Claimed
    | ProfileTold
    | MemberTold
    | Redeemed
    | Held
    | Committed
    | Released
    | Reversed
    | Voided
    | Published
    | Ordered
    | OrderPaid
    | OrderReady
    | OrderEnded
    | Refunded
    | RefundFailed
    | PointsChanged
    | PointsExpired
    | Purchased
    | PurchaseRefunded
    | VehicleTold
    | StayTold
    | Validated
    | StockSent
    | StockReceived
    | CodesLoaded
    | Gifted
    | GiftEnded
    | Given
    | Received
    | Checked
    | LineTold
)

_decoder = msgspec.msgpack.Decoder(list[AnyFact])
_splitter = msgspec.msgpack.Decoder(list[msgspec.Raw])
_one: msgspec.msgpack.Decoder[AnyFact] = msgspec.msgpack.Decoder(AnyFact)


def decode(entry: bytes) -> list[AnyFact]:
    """The facts of one stream entry, in order of ``seq``; msgspec.DecodeError when malformed."""
    return _decoder.decode(entry)


def split(entry: bytes) -> list[msgspec.Raw]:
    """The facts of one stream entry, each still packed; msgspec.DecodeError when it is none."""
    return _splitter.decode(entry)


def decode_one(packed: bytes | msgspec.Raw) -> AnyFact:
    """One fact of ``split``; msgspec.DecodeError when malformed."""
    return _one.decode(packed)


def type_of(fact: Fact) -> str:
    """Its type as the books store it, e.g. ``claimed``."""
    return str(fact.__struct_config__.tag)
