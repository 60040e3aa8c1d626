"""JSON of jobs: grants in bulk, recalls, and what became of each item."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from api.routes import Id, Page
from api.wire import Reason, Text64, moment, moment_or_none
from engine.books.jobs import Item, Job
from engine.views import owner

MAX_USERS = 10_000


class GrantRequest(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """Give each of these users a coupon, under the rules of a claim; one named twice gets one."""

    campaign_id: Id
    user_ids: Annotated[list[Id], Meta(min_length=1, max_length=MAX_USERS)]
    channel: Id
    source: Annotated[dict[Text64, Text64], Meta(max_length=16)] | None = None


class RecallRequest(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """Why the coupons of a campaign are withdrawn."""

    reason: Reason


JobKind = Literal["grant", "recall", "refund_expired", "print"]
JobStatus = Literal["queued", "running", "done", "failed"]


class JobReply(msgspec.Struct, kw_only=True):
    """A job; ``counts`` by outcome: issued, voided or refunded, else the code of the refusal."""

    id: str
    kind: JobKind
    status: JobStatus
    campaign_id: str
    total: int | None  # null = not counted yet
    done: int
    counts: dict[str, int]
    created_at: str
    started_at: str | None
    ended_at: str | None
    error: str | UnsetType = UNSET  # of a failed one
    warnings: list[str] | UnsetType = UNSET  # as it was asked for


class JobItem(msgspec.Struct, kw_only=True):
    """What became of one user (grant) or coupon (others); what is to be returned for it."""

    user_id: str | None
    status: Literal["waiting", "issued", "voided", "refunded", "refused"]
    code: str | UnsetType = UNSET
    coupon_id: str | UnsetType = UNSET
    refund_amount: int | UnsetType = UNSET  # once the books have it; and points_back
    points_back: int | UnsetType = UNSET


class JobPage(JobReply, kw_only=True):
    """A job with a page of its items, in the order asked."""

    items: list[JobItem]
    next_cursor: str | None


class JobList(msgspec.Struct, kw_only=True):
    """Jobs, the newest first."""

    items: list[JobReply]
    next_cursor: str | None


class JobsQuery(Page, kw_only=True):
    """Only such jobs."""

    kind: JobKind | None = None
    status: JobStatus | None = None
    campaign_id: str | None = None


class JobQuery(Page, kw_only=True):
    """``status``: only such items."""

    status: Literal["waiting", "issued", "voided", "refunded", "refused"] | None = None


def job_reply(job: Job) -> dict[str, Any]:
    """A job as it is shown; a dict, because a receipt keeps the first answer."""
    shown: dict[str, Any] = {
        "id": job.id,
        "kind": job.kind,
        "status": job.state,
        "campaign_id": job.campaign_id,
        "total": job.total,
        "done": job.done,
        "counts": job.counts,
        "created_at": moment(job.created_ms),
        "started_at": moment_or_none(job.started_ms),
        "ended_at": moment_or_none(job.ended_ms),
    }
    if job.error:
        shown["error"] = job.error
    return shown


def job_item(item: Item, back: tuple[int, int] | None = None) -> JobItem:
    """An item as it is shown; ``back``: fen and points that it sent back."""
    shown = JobItem(user_id=owner(item.user_id), status=item.status)  # type: ignore[arg-type]
    if item.code:
        shown.code = item.code
    if item.coupon_id:
        shown.coupon_id = item.coupon_id
    if back is not None:
        shown.refund_amount, shown.points_back = back
    return shown
