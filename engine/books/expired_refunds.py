"""Coupons that were paid for, have expired unused and whose terms send the money back by itself."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from sqlalchemy import and_, func, or_, select, tuple_
from sqlalchemy.exc import IntegrityError

from engine.books import jobs
from engine.books.jobs import EXPIRED, EXPIRED_REF, Item, Job
from engine.books.schema import campaign_terms, coupons, job_items, refunds
from engine.books.schema import jobs as jobs_table

if TYPE_CHECKING:
    from engine.books.db import Books

AT_ONCE = 10_000  # coupons of one job; more wait for the next
AGAIN_MS = 3_600_000  # what was refused is tried again after so long
_SAID = '%"expired_auto":true%'  # bodies are kept without blanks

Revision = tuple[str, int]  # campaign, terms_revision


async def revisions(books: Books, tenant: str) -> list[Revision]:
    """Those that send back what expired by itself."""
    c = campaign_terms.c
    said = select(c.campaign_id, c.revision).where(c.tenant == tenant, c.body.like(_SAID))
    async with books.connect() as conn:
        return [(row[0], row[1]) for row in await conn.execute(said)]


async def counts_of_terms(books: Books) -> dict[str, int]:
    """How many terms each tenant has: they are only ever added."""
    c = campaign_terms.c
    async with books.connect() as conn:
        rows = await conn.execute(select(c.tenant, func.count()).group_by(c.tenant))
        return {row[0]: row[1] for row in rows}


async def make_jobs(
    books: Books, tenant: str, said: Sequence[Revision], now: int, since: int, clock_ms: int
) -> int:
    """A job for each campaign with coupons that ended from ``since`` to ``now``; how many.

    ``clock_ms``: of a rehearsal, the time of the refunds. Two processes at once make one job: its
    id comes from its first coupon and the hour.
    """
    c, r = coupons.c, refunds.c
    told = select(r.coupon_id).where(r.tenant == tenant, r.coupon_id == c.id, r.ref == EXPIRED_REF)
    i, j = job_items.c, jobs_table.c
    tried = (
        select(i.coupon_id)
        .join(jobs_table, and_(j.tenant == i.tenant, j.id == i.job_id))
        .where(j.tenant == tenant, j.kind == EXPIRED)
        .where(or_(j.state.in_(jobs.OPEN), j.created_ms > now - AGAIN_MS))
    )
    due = (
        select(c.campaign_id, c.id, c.user_id, c.valid_until_ms)
        .where(
            c.tenant == tenant,
            c.valid_until_ms > max(since, 0),
            c.valid_until_ms <= now,
            c.state.in_(("issued", "held")),
            c.order_id != "",  # paid with money or points
            tuple_(c.campaign_id, c.terms_revision).in_(said),
            ~told.exists(),
            c.id.not_in(tried),
        )
        .order_by(c.valid_until_ms, c.id)
        .limit(AT_ONCE)
    )
    async with books.connect() as conn:
        rows = (await conn.execute(due)).all()
    found: dict[str, list[Any]] = {}
    for row in rows:
        found.setdefault(row.campaign_id, []).append(row)
    made = 0
    for campaign, some in found.items():
        job = _job(tenant, campaign, some[0].id, len(some), now, clock_ms)
        items = [Item(n, row.user_id, row.id) for n, row in enumerate(some)]
        try:
            async with books.begin() as conn:
                await jobs.add(conn, job, items)
        except IntegrityError:
            continue  # another process was faster
        made += 1
    return made


def _job(tenant: str, campaign: str, first: str, total: int, now: int, clock_ms: int) -> Job:
    name = f"{tenant} {campaign} {first} {now // AGAIN_MS}".encode()
    job_id = "J" + hashlib.sha256(name).hexdigest()[:24].upper()
    who = {"key": "", "label": "engine", "role": "engine", "job": job_id}
    return Job(
        tenant=tenant,
        id=job_id,
        kind=EXPIRED,
        state="queued",
        campaign_id=campaign,
        asked={},
        who=json.dumps(who),
        clock_ms=clock_ms,
        total=total,
        done=0,
        counts={},
        error="",
        created_ms=now,
    )
