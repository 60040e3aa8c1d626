"""Paying for parking: what is taken off a fee, for whom, and the exit.

``fee_id`` is the key: sent again, it is answered as before. Whose stay it is: the person recorded
for it first, else who is named, else a printed coupon that is shown, else the first user of the
plate's vehicle, else nobody.
"""

from __future__ import annotations

from dataclasses import replace

from api import naming, parking_answers, parking_stays, quotes
from api import wire_answers as answers
from api import wire_payments as shapes
from api.choosing import TRIES
from api.parking_asked import Asked, look_up, time_of, who
from api.problems import Refused
from api.routes import Call, Reply, refusal, route
from api.wire_redemptions import DEFAULT_HOLD_SECONDS, RedemptionRequest, Skipped
from engine.arithmetic import Fee
from engine.best import Choice, best
from engine.errors import InvalidRequest, Unavailable
from engine.outcomes import Outcome
from engine.parking.payments import Payment, Shown
from engine.parking.records import StayRecord
from engine.parking.stays import Session
from engine.records import CouponState, Line, RedemptionState
from engine.rules import Candidate, Scene
from engine.views import Answer, Wallet

REFUSALS = (
    Outcome.CODE_INVALID, Outcome.CODE_EXPIRED, Outcome.CAMPAIGN_FROZEN, Outcome.USER_FROZEN,
    Outcome.DIFFERENT_OWNERS, Outcome.ALREADY_REDEEMED, Outcome.HELD, Outcome.CODE_USED,
    Outcome.VOIDED, Outcome.EXPIRED, Outcome.NOT_YET_VALID, Outcome.STORE_NOT_ALLOWED,
    Outcome.CHANNEL_NOT_ALLOWED, Outcome.OUTSIDE_HOURS, Outcome.NO_ELIGIBLE_ITEMS,
    Outcome.MIN_SPEND, Outcome.STACKING_CONFLICT, Outcome.GROUP_LIMIT, Outcome.CAMPAIGN_LIMIT,
    Outcome.TOO_MANY_COUPONS, Outcome.BUDGET_EXHAUSTED, Outcome.NO_EFFECT,
    Outcome.MORE_THAN_REDEEMED, Outcome.RECEIPT_USED, Outcome.STAY_CLOSED,
)  # fmt: skip


@route(
    "POST",
    "/v1/parking/payments",
    roles={"parking", "storefront", "user"},
    body=shapes.PaymentRequest,
    reply=shapes.PaymentReply,
    idempotent=False,
    say=True,
    attempts="park",
    summary="Quote, hold or commit what is taken off the fee of a stay; fee_id is the key.",
    tags=("parking",),
    errors=REFUSALS,
)
async def pay(call: Call) -> Reply:
    body: shapes.PaymentRequest = call.body
    if call.key.role == "user" and body.mode != "quote":
        raise Refused(Outcome.FORBIDDEN)
    return await payment(call, body)


@route(
    "POST",
    "/v1/parking/exits",
    roles={"parking"},
    body=shapes.ExitRequest,
    reply=shapes.PaymentReply,
    idempotent=False,
    say=True,
    attempts="park",
    summary="A car leaves: its last payment is committed and the stay is over.",
    tags=("parking",),
    errors=REFUSALS,
)
async def leave(call: Call) -> Reply:
    body: shapes.ExitRequest = call.body
    reply = await payment(call, body.payment())
    if isinstance(reply.body, shapes.PaymentReply):
        session = Session(reply.body.lot_id, body.session_id, body.plate or "",
                          time_of("entered_at", body.entered_at) or 0)  # fmt: skip
        exited = time_of("exited_at", body.exited_at) or 0
        await call.tenant.engine.parking.leave(session, exited, who=who(call, body), now=call.now)
    return reply


async def payment(call: Call, body: shapes.PaymentRequest) -> Reply:
    """Quote, hold or commit as a request says, and answer it."""
    if body.deductions is not None and body.mode != "commit":
        raise InvalidRequest("deductions", "They go with mode commit.", "仅用于提交(commit)。")
    asked = await look_up(call, body)
    standing = await _pay(asked, "quote", Shown())
    if standing.value is None:
        return _refused(asked, standing)
    if standing.outcome is Outcome.REPEATED:
        return await _as_before(asked, standing.value)
    if asked.stay is not None and asked.stay.closed:
        raise Refused(Outcome.STAY_CLOSED)
    if body.coupons:
        done, skipped, exact = await _named(asked)
    elif body.choose is None or not asked.payer.user_id:
        done, skipped, exact = await _pay(asked, asked.mode, Shown()), None, None
    else:
        done, skipped, exact = await _best(asked, standing.value)
    if done.value is not None and asked.mode != body.mode:
        if body.deductions and not done.value.redemption_id:
            raise Refused(Outcome.NOT_FOUND, field="deductions")  # there is nothing to take off
        done = await _pay(asked, body.mode, Shown())
        if done.value is None:
            await _release_all(asked)
    if done.value is None:
        return _refused(asked, done)
    return await _reply(asked, done, skipped, exact)


async def _release_all(asked: Asked) -> None:
    """A refusal leaves nothing set aside."""
    bill, call = asked.bill, asked.call
    await call.tenant.engine.payments.give_back(
        asked.payer.handle, bill.lot_id, bill.session_id, who=call.who(), now=call.now
    )


async def _as_before(asked: Asked, standing: Payment) -> Reply:
    """A fee that has its answer: as before; a commit completes what is held under it."""
    body = asked.body
    if body.mode == "commit" and standing.record.state == RedemptionState.HELD:
        done = await _pay(asked, "commit", Shown())
        if done.value is None:
            return _refused(asked, done)
        return await _reply(asked, done, None, None)
    held = standing.record.state == RedemptionState.HELD
    quoted = (body.fee_total, body.already_paid) if held and body.mode == "quote" else None
    reply = await parking_answers.answered(
        asked.call, standing, session_id=body.session_id, quoted=quoted
    )
    return Reply(reply, replayed=body.mode != "quote")


async def _reply(
    asked: Asked, done: Answer[Payment], skipped: list[Skipped] | None, exact: bool | None
) -> Reply:
    body, call = asked.body, asked.call
    assert done.value is not None
    if skipped is None:
        handle = done.value.handle
        skipped = [
            answers.skipped(f"C{handle}{s.serial}", Outcome(s.outcome), s.short_by, call.language)
            for s in done.value.record.skipped
        ]
    quote = body.mode == "quote"
    quoted = (body.fee_total, body.already_paid) if quote else None
    reply = await parking_answers.answered(
        call, done.value, session_id=body.session_id, quoted=quoted, skipped=skipped
    )
    if exact is not None and quote:
        reply.exact = exact
    return Reply(reply, replayed=done.outcome is Outcome.REPEATED)


def _refused(asked: Asked, answer: Answer[Payment]) -> Reply:
    details = dict(answer.details)
    if isinstance(details.get("field"), str) and answer.outcome is Outcome.NOT_FOUND:
        details["field"] = "transactions" if asked.body.deductions is None else "deductions"
    return refusal(asked.call, answer.outcome, details)


# ---- coupons ---------------------------------------------------------------------------------


async def _pay(asked: Asked, mode: str, shown: Shown) -> Answer[Payment]:
    body, call = asked.body, asked.call
    longest = call.tenant.settings.max_hold_seconds
    seconds = body.hold_seconds or min(DEFAULT_HOLD_SECONDS, longest)
    if seconds > longest:
        raise InvalidRequest("hold_seconds", f"At most {longest} seconds.", f"最多 {longest} 秒。")
    vendor = None
    if body.deductions is not None:
        vendor = [(one.coupon_id or one.type or "", one.amount) for one in body.deductions]
    member = asked.member
    return await call.tenant.engine.payments.pay(
        mode,
        asked.payer,
        asked.bill,
        asked.given,
        replace(
            shown,
            member_step=member.step if member else 0,
            member_stale=bool(member and member.stale),
        ),
        who=who(call, body),
        hold_seconds=seconds,
        vendor=vendor,
        now=call.now,
    )


async def _named(asked: Asked) -> tuple[Answer[Payment], None, None]:
    """The coupons that are named; one that can't be used refuses the whole, save in a quote."""
    body, call = asked.body, asked.call
    refs = RedemptionRequest(coupons=body.coupons)
    named = naming.coupons_of(call, refs, strict=True)
    if named.handle != asked.payer.handle:
        raise Refused(Outcome.DIFFERENT_OWNERS)
    shown = Shown(named.coupons, all_or_nothing=body.mode != "quote")
    return await _pay(asked, asked.mode, shown), None, None


async def _best(
    asked: Asked, base: Payment
) -> tuple[Answer[Payment], list[Skipped] | None, bool | None]:
    """The coupons that take most off; searched again when the wallet moves meanwhile."""
    body, call = asked.body, asked.call
    for _ in range(TRIES):
        choice = await _choose(asked, base)
        untold = asked.bill.worth is None
        expected = -1 if untold else choice.judgement.discount
        coupons = [(coupon_id, 0, False) for coupon_id in choice.ids]
        done = await _pay(asked, asked.mode, Shown(coupons, searched=True, expected=expected))
        if done.outcome is not Outcome.WALLET_MOVED:
            skipped = None
            if body.mode == "quote":
                skipped = [
                    answers.skipped(s.id, s.outcome, s.short_by, call.language)
                    for s in choice.judgement.skipped
                ]
            return done, skipped, choice.exact
        again = await _pay(asked, "quote", Shown())
        if again.value is None or again.outcome is Outcome.REPEATED:
            return await _pay(asked, asked.mode, Shown()), None, None
        base = again.value
    raise Unavailable("the wallet changed at every try")


async def _choose(asked: Asked, base: Payment) -> Choice:
    """Search one snapshot, beside what takes money off without coupons (``base``)."""
    call, bill = asked.call, asked.bill
    wallet = await call.tenant.engine.wallet(asked.payer.handle, store_id=bill.lot_id, now=call.now)
    due = base.record.amount
    extra = base.record.deductions
    caps = asked.given.caps
    taken = base.minutes_before + sum(d.minutes for d in extra)
    floor = call.tenant.settings.payable_floor
    if caps[2] >= 0:
        floor = max(floor, due - max(0, caps[2] - base.payment.already_deducted))
    fee = Fee(
        asked.estimate if bill.worth is None else bill.worth,
        taken=taken,
        off=sum(d.amount for d in extra if d.minutes),
        most_minutes=max(caps[1], base.minutes_before) if caps[1] >= 0 else None,
        most_coupons=min(12, max(0, caps[0] - base.coupons_before)) if caps[0] >= 0 else 12,
        amounts=sum(d.amount for d in extra if not d.minutes and d.type != "points"),
    )
    user, member = wallet.user, asked.member
    scene = Scene(
        now=wallet.now,
        offset=call.tenant.engine.offset(wallet.now),
        store_id=bill.lot_id,
        channel=bill.channel,
        payable_floor=floor,
        user_frozen=bool(user and user.frozen),
        member_stale=bool(member and member.stale),
        member_used=bool(member and user and 0 < member.step <= user.member_step),
        fee=fee,
    )
    candidates = await _candidates(asked, wallet, scene)
    return best(candidates, [Line("1", due, 1, "", "parking")], scene)


async def _candidates(asked: Asked, wallet: Wallet, scene: Scene) -> list[Candidate]:
    """The wallet's coupons; what an open hold of this stay set aside may be chosen again.

    A lot's own system is told of parking coupons only.
    """
    rooms = quotes.rooms_of(wallet)
    found = [
        quotes.candidate(wallet, scene, f"C{wallet.handle}{serial}", rooms=rooms)
        for serial in wallet.coupons
    ]
    if asked.call.key.role == "parking":
        found = [c for c in found if _for_parking(c)]
    held = {c.record.redemption for c in found if c.record.state == CouponState.HELD}
    if held:
        bill, payer = asked.bill, asked.payer
        use = await asked.call.tenant.engine.payments.use(
            payer.handle, bill.lot_id, bill.session_id
        )
        own = {one.serial for one in use.payments} if use else set()
        found = [replace(c, own_hold=True) if c.record.redemption in own else c for c in found]
    return found


def _for_parking(candidate: Candidate) -> bool:
    terms = candidate.terms
    return terms.kind == "parking" or "parking" in (terms.include_categories or ())


# ---- the wrong plate -------------------------------------------------------------------------


async def _release(call: Call, stay: StayRecord) -> bool:
    """Release what the person of the wrong plate holds for the stay; True: something stands."""
    return await call.tenant.engine.payments.give_back(
        stay.owner, stay.lot_id, stay.session_id, who=call.who(), now=call.now
    )


parking_stays.on_correction.release = _release
