"""What is done with a redemption once it is there: commit, release, reverse, look up."""

from __future__ import annotations

from dataclasses import replace

import msgspec

from api import lookups, parking_holds
from api import wire_answers as answers
from api import wire_redemptions as shapes
from api.problems import Refused
from api.routes import Call, Id, Page, Reply, refusal, route
from engine.books import feeds
from engine.definitions import parse_time
from engine.errors import InvalidRequest
from engine.keys import split_id
from engine.outcomes import Outcome
from engine.views import Answer, Redemption, Reversal

HOLD_REFUSALS = (
    Outcome.ALREADY_REDEEMED,
    Outcome.ALREADY_REVERSED,
    Outcome.HOLD_EXPIRED,
    Outcome.HOLD_RELEASED,
    Outcome.MORE_THAN_REDEEMED,
)
REVERSAL_REFUSALS = (
    Outcome.ALREADY_REVERSED,
    Outcome.NOTHING_TO_REVERSE,
    Outcome.MORE_THAN_REDEEMED,
)


# ---- holds -----------------------------------------------------------------------------------


@route(
    "POST",
    "/v1/redemptions/{id}/commit",
    roles={"terminal", "parking"},
    body=shapes.CommitRequest,
    reply=shapes.RedemptionReply,
    say=True,
    summary="Commit a hold: what was set aside is redeemed.",
    tags=("till",),
    errors=HOLD_REFUSALS,
)
async def commit(call: Call) -> Reply:
    body: shapes.CommitRequest = call.body
    parked = await parking_holds.bound(call, call.path["id"])
    if body.deductions is not None and (parked is None or body.amount is not None):
        raise InvalidRequest(
            "deductions", "They are a parking payment's, alone.", "仅用于停车缴费的提交。"
        )
    if parked is not None:
        done = await parking_holds.commit(call, parked, body.deductions)
        if done is not None and done.value is None:
            return refusal(call, done.outcome, done.details)
        if done is not None and done.value is not None:
            return _finished(done, answers.committed(done.value, call.language))
    answer = await call.tenant.engine.commit(
        redemption_id=call.path["id"],
        key=call.idempotency_key,
        who=call.who(staff=body.staff_id or "", terminal=body.terminal_id or ""),
        store_id=call.key.store_id,
        amount=body.amount,
        now=call.now,
    )
    if answer.outcome is Outcome.MORE_THAN_REDEEMED:
        zh = call.language.startswith("zh")
        text = "多于占用的储值和积分金额。" if zh else "More than was set aside to pay with."
        return refusal(call, answer.outcome, {**answer.details, "detail": text})
    if answer.value is None:
        return refusal(call, answer.outcome, answer.details)
    return _finished(answer, answers.committed(answer.value, call.language))


@route(
    "POST",
    "/v1/redemptions/{id}/release",
    roles={"terminal", "parking"},
    body=shapes.ReleaseRequest,
    reply=shapes.RedemptionReply,
    say=True,
    summary="Release a hold: what was set aside is free again.",
    tags=("till",),
    errors=HOLD_REFUSALS,
)
async def release(call: Call) -> Reply:
    body: shapes.ReleaseRequest = call.body
    await parking_holds.bound(call, call.path["id"])
    answer = await call.tenant.engine.release(
        redemption_id=call.path["id"],
        key=call.idempotency_key,
        who=call.who(staff=body.staff_id or "", terminal=body.terminal_id or ""),
        store_id=call.key.store_id,
        now=call.now,
    )
    if answer.value is None:
        return refusal(call, answer.outcome, answer.details)
    return _finished(answer, answers.released(answer.value, call.language))


def _finished(answer: Answer[Redemption], reply: shapes.RedemptionReply) -> Reply:
    return Reply(reply, replayed=answer.outcome is Outcome.REPEATED)


# ---- reversals -------------------------------------------------------------------------------


@route(
    "POST",
    "/v1/redemptions/{id}/reversals",
    roles={"terminal", "desk", "parking"},
    body=shapes.ReversalRequest,
    reply=shapes.ReversalReply,
    status=201,
    say=True,
    summary="Reverse a redemption: all that is left of it, or the goods named by line.",
    tags=("till",),
    errors=REVERSAL_REFUSALS,
)
async def reverse(call: Call) -> Reply:
    body: shapes.ReversalRequest = call.body
    await parking_holds.bound(call, call.path["id"])
    answer = await call.tenant.engine.reverse(
        redemption_id=call.path["id"],
        key=call.idempotency_key,
        who=call.who(staff=body.staff_id or "", terminal=body.terminal_id or ""),
        reason=body.reason,
        lines=None if body.lines is None else [(line.id, line.amount) for line in body.lines],
        restore=body.restore,
        store_id=call.key.store_id,
        now=call.now,
    )
    if answer.value is None:
        return refusal(call, answer.outcome, answer.details)
    until = await _returned_until(call, answer.value)
    reply = answers.reversal(answer.value, until, call.language)
    return Reply(reply, replayed=answer.outcome is Outcome.REPEATED)


async def _returned_until(call: Call, done: Reversal) -> dict[str, int]:
    """Until when the coupons that went back are valid: an expired one stays expired."""
    serials = [serial for serial, _, returned in done.record.coupons if returned]
    if not serials:
        return {}
    wallet = await call.tenant.engine.some_coupons(done.redemption.handle, serials, now=call.now)
    return {serial: wallet.view(serial).valid_until for serial in wallet.coupons}


# ---- look-ups --------------------------------------------------------------------------------


@route(
    "GET",
    "/v1/redemptions/{id}",
    roles={"terminal", "desk", "parking", "storefront", "finance", "user"},
    reply=shapes.RedemptionReply,
    summary="A redemption as it is now, with its reversals.",
    tags=("till",),
)
async def read(call: Call) -> Reply:
    redemption_id = call.path["id"]
    place = split_id("R", redemption_id)
    if place is None:
        raise Refused(Outcome.NOT_FOUND)
    call.own_handle(place[0])
    tenant = call.tenant
    found = await tenant.engine.redemption(redemption_id, now=call.now)
    if found is None:
        found = await feeds.redemption_from_books(tenant.books, tenant.id, redemption_id)
        if found is None:
            raise Refused(Outcome.NOT_FOUND)
        found = replace(found, now=call.clock())
    call.bound_store(found.record.store_id)
    call.bound_lot(found.record.lot_id)
    if call.key.lot_id and not found.record.lot_id:
        raise Refused(Outcome.FORBIDDEN)
    return Reply(answers.looked_up(found, call.language))


class RedemptionsQuery(Page, kw_only=True):
    """Redemptions by what is known of them; ``from`` inclusive, ``to`` exclusive."""

    order_ref: str | None = None
    coupon_id: Id | None = None
    store_id: Id | None = None
    terminal_id: Id | None = None
    start: str | None = msgspec.field(name="from", default=None)
    end: str | None = msgspec.field(name="to", default=None)


@route(
    "GET",
    "/v1/redemptions",
    roles={"terminal", "desk", "finance"},
    query=RedemptionsQuery,
    reply=shapes.RedemptionList,
    summary="Redemptions that the books hold, newest first.",
    tags=("till",),
)
async def find(call: Call) -> Reply:
    query: RedemptionsQuery = call.query
    await lookups.caught_up(call.tenant)  # a till asks right after what it did
    page, next_cursor = await feeds.find_redemptions(
        call.tenant.books,
        call.tenant.id,
        feeds.RedemptionFilter(
            order_ref=query.order_ref,
            coupon_id=query.coupon_id,
            store_id=call.bound_store(query.store_id) or None,
            terminal_id=query.terminal_id,
            start_ms=_time("from", query.start),
            end_ms=_time("to", query.end),
        ),
        cursor=query.cursor,
        limit=query.limit,
    )
    now = call.clock()
    items = [answers.looked_up(replace(found, now=now), call.language) for found in page]
    return Reply(shapes.RedemptionList(items=items, next_cursor=next_cursor))


def _time(name: str, text: str | None) -> int | None:
    if text is None:
        return None
    try:
        return parse_time(text)
    except ValueError:
        raise InvalidRequest(name, "It must be an RFC 3339 time.") from None
