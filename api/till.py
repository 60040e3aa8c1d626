"""The till: verify and resolve codes, quote, redeem or hold. What follows is in ``redemptions``."""

from __future__ import annotations

import asyncio
from typing import Any, Literal

# Registers the routes that act on a redemption once it is there.
import api.redemptions  # noqa: F401
from api import choosing, lookups, naming, quotes, wire
from api import wire_answers as answers
from api import wire_redemptions as shapes
from api.naming import Named
from api.problems import Refused
from api.routes import Call, Reply, refusal, route
from engine.codes import Scan
from engine.errors import InvalidRequest
from engine.fastpath import INVALID, MEMBER, OFFLINE, ROTATING, SIGNED_LENGTH, STALE, STATIC
from engine.outcomes import Outcome
from engine.records import AppliedCoupon, Line, Tender
from engine.rules import Judgement, judge
from engine.views import Answer, Redemption

_FORMS: dict[int, Literal["rotating", "static", "offline"]] = {
    ROTATING: "rotating", STATIC: "static", OFFLINE: "offline",
}  # fmt: skip
USE_REFUSALS = (
    Outcome.CODE_INVALID,
    Outcome.CODE_EXPIRED,
    Outcome.CAMPAIGN_FROZEN,
    Outcome.USER_FROZEN,
    Outcome.DIFFERENT_OWNERS,
    Outcome.ALREADY_REDEEMED,
    Outcome.HELD,
    Outcome.CODE_USED,
    Outcome.VOIDED,
    Outcome.REFUNDED,
    Outcome.TRANSFERRED,
    Outcome.EXPIRED,
    Outcome.NOT_YET_VALID,
    Outcome.STORE_NOT_ALLOWED,
    Outcome.CHANNEL_NOT_ALLOWED,
    Outcome.OUTSIDE_HOURS,
    Outcome.NO_ELIGIBLE_ITEMS,
    Outcome.MIN_QUANTITY,
    Outcome.MIN_SPEND,
    Outcome.STACKING_CONFLICT,
    Outcome.GROUP_LIMIT,
    Outcome.CAMPAIGN_LIMIT,
    Outcome.TOO_MANY_COUPONS,
    Outcome.POINTS_INSUFFICIENT,
    Outcome.NO_EFFECT,
)


# ---- codes and scans -------------------------------------------------------------------------


@route(
    "POST",
    "/v1/codes/verify",
    roles={"terminal", "desk", "gate", "parking"},
    body=wire.VerifyRequest,
    reply=wire.VerifyReply,
    idempotent=False,
    attempts="verify",
    summary="Whether codes are authentic and fresh; Redis is not asked.",
    tags=("codes",),
)
async def verify(call: Call) -> Reply:
    asked: list[str] = call.body.codes
    read, now = call.tenant.codes.read_many, call.clock()
    if any(len(code) >= SIGNED_LENGTH for code in asked):  # a tenth of a millisecond each
        scans = await asyncio.to_thread(read, asked, now)
    else:
        scans = read(asked, now)
    return Reply(wire.VerifyReply(items=[_verified(scan) for scan in scans]))


def _verified(scan: Scan) -> wire.VerifyItem:
    if scan.status == INVALID:
        return wire.VerifyItem(ok=False, reason="code_invalid")
    item = wire.VerifyItem(ok=scan.status != STALE)
    if scan.status == STALE:
        item.reason = "code_expired"
    item.type = "member" if scan.form == MEMBER else "coupon"
    if scan.coupon_id is not None:
        item.coupon_id = scan.coupon_id
        item.form = _FORMS[scan.form]
    return item


@route(
    "POST",
    "/v1/scans/resolve",
    roles={"terminal", "desk"},
    body=shapes.ResolveRequest,
    reply=shapes.ResolveReply,
    idempotent=False,
    say=True,
    attempts="scan",
    summary="What a scanned code is, its state, and what can be done with it in this store.",
    tags=("till",),
    errors=(Outcome.CODE_INVALID,),
)
async def resolve(call: Call) -> Reply:
    body: shapes.ResolveRequest = call.body
    call.bound_store(body.store_id)
    scan = call.tenant.codes.read(body.code, call.clock())
    if scan.status == INVALID:
        raise Refused(Outcome.CODE_INVALID)
    if scan.coupon_id is None:
        return Reply(await _resolve_member(call, scan))
    return Reply(await _resolve_coupon(call, scan, scan.coupon_id))


async def _resolve_coupon(call: Call, scan: Scan, coupon_id: str) -> shapes.ResolveReply:
    body: shapes.ResolveRequest = call.body
    store_id = call.bound_store(body.store_id)
    wallet = await call.tenant.engine.coupon(coupon_id, store_id=store_id, now=call.now)
    if wallet is None:
        raise Refused(Outcome.NOT_FOUND)
    scene = await quotes.scene_of(call, wallet, store_id, body.channel)
    one = quotes.candidate(wallet, scene, coupon_id, scan.step, scan.status == STALE)
    outcome = quotes.alone(one, scene, any_channel=body.channel is None)
    view = wallet.view(coupon_id[-11:])
    coupon = wire.coupon(view)
    await lookups.explain(call, [coupon])
    return answers.scanned("coupon", outcome, wallet.user_id, call.language, coupon=coupon)


async def _resolve_member(call: Call, scan: Scan) -> shapes.ResolveReply:
    """A member, with what they could use in this store now."""
    body: shapes.ResolveRequest = call.body
    store_id = call.bound_store(body.store_id)
    wallet = await call.tenant.engine.wallet(scan.handle, store_id=store_id, now=call.now)
    if wallet.user is None:
        raise Refused(Outcome.NOT_FOUND)
    if scan.status == STALE:
        return answers.scanned("member", Outcome.CODE_EXPIRED, wallet.user_id, call.language)
    if wallet.user.frozen:
        return answers.scanned("member", Outcome.USER_FROZEN, wallet.user_id, call.language)
    scene = await quotes.scene_of(call, wallet, store_id, body.channel)
    usable = []
    for serial in wallet.coupons:
        view = wallet.view(serial)
        one = quotes.candidate(wallet, scene, view.id)
        if quotes.alone(one, scene, any_channel=body.channel is None) is Outcome.DONE:
            usable.append(wire.coupon(view))
    usable.sort(key=lambda coupon: (coupon.valid_until or "~", coupon.id))
    return answers.scanned(
        "member",
        Outcome.DONE,
        wallet.user_id,
        call.language,
        coupons=usable[: answers.MAX_COUPONS_SHOWN],
    )


# ---- quote -----------------------------------------------------------------------------------


@route(
    "POST",
    "/v1/quotes",
    roles={"storefront", "terminal", "user"},
    body=shapes.RedemptionRequest,
    reply=shapes.QuoteReply,
    idempotent=False,
    say=True,
    summary="What a redemption would give now; nothing is written.",
    tags=("till",),
    errors=(Outcome.CODE_INVALID, Outcome.CODE_EXPIRED, Outcome.DIFFERENT_OWNERS),
)
async def quote(call: Call) -> Reply:
    body: shapes.RedemptionRequest = call.body
    store_id = call.bound_store(body.store_id)
    points = shapes.points_of(body)
    shapes.hold_seconds(body, call.tenant.settings.max_hold_seconds)
    _, lines = shapes.basket_lines(body.basket)
    person = body.user_id or body.member_code or call.key.user_id
    if body.choose is not None or (person and not body.coupons and not points):
        return Reply(await _quote_best(call, body, store_id, lines))  # of the whole wallet
    named = naming.coupons_of(call, body, strict=False)
    judgement = Judgement([], [], [])
    used: list[AppliedCoupon] = []
    paid: list[Tender] = []
    at = call.clock()
    if named.coupons or points:
        call.own_handle(named.handle)
        serials = [coupon_id[-11:] for coupon_id, _, _ in named.coupons]
        wallet = await call.tenant.engine.some_coupons(
            named.handle, serials, store_id=store_id, now=call.now
        )
        at = wallet.now
        scene = await quotes.scene_of(call, wallet, store_id, body.channel, named.member)
        hold = None
        if body.mode == "hold":
            hold = await quotes.given_up(call, wallet, store_id, body.order_ref)
        candidates, scene = await quotes.candidates_of(call, wallet, named.coupons, scene, hold)
        purse = quotes.purse_of(call, points, wallet, scene)
        judgement = judge(candidates, lines, scene, purse=purse)
        used, paid = quotes.kept(wallet, judgement), quotes.paid(wallet, judgement)
    skipped = [
        answers.skipped(item.id or None, item.outcome, item.short_by, call.language)
        for item in judgement.skipped
    ]
    reply = answers.quoted(
        body,
        named.handle,
        used,
        paid,
        lines,
        skipped + _invalid(call, named),
        store_id=store_id,
        at=at,
        language=call.language,
    )
    return Reply(reply)


async def _quote_best(
    call: Call, body: shapes.RedemptionRequest, store_id: str, lines: list[Line]
) -> shapes.QuoteReply:
    """The best offer now: every coupon of the wallet is in it, used or with the reason why not."""
    whose = choosing.person(call, body)
    call.own_handle(whose.handle)
    if whose.member is not None and whose.member.stale:  # a picture of it shows no wallet
        raise Refused(Outcome.CODE_EXPIRED, field="member_code")
    wallet, choice = await choosing.choose(call, body, whose, store_id, lines)
    reply = answers.quoted(
        body,
        whose.handle,
        quotes.kept(wallet, choice.judgement),
        quotes.paid(wallet, choice.judgement),
        lines,
        [
            answers.skipped(item.id or None, item.outcome, item.short_by, call.language)
            for item in choice.judgement.skipped
        ],
        store_id=store_id,
        at=wallet.now,
        language=call.language,
    )
    reply.exact = choice.exact
    return reply


# ---- redeem and hold -------------------------------------------------------------------------


@route(
    "POST",
    "/v1/redemptions",
    roles={"terminal"},
    body=shapes.RedemptionRequest,
    reply=shapes.RedemptionReply,
    status=201,
    say=True,
    attempts="redeem",
    summary="Redeem coupons of one person for one basket, or set them aside (mode hold).",
    tags=("till",),
    errors=USE_REFUSALS,
)
async def redeem(call: Call) -> Reply:
    body: shapes.RedemptionRequest = call.body
    tenant = call.tenant
    store_id = call.bound_store(body.store_id)
    if not store_id:
        raise InvalidRequest("store_id", "Name the store.", "请指明门店。")
    points = shapes.points_of(body)
    seconds = shapes.hold_seconds(body, tenant.settings.max_hold_seconds)
    amount, lines = shapes.basket_lines(body.basket)
    if body.choose is not None:
        best = await choosing.redeem(call, body, store_id, amount, lines, seconds)
        return await _redeemed(call, best, [])
    best_effort = body.policy == "best_effort"
    named = naming.coupons_of(call, body, strict=not best_effort)
    if not named.coupons and named.invalid:
        raise naming.bad_codes(named)
    member = named.member
    answer = await tenant.engine.redeem(
        handle=named.handle,
        coupons=named.coupons,
        store_id=store_id,
        key=call.idempotency_key,
        who=call.who(staff=body.staff_id or "", terminal=body.terminal_id or ""),
        amount=amount,
        lines=lines,
        member_step=member.step if member else 0,
        member_stale=member.stale if member else False,
        terminal_id=body.terminal_id or "",
        staff_id=body.staff_id or "",
        channel=body.channel or "",
        order_ref=body.order_ref or "",
        hold_seconds=seconds,
        best_effort=best_effort,
        points=points,
        now=call.now,
    )
    return await _redeemed(call, answer, _invalid(call, named))


async def _redeemed(call: Call, answer: Answer[Redemption], invalid: list[shapes.Skipped]) -> Reply:
    if answer.value is None:
        return refusal(call, answer.outcome, _told(answer.details) | await _until(call, answer))
    reply = answers.redeemed(answer.value, invalid, call.language)
    return Reply(reply, replayed=answer.outcome is Outcome.REPEATED)


async def _until(call: Call, answer: Answer[Redemption]) -> dict[str, int]:
    """How long a coupon is set aside, or from when it may be used (ms), if it still is so."""
    coupon_id = answer.details.get("coupon_id")
    if answer.outcome not in (Outcome.HELD, Outcome.NOT_YET_VALID) or coupon_id is None:
        return {}
    found = await call.tenant.engine.coupon(coupon_id, now=call.now)
    if found is None:
        return {}
    (view,) = map(found.view, found.coupons)
    if answer.outcome is Outcome.NOT_YET_VALID:
        return {"retry_at": view.valid_from}
    ends = [hold.until for hold in view.record.holds] or [view.record.held_until]
    ends = [end for end in ends if end > view.now]
    return {"until": min(ends)} if ends else {}


def _invalid(call: Call, named: Named) -> list[shapes.Skipped]:
    """Codes that named no coupon, as skipped."""
    return [answers.skipped(None, Outcome.CODE_INVALID, 0, call.language) for _ in named.invalid]


def _told(details: dict[str, Any]) -> dict[str, Any]:
    """What helps with a refusal; a coupon that is short of nothing does not say 0."""
    if "failed" not in details:
        return details
    failed = [
        {name: value for name, value in item.items() if name != "short_by" or value}
        for item in details["failed"]
    ]
    return details | {"failed": failed}
