"""Codes of third parties: uploaded in files, carried by the coupons of a campaign."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import itertools
import tempfile
from collections.abc import Iterable
from typing import Any, BinaryIO

import msgspec
from aiohttp import web

from api.office import by, written
from api.problems import Refused
from api.routes import MIB, Call, Reply, route
from engine.books import pools
from engine.books.definitions import Receipt, answered, change, fingerprint_of
from engine.books.definitions_campaigns import get_campaign
from engine.errors import InvalidRequest
from engine.outcomes import Outcome
from engine.pool_files import Line, Report, read_csv, read_ndjson

CSV, NDJSON = "text/csv", "application/x-ndjson"
READERS = {CSV: read_csv, NDJSON: read_ndjson, "application/ndjson": read_ndjson}
MOST_BYTES, MOST_LINES = 64 * MIB, 1_000_000
AT_ONCE = 5000  # lines a transaction
PATIENCE_SECONDS = 60.0  # for the next piece of a file


class DuplicateLine(msgspec.Struct):
    """A line whose code came before, in this file or in another."""

    line: int
    code: str


class InvalidLine(msgspec.Struct):
    """A line without a code that can be taken."""

    line: int
    detail: str


class PoolReply(msgspec.Struct, kw_only=True):
    """What became of a file by line; of each list the first 1,000."""

    campaign_id: str
    lines: int  # that say something
    accepted: int
    duplicates: list[DuplicateLine]
    duplicates_total: int
    invalid: list[InvalidLine]
    invalid_total: int


class PoolState(msgspec.Struct, kw_only=True):
    """How many codes a campaign has had, and how many went out with coupons."""

    campaign_id: str
    loaded: int
    issued: int
    left: int


_BODY = {
    "requestBody": {
        "required": True,
        "content": {
            CSV: {"schema": {"type": "string"}, "example": "code\nA1B2C3\nA1B2C4\n"},
            NDJSON: {"schema": {"type": "string"}, "example": '{"code": "A1B2C3"}\n'},
        },
    },
    "responses": {
        str(status): {"$ref": f"#/components/responses/Problem{status}"} for status in (413, 415)
    },
}


@route(
    "POST",
    "/v1/campaigns/{id}/pool",
    reply=PoolReply,
    max_body=MOST_BYTES,
    summary=(
        "Codes of a third party, one a line: each coupon given out from now on carries one."
        " At most a million lines; what came before is named by line."
    ),
    tags=("campaigns",),
    extra=_BODY,
)
async def add_codes(call: Call) -> Reply:
    tenant, campaign_id = call.tenant, call.path["id"]
    kind = _kind(call)
    with tempfile.TemporaryFile() as file:
        digest = await _spool(call, file)
        file.seek(0)
        scope = f"campaigns/{campaign_id}/pool"
        ticket = Receipt(scope, call.idempotency_key, fingerprint_of(kind, digest), 200)
        known = await answered(tenant.books, tenant.id, ticket)
        if known is not None:
            return await written(call, known)
        if await get_campaign(tenant.books, tenant.id, campaign_id) is None:
            raise Refused(Outcome.NOT_FOUND)
        report = Report(call.language)
        upload = hashlib.blake2b(f"{call.idempotency_key} {digest}".encode(), digest_size=16)
        with contextlib.closing(READERS[kind](file)) as lines:
            await _take(call, lines, upload.hexdigest(), report)
    tenant.engine.forget_live(campaign_id)
    if report.accepted and not call.now:
        await tenant.control.seen(campaign_id)

    async def work(doing: Any) -> dict[str, Any]:
        told = {name: getattr(report, name) for name in _TOLD}
        await doing.note("campaign.codes", f"campaign:{campaign_id}", told)
        return {"campaign_id": campaign_id, **told, "duplicates": report.duplicates,
                "invalid": report.invalid}  # fmt: skip

    answer = await change(tenant.books, tenant.id, by(call), work, receipt=ticket)
    return await written(call, answer)


_TOLD = ("lines", "accepted", "duplicates_total", "invalid_total")


@route(
    "GET",
    "/v1/campaigns/{id}/pool",
    reply=PoolState,
    summary="How many codes a campaign has had, and how many of them went out.",
    tags=("campaigns",),
)
async def pool_state(call: Call) -> Reply:
    tenant, campaign_id = call.tenant, call.path["id"]
    if await get_campaign(tenant.books, tenant.id, campaign_id) is None:
        raise Refused(Outcome.NOT_FOUND)
    loaded, given = await pools.counts(tenant.books, tenant.id, campaign_id)
    state = PoolState(campaign_id=campaign_id, loaded=loaded, issued=given, left=loaded - given)
    return Reply(state)


def _kind(call: Call) -> str:
    """The media type of the file."""
    headers = call.request.headers
    kind = headers.get("Content-Type", "").partition(";")[0].strip().lower()
    if kind not in READERS or headers.get("Content-Encoding", "identity").lower() != "identity":
        chinese = call.language != "en"
        detail = f"请以 {CSV} 或 {NDJSON} 发送。" if chinese else f"Send {CSV} or {NDJSON}."
        raise Refused(Outcome.UNSUPPORTED_MEDIA_TYPE, detail=detail)
    return kind


async def _spool(call: Call, file: BinaryIO) -> str:
    """Take the whole file in before anything is done with it; its digest.

    What is too large, or was cut off on its way, has changed nothing.
    """
    request = call.request
    if (request.content_length or 0) > MOST_BYTES:
        raise Refused(Outcome.BODY_TOO_LARGE)
    if request.headers.get("Expect", "").lower() == "100-continue":
        await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
    digest, size, lines = hashlib.blake2b(digest_size=24), 0, 0
    try:
        while True:
            async with asyncio.timeout(PATIENCE_SECONDS):
                piece = await request.content.readany()
            if not piece:
                break
            size, lines = size + len(piece), lines + piece.count(b"\n")
            if size > MOST_BYTES:
                raise Refused(Outcome.BODY_TOO_LARGE)
            if lines > MOST_LINES + 1:  # and a heading
                raise InvalidRequest("", f"At most {MOST_LINES} lines.", f"最多 {MOST_LINES} 行。")
            digest.update(piece)
            file.write(piece)
    except TimeoutError:
        raise InvalidRequest("", "The body did not arrive in time.") from None
    except web.HTTPException as error:
        raise InvalidRequest("", "The body could not be read.") from error
    return digest.hexdigest()


async def _mark(call: Call) -> None:
    """Each coupon of the campaign takes a code along from now on, in every cell."""
    tenant, campaign_id = call.tenant, call.path["id"]
    marked = await pools.mark(tenant.books, tenant.id, by(call), campaign_id)
    if marked.value is None:
        raise Refused(marked.outcome)
    await tenant.control.publish_campaign(campaign_id, who=call.who(), now=call.now)


async def _take(call: Call, lines: Iterable[Line], upload: str, report: Report) -> None:
    """Bring the codes into the books, and from there to the cells, some thousand at once."""
    tenant, campaign_id, who = call.tenant, call.path["id"], call.who()
    rest = iter(lines)
    while some := list(itertools.islice(rest, AT_ONCE)):
        codes: dict[str, int] = {}
        for line in some:
            if not line.fault:
                codes.setdefault(line.code, line.number)
        if codes and not report.accepted:  # without one, it stays a campaign without a pool
            await _mark(call)
        taken = await pools.add_codes(
            tenant.books, tenant.id, tenant.cells, campaign_id, upload, codes
        )
        for line in some:
            report.lines += 1
            if line.fault:
                report.fault(line)
            elif line.code in taken and codes[line.code] == line.number:
                report.accepted += 1
            else:
                report.duplicate(line)
        await tenant.control.load_codes(campaign_id, who=who, now=call.now)
