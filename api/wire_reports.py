"""JSON shapes of reports; the books give their rows as plain dicts."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec

from api.routes import Id
from api.wire_finance import Amounts, Fen, Moment
from engine.definitions import Time

GroupBy = Annotated[
    str, msgspec.Meta(pattern=r"^[a-z]+(,[a-z]+)*$", max_length=64, description="Comma-separated.")
]


class ReportPage(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """Pages of a report in JSON; CSV has all rows."""

    limit: Annotated[int, msgspec.Meta(ge=1, le=200)] = 200
    cursor: str | None = None


class PeriodQuery(ReportPage, kw_only=True):
    """``from`` inclusive, ``to`` exclusive; without them all there is."""

    start: Time | None = msgspec.field(name="from", default=None)
    end: Time | None = msgspec.field(name="to", default=None)


class ReportQuery(PeriodQuery, kw_only=True):
    """``from`` inclusive, ``to`` exclusive; without them all there is."""

    group_by: GroupBy | None = None


class StockQuery(ReportPage, kw_only=True):
    """``campaign_id``: only this campaign."""

    campaign_id: Id | None = None


class ReportReply(msgspec.Struct, kw_only=True):
    """``as_of``: the books hold every act before it."""

    as_of: Moment | None
    next_cursor: str | None


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
    baseline_basket: Annotated[
        int | None, msgspec.Meta(description="Mean purchase of the same users without coupons.")
    ]
    basket_change: Annotated[
        float | None, msgspec.Meta(description="basket / baseline_basket - 1.")
    ]
    users: int
    repurchase_30d: Annotated[
        float | None,
        msgspec.Meta(description="Who bought again within 30 days of a redemption, of users."),
    ]


class Attribution(ReportReply):
    """By group; ``as_of``: the books hold every act before it."""

    items: list[AttributionRow]


class FunnelRow(msgspec.Struct, kw_only=True):
    """The groups asked for, then different people at each step; null: not told by store."""

    channel: str | msgspec.UnsetType | None = msgspec.UNSET
    store: str | msgspec.UnsetType | None = msgspec.UNSET
    campaign: str | msgspec.UnsetType | None = msgspec.UNSET
    entry: str | msgspec.UnsetType | None = msgspec.UNSET
    exposure: int | None
    click: int | None
    claim: int | None
    pay: int | None
    redeem: int
    repurchase: int


class Funnel(ReportReply):
    """By group; ``definitions``: what each step counts, in the caller's language."""

    items: list[FunnelRow]
    definitions: dict[str, str]


class AttemptRow(msgspec.Struct, kw_only=True):
    """The groups asked for, then refused tries, and on how many different coupons."""

    code: str | msgspec.UnsetType = msgspec.UNSET
    store: str | msgspec.UnsetType | None = msgspec.UNSET
    terminal: str | msgspec.UnsetType | None = msgspec.UNSET
    day: str | msgspec.UnsetType = msgspec.UNSET
    attempts: int
    coupons: int


class AttemptReport(ReportReply):
    """Refused tries, the newest 200,000 of half a year."""

    items: list[AttemptRow]


class KeyFigure(msgspec.Struct):
    """``value`` = numerator / denominator; null where there is nothing to divide by."""

    name: str
    value: float | None
    numerator: int
    denominator: int
    definition: str


class KeyFigures(ReportReply):
    """By name; ``failures.<code>`` is one a cause."""

    items: list[KeyFigure]


class LiabilityRow(msgspec.Struct):
    """``count``: coupons that may still be used, or people with points.

    ``outstanding``: stored value left, what the points are worth, or the most that the coupons can
    still cost; null = nothing bounds it.
    """

    kind: Literal["coupons", "stored_value", "points"]
    campaign_id: str | None
    count: int
    points: int | None
    outstanding: Fen | None


class Liability(ReportReply):
    """As of now, from what the books hold."""

    items: list[LiabilityRow]


class PointsRow(msgspec.Struct, kw_only=True):
    """``worth``: by how much the mall owes more for points after it; at tills it is settled."""

    kind: str | msgspec.UnsetType = msgspec.UNSET
    day: str | msgspec.UnsetType = msgspec.UNSET
    entries: int
    points_in: int
    points_out: int
    worth: Fen


class PointsReport(ReportReply):
    """By kind of entry (earn, spend, purchase, redemption, …) and local day."""

    items: list[PointsRow]


class ParkingRow(msgspec.Struct, kw_only=True):
    """``penetration`` = with_deduction / stays; ``discount``: taken off, points and all."""

    lot: str | msgspec.UnsetType = msgspec.UNSET
    day: str | msgspec.UnsetType = msgspec.UNSET
    stays: int
    with_deduction: int
    penetration: float | None
    discount: Fen


class ParkingReport(ReportReply):
    """By lot and local day: stays by their entry, discount by the act."""

    items: list[ParkingRow]


class StockRow(msgspec.Struct):
    """``total`` and ``left`` are null where stock is unlimited.

    ``expired`` of those neither used nor withdrawn; ``spent`` is what redemptions have taken off by
    now, holds not included, and ``budget`` the most that they may (null = unlimited).
    """

    campaign_id: str
    status: str
    total: int | None
    issued: int
    left: int | None
    redeemed: int
    held: int
    voided: int
    expired: int
    budget: int | None
    spent: Fen


class StockReport(ReportReply):
    """By campaign; ``as_of``: the books hold every act before it."""

    items: list[StockRow]


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


class Redemptions(ReportReply):
    """By group; ``as_of``: the books hold every act before it."""

    items: list[RedemptionRow]


Rows = list[dict[str, Any]]
