"""The bodies of the contract's section 2 and 8, field for field; they serve the OpenAPI too.

``None`` or absent = unlimited, 0 or ``[]`` = none. Money is fen. What the types cannot say
(start before end, shares that sum to 100, what is not built yet) is in ``checks``.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from msgspec import Meta, field

from engine.definitions.earning import EarnRule
from engine.definitions.events import Event
from engine.definitions.parking import ParkingSettings
from engine.definitions.shapes import (
    FUNDER_PATTERN,
    MAX_COUNT,
    MAX_MINUTES,
    PARTY_PATTERN,
    Body,
    Count,
    Hours,
    Id,
    Ids,
    Money,
    Name,
    Percent,
    PercentOrNone,
    PositiveMoney,
    Time,
    Weekday,
    Word,
    Words,
)

# ---- benefits --------------------------------------------------------------------------------


class Step(Body, frozen=True):
    """From ``min`` on, ``amount`` off."""

    min: Money
    amount: PositiveMoney


class Benefit(Body, frozen=True, tag_field="type"):
    """What a coupon gives; ``type`` says which."""


class AmountOff(Benefit, frozen=True, tag="amount_off"):
    """Money off: ``amount``, or the highest of ``steps`` reached, or ``amount`` for each ``every``.

    Exactly one of the three: ``{amount}``, ``{steps}``, ``{every, amount, max_amount?}``.
    """

    amount: PositiveMoney | None = None
    steps: Annotated[list[Step], Meta(max_length=50)] | None = None
    every: PositiveMoney | None = None
    max_amount: Money | None = None


class PercentOff(Benefit, frozen=True, tag="percent_off"):
    """A percentage off; ``percent_off`` is what is taken off: 12.5 = 8.75 折."""

    percent_off: Percent
    max_amount: Money | None = None


class FixedPrice(Benefit, frozen=True, tag="fixed_price"):
    """The eligible lines together cost ``amount``."""

    amount: Money


class Gift(Benefit, frozen=True, tag="gift"):
    """One unit of ``sku`` free, at most ``amount``."""

    sku: Word
    amount: Money | None = None


class Exchange(Benefit, frozen=True, tag="exchange"):
    """The coupon is exchanged for ``item``, settled at ``value``; no basket is needed."""

    item: Word
    value: Money = 0


class Admission(Benefit, frozen=True, tag="admission"):
    """Entry to an event, settled at ``value``."""

    value: Money = 0


class ParkingMinutes(Benefit, frozen=True, tag="parking_minutes"):
    """Minutes of parking."""

    minutes: Annotated[int, Meta(ge=1, le=MAX_MINUTES)]


class ParkingFree(Benefit, frozen=True, tag="parking_free"):
    """Parking free, at most ``max_amount``."""

    max_amount: Money | None = None


class StoredValue(Benefit, frozen=True, tag="stored_value"):
    """Value to pay with."""

    amount: PositiveMoney


AnyBenefit = (
    AmountOff
    | PercentOff
    | FixedPrice
    | Gift
    | Exchange
    | Admission
    | ParkingMinutes
    | ParkingFree
    | StoredValue
)


# ---- the other parts of a campaign -----------------------------------------------------------


class Stock(Body, frozen=True):
    """How many coupons there are, and how much money they may take off together.

    ``pool``: each carries a code of a third party (``POST /v1/campaigns/{id}/pool``); there are
    never more than codes. The first upload makes it so by itself.
    """

    total: Count | None = None
    budget: Money | None = None
    pool: bool = False


class Early(Body, frozen=True):
    """These tiers may claim from ``start`` on, before the others."""

    tiers: Annotated[list[Id], Meta(min_length=1, max_length=100)]
    start: Time

    def __post_init__(self) -> None:
        self._to_utc("start")


class IssueRules(Body, frozen=True):
    """Who may claim, when, how many, through which channels, at which price."""

    start: Time | None = None
    end: Time | None = None
    per_user: Count | None = None
    per_user_per_day: Count | None = None
    per_user_per_week: Count | None = None
    per_user_per_month: Count | None = None
    per_minute: Count | None = None
    per_day: Count | None = None
    channels: Ids | None = None
    tiers: Ids | None = None
    audiences: Ids | None = None
    early: Annotated[list[Early], Meta(max_length=100)] | None = None
    price: Money = 0
    points_price: Count = 0

    def __post_init__(self) -> None:
        self._to_utc("start", "end")


class FixedValidity(Body, frozen=True, tag_field="type", tag="fixed"):
    """Usable from ``start`` (else: at once) to ``end`` (else: for good)."""

    start: Time | None = None
    end: Time | None = None

    def __post_init__(self) -> None:
        self._to_utc("start", "end")


class RelativeValidity(Body, frozen=True, tag_field="type", tag="relative"):
    """Usable ``delay_minutes`` after the claim, for ``minutes``, cut off at ``until``."""

    delay_minutes: Annotated[int, Meta(ge=0, le=MAX_MINUTES)] = 0
    minutes: Annotated[int, Meta(ge=1, le=MAX_MINUTES)] | None = None
    until: Time | None = None

    def __post_init__(self) -> None:
        self._to_utc("until")


class Scope(Body, frozen=True):
    """Basket lines by category or sku: the union of both."""

    categories: Words | None = None
    skus: Words | None = None


class UsageRules(Body, frozen=True):
    """Where, when and for what a coupon may be used. Days and hours are the tenant's local ones."""

    min_spend: Money = 0
    min_spend_base: Literal["initial", "running"] = "initial"
    min_quantity: Count | None = None
    stores: Ids | None = None
    channels: Ids | None = None
    weekdays: Annotated[list[Weekday], Meta(max_length=7)] | None = None
    hours: Hours | None = None
    include: Scope | None = None
    exclude: Scope | None = None
    uses: Annotated[int, Meta(ge=1, le=MAX_COUNT)] = 1
    per_day: Count | None = None
    per_store_per_day: Count | None = None


class StackingRules(Body, frozen=True):
    """With what a coupon may be used together, and in which order it is applied."""

    class_: Literal["exclusive", "common", "always"] = field(name="class", default="common")
    group: Id | None = None
    group_limit: Count | None = None
    per_redemption: Count | None = 1
    order: Annotated[int, Meta(ge=-MAX_COUNT, le=MAX_COUNT)] = 100
    base: Literal["running", "initial"] = "running"


class Share(Body, frozen=True):
    """A party and the percent of the subsidy it bears; ``redeeming`` is whoever redeems."""

    party: Annotated[str, Meta(pattern=PARTY_PATTERN)]
    percent: PercentOrNone


Funding = (
    Annotated[
        dict[Annotated[str, Meta(pattern=FUNDER_PATTERN)], PercentOrNone],
        Meta(description="Party to percent; merchant = whoever redeems."),
    ]
    | Annotated[list[Share], Meta(max_length=20)]
)


def _mall_bears_all() -> dict[str, int | float] | list[Share]:
    return {"mall": 100}


class Settlement(Body, frozen=True):
    """What a merchant is charged, and who keeps what was paid for and not used."""

    commission_percent: PercentOrNone = 0
    breakage: Literal["mall", "merchant"] = "mall"


class RefundRules(Body, frozen=True):
    """Whether what was paid for a coupon can come back."""

    allowed: bool = True
    expired_auto: bool = False


class InviteRules(Body, frozen=True):
    """Given out by invitations alone: to who invites, once ``needs`` friends meet the condition.

    Each friend who does gets one of ``reward_friend``; null: one of this campaign, too.
    """

    condition: Literal["registered", "first_purchase"]
    needs: Annotated[int, Meta(ge=1, le=1000)] = 1
    reward_friend: Id | None = None


class GroupRules(Body, frozen=True):
    """Given out to groups alone: ``size`` people who find each other within ``minutes``."""

    size: Annotated[int, Meta(ge=2, le=100)]
    minutes: Annotated[int, Meta(ge=1, le=30 * 1440)]


Kind = Literal["coupon", "parking", "ticket", "pass", "stored_value"]
Status = Literal["draft", "active", "paused", "frozen", "ended"]


class Campaign(Body, frozen=True, kw_only=True):
    """What is given out, how much of it, under which terms."""

    id: Id
    name: Name
    kind: Kind
    category: Word | None = None
    scene: Word | None = None
    tags: Annotated[list[Word], Meta(max_length=100)] = field(default_factory=list)
    metadata: dict[str, Any] = field(default_factory=dict)
    benefit: AnyBenefit
    stock: Stock
    issue: IssueRules = field(default_factory=IssueRules)
    validity: FixedValidity | RelativeValidity
    usage: UsageRules = field(default_factory=UsageRules)
    stacking: StackingRules = field(default_factory=StackingRules)
    funding: Funding = field(default_factory=_mall_bears_all)
    settlement: Settlement = field(default_factory=Settlement)
    refund: RefundRules = field(default_factory=RefundRules)
    transferable: bool = False
    event: Event | None = None
    invite: InviteRules | None = None
    group: GroupRules | None = None
    status: Status = "active"


def valid_end(c: Campaign) -> str | None:
    """When the last coupon ends, whatever else its validity says; a ticket, with its event."""
    end = c.validity.end if isinstance(c.validity, FixedValidity) else c.validity.until
    if c.event is None:
        return end
    return c.event.ends_at if end is None else min(end, c.event.ends_at)  # both in UTC


# ---- settings, merchants, stores -------------------------------------------------------------


class JwtKey(Body, frozen=True):
    """A key that end users' tokens are signed with: a secret (HS256) or a public PEM (EdDSA)."""

    alg: Literal["HS256", "EdDSA"]
    key: Annotated[str, Meta(min_length=32, max_length=4096)]


class Settings(Body, frozen=True):
    """What holds for the whole mall."""

    payable_floor: Money = 0
    points_per_yuan: Annotated[int, Meta(ge=1, le=MAX_COUNT)] = 100
    earn: EarnRule | None = None  # null: purchases earn nothing
    points_max_per_redemption: Count | None = None
    points_max_percent: PercentOrNone | None = None
    retention_days: Annotated[int, Meta(ge=30, le=36_500)] | None = None
    parking: ParkingSettings | None = None
    jwt_keys: dict[Id, JwtKey] = field(default_factory=dict)
    max_hold_seconds: Annotated[int, Meta(ge=1, le=30 * 86_400)] = 7200
    budget_alarm: Annotated[list[Percent], Meta(max_length=10)] = field(
        default_factory=lambda: [50, 80, 95]
    )
    terminal_ids: bool = False


class Merchant(Body, frozen=True):
    """Whom the mall settles with."""

    name: Name


class Store(Body, frozen=True):
    """A shop in the mall. ``hours`` are its opening hours as shown; they judge nothing."""

    name: Name
    merchant_id: Id
    floor: Word | None = None
    lat: Annotated[float, Meta(ge=-90, le=90)] | None = None
    lng: Annotated[float, Meta(ge=-180, le=180)] | None = None
    hours: Hours | None = None
    tags: Annotated[list[Word], Meta(max_length=100)] = field(default_factory=list)
    closed: bool = False


def name_in(name: str | dict[str, str], language: str = "en") -> str:
    """A name in the language asked, else in the nearest there is, else the first."""
    if isinstance(name, str):
        return name
    wanted = language.lower()
    by_tag = {tag.lower(): text for tag, text in name.items()}
    if wanted in by_tag:
        return by_tag[wanted]
    primary = wanted.split("-")[0]
    near = (text for tag, text in by_tag.items() if tag.split("-")[0] == primary)
    return next(near, next(iter(name.values())))
