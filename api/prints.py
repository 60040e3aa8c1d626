"""Printed batches: coupons without an owner, their list, and sheets to print."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from api import lookups, wire_jobs
from api import wire_prints as shapes
from api.downloads import file
from api.invitations import CLOSED, CLOSED_REFUSALS
from api.jobs import campaign_row, new_job
from api.office import by, receipt, written
from api.problems import Refused
from api.routes import Call, Reply, route
from engine.books import jobs, numbers, prints
from engine.books.definitions import Body, Change, change
from engine.books.export import csv_bytes
from engine.books.jobs import Job
from engine.books.prints import Printed
from engine.definitions import parse_time
from engine.errors import InvalidRequest, Unavailable
from engine.outcomes import Outcome
from engine.sheets import A_PAGE, Label, page
from engine.typed_codes import MOST_NUMBER, shown
from engine.views import Answer

TAGS = ("prints",)
AT_ONCE = 5000  # rows of a list
SVG = "image/svg+xml"
COLUMNS = ("number", "coupon_id", "typed_code", "coupon_code", "valid_from", "valid_until")


@route(
    "POST",
    "/v1/campaigns/{id}/prints",
    body=shapes.PrintRequest,
    reply=wire_jobs.JobReply,
    status=202,
    summary="Issue up to 100,000 coupons without an owner, to be printed; as a job.",
    tags=TAGS,
    errors=(*CLOSED_REFUSALS, Outcome.NOT_ELIGIBLE, Outcome.CHANNEL_NOT_ALLOWED),
)
async def order(call: Call) -> Reply:
    body: shapes.PrintRequest = call.body
    campaign = await campaign_row(call, call.path["id"], None)
    asked = {"channel": body.channel, "first": 0}
    job = new_job(call, "print", campaign.id, asked, body.count)

    async def work(doing: Change) -> Body:
        _check(call, campaign.status, campaign.body)
        first = await numbers.take(doing.connection, job.tenant, "prints", body.count)
        if first + body.count > MOST_NUMBER:
            raise InvalidRequest("count", "No numbers are left for printed coupons.")
        numbered = replace(job, asked={**asked, "first": first})
        await jobs.add(doing.connection, numbered)
        said = {"job": job.id, "count": body.count, "first": first, "channel": body.channel}
        await doing.note("campaign.print", f"campaign:{campaign.id}", said)
        return wire_jobs.job_reply(numbered)

    tenant = call.tenant
    answer: Answer[Body] = await change(
        tenant.books, tenant.id, by(call), work, receipt=receipt(call), defines=False
    )
    reply = await written(call, answer)
    if answer.value is not None:
        reply.headers = {"Location": f"/v1/prints/{answer.value['id']}"}
    return reply


def _check(call: Call, status: str, campaign: Body) -> None:
    """What would refuse every single coupon refuses the batch."""
    issue = campaign["issue"]
    if issue["price"] or issue["points_price"]:
        raise InvalidRequest("price", "What has a price is ordered and paid, not printed.",
                             "有价券需购买,不能印制。")  # fmt: skip
    if status in CLOSED:
        raise Refused(CLOSED[status])
    if issue["start"] and call.clock() < parse_time(issue["start"]):
        raise Refused(Outcome.NOT_STARTED, retry_at=parse_time(issue["start"]))
    if issue["tiers"] is not None or issue["audiences"] is not None:
        raise Refused(Outcome.NOT_ELIGIBLE)  # it is for some, and paper is for anybody
    if issue["channels"] is not None and call.body.channel not in issue["channels"]:
        raise Refused(Outcome.CHANNEL_NOT_ALLOWED)


async def _batch(call: Call) -> tuple[Job, Body]:
    """The batch of the path, and its campaign."""
    tenant = call.tenant
    job = await jobs.find(tenant.books, tenant.id, call.path["id"])
    if job is None or job.kind != "print":
        raise Refused(Outcome.NOT_FOUND)
    campaign = await campaign_row(call, job.campaign_id, None)
    return job, campaign.body


def _code(call: Call, one: Printed, campaign: Body) -> str:
    """What its picture says; a ticket's can be read by gates that ask nobody as well."""
    codes, event = call.tenant.codes, campaign.get("event")
    if event:
        return codes.offline(one.coupon_id, event["id"], one.valid_until or None).code
    return codes.static(one.coupon_id, None).code


@route(
    "GET",
    "/v1/prints/{id}",
    reply=shapes.PrintReply,
    summary="A printed batch: how far it has come, how many pages it has.",
    tags=TAGS,
)
async def read(call: Call) -> Reply:
    job, campaign = await _batch(call)
    return Reply(shapes.batch(job, campaign["name"]))


async def _some(call: Call, job: Job, start: int, limit: int) -> list[Printed]:
    """Printed coupons with their validity: the books may be a moment behind."""
    tenant = call.tenant
    found = await prints.printed(tenant.books, job, start, limit)
    if any(one.valid_from is None for one in found):
        await lookups.caught_up(tenant)
        found = await prints.printed(tenant.books, job, start, limit)
        if any(one.valid_from is None for one in found):
            raise Unavailable("the books are not there yet")
    return found


@route(
    "GET",
    "/v1/prints/{id}/codes.csv",
    summary="The list of a batch: number, coupon, what is typed, what the picture says, validity.",
    tags=TAGS,
    produces=("text/csv",),
)
async def codes(call: Call) -> Reply:
    job, campaign = await _batch(call)
    tenant, rows, at = call.tenant, list[dict[str, Any]](), 0
    first = int(job.asked["first"])
    while some := await _some(call, job, at, AT_ONCE):
        rows += await asyncio.to_thread(_rows, call, some, campaign)
        at = some[-1].number - first + 1
    body = await asyncio.to_thread(csv_bytes, COLUMNS, rows, call.language)
    headers = {"Cache-Control": "no-store"}
    return file(body, f"{tenant.id}-{job.id}", "csv", headers)


def _rows(call: Call, some: list[Printed], campaign: Body) -> list[dict[str, Any]]:
    typed = call.tenant.typed_codes
    return [
        {
            "number": one.number,
            "coupon_id": one.coupon_id,
            "typed_code": shown(typed.code(one.number)),
            "coupon_code": _code(call, one, campaign),
            "valid_from": one.valid_from,
            "valid_until": one.valid_until or None,
        }
        for one in some
    ]


@route(
    "GET",
    "/v1/prints/{id}/sheet.svg",
    query=shapes.SheetQuery,
    summary="A page (A4) of a batch: pictures with what can be typed, name and validity.",
    tags=TAGS,
    produces=(SVG,),
)
async def sheet(call: Call) -> Reply:
    job, campaign = await _batch(call)
    issued = await prints.printed_page(call.tenant.books, job, call.query.page, A_PAGE)
    if issued is None:
        raise Refused(Outcome.NOT_FOUND, field="page")
    some = await _some(call, job, issued, A_PAGE)
    labels = await asyncio.to_thread(lambda: [_label(call, one, campaign) for one in some])
    body = await asyncio.to_thread(page, labels)
    return Reply(body, content_type=SVG, headers={"Cache-Control": "no-store"})


def _label(call: Call, one: Printed, campaign: Body) -> Label:
    zh, tenant, name = call.language.startswith("zh"), call.tenant, campaign["name"]
    if isinstance(name, dict):
        name = name.get(call.language) or next(iter(name.values()))
    until = ""
    if one.valid_until:
        local = datetime.fromtimestamp(one.valid_until / 1000, ZoneInfo(tenant.timezone))
        until = f"有效期至 {local:%Y-%m-%d %H:%M}" if zh else f"Until {local:%Y-%m-%d %H:%M}"
    return Label(
        code=_code(call, one, campaign),
        typed=shown(tenant.typed_codes.code(one.number)),
        name=str(name),
        validity=until,
        number=f"No. {one.number}",
    )
