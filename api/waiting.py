"""Waiting lines: joining one, asking for one's place, leaving."""

from __future__ import annotations

from typing import Any

from api import naming
from api import wire_waiting as shapes
from api.problems import Refused
from api.routes import Call, Reply, refusal, route
from api.storefront import CLAIM_REFUSALS
from engine.outcomes import Outcome

TAGS = ("waiting lines",)


@route(
    "POST",
    "/v1/campaigns/{id}/waitlist",
    roles={"storefront", "user"},
    body=shapes.WaitlistRequest,
    reply=shapes.WaitlistReply,
    status=201,
    summary="Wait for a campaign; an offer at once where there is room and nobody waits.",
    tags=TAGS,
    short=True,
    errors=(*CLAIM_REFUSALS, Outcome.POINTS_INSUFFICIENT, Outcome.ALREADY_EXISTS),
)
async def join(call: Call) -> Reply:
    body: shapes.WaitlistRequest = call.body
    if body.priority and call.key.role == "user":
        raise Refused(Outcome.FORBIDDEN, field="priority")
    answer = await call.tenant.engine.waiting.join(
        user_id=await naming.person_of(call, body),
        campaign_id=call.path["id"],
        party=body.party,
        priority=body.priority or 0,
        key=call.idempotency_key,
        who=call.who(),
        now=call.now,
    )
    if answer.value is None:
        details: dict[str, Any] = dict(answer.details)
        if answer.outcome is Outcome.ALREADY_EXISTS:
            chinese = call.language.startswith("zh")
            details["detail"] = "已在候补队列中。" if chinese else "Already in this waiting line."
        return refusal(call, answer.outcome, details)
    reply = shapes.place(answer.value, call.language)
    return Reply(reply, replayed=answer.outcome is Outcome.REPEATED)


@route(
    "GET",
    "/v1/campaigns/{id}/waitlist/{user_id}",
    roles={"storefront", "desk", "user"},
    reply=shapes.WaitlistReply,
    summary="Somebody's place in a waiting line, what they are offered, or why nothing.",
    tags=TAGS,
    short=True,
)
async def read(call: Call) -> Reply:
    found = await call.tenant.engine.waiting.place(
        user_id=call.own(call.path["user_id"]), campaign_id=call.path["id"], now=call.now
    )
    if found is None:
        raise Refused(Outcome.NOT_FOUND)
    return Reply(shapes.place(found, call.language))


@route(
    "DELETE",
    "/v1/campaigns/{id}/waitlist/{user_id}",
    roles={"storefront", "user"},
    reply=shapes.WaitlistReply,
    summary="Leave a waiting line, or decline what is offered. Again: as it is.",
    tags=TAGS,
)
async def leave(call: Call) -> Reply:
    answer = await call.tenant.engine.waiting.leave(
        user_id=call.own(call.path["user_id"]),
        campaign_id=call.path["id"],
        who=call.who(),
        now=call.now,
    )
    if answer.value is None:
        return refusal(call, answer.outcome, answer.details)
    return Reply(shapes.place(answer.value, call.language))
