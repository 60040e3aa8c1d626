"""Reports from the books: JSON in pages, CSV whole."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from api import lookups
from api import wire_reports as shapes
from api.downloads import JSON, csv_file
from api.routes import Call, Reply, decode_cursor, encode_cursor, moment, route
from engine.books import attempts
from engine.books.export import CSV_TYPE, json_row
from engine.books.reports import attribution, kpi, liability, parking, points, redemptions, stock
from engine.errors import InvalidRequest

TAGS = ("reports",)


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
    groups, (start, end), as_of = await asked(call, "campaign", attribution.GROUPS)
    rows = await attribution.attribution(
        call.tenant.books, call.tenant.id, groups, start, end, call.bound_merchant(None) or None
    )
    return told(call, "attribution", groups, (*groups, *attribution.MEASURES), rows, as_of)


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
    groups, (start, end), as_of = await asked(call, "day", redemptions.GROUPS)
    tenant = call.tenant
    rows = await redemptions.by_group(
        tenant.books,
        tenant.id,
        groups,
        tenant.timezone,
        start,
        end,
        call.bound_merchant(None) or None,
    )
    return told(call, "redemptions", groups, (*groups, *redemptions.MEASURES), rows, as_of)


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
    as_of = await lookups.held_until(call.tenant)
    rows = await stock.stock(
        call.tenant.books, call.tenant.id, call.query.campaign_id, call.clock()
    )
    return told(call, "stock", ("campaign_id",), stock.COLUMNS, rows, as_of)


@route(
    "GET",
    "/v1/reports/attempts",
    roles={"finance", "merchant"},
    query=shapes.ReportQuery,
    reply=shapes.AttemptReport,
    summary="Refused tries at tills and lots by code, store, terminal and day.",
    tags=TAGS,
    produces=(JSON, CSV_TYPE),
)
async def report_attempts(call: Call) -> Reply:
    query: shapes.ReportQuery = call.query
    groups = groups_of(query.group_by or "code", attempts.GROUPS)
    start, end = period_of(query)
    tenant = call.tenant
    await call.gate.refusals.write()  # what this process has seen is in it
    rows = await attempts.by_group(
        tenant.books,
        tenant.id,
        groups,
        tenant.timezone,
        start,
        end,
        call.bound_merchant(None) or None,
    )
    return told(call, "attempts", groups, (*groups, *attempts.MEASURES), rows, call.clock())


@route(
    "GET",
    "/v1/reports/kpi",
    roles={"finance"},
    query=shapes.PeriodQuery,
    reply=shapes.KeyFigures,
    summary="Key figures, each with numerator, denominator and definition.",
    tags=TAGS,
    produces=(JSON, CSV_TYPE),
)
async def report_kpi(call: Call) -> Reply:
    start, end = period_of(call.query)
    books, tenant = call.tenant.books, call.tenant.id
    await call.gate.refusals.write()  # tries that this process has seen
    as_of = await lookups.held_until(call.tenant)
    rows = [
        {**row, "definition": kpi.definition(row["name"], call.language)}
        for row in await kpi.kpi(books, tenant, start, end)
    ]
    return told(call, "kpi", ("name",), kpi.COLUMNS, rows, as_of)


@route(
    "GET",
    "/v1/reports/liability",
    roles={"finance"},
    query=shapes.ReportPage,
    reply=shapes.Liability,
    summary="What is promised now: coupons by campaign, stored value, points.",
    tags=TAGS,
    produces=(JSON, CSV_TYPE),
)
async def report_liability(call: Call) -> Reply:
    books, tenant = call.tenant.books, call.tenant.id
    as_of = await lookups.held_until(call.tenant)
    rows = await liability.liability(books, tenant, call.clock())
    return told(call, "liability", ("kind", "campaign_id"), liability.COLUMNS, rows, as_of)


@route(
    "GET",
    "/v1/reports/points",
    roles={"finance"},
    query=shapes.ReportQuery,
    reply=shapes.PointsReport,
    summary="Points that came in and went out, by kind of entry and day.",
    tags=TAGS,
    produces=(JSON, CSV_TYPE),
)
async def report_points(call: Call) -> Reply:
    groups, (start, end), as_of = await asked(call, "kind", points.GROUPS)
    tenant = call.tenant
    rows = await points.by_group(tenant.books, tenant.id, groups, tenant.timezone, start, end)
    return told(call, "points", groups, (*groups, *points.MEASURES), rows, as_of)


@route(
    "GET",
    "/v1/reports/parking",
    roles={"finance"},
    query=shapes.ReportQuery,
    reply=shapes.ParkingReport,
    summary="Stays, how many had something taken off, and how much, by lot and day.",
    tags=TAGS,
    produces=(JSON, CSV_TYPE),
)
async def report_parking(call: Call) -> Reply:
    groups, (start, end), as_of = await asked(call, "lot", parking.GROUPS)
    tenant = call.tenant
    rows = await parking.by_group(tenant.books, tenant.id, groups, tenant.timezone, start, end)
    return told(call, "parking", groups, (*groups, *parking.MEASURES), rows, as_of)


async def asked(
    call: Call, default: str, known: Sequence[str]
) -> tuple[list[str], tuple[int | None, int | None], int | None]:
    """(groups, (from, to), as of): what a report by groups is asked, how far the books are."""
    query: shapes.ReportQuery = call.query
    groups = groups_of(query.group_by or default, known)
    period = period_of(query)
    return groups, period, await lookups.held_until(call.tenant)


def told(
    call: Call,
    name: str,
    key: Sequence[str],
    columns: Sequence[str],
    rows: shapes.Rows,
    as_of: int | None,
    **beside: Any,
) -> Reply:
    """The rows, whose ``key`` columns name each: a page in JSON, all of them in CSV."""
    rows = sorted(rows, key=lambda row: _key(row, key))
    if call.wants(JSON, CSV_TYPE) == CSV_TYPE:
        return csv_file(call, name, columns, rows)
    query, cursor = call.query, None
    if query.cursor:
        after = decode_cursor(query.cursor, list[str])
        rows = [row for row in rows if _key(row, key) > after]
    if len(rows) > query.limit:
        rows = rows[: query.limit]
        cursor = encode_cursor(*_key(rows[-1], key))
    items = [json_row(row) for row in rows]
    return Reply({"items": items, **json_row({"as_of": as_of}), **beside, "next_cursor": cursor})


def _key(row: dict[str, Any], names: Sequence[str]) -> list[str]:
    return [str(row[name] or "") for name in names]


def groups_of(text: str, known: Sequence[str]) -> list[str]:
    """The groups that a query asks for, of those ``known``; else InvalidRequest."""
    groups = text.split(",")
    if len(set(groups)) != len(groups) or not set(groups) <= set(known):
        names = ", ".join(known)
        raise InvalidRequest("group_by", f"Use some of {names}, each once.", f"可选:{names}。")
    return groups


def period_of(query: shapes.PeriodQuery) -> tuple[int | None, int | None]:
    """``from`` and ``to`` in ms; None = no end; InvalidRequest when they are no period."""
    start = None if query.start is None else moment("from", query.start)
    end = None if query.end is None else moment("to", query.end)
    if start is not None and end is not None and start > end:
        raise InvalidRequest("to", "It must not be before from.", "不能早于 from。")
    return start, end
