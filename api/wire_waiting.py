"""JSON ↔ acts for waiting lines: shapes and translation, no I/O."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import UNSET, Meta, UnsetType

from api.routes import Id
from api.wire import Reply, Request, Scanned, moment
from engine.outcomes import sentence
from engine.waiting import MOST_PARTY, MOST_PRIORITY, Place

WaitlistStatus = Literal[
    "waiting", "offered", "taken", "declined", "lapsed", "skipped", "left", "ended"
]
TOO_MANY = ("There is room, but not yet for so many.", "有余位,但暂不足以容纳整组。")


class WaitlistRequest(Request):
    """Wait for a campaign; ``party``: how many are wanted together, all or none.

    The higher ``priority``, the earlier; an end user has none.
    """

    user_id: Id | None = None
    member_code: Scanned | None = None
    party: Annotated[int, Meta(ge=1, le=MOST_PARTY)] = 1
    priority: Annotated[int, Meta(ge=0, le=MOST_PRIORITY)] | None = None


class WaitlistOffer(Reply):
    """What is set aside for somebody: an order, paid or claimed before it expires."""

    order_id: str
    expires_at: str


class WaitlistReply(Reply):
    """Somebody's place; ``position`` and ``ahead`` are null once they do not wait any more.

    ``why``: a code, why they wait or were passed; ``detail`` says it.
    """

    status: WaitlistStatus
    position: int | None
    ahead: int | None
    offer: WaitlistOffer | UnsetType = UNSET
    why: str | UnsetType = UNSET
    detail: str | UnsetType = UNSET


def place(found: Place, language: str) -> WaitlistReply:
    """A place as it is answered."""
    waits = found.position > 0
    reply = WaitlistReply(
        status=found.status,  # type: ignore[arg-type]
        position=found.position if waits else None,
        ahead=found.position - 1 if waits else None,
    )
    if found.offer is not None:
        reply.offer = WaitlistOffer(order_id=found.offer[0], expires_at=moment(found.offer[1]))
    if found.too_many and found.position == 1:
        reply.why, reply.detail = "party", TOO_MANY[language.startswith("zh")]
    elif found.why is not None:
        reply.why, reply.detail = found.why.code, sentence(found.why, language)
    return reply
