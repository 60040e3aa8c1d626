"""Finance: statements, the postings feed, balances, reports; as JSON and as files."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import orjson

from api import wire_finance as shapes
from api.problems import Refused
from api.routes import Call, Page, Reply, decode_cursor, encode_cursor, refusal, route
from engine.books import feeds, settlement, statement_files, statements
from engine.books.definitions import By, Receipt, fingerprint_of
from engine.books.export import CSV_TYPE, XLSX_TYPE, csv_bytes, json_row
from engine.books.reports import attribution, postings, redemptions, stock
from engine.definitions import parse_time
from engine.errors import InvalidRequest
from engine.outcomes import Outcome

JSON, NDJSON = "application/json", "application/x-ndjson"
UTF8_CSV = f"{CSV_TYPE}; charset=utf-8"
JSON_LIMIT, FILE_LIMIT = 200, 10_000
TAGS = ("finance",)


# ---- statements ------------------------------------------------------------------------------


@route(
    "POST",
    "/v1/statements",
    roles={"finance"},
    body=shapes.StatementRequest,
    reply=shapes.Statements,
    status=201,
    summary="Settle a period: a statement for each merchant with anything to settle.",
    tags=TAGS,
    errors=(Outcome.PERIOD_OPEN, Outcome.PERIOD_OVERLAPS),
)
async def close_period(call: Call) -> Reply:
    body: shapes.StatementRequest = call.body
    start, end = _time("start", body.start), _time("end", body.end)
    if start >= end:
        raise InvalidRequest("end", "It must be after start.", "必须晚于 start。")
    tenant = call.tenant
    at = await settlement.reach(
        tenant.books, tenant.engine.server, tenant.id, rehearsal=tenant.rehearsal, now=call.now
    )
    answer = await settlement.close_period(
        tenant.books,
        tenant.id,
        By(call.actor, call.key.id, call.key.label, call.key.role, at.clock),
        at,
        merchant_id=body.merchant_id,
        start=start,
        end=end,
        receipt=Receipt(
            "statements", call.idempotency_key, fingerprint_of(body.merchant_id, start, end), 201
        ),
    )
    if answer.value is None:
        return refusal(call, answer.outcome, answer.details)
    items = [json_row(statement) for statement in answer.value["items"]]
    return Reply({"items": items}, replayed=answer.outcome is Outcome.REPEATED)


@route(
    "GET",
    "/v1/statements",
    roles={"finance", "merchant"},
    query=shapes.StatementQuery,
    reply=shapes.StatementList,
    summary="Statements without their lines, the latest period first.",
    tags=TAGS,
)
async def list_statements(call: Call) -> Reply:
    query: shapes.StatementQuery = call.query
    after = decode_cursor(query.cursor, tuple[int, str]) if query.cursor else None
    merchant_id = call.bound_merchant(query.merchant_id) or None
    found = await statements.find_statements(
        call.tenant.books, call.tenant.id, merchant_id, after, query.limit + 1
    )
    page = found[: query.limit]
    more = len(found) > len(page)
    cursor = encode_cursor(page[-1]["start"], page[-1]["id"]) if more else None
    return Reply({"items": [json_row(row) for row in page], "next_cursor": cursor})


@route(
    "GET",
    "/v1/statements/{id}",
    roles={"finance", "merchant"},
    reply=shapes.Statement,
    summary="One statement, to the fen the sum of its postings: JSON, CSV or XLSX.",
    tags=TAGS,
    produces=(JSON, CSV_TYPE, XLSX_TYPE),
)
async def read_statement(call: Call) -> Reply:
    statement = await _statement(call)
    wanted = call.wants(JSON, CSV_TYPE, XLSX_TYPE)
    if wanted == CSV_TYPE:
        return _file(statement_files.lines_csv(statement, call.language), statement["id"], "csv")
    if wanted == XLSX_TYPE:
        tenant = call.tenant
        body = await statement_files.workbook(
            tenant.books, tenant.id, statement, call.language, tenant.timezone
        )
        return _file(body, statement["id"], "xlsx")
    return Reply(json_row(statement))


@route(
    "GET",
    "/v1/statements/{id}/entries",
    roles={"finance", "merchant"},
    query=Page,
    reply=shapes.EntryList,
    summary="Each act of a statement, with its order: a page in JSON, all of them in CSV.",
    tags=TAGS,
    produces=(JSON, CSV_TYPE),
)
async def list_entries(call: Call) -> Reply:
    statement = await _statement(call)
    books, tenant, name = call.tenant.books, call.tenant.id, statement["id"]
    if call.wants(JSON, CSV_TYPE) == CSV_TYPE:
        body = await statement_files.entries_csv(books, tenant, name, call.language)
        return _file(body, f"{name}-entries", "csv")
    query: Page = call.query
    after = decode_cursor(query.cursor, statements.Position) if query.cursor else None
    rows, last = await statements.entries_of(books, tenant, name, after, query.limit)
    cursor = encode_cursor(*last) if last else None
    return Reply({"items": [json_row(row) for row in rows], "next_cursor": cursor})


async def _statement(call: Call) -> dict[str, Any]:
    """The statement that the path names; a merchant's key sees its own only."""
    found = await statements.statement(call.tenant.books, call.tenant.id, call.path["id"])
    if found is None or (call.key.merchant_id and call.key.merchant_id != found["merchant_id"]):
        raise Refused(Outcome.NOT_FOUND)
    return found


# ---- the journal -----------------------------------------------------------------------------


@route(
    "GET",
    "/v1/books/postings",
    roles={"finance"},
    query=shapes.PostingQuery,
    reply=shapes.PostingList,
    summary="Every posting in order of its gapless number, with control totals for each page.",
    tags=TAGS,
    produces=(JSON, NDJSON, CSV_TYPE),
)
async def list_postings(call: Call) -> Reply:
    query: shapes.PostingQuery = call.query
    wanted = call.wants(JSON, NDJSON, CSV_TYPE)
    most = JSON_LIMIT if wanted == JSON else FILE_LIMIT
    limit = query.limit or most
    if limit > most:
        raise InvalidRequest("limit", f"At most {most} here.", f"此格式最多 {most}。")
    after = decode_cursor(query.cursor, tuple[int])[0] if query.cursor else query.after
    rows = await postings.feed(call.tenant.books, call.tenant.id, after, limit)
    control = postings.control(rows, after)
    if wanted == CSV_TYPE:
        trailer = ["control", *(f"{name}={value}" for name, value in control.items())]
        body = csv_bytes(postings.COLUMNS, rows, call.language, trailer)
        return _file(body, f"postings-{after + 1}", "csv", _control_header(control))
    items = [json_row(row) for row in rows]
    if wanted == NDJSON:
        lines = [orjson.dumps(item) for item in (*items, {"control": control})]
        body = b"\n".join(lines) + b"\n"
        return Reply(body, content_type=NDJSON, headers=_control_header(control))
    cursor = encode_cursor(control["last"]) if len(rows) == limit else None
    return Reply({"items": items, "control": control, "next_cursor": cursor})


def _control_header(control: dict[str, int]) -> dict[str, str]:
    return {"Hexiao-Control": "; ".join(f"{name}={value}" for name, value in control.items())}


@route(
    "GET",
    "/v1/books/balances",
    roles={"finance"},
    query=shapes.BalanceQuery,
    reply=shapes.Balances,
    summary="What every account of every party comes to.",
    tags=TAGS,
    produces=(JSON, CSV_TYPE),
)
async def list_balances(call: Call) -> Reply:
    as_of = _time_or_none("as_of", call.query.as_of)
    rows = await postings.balances(call.tenant.books, call.tenant.id, as_of)
    if call.wants(JSON, CSV_TYPE) == CSV_TYPE:
        return _file(csv_bytes(postings.BALANCE_COLUMNS, rows, call.language), "balances", "csv")
    sums = {name: sum(row[name] for row in rows) for name in ("debits", "credits")}
    return Reply({"items": rows, **json_row({"as_of": as_of}), **sums})


# ---- reports ---------------------------------------------------------------------------------


@route(
    "GET",
    "/v1/reports/attribution",
    roles={"finance", "merchant"},
    query=shapes.ReportQuery,
    reply=shapes.Attribution,
    summary="What coupons brought, by campaign, channel, store, entry and tier of the claim.",
    tags=TAGS,
    produces=(JSON, CSV_TYPE),
)
async def report_attribution(call: Call) -> Reply:
    query: shapes.ReportQuery = call.query
    groups = _groups(query.group_by or "campaign", attribution.GROUPS)
    start, end = _period(query)
    as_of = await feeds.complete_until(call.tenant.books, call.tenant.id)
    rows = await attribution.attribution(
        call.tenant.books, call.tenant.id, groups, start, end, call.bound_merchant(None) or None
    )
    return _report(call, "attribution", (*groups, *attribution.MEASURES), rows, as_of)


@route(
    "GET",
    "/v1/reports/redemptions",
    roles={"finance", "merchant"},
    query=shapes.ReportQuery,
    reply=shapes.Redemptions,
    summary="Redemptions and reversals by day, store, merchant, campaign and channel of the till.",
    tags=TAGS,
    produces=(JSON, CSV_TYPE),
)
async def report_redemptions(call: Call) -> Reply:
    query: shapes.ReportQuery = call.query
    groups = _groups(query.group_by or "day", redemptions.GROUPS)
    start, end = _period(query)
    tenant = call.tenant
    as_of = await feeds.complete_until(tenant.books, tenant.id)
    rows = await redemptions.by_group(
        tenant.books,
        tenant.id,
        groups,
        tenant.timezone,
        start,
        end,
        call.bound_merchant(None) or None,
    )
    return _report(call, "redemptions", (*groups, *redemptions.MEASURES), rows, as_of)


@route(
    "GET",
    "/v1/reports/stock",
    roles={"finance"},
    query=shapes.StockQuery,
    reply=shapes.StockReport,
    summary="Of each campaign what there is, what was given out and what became of it.",
    tags=TAGS,
    produces=(JSON, CSV_TYPE),
)
async def report_stock(call: Call) -> Reply:
    as_of = await feeds.complete_until(call.tenant.books, call.tenant.id)
    rows = await stock.stock(call.tenant.books, call.tenant.id, call.query.campaign_id)
    return _report(call, "stock", stock.COLUMNS, rows, as_of)


def _report(
    call: Call, name: str, columns: Sequence[str], rows: shapes.Rows, as_of: int | None
) -> Reply:
    if call.wants(JSON, CSV_TYPE) == CSV_TYPE:
        return _file(csv_bytes(columns, rows, call.language), name, "csv")
    return Reply({"items": rows, **json_row({"as_of": as_of})})


def _groups(text: str, known: Sequence[str]) -> list[str]:
    groups = text.split(",")
    if len(set(groups)) != len(groups) or not set(groups) <= set(known):
        names = ", ".join(known)
        raise InvalidRequest("group_by", f"Use some of {names}, each once.", f"可选:{names}。")
    return groups


def _period(query: shapes.ReportQuery) -> tuple[int | None, int | None]:
    return _time_or_none("from", query.start), _time_or_none("to", query.end)


def _time_or_none(name: str, text: str | None) -> int | None:
    return None if text is None else _time(name, text)


def _time(name: str, text: str) -> int:
    try:
        return parse_time(text)
    except ValueError:
        raise InvalidRequest(name, "It must be an RFC 3339 time.", "时间格式不正确。") from None


_MEDIA = {"csv": UTF8_CSV, "xlsx": XLSX_TYPE}


def _file(body: bytes, name: str, kind: str, headers: dict[str, str] | None = None) -> Reply:
    """A download."""
    disposition = {"Content-Disposition": f'attachment; filename="{name}.{kind}"'}
    return Reply(body, content_type=_MEDIA[kind], headers={**disposition, **(headers or {})})
