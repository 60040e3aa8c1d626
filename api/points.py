"""Points and purchases: what the payment platform and the office tell, what a member has."""

from __future__ import annotations

from typing import cast

from api import lookups, naming
from api import wire_points as shapes
from api.routes import Call, Page, Reply, decode_cursor, encode_cursor, refusal, route
from api.wire import moment_or_none
from engine.books import points as looking
from engine.errors import InvalidRequest
from engine.outcomes import Outcome
from engine.points import ALL, Entry
from engine.views import Answer

AHEAD_MS = 86_400_000  # how far ahead of ours the clock of a payment platform may be
_NAMING = (Outcome.CODE_INVALID, Outcome.CODE_EXPIRED, Outcome.DIFFERENT_OWNERS)

# ---- entries ---------------------------------------------------------------------------------


async def _credit(
    call: Call, body: shapes.PointsRequest | shapes.AdjustRequest, kind: str, points: int
) -> Reply:
    available, expires = shapes.times_of(body, incoming=points > 0)
    answer = await call.tenant.engine.points.credit(
        user_id=await naming.person_of(call, body),
        kind=kind,
        points=points,
        key=call.idempotency_key,
        who=call.who(),
        reason=body.reason,
        ref=body.ref,
        available=available,
        expires=expires,
        now=call.now,
    )
    if answer.outcome is Outcome.INVALID_REQUEST:
        raise InvalidRequest(
            "expires_at", "It must be in the future, after available_at.", "必须是将来的时间。"
        )
    return _told(call, answer)


def _told(call: Call, answer: Answer[Entry]) -> Reply:
    if answer.value is None:
        return refusal(call, answer.outcome, answer.details)
    return Reply(shapes.entry(answer.value), replayed=answer.outcome is Outcome.REPEATED)


@route(
    "POST",
    "/v1/points/earn",
    roles={"payments"},
    body=shapes.PointsRequest,
    reply=shapes.EntryReply,
    status=201,
    summary="Give a person points; a debt is repaid first.",
    tags=("points",),
    errors=_NAMING,
)
async def earn(call: Call) -> Reply:
    return await _credit(call, call.body, "earn", call.body.points)


@route(
    "POST",
    "/v1/points/spend",
    roles={"payments"},
    body=shapes.PointsRequest,
    reply=shapes.EntryReply,
    status=201,
    summary="Take points that a person spends, those that expire first.",
    tags=("points",),
    errors=(*_NAMING, Outcome.USER_FROZEN, Outcome.POINTS_INSUFFICIENT),
)
async def spend(call: Call) -> Reply:
    return await _credit(call, call.body, "spend", -call.body.points)


@route(
    "POST",
    "/v1/points/adjust",
    body=shapes.AdjustRequest,
    reply=shapes.EntryReply,
    status=201,
    summary="Correct a person's points, either way; never below what there is.",
    tags=("points",),
    errors=(*_NAMING, Outcome.POINTS_INSUFFICIENT),
)
async def adjust(call: Call) -> Reply:
    if call.body.points == 0:
        raise InvalidRequest("points", "It must not be 0.", "不能为 0。")
    return await _credit(call, call.body, "adjust", call.body.points)


@route(
    "POST",
    "/v1/points/entries/{id}/reversals",
    roles={"payments"},
    body=shapes.PointsReversalRequest,
    reply=shapes.EntryReply,
    status=201,
    summary="Reverse an entry, in part or whole, by an entry of its own.",
    tags=("points",),
    errors=(
        Outcome.POINTS_INSUFFICIENT,
        Outcome.ALREADY_REVERSED,
        Outcome.NOTHING_TO_REVERSE,
        Outcome.MORE_THAN_REDEEMED,
    ),
)
async def reverse(call: Call) -> Reply:
    body: shapes.PointsReversalRequest = call.body
    answer = await call.tenant.engine.points.reverse(
        entry_id=call.path["id"],
        key=call.idempotency_key,
        who=call.who(),
        points=ALL if body.points is None else body.points,
        policy=body.policy,
        reason=body.reason,
        now=call.now,
    )
    return _told(call, answer)


@route(
    "GET",
    "/v1/users/{id}/points",
    roles={"storefront", "payments", "desk", "user"},
    reply=shapes.PointsReply,
    summary="A person's points now: balance, worth, pending, set aside, owed, and what expires.",
    tags=("points",),
)
async def read_points(call: Call) -> Reply:
    user_id = call.path["id"]
    purse = await call.tenant.engine.points.purse(user_id, now=call.now)
    return Reply(shapes.points(user_id, purse, call.tenant.settings.points_per_yuan))


@route(
    "GET",
    "/v1/users/{id}/points/entries",
    roles={"storefront", "payments", "desk", "finance", "user"},
    query=Page,
    reply=shapes.PointsEntries,
    summary="Every entry of a person's points, newest first, as far as the books have come.",
    tags=("points",),
)
async def read_entries(call: Call) -> Reply:
    tenant, query = call.tenant, call.query or Page()
    before: looking.Place | None = None
    if query.cursor:
        before = cast("looking.Place", decode_cursor(query.cursor, looking.Place))
    complete = await lookups.held_until(tenant)
    rows = await looking.entries_of(
        tenant.books, tenant.id, call.path["id"], before=before, limit=query.limit + 1
    )
    shown = rows[: query.limit]
    cursor = None
    if len(rows) > query.limit:
        last = shown[-1]
        cursor = encode_cursor(last.at_ms, last.epoch, last.seq, last.position)
    return Reply(
        shapes.PointsEntries(
            items=[shapes.booked(row) for row in shown],
            next_cursor=cursor,
            complete_until=moment_or_none(complete or 0),
        )
    )


# ---- purchases -------------------------------------------------------------------------------


@route(
    "POST",
    "/v1/purchases",
    roles={"payments"},
    body=shapes.PurchaseRequest,
    reply=shapes.PurchaseReply,
    status=201,
    summary="Take in a purchase; it earns once, however often and in whatever order it is told.",
    tags=("points",),
    errors=(*_NAMING, Outcome.IDEMPOTENCY_KEY_REUSED, Outcome.ALREADY_EXISTS),
)
async def purchase(call: Call) -> Reply:
    body: shapes.PurchaseRequest = call.body
    occurred = shapes.time_of("occurred_at", body.occurred_at)
    if occurred > call.clock() + AHEAD_MS:
        raise InvalidRequest("occurred_at", "It lies in the future.", "不能是将来的时间。")
    answer = await call.tenant.engine.points.purchase(
        transaction_id=body.transaction_id,
        user_id=await naming.person_of(call, body),
        store_id=body.store_id,
        amount=body.amount,
        occurred=occurred,
        key=call.idempotency_key,
        who=call.who(),
        channel=body.channel,
        receipt_no=body.receipt_no,
        now=call.now,
    )
    if answer.value is None:
        return refusal(call, answer.outcome, answer.details)
    return Reply(shapes.purchase(answer.value), replayed=answer.outcome is Outcome.REPEATED)


@route(
    "GET",
    "/v1/purchases/{id}",
    roles={"payments", "desk"},
    reply=shapes.PurchaseView,
    summary="A purchase by its transaction, as it stands after refunds.",
    tags=("points",),
)
async def read_purchase(call: Call) -> Reply:
    record = await call.tenant.engine.points.purchase_of(call.path["id"])
    if record is None:
        return refusal(call, Outcome.NOT_FOUND)
    return Reply(shapes.purchase_view(record))


@route(
    "POST",
    "/v1/purchases/{id}/refunds",
    roles={"payments"},
    body=shapes.PurchaseRefundRequest,
    reply=shapes.PurchaseRefundReply,
    status=201,
    summary="Take in a refund, before its purchase even: what was earned goes back in proportion.",
    tags=("points",),
    errors=(
        *_NAMING,
        Outcome.IDEMPOTENCY_KEY_REUSED,
        Outcome.ALREADY_EXISTS,
        Outcome.MORE_THAN_REDEEMED,
    ),
)
async def refund(call: Call) -> Reply:
    body: shapes.PurchaseRefundRequest = call.body
    answer = await call.tenant.engine.points.refund(
        transaction_id=call.path["id"],
        refund_id=body.refund_id,
        user_id=await naming.person_of(call, body),
        amount=body.amount,
        key=call.idempotency_key,
        who=call.who(),
        now=call.now,
    )
    if answer.value is None:
        return refusal(call, answer.outcome, answer.details)
    return Reply(shapes.refund(*answer.value), replayed=answer.outcome is Outcome.REPEATED)
