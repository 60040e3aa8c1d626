"""What happened, past tense: the facts that scripts append to a cell's outbox.

An entry of the stream ``facts`` has the id ``<epoch>-<last seq>`` and one field ``f``: a
MessagePack array of facts, each an array whose first element is its type. ``seq`` is gapless
within (cell, epoch). A fact carries all that the books need, so nobody asks Redis again.
Fields are only ever added at the end, with a default.
"""

from __future__ import annotations

import msgspec

VERSION = 1


class Fact(msgspec.Struct, array_like=True, frozen=True):
    """Common to all: position, server time (ms), the act's id and its request's fingerprint.

    ``who`` is JSON: ``{"key", "label", "role", "actor"?, "staff"?, "terminal"?, "request"?}``.
    """

    seq: int
    at: int
    act: str
    fingerprint: str
    who: str


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

    The money is settled with the redemption (postings debit ``stored_value.liability`` or
    ``points.liability``); entries of points are made from these.
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
    """What else takes money off a parking fee."""

    type: str
    id: str
    minutes: int
    amount: int
    bearer: str
    label: str


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


class Released(Fact, tag="released", frozen=True):
    """A hold ended unused; ``act`` is the redemption id. ``lapsed`` 1: its time had passed."""

    user_id: str
    coupon_ids: list[str]
    lapsed: int
    tenders: list[FactTender] = []  # what is free again


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


class Published(Fact, tag="published", frozen=True):
    """A campaign reached this cell; ``act`` is the campaign id."""

    version: int
    share: int  # -1 = unlimited
    added: int  # change of the share (0 when unlimited)


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
    | PointsChanged
    | PointsExpired
    | Purchased
    | PurchaseRefunded
    | VehicleTold
    | StayTold
    | Validated
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
