"""JSON of closing a till: its totals of a day, and its own list against the books."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from api.routes import Id
from api.wire import Text128
from engine.definitions import MAX_MONEY

Day = Annotated[
    str,
    Meta(
        pattern=r"^\d{4}-\d{2}-\d{2}$",
        description="A local date of the mall; today where none is named.",
        extra_json_schema={"format": "date"},
    ),
]
MAX_LINES = 50_000


class TotalsQuery(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """Which day, and of which store where several use one name for their terminals."""

    business_day: Day | None = None
    store_id: Id | None = None


class TerminalTotals(msgspec.Struct, kw_only=True):
    """A terminal's acts of one local day, fen. Reversals are those made there, whatever the day
    of the redemption; ``net_…`` is what was made less what came back."""

    terminal_id: str
    store_id: str | None
    business_day: str
    redemptions: int
    amount: int
    discount: int
    tendered: int
    payable: int
    reversals: int
    gross: int
    discount_back: int
    refund: int
    tendered_back: int
    net_discount: int
    net_payable: int
    complete_until: str | None  # acts before this moment are all counted


class TillLineRequest(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """One line of a till's list, named by order or redemption; net of what came back that day."""

    order_ref: Text128 | None = None
    redemption_id: Id | None = None
    discount: Annotated[int, Meta(ge=0, le=MAX_MONEY)]


class ReconciliationRequest(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """What a store, or one terminal in it, has taken off on a local day by its own list."""

    store_id: Id | None = None  # of the key, where it is bound to one
    terminal_id: Id | None = None
    business_day: Day
    lines: Annotated[list[TillLineRequest], Meta(max_length=MAX_LINES)]


class Compared(msgspec.Struct, kw_only=True):
    """One order, or one redemption, as the books (``here``) and the till (``there``) have it."""

    order_ref: str | None
    redemption_ids: list[str]
    here: int | None
    there: int | None


class Counts(msgspec.Struct, kw_only=True):
    """How many of each."""

    matched: int
    missing_here: int
    missing_there: int
    differs: int


class ReconciliationReply(msgspec.Struct, kw_only=True):
    """The till's list against the books; all is well when only ``matched`` has items."""

    store_id: str
    terminal_id: str | None
    business_day: str
    matched: list[Compared]
    missing_here: list[Compared]
    missing_there: list[Compared]
    differs: list[Compared]
    counts: Counts
    complete_until: str | None  # acts before this moment are all in the books
