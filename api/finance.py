"""Finance: statements, the postings feed, balances; as JSON and as files."""

from __future__ import annotations

from typing import Any

import orjson

from api import lookups
from api import wire_finance as shapes
from api.downloads import JSON, NDJSON, csv_file, file
from api.problems import Refused
from api.routes import Call, Page, Reply, decode_cursor, encode_cursor, moment, refusal, route
from engine.books import settlement, statement_files, statements
from engine.books.definitions import By, Receipt, fingerprint_of
from engine.books.export import CSV_TYPE, XLSX_TYPE, csv_bytes, json_row
from engine.books.reports import postings
from engine.errors import InvalidRequest
from engine.outcomes import Outcome

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
    start, end = moment("start", body.start), moment("end", body.end)
    if start >= end:
        raise InvalidRequest("end", "It must be after start.", "必须晚于 start。")
    tenant = call.tenant
    await lookups.caught_up(tenant)
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
        return file(statement_files.lines_csv(statement, call.language), statement["id"], "csv")
    if wanted == XLSX_TYPE:
        tenant = call.tenant
        body = await statement_files.workbook(
            tenant.books, tenant.id, statement, call.language, tenant.timezone
        )
        return file(body, statement["id"], "xlsx")
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
        return file(body, f"{name}-entries", "csv")
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
    await lookups.caught_up(call.tenant)
    rows = await postings.feed(call.tenant.books, call.tenant.id, after, limit)
    control = postings.control(rows, after)
    if wanted == CSV_TYPE:
        trailer = ["control", *(f"{name}={value}" for name, value in control.items())]
        body = csv_bytes(postings.COLUMNS, rows, call.language, trailer)
        return file(body, f"postings-{after + 1}", "csv", _control_header(control))
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
    as_of = None if call.query.as_of is None else moment("as_of", call.query.as_of)
    await lookups.caught_up(call.tenant)
    rows = await postings.balances(call.tenant.books, call.tenant.id, as_of)
    if call.wants(JSON, CSV_TYPE) == CSV_TYPE:
        return csv_file(call, "balances", postings.BALANCE_COLUMNS, rows)
    sums = {name: sum(row[name] for row in rows) for name in ("debits", "credits")}
    items, next_cursor = call.query.part(rows)
    return Reply({"items": items, "next_cursor": next_cursor, **json_row({"as_of": as_of}), **sums})
