"""The storefront: claims, offers, coupons with their terms and history, codes, void."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any, Literal

import msgspec

from api import lookups, naming, wire
from api.problems import Refused
from api.ranking import terms_of
from api.routes import Begun, Call, Reply, ShortPage, refusal, route
from engine.books import feeds
from engine.claiming import Claim
from engine.codes import Code, qr_png, qr_svg
from engine.errors import InvalidRequest
from engine.outcomes import Outcome
from engine.records import Terms
from engine.views import Answer, CouponView, Wallet

SVG, PNG = "image/svg+xml", "image/png"

CLAIM_REFUSALS = (
    Outcome.CODE_INVALID,
    Outcome.CODE_EXPIRED,
    Outcome.DIFFERENT_OWNERS,
    Outcome.CAMPAIGN_FROZEN,
    Outcome.CAMPAIGN_PAUSED,
    Outcome.CAMPAIGN_ENDED,
    Outcome.NOT_STARTED,
    Outcome.USER_FROZEN,
    Outcome.NOT_ELIGIBLE,
    Outcome.CHANNEL_NOT_ALLOWED,
    Outcome.USER_LIMIT,
    Outcome.USER_DAY_LIMIT,
    Outcome.USER_WEEK_LIMIT,
    Outcome.USER_MONTH_LIMIT,
    Outcome.SOLD_OUT,
)


def claim_refused(call: Call) -> Reply | None:
    """The refusal of a claim that this process can tell by itself (engine/doors.py)."""
    body: wire.ClaimRequest = call.body
    if call.now or body.user_id is None or body.member_code is not None:
        return None
    wire.checked_metadata(body.metadata)
    refused = call.tenant.engine.refused_here(
        body.user_id, body.campaign_id, body.channel, call.idempotency_key
    )
    return refusal(call, refused.outcome, refused.details) if refused else None


def claim_begun(call: Call) -> Begun | None:
    """The claim of somebody who is named by their user id: one question to their cell."""
    body: wire.ClaimRequest = call.body
    if body.user_id is None or body.member_code is not None:
        return None
    claiming = _claiming(call, body.user_id)

    def finish(reply: Any) -> Reply | Coroutine[Any, Any, Reply]:
        answer = claiming.known(reply)
        return _settled(call, claiming, reply) if answer is None else _claimed(call, answer)

    return Begun(claiming.begin(), finish)


def _claiming(call: Call, user_id: str) -> Claim:
    body: wire.ClaimRequest = call.body
    return Claim(
        call.tenant.engine,
        user_id=user_id,
        campaign_id=body.campaign_id,
        channel=body.channel,
        key=call.idempotency_key,
        who=call.who(),
        source=body.source,
        metadata=wire.checked_metadata(body.metadata),
        now=call.now,
        shed=True,
    )


async def _settled(call: Call, claiming: Claim, reply: Any) -> Reply:
    return _claimed(call, await claiming.settle(reply))


def _claimed(call: Call, answer: Answer[CouponView]) -> Reply:
    if answer.value is not None:
        return Reply(wire.claimed(answer.value), replayed=answer.outcome is Outcome.REPEATED)
    if answer.outcome is Outcome.INVALID_REQUEST:
        raise InvalidRequest(
            "campaign_id",
            "It has a price: order it (POST /v1/orders).",
            "该活动需购买,请使用 POST /v1/orders 下单。",
        )
    return refusal(call, answer.outcome, answer.details)


@route(
    "POST",
    "/v1/claims",
    roles={"storefront", "user"},
    body=wire.ClaimRequest,
    reply=wire.CouponReply,
    status=201,
    summary="Claim one coupon of a campaign for a user.",
    tags=("storefront",),
    errors=CLAIM_REFUSALS,
    sheds=True,
    at_once=claim_refused,
    begun=claim_begun,
)
async def claim(call: Call) -> Reply:
    body: wire.ClaimRequest = call.body
    user_id = body.user_id
    if user_id is None or body.member_code is not None:
        user_id = await naming.person_of(call, body)
    return _claimed(call, await _claiming(call, user_id).answer())


@route(
    "POST",
    "/v1/offers",
    roles={"storefront", "user"},
    body=wire.OffersRequest,
    reply=wire.OffersReply,
    idempotent=False,
    summary="Which of these campaigns a user could claim now, and what they have of each.",
    tags=("storefront",),
    errors=(Outcome.CODE_INVALID, Outcome.CODE_EXPIRED, Outcome.DIFFERENT_OWNERS),
)
async def offers(call: Call) -> Reply:
    body: wire.OffersRequest = call.body
    now, found = await call.tenant.engine.offers(
        user_id=await naming.person_of(call, body),
        campaign_ids=body.campaign_ids,
        channel=body.channel,
        now=call.now,
    )
    items = [
        wire.offer(campaign_id, one, call.language)
        for campaign_id, one in zip(body.campaign_ids, found, strict=True)
    ]
    return Reply(wire.OffersReply(server_time=wire.moment(now), items=items))


# ---- one coupon ------------------------------------------------------------------------------


class Expand(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """``expand=terms`` adds the rules in words, as issued."""

    expand: Literal["terms"] | None = None


async def _coupon(call: Call, coupon_id: str) -> tuple[Wallet, CouponView, Terms | None]:
    """A coupon with its terms; ``not_found`` when there is none."""
    wallet = await call.tenant.engine.coupon(coupon_id, now=call.now)
    if wallet is None:
        raise Refused(Outcome.NOT_FOUND)
    view = wallet.view(next(iter(wallet.coupons)))
    return wallet, view, terms_of(wallet, view)


def coupon_reply(view: CouponView, terms: Terms | None) -> wire.CouponReply:
    """A coupon as it is shown; ``terms``: those it was issued under."""
    return wire.coupon(view, terms.kind, terms.uses) if terms else wire.coupon(view)


@route(
    "GET",
    "/v1/coupons/{id}",
    roles={"storefront", "desk", "user"},
    query=Expand,
    reply=wire.CouponReply,
    summary="One coupon as of now; ?expand=terms adds its rules as issued, in words.",
    tags=("storefront",),
)
async def read_coupon(call: Call) -> Reply:
    _, view, terms = await _coupon(call, call.path["id"])
    reply = coupon_reply(view, terms)
    if call.query.expand:
        await lookups.explain(call, [reply])
    return Reply(reply)


@route(
    "GET",
    "/v1/coupons/{id}/history",
    roles={"storefront", "desk", "user"},
    query=ShortPage,
    reply=wire.HistoryReply,
    summary="Every act on a coupon, oldest first, as far as the books have come.",
    tags=("storefront",),
)
async def history(call: Call) -> Reply:
    coupon_id = call.path["id"]
    await lookups.caught_up(call.tenant)
    acts, complete = await feeds.coupon_history(call.tenant.books, call.tenant.id, coupon_id)
    if not acts:
        await _coupon(call, coupon_id)  # not_found, unless it is too new for the books
    named = call.key.role != "user"  # an end user is not told which clerk it was
    items, next_cursor = call.query.part([wire.history_item(act, named=named) for act in acts])
    return Reply(
        wire.HistoryReply(
            items=items,
            next_cursor=next_cursor,
            complete_until=wire.moment_or_none(complete or 0),
        )
    )


@route(
    "POST",
    "/v1/coupons/{id}/void",
    body=wire.VoidRequest,
    reply=wire.CouponReply,
    summary="Withdraw a coupon that is not used.",
    tags=("storefront",),
    errors=(Outcome.ALREADY_REDEEMED, Outcome.HELD, Outcome.VOIDED, Outcome.REFUNDED),
)
async def void(call: Call) -> Reply:
    answer = await call.tenant.engine.void(
        coupon_id=call.path["id"],
        key=call.idempotency_key,
        who=call.who(),
        reason=call.body.reason,
        now=call.now,
    )
    if answer.value is None:
        return refusal(call, answer.outcome, answer.details)
    return Reply(wire.coupon(answer.value), replayed=answer.outcome is Outcome.REPEATED)


# ---- codes -----------------------------------------------------------------------------------


class Form(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """Rotating: a new code every 30 s. Static: for print, good until the coupon ends.

    Offline: of a ticket, for gates that verify with the public key alone; 151 characters.
    """

    form: Literal["rotating", "static", "offline"] = "rotating"


def _show(call: Call, code: Code, external: str | msgspec.UnsetType = msgspec.UNSET) -> Reply:
    """A code as JSON or as the QR picture that Accept asks for; never kept by a cache."""
    kind = call.wants("application/json", SVG, PNG)
    headers = {"Cache-Control": "no-store", "Vary": "Accept"}
    if kind == SVG:
        return Reply(qr_svg(code.code), content_type=SVG, headers=headers)
    if kind == PNG:
        return Reply(qr_png(code.code), content_type=PNG, headers=headers)
    shown = wire.CodeReply(
        code=code.code,
        expires_at=wire.moment_or_none(code.expires_at_ms or 0),
        refresh_at=wire.moment_or_none(code.refresh_at_ms or 0),
        external_code=external,
    )
    return Reply(shown, headers=headers)


@route(
    "GET",
    "/v1/coupons/{id}/code",
    roles={"storefront", "user"},
    query=Form,
    reply=wire.CodeReply,
    summary="The code of a coupon, as text or as a QR picture.",
    tags=("codes",),
    produces=("application/json", SVG, PNG),
)
async def coupon_code(call: Call) -> Reply:
    _, view, _ = await _coupon(call, call.path["id"])
    codes, external = call.tenant.codes, wire.external_code(view.record)
    if call.query.form == "offline":
        if view.event is None:
            raise InvalidRequest("form", "Only a ticket has such a code.", "仅门票有离线码。")
        shown = codes.offline(view.id, view.event.id, view.valid_until or None)
        return _show(call, shown, external)
    if call.query.form == "static":
        return _show(call, codes.static(view.id, view.valid_until or None), external)
    return _show(call, codes.rotating(view.id, view.now), external)


@route(
    "GET",
    "/v1/users/{id}/code",
    roles={"storefront", "user"},
    reply=wire.CodeReply,
    summary="A member's own rotating code; member_code stands for user_id in any body.",
    tags=("codes",),
    produces=("application/json", SVG, PNG),
)
async def member_code(call: Call) -> Reply:
    engine, user_id = call.tenant.engine, call.path["id"]
    handle = engine.handle_of(user_id)
    if (await engine.some_coupons(handle, [], now=call.now)).user is None:
        # The code holds no user id, and a stranger's first claim may name him by it.
        await engine.set_profile(user_id=user_id, who=call.who(), now=call.now)
    return _show(call, call.tenant.codes.member(handle, call.clock()))
