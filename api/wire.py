"""JSON ↔ acts for claims, offers, wallets, coupons and codes: shapes and translation, no I/O.

Redemptions and reversals have theirs in ``wire_redemptions``. Requests are decoded straight into
these Structs, replies are these Structs, and /openapi.json is made from them.
"""

from __future__ import annotations

from datetime import UTC, datetime
from functools import lru_cache
from typing import Annotated, Any, Literal

import msgspec
import orjson
from msgspec import UNSET, UnsetType

from api.routes import Id
from engine.books.feeds import CouponAct
from engine.errors import InvalidRequest
from engine.outcomes import Outcome, sentence
from engine.records import CouponRecord, CouponState, EventTerms
from engine.views import CouponView, Offer, owner

# Control characters have no place in an id or a label, and PostgreSQL refuses NUL in text.
NO_CONTROL = r"^[^\x00-\x1f\x7f]*$(?!\n)"
Text64 = Annotated[str, msgspec.Meta(max_length=64, pattern=NO_CONTROL)]
Text128 = Annotated[str, msgspec.Meta(max_length=128, pattern=NO_CONTROL)]
Reason = Annotated[str, msgspec.Meta(min_length=1, max_length=500, pattern=NO_CONTROL)]
Scanned = Annotated[
    str, msgspec.Meta(max_length=1024, description="A code as the scanner delivered it.")
]

METADATA_BYTES = 4096
_NOTHING: dict[str, Any] = {}
GONE = ("voided", "refunded", "transferred")  # nothing of a balance is left

CouponStatus = Literal[
    "issued", "held", "redeemed", "expired", "voided", "refunded", "transferred"
]


class Request(msgspec.Struct, forbid_unknown_fields=True):
    """Base of all request bodies."""


class Reply(msgspec.Struct):
    """Base of all reply bodies."""


# ---- claims and offers -----------------------------------------------------------------------


class ClaimRequest(Request):
    """Claim one coupon of a campaign for a user, named by ``user_id`` or ``member_code``."""

    campaign_id: Id
    channel: Id
    user_id: Id | None = None
    member_code: Scanned | None = None
    source: Annotated[dict[Text64, Text64], msgspec.Meta(max_length=16)] | None = None
    metadata: dict[str, Any] | None = None


class OffersRequest(Request):
    """Which of these campaigns a user could claim now."""

    campaign_ids: Annotated[list[Id], msgspec.Meta(max_length=50)]
    user_id: Id | None = None
    member_code: Scanned | None = None
    channel: Id | None = None


class OfferReply(Reply):
    """Whether a user could claim one campaign now; ``code`` says why not."""

    campaign_id: str
    claimable: bool
    mine: int
    left: int | None  # null = unlimited
    opens_at: str | None
    price: int | UnsetType = UNSET  # fen: it is ordered and paid, not claimed
    points_price: int | UnsetType = UNSET
    code: str | UnsetType = UNSET
    detail: str | UnsetType = UNSET


class OffersReply(Reply):
    """Offers in the order asked."""

    server_time: str
    items: list[OfferReply]


# ---- coupons and wallets ---------------------------------------------------------------------


class Rule(Reply):
    """One rule of a coupon, in the caller's language."""

    code: str
    text: str


class TicketEvent(Reply):
    """What a ticket is for, as it was when the ticket was issued; null = at any time."""

    id: str
    starts_at: str
    ends_at: str
    entry_from: str | None
    entry_until: str
    reentry: bool


class CouponReply(Reply):
    """One coupon as of now; money in fen, ``valid_until`` null = no end."""

    id: str
    campaign_id: str
    terms_revision: int
    user_id: str | None  # null: a printed one that nobody took
    kind: str
    status: CouponStatus
    issued_at: str
    valid_from: str
    valid_until: str | None
    uses_left: int
    balance: int | None  # stored value only
    channel: str
    source: dict[str, Any] | None
    metadata: dict[str, Any] | None
    held_until: str | UnsetType = UNSET
    name: dict[str, str] | str | UnsetType = UNSET  # with ?expand=terms
    rules: list[Rule] | UnsetType = UNSET  # with ?expand=terms
    external_code: str | UnsetType = UNSET  # of a third party, where the campaign has a pool
    given_to: str | UnsetType = UNSET  # the coupon that it was given on as
    came_from: str | UnsetType = UNSET  # the coupon that it was, before it was given on
    distance: int | UnsetType | None = UNSET  # metres, with sort=near; null = nobody knows
    event: TicketEvent | UnsetType = UNSET  # of a ticket


class CouponList(Reply):
    """A page of a wallet."""

    items: list[CouponReply]
    next_cursor: str | None


class SummaryReply(Reply):
    """What a member has. ``usable`` now, baskets and hours aside; ``expiring`` within a week."""

    user_id: str
    usable: int
    expiring: int
    points: int
    points_value: int  # fen
    saved: int  # fen that redemptions took off and kept off, by the books
    complete_until: str | None  # redemptions before this moment are all in ``saved``


class VoidRequest(Request):
    """Why a coupon is withdrawn."""

    reason: Reason


class HistoryItem(Reply):
    """One act on a coupon: what, when, and who did it."""

    type: str
    at: str
    act: str  # id of the act: coupon, redemption or reversal
    who: dict[str, Any]
    store_id: str | UnsetType = UNSET
    order_ref: str | UnsetType = UNSET
    channel: str | UnsetType = UNSET
    discount: int | UnsetType = UNSET
    tendered: int | UnsetType = UNSET  # fen of a stored value that it paid, or that went back
    reason: str | UnsetType = UNSET
    returned: bool | UnsetType = UNSET  # a reversal gave the coupon back
    until: str | UnsetType = UNSET  # of a hold or gift
    given_to: str | UnsetType = UNSET  # the coupon that stands for it from then on
    came_from: str | UnsetType = UNSET  # the coupon that it was
    gate: str | UnsetType = UNSET  # of a check-in
    direction: str | UnsetType = UNSET
    code: str | UnsetType = UNSET  # why a check-in was refused


class HistoryReply(Reply):
    """Every act on a coupon that the books hold, oldest first."""

    items: list[HistoryItem]
    next_cursor: str | None
    complete_until: str | None  # acts before this moment are all here


# ---- codes -----------------------------------------------------------------------------------


class CodeReply(Reply):
    """A code to show; ``expires_at`` null = no end, ``refresh_at`` null = it never changes."""

    code: str
    expires_at: str | None
    refresh_at: str | None
    external_code: str | UnsetType = UNSET  # of a third party, where the campaign has a pool


class VerifyRequest(Request):
    """Codes to check for authenticity and time."""

    codes: Annotated[list[Scanned], msgspec.Meta(max_length=1000)]


class VerifyItem(Reply):
    """What one code is; ``reason`` says why it is not good."""

    ok: bool
    reason: Literal["code_invalid", "code_expired"] | UnsetType = UNSET
    type: Literal["coupon", "member"] | UnsetType = UNSET
    form: Literal["rotating", "static", "offline"] | UnsetType = UNSET
    coupon_id: str | UnsetType = UNSET


class VerifyReply(Reply):
    """One item a code, in the order sent."""

    items: list[VerifyItem]


# ---- translation -----------------------------------------------------------------------------


@lru_cache(maxsize=8192)
def moment(ms: int) -> str:
    """Unix ms as RFC 3339, UTC with milliseconds; the acts of a batch share theirs."""
    second, rest = divmod(ms, 1000)
    return f"{datetime.fromtimestamp(second, UTC):%Y-%m-%dT%H:%M:%S}.{rest:03d}Z"


def moment_or_none(ms: int) -> str | None:
    """The same where 0 means none."""
    return moment(ms) if ms else None


def checked_metadata(metadata: dict[str, Any] | None) -> dict[str, Any] | None:
    """``metadata`` as it is, if it can be kept: at most 4 KiB of JSON with 64-bit numbers."""
    if not metadata:
        return None
    try:
        size = len(orjson.dumps(metadata))
    except TypeError:  # numbers beyond 64 bits, or nested too deep
        raise InvalidRequest(
            "metadata", "It holds a number or a depth that can't be kept."
        ) from None
    if size > METADATA_BYTES:
        raise InvalidRequest("metadata", f"At most {METADATA_BYTES} bytes of JSON.")
    return metadata


def _extra(record: CouponRecord) -> dict[str, Any]:
    return orjson.loads(record.extra) if record.extra else _NOTHING


def external_code(record: CouponRecord) -> str | UnsetType:
    """The code of a third party that the coupon carries."""
    if record.state == CouponState.TRANSFERRED:
        return UNSET  # it went along
    code: str | UnsetType = _extra(record).get("external_code", UNSET)
    return code


def claimed(view: CouponView) -> CouponReply:
    """A coupon as its claim first answered it, whatever became of it since."""
    record = view.record
    if record.came_from:
        return as_given(view, record.came_used, record.came_spent)
    return _coupon(view, view.kind, "issued", view.uses, view.value)


def as_given(view: CouponView, used: int, spent: int) -> CouponReply:
    """A coupon that is given on, with what was left of it then."""
    value = None if view.value is None else view.value - spent
    return _coupon(view, view.kind, "issued", view.uses - used, value)


def coupon(view: CouponView, kind: str = "", uses: int = 0) -> CouponReply:
    """A coupon as of ``view.now``; ``kind``, ``uses``: where the view does not know its terms."""
    status = view.status
    spent = status in ("held", "redeemed", "voided", "refunded", "transferred")
    left, money = view.left
    balance = None if view.value is None else 0 if status in GONE else money
    uses_left = 0 if spent else left if view.uses > 1 else uses or view.uses
    reply = _coupon(view, kind or view.kind, status, uses_left, balance)
    if status == "held" and view.record.state == CouponState.HELD:
        reply.held_until = moment(view.record.held_until)
    elif status == "held":
        reply.held_until = moment(min(h.until for h in view.record.holds if h.until > view.now))
    elif status == "transferred":
        reply.given_to = view.record.given_to
    return reply


def _coupon(
    view: CouponView, kind: str, status: Any, uses_left: int, balance: int | None
) -> CouponReply:
    record = view.record
    extra, event = _extra(record), view.event
    return CouponReply(
        id=view.id,
        campaign_id=record.campaign_id,
        terms_revision=record.terms_revision,
        user_id=owner(view.user_id),
        kind=kind,
        status=status,
        issued_at=moment(record.issued),
        valid_from=moment(view.valid_from),
        valid_until=moment_or_none(view.valid_until),
        uses_left=uses_left,
        balance=balance,
        channel=record.channel,
        source=extra.get("source"),
        metadata=extra.get("metadata"),
        external_code=UNSET if status == "transferred" else extra.get("external_code", UNSET),
        event=UNSET if event is None else ticket_event(event),
        came_from=record.came_from or UNSET,
    )


def ticket_event(event: EventTerms) -> TicketEvent:
    """An event as its tickets show it."""
    return TicketEvent(
        id=event.id,
        starts_at=moment(event.starts),
        ends_at=moment(event.ends),
        entry_from=moment_or_none(event.entry_from),
        entry_until=moment(event.entry_until),
        reentry=event.reentry,
    )


def offer(campaign_id: str, found: Offer | None, language: str) -> OfferReply:
    """One line of an offers page; an unknown campaign is not claimable."""
    if found is None:
        found = Offer(campaign_id, Outcome.NOT_FOUND, 0, None, 0)
    reply = OfferReply(
        campaign_id=campaign_id,
        claimable=found.outcome is Outcome.DONE,
        mine=found.mine,
        left=found.left,
        opens_at=moment_or_none(found.opens_at),
    )
    if found.price:
        reply.price = found.price
    if found.points_price:
        reply.points_price = found.points_price
    if found.outcome is not Outcome.DONE:
        reply.code = found.outcome.code
        reply.detail = sentence(found.outcome, language)
    return reply


def history_item(act: CouponAct, *, named: bool) -> HistoryItem:
    """One act of a coupon's history; who did it only where ``named``."""
    item = HistoryItem(type=act.type, at=moment(act.at), act=act.act, who=act.who if named else {})
    for name in (
        "store_id", "order_ref", "channel", "reason", "given_to", "came_from",
        "gate", "direction", "code",
    ):  # fmt: skip
        if text := getattr(act, name):
            setattr(item, name, text)
    if act.discount is not None:
        item.discount = act.discount
    if act.tendered is not None:
        item.tendered = act.tendered
    if act.returned is not None:
        item.returned = act.returned
    if act.until:
        item.until = moment(act.until)
    return item
