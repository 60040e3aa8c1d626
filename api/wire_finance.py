"""JSON shapes of statements, postings and reports; the books give their rows as plain dicts."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec

from api.routes import Id, Page
from engine.definitions import Time

Fen = Annotated[int, msgspec.Meta(description="Minor units (fen); a reversal's is negative.")]
Moment = Annotated[str, msgspec.Meta(extra_json_schema={"format": "date-time"})]
GroupBy = Annotated[
    str, msgspec.Meta(pattern=r"^[a-z]+(,[a-z]+)*$", max_length=64, description="Comma-separated.")
]


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
    payable_to_merchant: Fen


class Totals(Amounts, kw_only=True):
    """The sums of all lines."""

    redemptions: int  # a reversed one still counts
    reversals: int


class StatementLine(Totals, kw_only=True):
    """By store (or parking lot) and campaign."""

    store_id: str
    lot_id: str | None
    campaign_id: str


class StatementHead(msgspec.Struct, kw_only=True):
    """A statement without its lines."""

    id: str
    merchant_id: str
    start: Moment
    end: Moment
    status: Literal["closed", "confirmed", "disputed", "paid"]
    currency: str
    created_at: Moment
    totals: Totals
    late: Annotated[
        int, msgspec.Meta(description="Entries of acts whose own period was closed before them.")
    ]


class Statement(StatementHead, kw_only=True):
    """What the mall owes a merchant for a period."""

    lines: list[StatementLine]


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


class BalanceQuery(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
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
    as_of: Moment | None
    debits: int
    credits: int


class ReportQuery(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """``from`` inclusive, ``to`` exclusive; without them all there is."""

    group_by: GroupBy | None = None
    start: Time | None = msgspec.field(name="from", default=None)
    end: Time | None = msgspec.field(name="to", default=None)


class StockQuery(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """``campaign_id``: only this campaign."""

    campaign_id: Id | None = None


class AttributionRow(msgspec.Struct, kw_only=True):
    """The groups asked for, then what they brought. Redemptions are net of reversals."""

    campaign: str | msgspec.UnsetType | None = msgspec.UNSET
    channel: str | msgspec.UnsetType | None = msgspec.UNSET
    store: str | msgspec.UnsetType | None = msgspec.UNSET
    entry: str | msgspec.UnsetType | None = msgspec.UNSET
    tier: str | msgspec.UnsetType | None = msgspec.UNSET
    issued: int | None
    redeemed: int
    redemption_rate: float | None
    discount: Fen
    sales: Fen
    basket: Fen | None
    baseline_basket: Fen | None
    basket_change: float | None


class Attribution(msgspec.Struct):
    """By group; ``as_of``: the books hold every act before it."""

    items: list[AttributionRow]
    as_of: Moment | None


class StockRow(msgspec.Struct):
    """``total`` and ``left`` are null where stock is unlimited."""

    campaign_id: str
    status: str
    total: int | None
    issued: int
    left: int | None
    redeemed: int
    held: int
    voided: int


class StockReport(msgspec.Struct):
    """By campaign; ``as_of``: the books hold every act before it."""

    items: list[StockRow]
    as_of: Moment | None


class RedemptionRow(Amounts, kw_only=True):
    """The groups asked for, then acts of the period by their own time, reversals negative."""

    day: str | msgspec.UnsetType = msgspec.UNSET
    store: str | msgspec.UnsetType = msgspec.UNSET
    merchant: str | msgspec.UnsetType = msgspec.UNSET
    campaign: str | msgspec.UnsetType = msgspec.UNSET
    channel: str | msgspec.UnsetType = msgspec.UNSET
    redemptions: int
    reversals: int
    coupons: int


class Redemptions(msgspec.Struct):
    """By group; ``as_of``: the books hold every act before it."""

    items: list[RedemptionRow]
    as_of: Moment | None


Rows = list[dict[str, Any]]
