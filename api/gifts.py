"""Giving on: gifts from one person to another, printed coupons that somebody takes."""

from __future__ import annotations

from api import lookups, naming, wire
from api import wire_gifts as shapes
from api.problems import Refused
from api.routes import Call, Reply, refusal, route
from engine.gift_records import GiftState
from engine.gifts import Gift
from engine.keys import split_id
from engine.outcomes import Outcome
from engine.views import Answer

TAGS = ("gifts",)
RECEIVING = (
    Outcome.CODE_INVALID,
    Outcome.CODE_EXPIRED,
    Outcome.CAMPAIGN_FROZEN,
    Outcome.USER_FROZEN,
    Outcome.NOT_ELIGIBLE,
    Outcome.USER_LIMIT,
    Outcome.USER_DAY_LIMIT,
    Outcome.USER_WEEK_LIMIT,
    Outcome.USER_MONTH_LIMIT,
    Outcome.NOT_TRANSFERABLE,
)
NOT_FREE = (
    Outcome.CAMPAIGN_FROZEN,
    Outcome.USER_FROZEN,
    Outcome.ALREADY_REDEEMED,
    Outcome.HELD,
    Outcome.VOIDED,
    Outcome.REFUNDED,
    Outcome.TRANSFERRED,
    Outcome.EXPIRED,
    Outcome.NOT_TRANSFERABLE,
)


def _gift_id(call: Call) -> str:
    """The gift that the code in the path names; ``not_found`` for any other text."""
    gift_id = call.tenant.gift_codes.read(call.path["gift_code"])
    if gift_id is None:
        raise Refused(Outcome.NOT_FOUND)
    return gift_id


async def _reply(
    call: Call, found: Gift, *, status: shapes.GiftStatus | None = None, replayed: bool = False
) -> Reply:
    """A gift with what it gives, in words."""
    engine = call.tenant.engine
    wallet = await engine.coupon(found.coupon_id, now=call.now)
    if wallet is None:
        raise Refused(Outcome.NOT_FOUND)
    view = wallet.view(found.record.coupon)
    coupon = wire.as_given(view, view.record.used, view.record.spent)
    await lookups.explain(call, [coupon])
    mine = call.key.role != "user" or engine.handle_of(call.key.user_id) == wallet.handle
    code = call.tenant.gift_codes.code(found.id)
    reply = shapes.gift(found, code, coupon, status=status, named=mine)
    return Reply(reply, replayed=replayed, headers={"Cache-Control": "no-store"})


@route(
    "POST",
    "/v1/coupons/{id}/gifts",
    roles={"storefront", "user"},
    body=shapes.GiftRequest,
    reply=shapes.GiftReply,
    status=201,
    summary="Offer a coupon as a gift: who has the code may take it, the first one does.",
    tags=TAGS,
    errors=NOT_FREE,
)
async def offer(call: Call) -> Reply:
    answer = await call.tenant.engine.gifts.offer(
        coupon_id=call.path["id"],
        seconds=call.body.seconds,
        key=call.idempotency_key,
        who=call.who(),
        now=call.now,
    )
    if answer.value is None:
        return refusal(call, answer.outcome, answer.details)
    replayed = answer.outcome is Outcome.REPEATED
    return await _reply(call, answer.value, status="open", replayed=replayed)


@route(
    "GET",
    "/v1/gifts/{gift_code}",
    roles={"storefront", "desk", "user"},
    reply=shapes.GiftReply,
    summary="What is given, until when, and whether it is still there.",
    tags=TAGS,
)
async def read(call: Call) -> Reply:
    found = await call.tenant.engine.gifts.read(_gift_id(call), now=call.now)
    if found is None:
        raise Refused(Outcome.NOT_FOUND)
    return await _reply(call, found)


@route(
    "POST",
    "/v1/gifts/{gift_code}/accept",
    roles={"storefront", "user"},
    body=shapes.AcceptRequest,
    reply=wire.CouponReply,
    status=201,
    summary="Accept a gift: the coupon is the receiver's. One wins, whoever asks at once.",
    tags=TAGS,
    errors=(*RECEIVING, Outcome.VOIDED, Outcome.GIFT_TAKEN, Outcome.GIFT_EXPIRED),
)
async def accept(call: Call) -> Reply:
    answer = await call.tenant.engine.gifts.accept(
        gift_id=_gift_id(call),
        user_id=await naming.person_of(call, call.body),
        key=call.idempotency_key,
        who=call.who(),
        now=call.now,
    )
    return await _received(call, answer)


@route(
    "POST",
    "/v1/gifts/{gift_code}/decline",
    roles={"storefront", "user"},
    body=shapes.DeclineRequest,
    reply=shapes.GiftReply,
    summary="Decline a gift: it is its giver's again.",
    tags=TAGS,
    errors=(Outcome.GIFT_TAKEN, Outcome.GIFT_EXPIRED),
)
async def decline(call: Call) -> Reply:
    return await _end(call, GiftState.DECLINED)


@route(
    "DELETE",
    "/v1/gifts/{gift_code}",
    roles={"storefront", "user"},
    reply=shapes.GiftReply,
    summary="Take a gift back that nobody has accepted.",
    tags=TAGS,
    errors=(Outcome.GIFT_TAKEN, Outcome.GIFT_EXPIRED),
)
async def take_back(call: Call) -> Reply:
    call.own_handle(_gift_id(call)[1:17])
    return await _end(call, GiftState.TAKEN_BACK)


async def _end(call: Call, how: GiftState) -> Reply:
    answer = await call.tenant.engine.gifts.end(
        gift_id=_gift_id(call), how=how, who=call.who(), now=call.now
    )
    if answer.value is None:
        return refusal(call, answer.outcome, answer.details)
    return await _reply(call, answer.value, replayed=answer.outcome is Outcome.REPEATED)


@route(
    "POST",
    "/v1/coupons/{id}/take",
    roles={"storefront", "user"},
    body=shapes.AcceptRequest,
    reply=wire.CouponReply,
    status=201,
    summary="Bring a printed coupon into a wallet, named by its id or by what is printed on it.",
    tags=TAGS,
    errors=(*RECEIVING, *NOT_FREE),
)
async def take(call: Call) -> Reply:
    name = call.path["id"]
    if split_id("C", name) is None:
        scan = call.tenant.codes.read(name, call.clock())
        if scan.coupon_id is None or scan.step:
            raise Refused(Outcome.NOT_FOUND)
        name = scan.coupon_id
    answer = await call.tenant.engine.gifts.take(
        coupon_id=name,
        user_id=await naming.person_of(call, call.body),
        key=call.idempotency_key,
        who=call.who(),
        now=call.now,
    )
    return await _received(call, answer)


async def _received(call: Call, answer: Answer[str]) -> Reply:
    """The receiver's coupon as it came."""
    if answer.value is None:
        return refusal(call, answer.outcome, answer.details)
    wallet = await call.tenant.engine.coupon(answer.value, now=call.now)
    if wallet is None:
        raise Refused(Outcome.NOT_FOUND)
    view = wallet.view(next(iter(wallet.coupons)))
    return Reply(wire.claimed(view), replayed=answer.outcome is Outcome.REPEATED)
