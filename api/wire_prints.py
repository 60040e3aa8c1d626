"""JSON of printed batches."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from api.routes import Id
from api.wire import moment, moment_or_none
from engine.books.jobs import Job
from engine.sheets import A_PAGE

MAX_PRINTS = 100_000


class PrintRequest(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """Issue so many coupons to nobody; where the campaign names channels, name one of them."""

    count: Annotated[int, Meta(ge=1, le=MAX_PRINTS)]
    channel: Id = "print"


class SheetQuery(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """Which page of a batch, from 1."""

    page: Annotated[int, Meta(ge=1, le=MAX_PRINTS)] = 1


class PrintReply(msgspec.Struct, kw_only=True):
    """A printed batch; its ``id`` is that of the job that makes it."""

    id: str
    campaign_id: str
    name: dict[str, str] | str
    status: Literal["queued", "running", "done", "failed"]
    count: int
    done: int
    counts: dict[str, int]  # by outcome: issued, else the code of the refusal
    first_number: int
    pages: int  # of the sheet, as far as it is done
    created_at: str
    ended_at: str | None
    error: str | UnsetType = UNSET


def batch(job: Job, name: Any) -> PrintReply:
    """A batch as it is now."""
    return PrintReply(
        id=job.id,
        campaign_id=job.campaign_id,
        name=name,
        status=job.state,  # type: ignore[arg-type]
        count=job.total or 0,
        done=job.done,
        counts=job.counts,
        first_number=job.asked["first"],
        pages=-(-job.counts.get("issued", 0) // A_PAGE),
        created_at=moment(job.created_ms),
        ended_at=moment_or_none(job.ended_ms),
        error=job.error or UNSET,
    )
