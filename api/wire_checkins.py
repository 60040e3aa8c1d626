"""JSON of gates: scans of tickets, what gates did alone, and what they go by while alone."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import UNSET, Meta, UnsetType

from api.routes import Id
from api.wire import Reply, Request, Scanned, Text64, TicketEvent
from engine.definitions import Time

MOST_SCANS = 5000
Nonce = Annotated[
    str,
    Meta(
        pattern="^[!-~]{1,128}$",
        description="What a gate calls this scan: sent again, it is answered as before.",
    ),
]
Direction = Literal["in", "out"]


class CheckInRequest(Request, kw_only=True):
    """A ticket's code at a gate, or a member's own: then their ticket for the gate's event.

    ``event``: where the key is not bound to one.
    """

    code: Scanned
    gate: Id
    direction: Direction
    nonce: Nonce
    staff_id: Text64 | None = None
    event: Id | None = None


class CheckInReply(Reply):
    """Somebody was let through. ``entries``: how often the ticket has let somebody in so far.

    ``redemption_id``: of a first entry, which redeems the ticket.
    """

    id: str
    ok: bool
    direction: str
    coupon_id: str
    campaign_id: str
    event: str
    gate: str
    at: str
    entries: int
    redemption_id: str | None
    say: str


class OfflineScan(Request, kw_only=True):
    """Somebody whom a gate has let through by itself at ``scanned_at``."""

    code: Scanned
    gate: Id
    direction: Direction
    nonce: Nonce
    scanned_at: Time
    staff_id: Text64 | None = None
    event: Id | None = None


class OfflineScansRequest(Request):
    """Scans, in any order."""

    scans: Annotated[list[OfflineScan], Meta(min_length=1, max_length=MOST_SCANS)]


class OfflineScanItem(Reply, kw_only=True):
    """``conflict``: it would have been refused; ``code`` says why.

    ``gates``: of a ticket that was let in twice, the other gate and this one.
    """

    nonce: str
    gate: str
    status: Literal["recorded", "conflict"]
    id: str | None  # null: the code names no ticket of ours
    coupon_id: str | None
    event: str | None
    direction: str
    scanned_at: str
    redemption_id: str | None
    code: str | UnsetType = UNSET
    detail: str | UnsetType = UNSET
    gates: list[str] | UnsetType = UNSET
    other_at: str | UnsetType = UNSET


class OfflineScansReply(Reply):
    """One item a scan, in the order sent. All of them are recorded."""

    items: list[OfflineScanItem]
    recorded: int
    conflicts: int


class GateTicket(Reply):
    """A ticket that lets nobody in any more, or somebody has entered with."""

    coupon_id: str
    reason: str  # voided | refunded | transferred | redeemed
    at: str


class GateReply(Reply):
    """What a gate needs that verifies by itself. ``keys``: JWK (RFC 8037), one a key id.

    ``tickets``: those that let nobody in (any more), changed at or after ``after``. ``signed``: the
    same as a JWS (EdDSA): iss the mall, sub the event, iat, tag, times, tickets. ``tag``: what
    stands for the event in its codes, hex.
    """

    event: TicketEvent
    tag: str
    issued_at: str
    complete_until: str | None  # what happened before is all here
    keys: list[dict[str, str]]
    tickets: list[GateTicket]
    next_cursor: str | None
    signed: str
