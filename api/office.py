"""The office: campaigns, their stock, the settings, and what a mall tells of its members.

What is written is committed to the books first and brought to every cell before the answer; if
the cells cannot be reached the answer is 503, and the same request again brings it there.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import Any

from msgspec import UNSET, to_builtins

from api import lookups
from api import wire_office as shapes
from api.problems import Refused
from api.routes import Call, Reply, decode_cursor, encode_cursor, refusal, route
from engine.books import definitions_campaigns as campaigns
from engine.books import definitions_directory as directory
from engine.books import definitions_events as events
from engine.books.definitions import Body, By, Receipt, answered, change, fingerprint_of
from engine.books.definitions_campaigns import CampaignRow
from engine.definitions import (
    Campaign,
    InvalidDefinitionError,
    Problem,
    check_campaign,
    parse_time,
)
from engine.definitions.advice import advice, named_audiences, named_merchants, named_stores
from engine.definitions.exposure import max_exposure
from engine.errors import InvalidRequest, Unavailable
from engine.outcomes import Outcome
from engine.views import Answer, Live

IF_MATCH = {
    "parameters": [
        {
            "name": "If-Match",
            "in": "header",
            "description": "The revision that was read, as ETag says it; none: whatever it is.",
            "schema": {"type": "string", "pattern": '^(\\*|(W/)?"?[0-9]{1,18}"?)$'},
        }
    ]
}
_REVISION = re.compile(r'(?:W/)?"?(\d{1,18})"?')


# ---- what all definitions have in common -----------------------------------------------------


def by(call: Call) -> By:
    """Who asks, for the audit."""
    return By(call.actor, call.key.id, call.key.label, call.key.role, call.clock())


def receipt(call: Call) -> Receipt:
    """What makes this POST safe to repeat; its key is scoped by the resource in the path."""
    scope = call.route.path.removeprefix("/v1/").format(**call.path)
    return Receipt(scope, call.idempotency_key, fingerprint_of(call.body), call.route.status)


def if_match(call: Call) -> int | None:
    """The revision that the caller has read; None when it does not say (or says ``*``)."""
    given = call.request.headers.get("If-Match", "*").strip()
    if given == "*":
        return None
    match = _REVISION.fullmatch(given)
    if match is None:
        raise InvalidRequest("If-Match", "It must be a revision.", "必须为版本号。")
    return int(match[1])


def invalid_definition(call: Call, problems: list[Problem]) -> Refused:
    """The refusal that names each thing wrong with a definition, the first by ``field``."""
    first = problems[0]
    return Refused(
        Outcome.INVALID_REQUEST,
        field=first.field or None,
        detail=first.detail(call.language),
        errors=[{"field": p.field, "detail": p.detail(call.language)} for p in problems]
        if len(problems) > 1
        else None,
    )


async def written(
    call: Call, answer: Answer[Body], publish: Callable[[], Awaitable[None]] | None = None
) -> Reply:
    """The reply to a definitional write, once the cells have it too."""
    if answer.value is None:
        return refusal(call, answer.outcome, answer.details)
    if publish is not None:
        await publish()
    await call.gate.refresh()  # whoever asks this process next meets what was written
    return Reply(answer.value, replayed=answer.outcome is Outcome.REPEATED)


def tagged(reply: Reply) -> Reply:
    """The reply with its revision as ETag."""
    if isinstance(reply.body, dict) and "revision" in reply.body:
        reply.headers = {"ETag": f'"{reply.body["revision"]}"'}
    return reply


# ---- campaigns -------------------------------------------------------------------------------


async def live_of(call: Call, campaign_id: str) -> Live | None:
    """The campaign's counters, or None while Redis can't be asked: definitions stay readable."""
    try:
        return await call.tenant.engine.live(campaign_id)
    except Unavailable:
        return None


async def _publish(call: Call, campaign_id: str, event_id: str = "") -> None:
    """Bring a campaign to the cells; ``event_id``: with all campaigns of the event."""
    tenant = call.tenant
    event = await events.campaigns_of(tenant.books, tenant.id, event_id) if event_id else []
    for one in event or [campaign_id]:
        await tenant.control.publish_campaign(one, who=call.who(), now=call.now)
        tenant.engine.forget_live(one)
        await tenant.engine.waiting.published(one, call.now)


@route(
    "POST",
    "/v1/campaigns",
    body=Campaign,
    query=shapes.CreateQuery,
    reply=shapes.CampaignReply,
    status=201,
    summary="Create a campaign; with dry_run=true only say what it could cost.",
    tags=("campaigns",),
    errors=(Outcome.ALREADY_EXISTS,),
    extra={"responses": {"200": shapes.DRY_RUN_RESPONSE}},
)
async def create_campaign(call: Call) -> Reply:
    tenant, campaign = call.tenant, call.body
    if problems := check_campaign(campaign):
        raise invalid_definition(call, problems)
    if call.query.dry_run:
        return await _dry_run(call, campaign)

    event = await tenant.engine.quotas(campaign.event.id) if campaign.event else ()

    def render(row: CampaignRow) -> Body:
        live = shapes.untouched(row, event)
        return shapes.campaign_reply(row, live, tenant.cells, call.language)

    try:
        answer = await campaigns.create_campaign(
            tenant.books, tenant.id, tenant.cells, by(call), receipt(call), campaign, render
        )
    except InvalidDefinitionError as error:
        raise invalid_definition(call, error.problems) from None
    return tagged(await written(call, answer, lambda: _publish(call, campaign.id)))


async def _dry_run(call: Call, campaign: Campaign) -> Reply:
    tenant = call.tenant
    if await campaigns.get_campaign(tenant.books, tenant.id, campaign.id):
        raise Refused(Outcome.ALREADY_EXISTS, field="id")
    if problems := await events.disagreements(tenant.books, tenant.id, campaign):
        raise invalid_definition(call, problems)
    missing = await directory.missing(
        tenant.books,
        tenant.id,
        stores=named_stores(campaign),
        merchants=named_merchants(campaign),
        audiences=named_audiences(campaign),
    )
    stores = await lookups.all_stores(tenant)
    closed = [one for one in named_stores(campaign) if one in stores and stores[one].closed]
    exposure = max_exposure(campaign, call.clock(), tenant.timezone)
    warnings = advice(
        campaign, tenant.cells, call.clock(), missing, closed=closed, exposure=exposure
    )
    body = {
        "warnings": [one.text(call.language) for one in warnings],
        "max_exposure": exposure,
    }
    return Reply(body, status=200)


@route(
    "GET",
    "/v1/campaigns",
    roles={"storefront", "desk", "finance"},
    query=shapes.CampaignQuery,
    reply=shapes.CampaignList,
    summary="Campaigns by id, with what is left of each.",
    tags=("campaigns",),
)
async def list_campaigns(call: Call) -> Reply:
    tenant, query = call.tenant, call.query
    after = decode_cursor(query.cursor, tuple[str])[0] if query.cursor else ""
    rows = await campaigns.list_campaigns(
        tenant.books, tenant.id, status=query.status, after=after, limit=query.limit + 1,
        drafts=call.key.role == "operator",
    )
    page = rows[: query.limit]
    lives = await asyncio.gather(*(live_of(call, row.id) for row in page))
    items = [
        shapes.campaign_reply(row, live, tenant.cells, call.language)
        for row, live in zip(page, lives, strict=True)
    ]
    more = len(rows) > query.limit
    return Reply({"items": items, "next_cursor": encode_cursor(items[-1]["id"]) if more else None})


@route(
    "GET",
    "/v1/campaigns/{id}",
    roles={"storefront", "desk", "finance"},
    reply=shapes.CampaignReply,
    summary="One campaign, with what is left of it.",
    tags=("campaigns",),
)
async def get_campaign(call: Call) -> Reply:
    tenant, campaign_id = call.tenant, call.path["id"]
    row = await campaigns.get_campaign(tenant.books, tenant.id, campaign_id)
    if row is None or (row.status == "draft" and call.key.role != "operator"):
        raise Refused(Outcome.NOT_FOUND)
    live = await live_of(call, campaign_id)
    return tagged(Reply(shapes.campaign_reply(row, live, tenant.cells, call.language)))


@route(
    "PATCH",
    "/v1/campaigns/{id}",
    body=dict[str, Any],
    accepts=("application/json", "application/merge-patch+json"),
    reply=shapes.CampaignReply,
    summary="Change a campaign (JSON Merge Patch); If-Match names the revision that was read.",
    tags=("campaigns",),
    errors=(Outcome.REVISION_CHANGED,),
    extra=IF_MATCH,
)
async def patch_campaign(call: Call) -> Reply:
    tenant, campaign_id = call.tenant, call.path["id"]
    live, event = await live_of(call, campaign_id), await _patched_event(call)

    async def withdraw(event_id: str, quota_id: str, number: int) -> Sequence[int] | None:
        await tenant.control.quotas.publish(event_id)
        changes: list[int] | None = await tenant.control.quotas.withdraw(
            event_id, quota_id, number
        )
        return changes

    def render(row: CampaignRow) -> Body:
        return shapes.campaign_reply(row, live, tenant.cells, call.language)

    try:
        answer = await campaigns.patch_campaign(
            tenant.books, tenant.id, by(call), campaign_id, call.body, if_match(call), render,
            withdraw,
        )
    except InvalidDefinitionError as error:
        raise invalid_definition(call, error.problems) from None
    reply = await written(call, answer, lambda: _publish(call, campaign_id, event))
    if event and isinstance(reply.body, dict) and (now := await live_of(call, campaign_id)):
        reply.body["live"] = shapes.live_reply(now)
    return tagged(reply)


async def _patched_event(call: Call) -> str:
    """The event that a patch may change, "" else; its quotas are as the books have them."""
    tenant = call.tenant
    row = await campaigns.get_campaign(tenant.books, tenant.id, call.path["id"])
    if row is None or row.body["event"] is None or "event" not in call.body:
        return ""
    event_id = str(row.body["event"]["id"])
    await events.restate_quotas(tenant.books, tenant.id, by(call), event_id)
    await tenant.control.quotas.publish(event_id)  # an earlier try may have been cut off
    return event_id


@route(
    "POST",
    "/v1/campaigns/{id}/stock",
    body=shapes.StockRequest,
    reply=shapes.CampaignReply,
    summary="Add stock or budget, or take away what is left (negative).",
    tags=("campaigns",),
)
async def add_stock(call: Call) -> Reply:
    tenant, campaign_id, body = call.tenant, call.path["id"], call.body
    asks, ticket = by(call), receipt(call)
    lowers = min(body.add, body.add_budget) < 0
    lowers = lowers and await answered(tenant.books, tenant.id, ticket) is None
    if lowers and await campaigns.restate(tenant.books, tenant.id, asks, campaign_id):
        # An earlier try may have been cut off: bring the cells to what the books say.
        await _publish(call, campaign_id)
    tenant.engine.forget_live(campaign_id)
    live = await live_of(call, campaign_id)

    async def withdraw(_: str, number: int, what: str) -> list[int] | None:
        await _publish(call, campaign_id)
        changes: list[int] | None = await tenant.control.withdraw(
            campaign_id, number, what, who=call.who()
        )
        return changes

    def render(row: CampaignRow) -> Body:
        return shapes.campaign_reply(row, _moved(live, body), tenant.cells, call.language)

    answer = await campaigns.add_stock(
        tenant.books, tenant.id, asks, ticket, campaign_id, body.add, render, withdraw,
        add_budget=body.add_budget,
    )
    return tagged(await written(call, answer, lambda: _publish(call, campaign_id)))


def _moved(live: Live | None, body: shapes.StockRequest) -> Live | None:
    """The counters as they are about to be."""
    if live is None:
        return None
    left, money = live.left, live.budget_left
    return replace(
        live,
        left=None if left is None else left + body.add,
        budget_left=None if money is None else money + body.add_budget,
    )


# ---- settings --------------------------------------------------------------------------------


@route(
    "GET",
    "/v1/settings",
    reply=shapes.SettingsReply,
    summary="The settings, every default filled in.",
    tags=("settings",),
)
async def get_settings(call: Call) -> Reply:
    settings = await directory.get_settings(call.tenant.books, call.tenant.id)
    return tagged(Reply(shapes.settings_reply(settings)))


@route(
    "PATCH",
    "/v1/settings",
    body=dict[str, Any],
    accepts=("application/json", "application/merge-patch+json"),
    reply=shapes.SettingsReply,
    summary="Change settings (JSON Merge Patch); If-Match names the revision that was read.",
    tags=("settings",),
    errors=(Outcome.REVISION_CHANGED,),
    extra=IF_MATCH,
)
async def patch_settings(call: Call) -> Reply:
    tenant = call.tenant
    try:
        answer = await directory.patch_settings(
            tenant.books, tenant.id, by(call), shapes.settings_patch(call.body), if_match(call)
        )
    except InvalidDefinitionError as error:
        raise invalid_definition(call, error.problems) from None
    if answer.value is not None:
        answer = Answer(answer.outcome, shapes.settings_reply(answer.value))
    return tagged(await written(call, answer, tenant.control.publish_settings))


# ---- people ----------------------------------------------------------------------------------


@route(
    "PUT",
    "/v1/users/{id}",
    body=shapes.ProfileRequest,
    reply=shapes.ProfileReply,
    summary="Tell a member's tier and whether they are frozen; what is absent stays.",
    tags=("users",),
)
async def put_user(call: Call) -> Reply:
    body: shapes.ProfileRequest = call.body
    tenant, user_id = call.tenant, call.path["id"]
    tier_until: int | None = None
    if body.tier_until is not UNSET:
        tier_until = _time("tier_until", body.tier_until)
    elif body.tier is not UNSET:
        tier_until = 0
    answer = await tenant.engine.set_profile(
        user_id=user_id,
        who=call.who(),
        tier=None if body.tier is UNSET else body.tier or "",
        tier_until=tier_until,
        frozen=None if body.frozen is UNSET else body.frozen,
        now=call.now,
    )
    if answer.value is None:
        return refusal(call, answer.outcome, answer.details)

    async def work(doing: Any) -> Body:
        await doing.note("user.put", f"user:{user_id}", to_builtins(body))
        return {}

    await change(tenant.books, tenant.id, by(call), work, defines=False)
    return Reply(shapes.profile_reply(user_id, answer.value))


def _time(field: str, text: str | None) -> int:
    try:
        return parse_time(text) if text is not None else 0
    except ValueError:
        raise InvalidRequest(field, "This is no date and time.", "不是有效的日期时间。") from None


@route(
    "POST",
    "/v1/audiences/{id}/members",
    body=shapes.MembersRequest,
    reply=shapes.MembersReply,
    max_body=2 << 20,  # twice ten thousand ids
    summary="Put members into an audience, or take them out.",
    tags=("users",),
)
async def set_members(call: Call) -> Reply:
    tenant, body, audience_id = call.tenant, call.body, call.path["id"]
    if set(body.add) & set(body.remove):
        raise InvalidRequest(
            "remove", "Someone is both added and removed.", "同一会员同时被添加和移除。"
        )
    ticket = receipt(call)
    known = await answered(tenant.books, tenant.id, ticket)
    if known is not None:
        return await written(call, known)
    told = await tenant.engine.set_members(
        audience_id=audience_id, add=body.add, remove=body.remove, who=call.who(), now=call.now
    )

    async def work(doing: Any) -> Body:
        counts = {"add": len(body.add), "remove": len(body.remove)}
        await doing.note("audience.members", f"audience:{audience_id}", counts)
        return {"audience_id": audience_id, "changed": told.value}

    answer = await change(tenant.books, tenant.id, by(call), work, receipt=ticket, defines=False)
    return await written(call, answer)
