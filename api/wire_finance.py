"""JSON shapes of statements, adjustments and postings; the books give rows as plain dicts."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from api.routes import Id, Page, ShortPage
from engine.definitions import Time
from engine.definitions.shapes import MAX_MONEY

Fen = Annotated[int, msgspec.Meta(description="Minor units (fen); a reversal's is negative.")]
Moment = Annotated[str, msgspec.Meta(extra_json_schema={"format": "date-time"})]


class StatementRequest(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """Settle a period that has ended, for one merchant or for all that have anything to settle."""

    start: Time
    end: Time
    merchant_id: Id | None = None


class Amounts(msgspec.Struct, kw_only=True):
    """Net of reversals. mall_bears + merchant_bears + others_bear + prepaid = discount."""

    sales: Fen
    discount: Fen
    prepaid: Fen
    mall_bears: Fen
    merchant_bears: Fen
    others_bear: Fen
    stored_value: Fen
    points_value: Fen
    commission: Fen
    breakage: Fen  # the merchant's part of what was paid beyond the discount
    payable_to_merchant: Fen


class Counted(Amounts, kw_only=True):
    """The same with how many acts."""

    redemptions: int  # a reversed one still counts
    reversals: int


class Totals(Counted, kw_only=True):
    """The sums of all lines; payable_to_merchant is theirs and the adjustments'.

    net_payable = payable_to_merchant + breakage − bears_elsewhere: what is paid, or asked for if
    negative.
    """

    adjustments: Fen
    bears_elsewhere: Fen
    net_payable: Fen


class StatementLine(Counted, kw_only=True):
    """By store (or parking lot) and campaign."""

    store_id: str
    lot_id: str | None
    campaign_id: str


class Elsewhere(msgspec.Struct, kw_only=True):
    """What this merchant bears of coupons that another one redeemed."""

    merchant_id: Annotated[str, msgspec.Meta(description="Who redeemed.")]
    store_id: str
    lot_id: str | None
    campaign_id: str
    redemptions: int
    reversals: int
    bears_elsewhere: Fen


class StatementAdjustment(msgspec.Struct, kw_only=True):
    """An adjustment that went into the statement."""

    id: str
    amount: Fen
    reason: str
    decided_at: Moment


class StatementHead(msgspec.Struct, kw_only=True):
    """A statement without its lines. ``closed → confirmed | disputed → paid``."""

    id: str
    merchant_id: str
    start: Moment
    end: Moment
    status: Literal["closed", "confirmed", "disputed", "paid"]
    currency: str
    created_at: Moment
    status_at: Annotated[Moment, msgspec.Meta(description="Since when the status is what it is.")]
    dispute: Annotated[str | None, msgspec.Meta(description="Why it was last disputed.")]
    payment_ref: str | None
    totals: Totals
    late: Annotated[
        int, msgspec.Meta(description="Entries of acts whose own period was closed before them.")
    ]


class Statement(StatementHead, kw_only=True):
    """What the mall owes a merchant for a period."""

    lines: list[StatementLine]
    elsewhere: list[Elsewhere]
    adjustments: list[StatementAdjustment]


class Statements(msgspec.Struct):
    """The statements of a period, by merchant."""

    items: list[Statement]


class StatementList(msgspec.Struct):
    """Statements, the latest period first."""

    items: list[StatementHead]
    next_cursor: str | None


class StatementQuery(Page, kw_only=True):
    """``merchant_id``: only this merchant's."""

    merchant_id: Id | None = None


class StatementEntry(Amounts, kw_only=True):
    """One settled act on one coupon."""

    kind: Literal["redemption", "reversal"]
    act_id: str
    redemption_id: str
    coupon_id: str
    campaign_id: str
    store_id: str
    lot_id: str | None
    order_ref: str | None
    at: Moment
    late: bool


class EntryList(msgspec.Struct):
    """Entries in order of time."""

    items: list[StatementEntry]
    next_cursor: str | None


class Confirmation(msgspec.Struct, forbid_unknown_fields=True):
    """Nothing is to be said: ``{}``."""


Reason = Annotated[str, msgspec.Meta(min_length=1, max_length=1000, pattern=r"\S")]


class Dispute(msgspec.Struct, forbid_unknown_fields=True):
    """What is wrong with it."""

    reason: Reason


class Payment(msgspec.Struct, forbid_unknown_fields=True):
    """The payment as the bank or the ledger names it."""

    payment_ref: Annotated[str, msgspec.Meta(min_length=1, max_length=128, pattern=r"\S")]


class AdjustmentRequest(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """What the mall is to owe a merchant more (or less: negative), and why."""

    merchant_id: Id
    amount: Annotated[
        int,
        msgspec.Meta(
            ge=-MAX_MONEY, le=MAX_MONEY, description="Minor units (fen), not 0; negative: less."
        ),
    ]
    reason: Reason


class Adjustment(msgspec.Struct, kw_only=True):
    """Pending until somebody else approves it; then it is posted and goes into the next statement.

    ``statement_id``: the statement it went into.
    """

    id: str
    merchant_id: str
    amount: Fen
    reason: str
    status: Literal["pending", "approved", "rejected"]
    asked_by: str
    asked_at: Moment
    decided_by: str | None
    decided_at: Moment | None
    rejection: str | None
    statement_id: str | None


class AdjustmentList(msgspec.Struct):
    """Adjustments, the newest first."""

    items: list[Adjustment]
    next_cursor: str | None


class AdjustmentQuery(Page, kw_only=True):
    """``merchant_id``: only this merchant's; ``status``: only those that are so."""

    merchant_id: Id | None = None
    status: Literal["pending", "approved", "rejected"] | None = None


class PostingQuery(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """``after``: the number of the last posting that the reader has; ``cursor`` says the same.

    At most 200 a page in JSON, 10,000 in NDJSON and CSV, which are also the defaults.
    """

    after: Annotated[int, msgspec.Meta(ge=0)] = 0
    limit: Annotated[int, msgspec.Meta(ge=1, le=10_000)] | None = None
    cursor: str | None = None


class Posting(msgspec.Struct, kw_only=True):
    """One side of an act's money: a debit is positive, a credit negative."""

    n: Annotated[int, msgspec.Meta(description="1, 2, 3, … without a gap.")]
    act_id: str
    at: Moment
    account: str
    party: str
    amount: int
    currency: str
    merchant_id: str
    store_id: str
    campaign_id: str
    redemption_id: str
    coupon_id: str


class Control(msgspec.Struct):
    """What a reader of the page must come to as well; ``last`` is where to go on."""

    count: int
    debits: int
    credits: int
    last: int


class PostingList(msgspec.Struct):
    """Postings in order of their number."""

    items: list[Posting]
    control: Control
    next_cursor: str | None


class BalanceQuery(ShortPage, kw_only=True):
    """``as_of``: only acts before this moment."""

    as_of: Time | None = None


class Balance(msgspec.Struct):
    """What one account of one party comes to."""

    account: str
    party: str
    currency: str
    debits: int
    credits: int
    balance: int


class Balances(msgspec.Struct):
    """Every account; debits and credits are equal in all."""

    items: list[Balance]
    next_cursor: str | None
    as_of: Moment | None
    debits: int
    credits: int
