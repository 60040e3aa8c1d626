"""The events feed: for callers who ask what happened since they last did."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from msgspec import Meta

from api import lookups
from api.routes import Call, Reply, decode_cursor, encode_cursor, route
from engine.books import events
from engine.definitions import format_time
from engine.errors import InvalidRequest


class EventsQuery(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """``after`` (or ``cursor``): the ``next_cursor`` of the last answer; ``types``: by comma."""

    after: str | None = None
    cursor: str | None = None
    types: str | None = None
    limit: Annotated[int, Meta(ge=1, le=200)] = 100


class EventReply(msgspec.Struct):
    """One event; beside these, the fields that its type has."""

    id: str
    type: str
    at: str


class EventList(msgspec.Struct):
    """Events in order; ``next_cursor`` is always there: keep it and ask again.

    ``more``: some are there already.
    """

    items: list[EventReply]
    next_cursor: str
    more: bool


@route(
    "GET",
    "/v1/events",
    roles={"storefront", "payments"},
    query=EventsQuery,
    reply=EventList,
    summary="What happened, in order: issued, redeemed, reversed, orders, expiring soon, alarms.",
    tags=("events",),
)
async def feed(call: Call) -> Reply:
    query: EventsQuery = call.query
    if query.after and query.cursor:
        both = "Use after or cursor, not both.", "after 与 cursor 只能用一个。"
        raise InvalidRequest("cursor", *both)
    field, text = ("after", query.after) if query.after else ("cursor", query.cursor)
    after = decode_cursor(text, tuple[events.Position], field=field)[0] if text else None
    types = query.types.split(",") if query.types is not None else None
    if types is not None and not set(types) <= set(events.TYPES):
        raise InvalidRequest("types", f"Use some of {', '.join(events.TYPES)}.")
    tenant = call.tenant
    await lookups.caught_up(tenant)
    page = await events.feed(
        tenant.books, tenant.id, after, types, query.limit, rehearsal=tenant.rehearsal
    )
    items = [{"id": one.id, "type": one.type, **_shown(one.body)} for one in page.events]
    return Reply({"items": items, "next_cursor": encode_cursor(page.position), "more": page.more})


def _shown(body: dict[str, Any]) -> dict[str, Any]:
    shown = dict(body)
    for name in ("at", *events.MOMENTS):
        if name in shown:
            shown[name] = format_time(shown[name]) if shown[name] else None
    return shown
