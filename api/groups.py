"""Groups: so many people find each other in time, or everybody's place is free again."""

from __future__ import annotations

import contextlib
from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, UnsetType
from sqlalchemy.exc import SQLAlchemyError

from api.invitations import CLOSED_REFUSALS, campaign_of, open_campaign, same
from api.naming import person_of
from api.office import by, written
from api.problems import Refused
from api.routes import Call, Id, Reply, refusal, route
from api.storefront import CLAIM_REFUSALS
from api.wire import Scanned, moment
from engine import social
from engine.books import groups
from engine.books.definitions import Body, Receipt, answered, fingerprint_of
from engine.definitions import Campaign, GroupRules
from engine.errors import InvalidRequest, Unavailable
from engine.outcomes import Outcome

TAGS = ("groups",)
DAY_MINUTES = 1440
Status = Literal["forming", "formed", "released"]


class GroupRequest(msgspec.Struct, forbid_unknown_fields=True):
    """Who begins a group; ``size``: what the campaign's ``group`` says, free where it has none."""

    campaign_id: Id
    user_id: Id | None = None
    member_code: Scanned | None = None
    size: Annotated[int, msgspec.Meta(ge=2, le=100)] | None = None


class JoinRequest(msgspec.Struct, forbid_unknown_fields=True):
    """Who joins."""

    user_id: Id | None = None
    member_code: Scanned | None = None


class GroupReply(msgspec.Struct, kw_only=True):
    """A group; ``order_id``: the caller's place, to be paid once it has formed, if it has a price.

    A free coupon is issued with it.
    """

    id: str
    campaign_id: str
    size: int
    joined: int
    status: Status
    expires_at: str
    order_id: str


class Member(msgspec.Struct, kw_only=True):
    """One who joined; ``code``: why the place could not be kept. Others' orders are not shown."""

    user_id: str
    joined_at: str
    status: Literal["held", "ready", "issued", "released", "refused"]
    order_id: str | UnsetType = UNSET
    code: str | UnsetType = UNSET


class GroupState(msgspec.Struct, kw_only=True):
    """A group as of now, and who is in it."""

    id: str
    campaign_id: str
    size: int
    joined: int
    status: Status
    expires_at: str
    members: list[Member]


def _rules(campaign: Campaign, size: int | None) -> GroupRules:
    """How many, in which time: the campaign's terms, else the request's and a day."""
    if campaign.group is not None:
        same("size", size, campaign.group.size)
        return campaign.group
    if size is None:
        raise InvalidRequest("size", "Say how many.", "请填写成团人数。")
    if campaign.issue.points_price:
        raise InvalidRequest("campaign_id", "Points buy no place.", "积分兑换的活动不能拼团。")
    return GroupRules(size=size, minutes=DAY_MINUTES)


@route(
    "POST",
    "/v1/groups",
    roles={"storefront", "user"},
    body=GroupRequest,
    reply=GroupReply,
    status=201,
    summary="Begin a group: the first place is held until it has formed, or its time is over.",
    tags=TAGS,
    errors=(*CLOSED_REFUSALS, *CLAIM_REFUSALS),
)
async def begin(call: Call) -> Reply:
    body: GroupRequest = call.body
    engine = call.tenant.engine
    user_id = await person_of(call, body)
    campaign = await campaign_of(call, body.campaign_id)
    asked = fingerprint_of(campaign.id, user_id, body.size)  # whichever picture of them was shown
    ticket = _receipt(call, f"groups/{user_id}", asked)
    if (known := await _known(call, ticket)) is not None:
        return known
    rules = _rules(campaign, body.size)
    if closed := open_campaign(campaign, call.clock()):
        return refusal(call, closed)
    handle = engine.handle_of(user_id)
    now = call.clock()
    serial = engine.serials("group", handle, call.idempotency_key, now)[0]
    group: Body = {
        "id": f"G{handle}{serial}",
        "campaign_id": campaign.id,
        "size": rules.size,
        "free": int(campaign.issue.price == 0),
        "created_ms": now,
        "expires_ms": now + rules.minutes * 60_000,
        "clock_ms": call.now,
    }
    begun = await groups.read(call.tenant.books, call.tenant.id, group["id"])
    if begun is not None:  # and its answer was lost with its receipt
        group["expires_ms"] = begun.row.expires_ms
    return await _enter(call, ticket, group, user_id)


@route(
    "POST",
    "/v1/groups/{id}/join",
    roles={"storefront", "user"},
    body=JoinRequest,
    reply=GroupReply,
    summary="Join a group; with the last one it has formed.",
    tags=TAGS,
    errors=(*CLAIM_REFUSALS, Outcome.ORDER_EXPIRED),
)
async def join(call: Call) -> Reply:
    tenant, user_id = call.tenant, await person_of(call, call.body)
    group = await groups.read(tenant.books, tenant.id, call.path["id"])
    if group is None:
        raise Refused(Outcome.NOT_FOUND)
    ticket = _receipt(call, f"groups/{group.row.id}/join/{user_id}", fingerprint_of(user_id))
    if (known := await _known(call, ticket)) is not None:
        return known
    if group.member(user_id) is None and (closed := group.closed(call.clock())):
        await _settle(call, group.row.id)
        return refusal(call, closed)
    columns = {name: getattr(group.row, name) for name in ("id", "campaign_id", "expires_ms")}
    return await _enter(call, ticket, {**columns, "clock_ms": call.now}, user_id)


def _receipt(call: Call, scope: str, fingerprint: str) -> Receipt:
    """Scoped by the person acted on."""
    return Receipt(scope, call.idempotency_key, fingerprint, call.route.status)


async def _known(call: Call, ticket: Receipt) -> Reply | None:
    """The answer that this request has had."""
    answer = await answered(call.tenant.books, call.tenant.id, ticket)
    return None if answer is None else _shown(await written(call, answer))


async def _enter(call: Call, ticket: Receipt, group: Body, user_id: str) -> Reply:
    """Hold a place and come in with it."""
    tenant, engine = call.tenant, call.tenant.engine
    campaign_id, group_id = group["campaign_id"], group["id"]
    if await groups.elsewhere(
        tenant.books, tenant.id, campaign_id, user_id, call.clock(), group_id
    ):
        return refusal(call, Outcome.USER_LIMIT)
    order_id = ""
    known = await groups.read(tenant.books, tenant.id, group_id)
    if known is None or known.member(user_id) is None:
        place = await social.place(
            engine, group_id=group_id, campaign_id=campaign_id, user_id=user_id,
            expires=group["expires_ms"], who=call.who(), now=call.now,
        )  # fmt: skip
        if place.value is None:
            return refusal(call, place.outcome, place.details)
        order_id = place.value.id
    answer = await groups.enter(tenant.books, tenant.id, by(call), ticket, group, user_id, order_id)
    if answer.value is None:
        if order_id and answer.outcome is not Outcome.IDEMPOTENCY_KEY_REUSED:
            await social.give_up(engine, order_id, call.now)
        return refusal(call, answer.outcome, answer.details)
    if answer.value["status"] == groups.FORMED:
        await _settle(call, group_id)
    return _shown(await written(call, answer))


async def _settle(call: Call, group_id: str) -> None:
    """At once if that can be, else soon (engine/social.py)."""
    with contextlib.suppress(Unavailable, SQLAlchemyError, OSError):
        await social.settle(call.tenant.books, call.tenant.engine, group_id, call.now)


def _shown(reply: Reply) -> Reply:
    if isinstance(reply.body, dict) and "expires_ms" in reply.body:
        told = dict(reply.body)
        told["expires_at"] = moment(told.pop("expires_ms"))
        reply.body = told
    return reply


@route(
    "GET",
    "/v1/groups/{id}",
    roles={"storefront", "desk", "user"},
    reply=GroupState,
    summary="A group and who is in it.",
    tags=TAGS,
)
async def read(call: Call) -> Reply:
    tenant, now = call.tenant, call.clock()
    group = await groups.read(tenant.books, tenant.id, call.path["id"])
    if group is None:
        raise Refused(Outcome.NOT_FOUND)
    if group.row.state == groups.FORMING and group.status(now) != groups.FORMING:
        await _settle(call, group.row.id)
        group = await groups.read(tenant.books, tenant.id, call.path["id"]) or group
    row = group.row
    state = GroupState(
        id=row.id,
        campaign_id=row.campaign_id,
        size=row.size,
        joined=row.joined,
        status=group.status(now),  # type: ignore[arg-type]  # one of them
        expires_at=moment(row.expires_ms),
        members=[_member(call, one) for one in group.members],
    )
    return Reply(state)


def _member(call: Call, row: Any) -> Member:
    own = call.key.role != "user" or call.key.user_id == row.user_id
    return Member(
        user_id=row.user_id,
        joined_at=moment(row.joined_ms),
        status=row.state,
        order_id=row.order_id if own else UNSET,
        code=row.why or UNSET,
    )
