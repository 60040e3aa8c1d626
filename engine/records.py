"""What lies in Redis, as the scripts pack it (MessagePack arrays; field order is the format).

``engine/lua/lib/records.lua`` names the same positions; ``tests/engine/test_lua.py`` holds the
two together. Times are Unix milliseconds, money is fen, an empty string or 0 means "none" where a
field says so: MessagePack arrays written by Lua have no holes.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Any

import msgspec


class CouponState(IntEnum):
    """What an act did to a coupon last. Expiry and lapsed holds are not states: the clock tells."""

    ISSUED = 0
    HELD = 1
    REDEEMED = 2
    VOIDED = 3
    REFUNDED = 4
    TRANSFERRED = 5  # given on: another coupon stands for it


class RedemptionState(IntEnum):
    """What an act did to a redemption last; a hold whose time has passed still reads HELD here."""

    HELD = 0
    REDEEMED = 1
    RELEASED = 2
    LAPSED = 3
    REVERSED = 4


class UserRecord(msgspec.Struct, array_like=True):
    """Field ``u`` of a wallet."""

    user_id: str
    tier: str = ""
    tier_until: int = 0
    frozen: int = 0
    member_step: int = 0  # the last step of a member code that a success has spent


class CouponHold(msgspec.Struct, array_like=True):
    """What one open hold sets aside of a coupon that may be used more than once."""

    redemption: str  # serial
    until: int
    uses: int
    amount: int  # fen of a stored value


class RefundRecord(msgspec.Struct, array_like=True):
    """Money of one coupon that goes back; kept with its order (of one that was a
    gift with the coupon itself), told by its ``ref``."""

    coupon: str  # serial
    ref: str
    key: str
    fingerprint: str
    at: int
    amount: int
    points: int
    stock: int  # 1: the coupon was whole and went back to the stock
    failed: int = 0  # when the payment provider could not, and the coupon was given back
    fail_key: str = ""


class CouponRecord(msgspec.Struct, array_like=True):
    """Field ``C<serial>`` of a wallet: one coupon. The tail is written only when it is needed."""

    campaign_id: str
    terms_revision: int
    state: int
    issued: int
    valid_from: int  # minus issued: small numbers pack small
    valid_until: int  # minus issued; 0 = no end
    fingerprint: str
    channel: str
    extra: str = ""  # JSON {"source": …, "metadata": …} as claimed, "" without
    step: int = 0  # last step of a rotating code that a success has spent
    redemption: str = ""  # serial of the redemption that holds or has redeemed it
    held_until: int = 0
    void_key: str = ""
    void_fingerprint: str = ""
    void_reason: str = ""
    voided: int = 0
    used: int = 0  # uses redeemed; counted only for coupons of several uses
    spent: int = 0  # fen of a stored value that are redeemed
    holds: list[CouponHold] = []  # of coupons of several uses and stored value; lapse by the clock
    order: str = ""  # serial of the order that it was bought with
    paid: int = 0  # fen paid for it
    points_paid: int = 0
    given_to: str = ""  # id of the coupon that it went on as
    came_from: str = ""  # id of the coupon that was given to this person
    came_used: int = 0  # of ``used`` and ``spent``, what others had used before it came
    came_spent: int = 0
    refunds: list[RefundRecord] = []  # of one that came from somebody, and was withdrawn


class CountRecord(msgspec.Struct, array_like=True):
    """Field ``n<campaign>`` of a wallet: how many this person has claimed, by local calendar."""

    total: int
    day: int = 0  # number of the local day (days since 1970-01-01) that day_count is for
    day_count: int = 0
    week: int = 0
    week_count: int = 0
    month: int = 0
    month_count: int = 0


class Issue(msgspec.Struct, array_like=True):
    """Field ``issue`` of a campaign's hash: the rules of giving out, at once in force."""

    revision: int
    status: str  # draft | active | paused | frozen | ended
    kind: str
    start: int  # 0 = none
    end: int  # 0 = none
    early: list[tuple[list[str], int]]  # (tiers, start)
    per_user: int  # -1 = unlimited, as in all limits here
    per_user_per_day: int
    per_user_per_week: int
    per_user_per_month: int
    channels: list[str] | None
    tiers: list[str] | None
    audiences: list[str] | None
    validity: str  # fixed | relative
    valid_start: int  # fixed: start
    valid_end: int  # fixed: end; relative: until (0 = none)
    delay_minutes: int
    minutes: int  # relative; -1 = no end but valid_end
    per_minute: int = -1  # of the whole campaign, over all cells
    per_day: int = -1
    cell: int = 0  # which cell this is, of how many: each takes its part of a rate
    cells: int = 1
    price: int = 0  # fen; with a price it is ordered and paid, not claimed
    points_price: int = 0
    pool: int = 0  # 1: each coupon takes a code of a third party with it
    event: str = ""  # of a ticket
    quotas: list[str] | None = None  # of that event, that each one counts against


class RateRecord(msgspec.Struct, array_like=True):
    """Field ``rate`` of a campaign's hash: what this cell gave out in the current windows."""

    minute: int  # number of the local minute that minute_count is for
    minute_count: int
    day: int  # number of the local day
    day_count: int


class PromiseRecord(msgspec.Struct, array_like=True):
    """Field ``promise`` of a campaign's hash: nobody is given one until then (shut.lua)."""

    until_ms: int
    outcome: int


class UsesRecord(msgspec.Struct, array_like=True):
    """Field ``uses`` of a campaign's hash, and ``d<store>``: uses of a local day in this cell."""

    day: int  # number of the local day that count is for
    count: int


class EventTerms(msgspec.Struct, array_like=True):
    """What a ticket is for, as it was when the ticket was issued; times in ms."""

    id: str
    starts: int
    ends: int
    entry_from: int  # 0 = at any time
    entry_until: int
    reentry: bool


class Terms(msgspec.Struct, array_like=True):
    """Field ``t<revision>`` of a campaign's hash: what a coupon issued under it may do."""

    kind: str
    benefit: str  # the type of the campaign's benefit
    # amount_off, fixed_price; gift, parking_free: most it may take off; parking_minutes: minutes;
    # -1 = none
    amount: int
    steps: list[tuple[int, int]]  # amount_off: (min, amount), ascending by min
    every: int  # amount_off: 0 = not "every"
    max_amount: int  # -1 = no cap
    basis_points: int  # percent_off: 12.5 % = 1250
    sku: str  # gift
    item: str  # exchange
    value: int  # exchange: what it is worth at settlement
    min_spend: int
    min_spend_running: bool
    min_quantity: int  # 0 = none
    stores: list[str] | None
    channels: list[str] | None
    weekdays: list[int] | None  # 1 = Monday
    hours: list[tuple[int, int]] | None  # minutes of the day; to <= from crosses midnight
    include_categories: list[str] | None
    include_skus: list[str] | None
    exclude_categories: list[str] | None
    exclude_skus: list[str] | None
    stacking: str  # exclusive | common | always
    group: str  # "" = none
    group_limit: int  # -1 = unlimited
    per_redemption: int  # -1 = unlimited
    order: int
    base_initial: bool
    uses: int = 1
    per_day: int = -1  # uses of the campaign a day, over all cells
    per_store_per_day: int = -1
    refundable: bool = True  # what was paid for it may come back
    event: EventTerms | None = None  # of a ticket
    transferable: bool = False  # it may be given on
    refund_expired: bool = False  # what was paid comes back when it expires unused


class StoreRecord(msgspec.Struct, array_like=True):
    """Field ``s<store>`` of a cell's definitions."""

    version: int
    merchant_id: str
    closed: int


class SettingsRecord(msgspec.Struct, array_like=True):
    """Field ``settings`` of a cell's definitions."""

    version: int
    payable_floor: int = 0
    max_hold_seconds: int = 7200
    points_per_yuan: int = 100  # spending value
    points_max_per_redemption: int = -1
    points_max_basis_points: int = -1  # of what is left to pay before points
    earn: EarnRule | None = None


class PointsLot(msgspec.Struct, array_like=True):
    """Points that came in together, as far as they are left; or a part that was taken of them."""

    serial: str  # of the entry that brought them
    points: int
    available: int  # from when they can be spent
    expires: int  # 0 = never


class PointsHold(msgspec.Struct, array_like=True):
    """Points set aside for a redemption; back in their lots by the clock from ``until`` on."""

    serial: str  # of the redemption
    until: int
    points: int
    parts: list[PointsLot]


class PointsRecord(msgspec.Struct, array_like=True):
    """Field ``p`` of a wallet: balance = lots + holds - debt = the sum of all entries told."""

    balance: int = 0
    debt: int = 0
    lots: list[PointsLot] = []
    holds: list[PointsHold] = []
    days: list[tuple[int, int]] = []  # (local day, earned by purchases) where a day is capped


class EntryRecord(msgspec.Struct, array_like=True):
    """Key ``p:<handle><serial>``: an entry of points; the record is the receipt."""

    kind: str  # earn | spend | adjust | purchase | <kind>_reversal
    points: int  # signed
    at: int
    user_id: str
    fingerprint: str
    reason: str
    ref: str
    available: int  # of the lot it brought, 0 without
    expires: int
    of: str  # a reversal's: serial of the entry it reverses, "" else
    balance: int  # after it
    parts: list[PointsLot]  # what it took, as far as that did not come back
    reversed: int  # of its points, by reversals
    expired: int  # of its lot


class SpecialDays(msgspec.Struct, array_like=True):
    """Days on which purchases earn more."""

    first: int  # number of the local day
    last: int
    weekdays: list[int] | None  # 1 = Monday
    factor: int  # in hundredths


class EarnRule(msgspec.Struct, array_like=True):
    """What purchases earn (``settings.earn``)."""

    rate: int  # points for a yuan, in hundredths
    tiers: list[tuple[str, int]]  # (tier, factor in hundredths)
    days: list[SpecialDays]
    min_amount: int
    max_per_purchase: int  # -1 = no cap
    max_per_day: int  # of a person, by local day of the purchase; -1 = no cap
    excluded_stores: list[str]
    pending_days: int
    expires_days: int  # -1 = never
    refunds: str  # how a refund takes back: within_balance | only_unspent | allow_negative


class PurchaseRefund(msgspec.Struct, array_like=True):
    """One refund of a purchase, with what its answer says."""

    refund_id: str
    amount: int
    points_back: int
    short: int  # points that it should have taken back and could not
    balance: int
    refunded: int  # of the purchase, after it
    at: int


class PurchaseRecord(msgspec.Struct, array_like=True):
    """Key ``b:<handle><serial>``: a purchase; its serial derives from its transaction."""

    known: int  # 0: only a refund was reported so far
    transaction_id: str
    user_id: str
    store_id: str
    merchant_id: str
    amount: int
    occurred: int
    at: int
    channel: str
    receipt_no: str
    fingerprint: str
    earned: int  # by the rule
    points: int  # of them, what stayed after refunds that came before it
    balance: int  # after it
    reason: str  # why it earned nothing, or less
    refunded: int
    refunds: list[PurchaseRefund]
    used: str = ""  # the stay that it has freed a car for


class Line(msgspec.Struct, array_like=True):
    """A line of a basket as kept with its redemption."""

    id: str
    amount: int  # gross, before coupons
    quantity: int
    sku: str
    category: str
    returned: int = 0  # gross amount returned so far; told once something was reversed


class LineShare(msgspec.Struct, array_like=True):
    """What one coupon took off one line."""

    line: int  # index into the lines, from 0
    discount: int
    back: int = 0  # of it, given back by reversals; told once something was


class AppliedCoupon(msgspec.Struct, array_like=True):
    """One coupon of a redemption, in order of application."""

    serial: str
    campaign_id: str
    terms_revision: int
    benefit: str
    value: int  # exchange: its worth at settlement, 0 else
    discount: int
    lines: list[LineShare]
    uses_left: int
    item: str = ""
    returned: int = 0  # 1: a reversal gave the coupon back, 2: reversed whole without giving back
    counted: int = 0  # 1: among the uses of its day, 2: of its day in the store, 3: both
    uses: int = 1  # more than 1: a pass, this was one of so many


class TenderKind(IntEnum):
    """What is paid with."""

    STORED_VALUE = 0
    POINTS = 1


class Tender(msgspec.Struct, array_like=True):
    """What was paid with, in order of application, after all discounts."""

    kind: int
    serial: str  # of the coupon; "" for points
    amount: int  # fen
    points: int = 0
    balance: int = 0  # what was left on the coupon, or of the points, after it
    back: int = 0  # fen given back by reversals
    points_back: int = 0
    campaign_id: str = ""
    terms_revision: int = 0
    lines: list[LineShare] = []  # what it paid of each line
    counted: int = 0  # as AppliedCoupon.counted
    total: int = 0  # what the coupon was worth when it was issued
    held: int = 0  # once a hold is committed: what it had set aside
    held_points: int = 0
    held_balance: int = 0  # and what was left then
    parts: list[PointsLot] = []  # where the points were taken from, those given back left out


class Deduction(msgspec.Struct, array_like=True):
    """Something that takes money off a parking fee, in order of application."""

    type: str  # tier | merchant | spend | manual | …
    id: str
    minutes: int
    amount: int
    bearer: str
    label: str
    back: int = 0


class SkippedCoupon(msgspec.Struct, array_like=True):
    """One coupon that a redemption or quote did not use, and why."""

    serial: str
    outcome: int
    short_by: int = 0  # fen, or units for min_quantity


class ReversalRecord(msgspec.Struct, array_like=True):
    """One reversal, kept with its redemption; its id's serial comes from its Idempotency-Key."""

    serial: str
    fingerprint: str
    at: int
    store_id: str
    lines: list[tuple[int, int, int]]  # (line index, gross, discount back)
    coupons: list[tuple[str, int, int]]  # (serial, discount back, 1 = coupon returned)
    reason: str
    tenders: list[tuple[int, str, int, int]] = []  # (kind, serial, fen back, points back)
    line_tenders: list[int] = []  # by line as in ``lines``: what went back to tenders


class Act(msgspec.Struct, array_like=True):
    """A commit or release on a hold: its key and fingerprint make it safe to repeat."""

    verb: str
    key: str
    fingerprint: str
    at: int


class RedemptionRecord(msgspec.Struct, array_like=True):
    """Key ``r:<handle><serial>``: the record is the receipt."""

    state: int
    at: int
    until: int  # of a hold; 0 when it was redeemed at once
    fingerprint: str
    user_id: str
    store_id: str
    merchant_id: str
    terminal_id: str
    staff_id: str
    channel: str
    order_ref: str
    amount: int
    discount: int
    lines: list[Line]
    coupons: list[AppliedCoupon]
    skipped: list[SkippedCoupon]
    acts: list[Act]
    reversals: list[ReversalRecord]
    committed: int = 0  # when a hold was committed
    day: int = 0  # number of the local day that its uses are counted on; 0 = they are not
    tenders: list[Tender] = []
    lot_id: str = ""  # of a parking payment; its store_id is ""
    deductions: list[Deduction] = []


def pack(record: Any) -> bytes:
    """A record as the scripts read it (``cmsgpack.unpack``)."""
    return msgspec.msgpack.encode(record)
