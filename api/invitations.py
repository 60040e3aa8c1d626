"""Invitations: a code to pass on; friends take it up, and both sides are rewarded once."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, UnsetType
from sqlalchemy.exc import SQLAlchemyError

from api.jobs import campaign_row
from api.naming import person_of
from api.office import by, receipt, written
from api.problems import Refused
from api.routes import Call, Id, Reply, route
from api.wire import Scanned
from engine import social
from engine.books import invitations
from engine.books.definitions import answered, fingerprint_of
from engine.books.definitions_campaigns import get_campaign
from engine.definitions import Campaign, InviteRules, parse_time
from engine.errors import InvalidRequest, Unavailable
from engine.fastpath import serial_of
from engine.outcomes import Outcome

TAGS = ("invitations",)
CLOSED = {
    "frozen": Outcome.CAMPAIGN_FROZEN,
    "paused": Outcome.CAMPAIGN_PAUSED,
    "ended": Outcome.CAMPAIGN_ENDED,
    "draft": Outcome.NOT_STARTED,
}
CLOSED_REFUSALS = tuple(CLOSED.values())
Condition = Literal["registered", "first_purchase"]


class InvitationRequest(msgspec.Struct, forbid_unknown_fields=True):
    """Who invites, to which campaign; on which terms, where the campaign has no ``invite``."""

    campaign_id: Id
    inviter: Id
    condition: Condition | None = None  # registered
    needs: Annotated[int, msgspec.Meta(ge=1, le=1000)] | None = None  # 1


class InvitationReply(msgspec.Struct, kw_only=True):
    """A code to pass on; the same for the same person and campaign."""

    code: str
    campaign_id: str
    inviter: str
    condition: Condition
    needs: int  # friends who meet it, for the inviter's reward
    reward_friend: str  # the campaign that each of them gets one of


class InvitedRequest(msgspec.Struct, forbid_unknown_fields=True):
    """The friend, who is registered by now."""

    user_id: Id | None = None
    member_code: Scanned | None = None


class InvitedReply(msgspec.Struct, kw_only=True):
    """Taken up; ``met``: whether the condition was met with that. Rewards follow by themselves."""

    code: str
    campaign_id: str
    user_id: str
    met: bool


class Reward(msgspec.Struct, kw_only=True):
    """What became of somebody's reward; ``code``: why it was refused."""

    status: Literal["waiting", "issued", "refused"]
    coupon_id: str | UnsetType = UNSET
    code: str | UnsetType = UNSET


class Friend(msgspec.Struct, kw_only=True):
    """One who took it up."""

    user_id: str
    met: bool
    reward: Reward


class InvitationState(InvitationReply, kw_only=True):
    """How far an invitation has come; ``friends``: the first 1,000."""

    met: int
    reward: Reward
    friends: list[Friend]


def open_campaign(campaign: Campaign, now: int) -> Outcome | None:
    """Why a campaign gives nothing out now, whoever asks; None = it does."""
    start, end = campaign.issue.start, campaign.issue.end
    if campaign.status in CLOSED:
        return CLOSED[campaign.status]
    if end is not None and now >= parse_time(end):
        return Outcome.CAMPAIGN_ENDED
    if start is not None and now < parse_time(start):
        return Outcome.NOT_STARTED
    return None


async def campaign_of(call: Call, campaign_id: str) -> Campaign:
    """A campaign; ``not_found``."""
    row = await campaign_row(call, campaign_id, "campaign_id")
    return msgspec.convert(row.body, Campaign)


def same(field: str, asked: Any, said: Any) -> None:
    """What a request may say again of its campaign; InvalidRequest where it says otherwise."""
    if asked not in (None, said):
        raise InvalidRequest(field, f"It is {said} here.", f"此处的设置为 {said}。")


def _rules(campaign: Campaign, body: InvitationRequest) -> InviteRules:
    """The terms of an invitation: the campaign's, else the request's."""
    rules = campaign.invite
    if rules is not None:
        same("condition", body.condition, rules.condition)
        same("needs", body.needs, rules.needs)
        return rules
    if campaign.group or campaign.issue.channels is not None:
        raise Refused(Outcome.CHANNEL_NOT_ALLOWED)
    if campaign.issue.price or campaign.issue.points_price:
        free = "What is given for invitations is free.", "邀请奖励必须免费。"
        raise InvalidRequest("campaign_id", *free)
    return InviteRules(condition=body.condition or "registered", needs=body.needs or 1)


@route(
    "POST",
    "/v1/invitations",
    roles={"storefront"},
    body=InvitationRequest,
    reply=InvitationReply,
    status=201,
    summary="A code by which a member invites friends to a campaign.",
    tags=TAGS,
    errors=(*CLOSED_REFUSALS, Outcome.CHANNEL_NOT_ALLOWED),
)
async def invite(call: Call) -> Reply:
    body: InvitationRequest = call.body
    tenant, engine = call.tenant, call.tenant.engine
    ticket = receipt(call)
    ticket = replace(ticket, scope=f"{ticket.scope}/{body.inviter}")
    campaign = await campaign_of(call, body.campaign_id)
    if (known := await answered(tenant.books, tenant.id, ticket)) is not None:
        return await written(call, known)
    rules = _rules(campaign, body)
    handle = engine.handle_of(body.inviter)
    code = handle[:8] + serial_of(engine.mall.handle_key, "invitation", handle, campaign.id, 0)
    async with tenant.books.connect() as connection:
        begun = await invitations.find(connection, tenant.id, code)
    if begun is not None:  # invited before, on terms that stay
        same("condition", body.condition, begun.condition)
        same("needs", body.needs, begun.needs)
    row = {
        "code": code,
        "campaign_id": campaign.id,
        "inviter": body.inviter,
        "condition": rules.condition,
        "needs": rules.needs,
        "reward_friend": rules.reward_friend or campaign.id,
    }
    closed = open_campaign(campaign, call.clock())
    answer = await invitations.invite(tenant.books, tenant.id, by(call), ticket, row, closed)
    return await written(call, answer)


@route(
    "POST",
    "/v1/invitations/{code}/accept",
    roles={"storefront"},
    body=InvitedRequest,
    reply=InvitedReply,
    summary="A friend takes an invitation up, once a campaign; not one's own, and not in a circle.",
    tags=TAGS,
    errors=(*CLOSED_REFUSALS, Outcome.NOT_ELIGIBLE, Outcome.ALREADY_EXISTS),
)
async def accept(call: Call) -> Reply:
    user_id, code = await person_of(call, call.body), call.path["code"]
    tenant = call.tenant
    async with tenant.books.connect() as connection:
        found = await invitations.find(connection, tenant.id, code)
    if found is None:
        raise Refused(Outcome.NOT_FOUND)
    ticket = receipt(call)
    ticket = replace(ticket, scope=f"{ticket.scope}/{user_id}", fingerprint=fingerprint_of(user_id))
    row = await get_campaign(tenant.books, tenant.id, found.campaign_id)
    assert row is not None
    answer = await invitations.accept(
        tenant.books, tenant.id, by(call), ticket, code, user_id, call.now,
        open_campaign(msgspec.convert(row.body, Campaign), call.clock()),
    )  # fmt: skip
    reply = await written(call, answer)
    if answer.value is not None:
        with contextlib.suppress(Unavailable, SQLAlchemyError, OSError):  # later, then
            await social.reward(tenant.books, tenant.engine, code)
    return reply


@route(
    "GET",
    "/v1/invitations/{code}",
    roles={"storefront", "desk"},
    reply=InvitationState,
    summary="An invitation: who took it up, and what became of the rewards.",
    tags=TAGS,
)
async def read(call: Call) -> Reply:
    found = await invitations.read(call.tenant.books, call.tenant.id, call.path["code"])
    if found is None:
        raise Refused(Outcome.NOT_FOUND)
    row, friends = found
    met = await invitations.met(call.tenant.books, call.tenant.id, row.code)
    state = InvitationState(
        code=row.code,
        campaign_id=row.campaign_id,
        inviter=row.inviter,
        condition=row.condition,
        needs=row.needs,
        reward_friend=row.reward_friend,
        met=met,
        reward=_reward(row),
        friends=[
            Friend(user_id=one.user_id, met=one.met_ms > 0, reward=_reward(one)) for one in friends
        ],
    )
    return Reply(state)


def _reward(row: Any) -> Reward:
    return Reward(status=row.state, coupon_id=row.coupon_id or UNSET, code=row.why or UNSET)
