"""What becomes of statements, and adjustments of what merchants are owed."""

from __future__ import annotations

from typing import Any

from api import wire_finance as shapes
from api.downloads import JSON, csv_file
from api.office import by, receipt
from api.routes import Call, Reply, decode_cursor, encode_cursor, refusal, route
from engine.books import adjustments, statement_life
from engine.books.export import CSV_TYPE, json_row
from engine.errors import InvalidRequest
from engine.outcomes import Outcome
from engine.views import Answer

TAGS = ("finance",)
_SOMEBODY_ELSE = {
    "en": "Somebody else must approve it: another key, or the same with another Hexiao-Actor.",
    "zh-CN": "须由另一人审批:使用另一个密钥,或以不同的 Hexiao-Actor 操作。",
}


# ---- the life of a statement -----------------------------------------------------------------


async def _move(call: Call, verb: str, **told: str) -> Reply:
    tenant = call.tenant
    answer = await statement_life.move(
        tenant.books,
        tenant.id,
        by(call),
        receipt(call),
        call.path["id"],
        verb,
        merchant_id=call.bound_merchant(None) or None,
        **told,
    )
    return _written(call, answer)


def _written(call: Call, answer: Answer[Any]) -> Reply:
    if answer.value is None:
        return refusal(call, answer.outcome, answer.details)
    return Reply(json_row(answer.value), replayed=answer.outcome is Outcome.REPEATED)


@route(
    "POST",
    "/v1/statements/{id}/confirm",
    roles={"merchant"},
    body=shapes.Confirmation,
    reply=shapes.StatementHead,
    summary="The merchant agrees: a closed statement, or a disputed one after all.",
    tags=TAGS,
    errors=(Outcome.WRONG_STATUS,),
)
async def confirm_statement(call: Call) -> Reply:
    return await _move(call, "confirm")


@route(
    "POST",
    "/v1/statements/{id}/dispute",
    roles={"merchant"},
    body=shapes.Dispute,
    reply=shapes.StatementHead,
    summary="The merchant does not agree with a closed statement.",
    tags=TAGS,
    errors=(Outcome.WRONG_STATUS,),
)
async def dispute_statement(call: Call) -> Reply:
    return await _move(call, "dispute", reason=call.body.reason)


@route(
    "POST",
    "/v1/statements/{id}/paid",
    roles={"finance"},
    body=shapes.Payment,
    reply=shapes.StatementHead,
    summary="A confirmed or disputed statement was paid.",
    tags=TAGS,
    errors=(Outcome.WRONG_STATUS,),
)
async def pay_statement(call: Call) -> Reply:
    return await _move(call, "pay", payment_ref=call.body.payment_ref)


# ---- adjustments -----------------------------------------------------------------------------


@route(
    "POST",
    "/v1/adjustments",
    roles={"finance"},
    body=shapes.AdjustmentRequest,
    reply=shapes.Adjustment,
    status=201,
    summary="Ask for an adjustment; it is pending until somebody else approves it.",
    tags=TAGS,
)
async def ask_for_adjustment(call: Call) -> Reply:
    tenant, body = call.tenant, call.body
    if body.amount == 0:
        raise InvalidRequest("amount", "It must not be 0.", "金额不能为 0。")
    answer = await adjustments.ask(
        tenant.books,
        tenant.id,
        by(call),
        receipt(call),
        merchant_id=body.merchant_id,
        amount=body.amount,
        reason=body.reason,
        actor=call.request.headers.get("Hexiao-Actor", ""),
    )
    return _written(call, answer)


@route(
    "POST",
    "/v1/adjustments/{id}/approve",
    roles={"finance"},
    body=shapes.Confirmation,
    reply=shapes.Adjustment,
    summary="Approve somebody else's adjustment: it is posted, and in the next statement.",
    tags=TAGS,
    errors=(Outcome.WRONG_STATUS,),
)
async def approve_adjustment(call: Call) -> Reply:
    return await _decide(call)


@route(
    "POST",
    "/v1/adjustments/{id}/reject",
    roles={"finance"},
    body=shapes.Dispute,
    reply=shapes.Adjustment,
    summary="Turn a pending adjustment down, one's own included.",
    tags=TAGS,
    errors=(Outcome.WRONG_STATUS,),
)
async def reject_adjustment(call: Call) -> Reply:
    return await _decide(call, call.body.reason)


async def _decide(call: Call, rejection: str | None = None) -> Reply:
    tenant = call.tenant
    answer = await adjustments.decide(
        tenant.books,
        tenant.id,
        by(call),
        receipt(call),
        call.path["id"],
        actor=call.request.headers.get("Hexiao-Actor", ""),
        rejection=rejection,
    )
    if answer.outcome is Outcome.FORBIDDEN:
        details = {**answer.details, "detail": _SOMEBODY_ELSE[call.language]}
        return refusal(call, answer.outcome, details)
    return _written(call, answer)


@route(
    "GET",
    "/v1/adjustments",
    roles={"finance", "merchant"},
    query=shapes.AdjustmentQuery,
    reply=shapes.AdjustmentList,
    summary="Adjustments, the newest first; a merchant sees its own that were approved.",
    tags=TAGS,
    produces=(JSON, CSV_TYPE),
)
async def list_adjustments(call: Call) -> Reply:
    query, tenant = call.query, call.tenant
    rows = await adjustments.find(
        tenant.books,
        tenant.id,
        merchant_id=call.bound_merchant(query.merchant_id) or None,
        status="approved" if call.key.role == "merchant" else query.status,
        before=decode_cursor(query.cursor, tuple[int])[0] if query.cursor else None,
        limit=query.limit + 1,
    )
    page = rows[: query.limit]
    cursor = encode_cursor(page[-1]["n"]) if len(rows) > len(page) else None
    if call.wants(JSON, CSV_TYPE) == CSV_TYPE:
        return csv_file(call, "adjustments", adjustments.COLUMNS, page)
    items = [json_row({name: row[name] for name in adjustments.COLUMNS}) for row in page]
    return Reply({"items": items, "next_cursor": cursor})
