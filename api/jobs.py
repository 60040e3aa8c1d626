"""Bulk work of the office: grants, recalls, and how far they have come."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from typing import Any

import orjson

from api import wire_jobs as shapes
from api.office import by, receipt, written
from api.problems import Refused
from api.routes import MIB, Call, Reply, decode_cursor, encode_cursor, route
from engine import keys
from engine.books import definitions_campaigns, jobs
from engine.books.definitions import Body, Change, change
from engine.books.jobs import Item, Job
from engine.errors import InvalidRequest
from engine.outcomes import Outcome
from engine.views import Answer

TAGS = ("jobs",)


def new_job(call: Call, kind: str, campaign_id: str, asked: Body, total: int | None) -> Job:
    """A job that nobody has begun yet."""
    job_id = "J" + secrets.token_hex(12).upper()
    who = call.who()
    return Job(
        tenant=call.tenant.id,
        id=job_id,
        kind=kind,
        state="queued",
        campaign_id=campaign_id,
        asked=asked,
        who=who[:-1] + ',"job":' + orjson.dumps(job_id).decode() + "}",
        clock_ms=call.now,
        total=total,
        done=0,
        counts={},
        error="",
        created_ms=call.clock(),
    )


async def _queued(
    call: Call, job: Job, items: Sequence[Item], said: Body, more: Body | None = None
) -> Reply:
    """202 with the job, which is in the books; the same key again finds the same job."""

    async def work(doing: Change) -> Body:
        await jobs.add(doing.connection, job, items)
        await doing.note(
            f"campaign.{job.kind}", f"campaign:{job.campaign_id}", {"job": job.id, **said}
        )
        return shapes.job_reply(job) | (more or {})

    tenant = call.tenant
    answer: Answer[Body] = await change(
        tenant.books, tenant.id, by(call), work, receipt=receipt(call), defines=False
    )
    reply = await written(call, answer)
    if answer.value is not None:
        reply.headers = {"Location": f"/v1/jobs/{answer.value['id']}"}
    return reply


async def campaign_row(call: Call, campaign_id: str, field: str | None) -> Any:
    """A campaign of the books; ``not_found``, naming the field."""
    tenant = call.tenant
    row = await definitions_campaigns.get_campaign(tenant.books, tenant.id, campaign_id)
    if row is None:
        raise Refused(Outcome.NOT_FOUND, field=field)
    return row


@route(
    "POST",
    "/v1/grants",
    body=shapes.GrantRequest,
    reply=shapes.JobReply,
    status=202,
    max_body=64 * MIB,
    summary="Give a coupon to each of up to 10,000 users, as a job; the rules of a claim hold.",
    tags=TAGS,
)
async def grant(call: Call) -> Reply:
    body: shapes.GrantRequest = call.body
    await campaign_row(call, body.campaign_id, "campaign_id")
    users = list(dict.fromkeys(body.user_ids))
    asked = {"channel": body.channel, "source": body.source}
    job = new_job(call, "grant", body.campaign_id, asked, len(users))
    items = [Item(n, user_id) for n, user_id in enumerate(users)]
    return await _queued(call, job, items, {"users": len(users), **asked})


@route(
    "POST",
    "/v1/campaigns/{id}/recall",
    body=shapes.RecallRequest,
    reply=shapes.JobReply,
    status=202,
    summary=(
        "Withdraw every unused coupon of a campaign, as a job. It freezes nothing: to stop"
        " codes and claims at once, set status to frozen first."
    ),
    tags=TAGS,
)
async def recall(call: Call) -> Reply:
    body: shapes.RecallRequest = call.body
    campaign = await campaign_row(call, call.path["id"], None)
    asked = {"reason": body.reason, "places": await _places(call)}
    job = new_job(call, "recall", campaign.id, asked, None)
    more = {"warnings": _warnings(campaign.status, call.language)}
    return await _queued(call, job, (), {"reason": body.reason}, more)


async def _places(call: Call) -> list[tuple[int, int]]:
    """How far each cell has come: coupons given out up to here are recalled."""
    server, places = call.tenant.engine.server, []
    for tag in call.tenant.engine.tags:
        epoch, seq = await server.fields(keys.cell_key(tag), "epoch", "seq")
        places.append((int(epoch or 1), int(seq or 0)))
    return places


def _warnings(status: str, language: str) -> list[str]:
    if status != "active":
        return []
    if language.startswith("zh"):
        return ["活动仍在进行:此后领取的券可能不会被召回,已有的券在作废前仍可使用。"]
    english = (
        "The campaign is still active: coupons claimed from now on may not be recalled, and those"
        " that are out can be used until their turn comes."
    )
    return [english]


@route(
    "GET",
    "/v1/jobs",
    query=shapes.JobsQuery,
    reply=shapes.JobList,
    summary="Jobs, the newest first: also those that nobody asked for (refunds of what expired).",
    tags=TAGS,
)
async def list_jobs(call: Call) -> Reply:
    query: shapes.JobsQuery = call.query
    after = decode_cursor(query.cursor, tuple[int, str]) if query.cursor else None
    found = await jobs.list_jobs(
        call.tenant.books, call.tenant.id, after, query.limit + 1,
        kind=query.kind, state=query.status, campaign_id=query.campaign_id,
    )  # fmt: skip
    page = found[: query.limit]
    last = page[-1] if len(found) > len(page) else None
    cursor = encode_cursor(last.created_ms, last.id) if last else None
    return Reply({"items": [shapes.job_reply(job) for job in page], "next_cursor": cursor})


@route(
    "GET",
    "/v1/jobs/{id}",
    query=shapes.JobQuery,
    reply=shapes.JobPage,
    summary="How far a job has come, and what became of each item.",
    tags=TAGS,
)
async def read_job(call: Call) -> Reply:
    query: shapes.JobQuery = call.query
    job = await jobs.find(call.tenant.books, call.tenant.id, call.path["id"])
    if job is None:
        raise Refused(Outcome.NOT_FOUND)
    start = decode_cursor(query.cursor, tuple[int])[0] if query.cursor else 0
    if not 0 <= start < 1 << 31:
        raise InvalidRequest("cursor", "This is not a cursor that a list gave out.")
    found = await jobs.items_of(call.tenant.books, job, start, query.limit + 1, query.status)
    page = found[: query.limit]
    more = len(found) > len(page)
    reply = shapes.job_reply(job)
    back = await jobs.paid_back(call.tenant.books, job, page)
    reply["items"] = [shapes.job_item(item, back.get(item.coupon_id)) for item in page]
    reply["next_cursor"] = encode_cursor(page[-1].n + 1) if more else None
    return Reply(reply)
