"""What apps tell of their visitors, and the funnel that comes of it."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Literal

import msgspec

from api import naming
from api import wire_reports as shapes
from api.downloads import JSON
from api.office import receipt
from api.reports import asked, told
from api.routes import Call, Id, Reply, moment, refusal, route
from api.wire import Scanned
from engine.books import tracking
from engine.books.definitions import fingerprint_of
from engine.books.export import CSV_TYPE
from engine.books.reports import funnel
from engine.books.tracking import Event
from engine.definitions import Time
from engine.errors import InvalidRequest
from engine.outcomes import Outcome

TAGS = ("reports",)
AHEAD_MS = 24 * 3_600_000  # how far a phone's clock may be ahead


class TrackedEvent(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """Something a visitor did or saw, at the time that the app says; a member code is of now."""

    type: Literal[
        "exposure", "click", "open", "choose", "order", "pay", "pay_failed", "signup", "help"
    ]
    user_id: Id | None = None
    member_code: Scanned | None = None
    channel: Id
    campaign_id: Id | None = None
    entry: Annotated[str, msgspec.Meta(min_length=1, max_length=64)] | None = None
    occurred_at: Time


class TrackRequest(msgspec.Struct, forbid_unknown_fields=True):
    """At most 1000 events. The same event again is harmless.

    Events are the same when person, type, campaign and time are.
    """

    events: Annotated[list[TrackedEvent], msgspec.Meta(max_length=1000)]


class Tracked(msgspec.Struct):
    """``repeated``: of the accepted events, those that were known already."""

    accepted: int
    repeated: int


@route(
    "POST",
    "/v1/track",
    roles={"storefront", "user"},
    body=TrackRequest,
    reply=Tracked,
    summary="Tell what visitors saw and did; end users tell of themselves.",
    tags=TAGS,
    errors=(Outcome.CODE_INVALID, Outcome.CODE_EXPIRED, Outcome.DIFFERENT_OWNERS),
)
async def track(call: Call) -> Reply:
    body: TrackRequest = call.body
    tenant, now, events = call.tenant, call.clock(), []
    known: dict[tuple[str, str | None], str] = {}  # by the codes that stand for them
    for n, one in enumerate(body.events):
        if one.member_code is None:
            if one.user_id is None:
                raise InvalidRequest(f"events[{n}].user_id", "Name the person.", "请指明用户。")
            user_id = call.own(one.user_id)
        else:
            named = one.member_code, one.user_id
            user_id = known.get(named) or await naming.person_of(call, one)
            known[named] = user_id
        occurred = moment(f"events[{n}].occurred_at", one.occurred_at)
        if occurred > now + AHEAD_MS or occurred < 0:
            raise InvalidRequest(
                f"events[{n}].occurred_at", "It lies in the future.", "时间在未来。"
            )
        events.append(
            Event(user_id, one.type, one.campaign_id or "", occurred, one.channel, one.entry or "")
        )
    # Who a code stands for is the same request, whichever of their codes it is.
    ticket = replace(receipt(call), fingerprint=fingerprint_of(events))
    if call.key.role == "user":  # a key is scoped by the person acted on
        ticket = replace(ticket, scope=f"{ticket.scope}/{call.key.user_id}")
    answer = await tracking.track(tenant.books, tenant.id, events, ticket, now)
    if answer.value is None:
        return refusal(call, answer.outcome, answer.details)
    return Reply(answer.value, replayed=answer.outcome is Outcome.REPEATED)


@route(
    "GET",
    "/v1/reports/funnel",
    roles={"finance"},
    query=shapes.ReportQuery,
    reply=shapes.Funnel,
    summary="How many people were seen at each step, by channel, store, campaign and entry.",
    tags=TAGS,
    produces=(JSON, CSV_TYPE),
)
async def report_funnel(call: Call) -> Reply:
    groups, (start, end), as_of = await asked(call, "channel", funnel.GROUPS)
    tenant = call.tenant
    rows = await funnel.funnel(tenant.books, tenant.id, groups, start, end)
    said = {step: both[call.language != "en"] for step, both in funnel.DEFINITIONS.items()}
    return told(call, "funnel", groups, (*groups, *funnel.STEPS), rows, as_of, definitions=said)
