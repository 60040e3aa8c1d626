"""Jobs in the books: made in one transaction with their items, done by whoever holds the lease.

Items are done in the order of their number, so ``done`` says where to go on after a crash. What is
done twice has one effect, because every item's Idempotency-Key comes from the job and the item.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import orjson
from sqlalchemy import bindparam, func, insert, literal, or_, select, tuple_, update

from engine.books.schema import cells, coupons, job_items, jobs, refunds

if TYPE_CHECKING:
    from sqlalchemy import Row
    from sqlalchemy.ext.asyncio import AsyncConnection

    from engine.books.db import Books

OPEN = ("queued", "running")
WAITING, REFUSED = "waiting", "refused"
EXPIRED = "refund_expired"  # a kind of job: refunds of what has expired unused
EXPIRED_REF = "expired"


@dataclass(slots=True, frozen=True)
class Job:
    """A job as the books have it; times in ms, 0 = not yet."""

    tenant: str
    id: str
    kind: str  # grant | recall | print | refund_expired
    state: str  # queued | running | done | failed
    campaign_id: str
    asked: dict[str, Any]
    who: str
    clock_ms: int  # of a rehearsal: the time of its acts
    total: int | None  # None: its items are not listed yet
    done: int
    counts: dict[str, int]
    error: str
    created_ms: int
    started_ms: int = 0
    ended_ms: int = 0


class Item(NamedTuple):
    """One person (of a grant) or one coupon (of all others)."""

    n: int
    user_id: str
    coupon_id: str = ""
    status: str = WAITING  # waiting | issued | voided | refunded | refused
    code: str = ""  # of a refusal


async def add(connection: AsyncConnection, job: Job, items: Sequence[Item] = ()) -> None:
    """Write a new job with its items."""
    row = {
        "tenant": job.tenant, "id": job.id, "kind": job.kind, "state": job.state,
        "campaign_id": job.campaign_id, "asked": orjson.dumps(job.asked).decode(),
        "who": job.who, "clock_ms": job.clock_ms, "total": job.total, "done": job.done,
        "counts": orjson.dumps(job.counts).decode(), "error": job.error,
        "created_ms": job.created_ms, "started_ms": 0, "ended_ms": 0, "lease_until_ms": 0,
    }  # fmt: skip
    await connection.execute(jobs.insert(), row)
    if items:
        rows = [{"tenant": job.tenant, "job_id": job.id, **item._asdict()} for item in items]
        await connection.execute(job_items.insert(), rows)


async def find(books: Books, tenant: str, job_id: str) -> Job | None:
    """One job, or None."""
    query = select(jobs).where(jobs.c.tenant == tenant, jobs.c.id == job_id)
    async with books.connect() as connection:
        row = (await connection.execute(query)).first()
    return _job(row) if row else None


async def items_of(
    books: Books, job: Job, start: int, limit: int, status: str | None = None
) -> list[Item]:
    """Items from number ``start`` on, in order; ``status``: only those."""
    i = job_items.c
    query = (
        select(i.n, i.user_id, i.coupon_id, i.status, i.code)
        .where(i.tenant == job.tenant, i.job_id == job.id, i.n >= start)
        .order_by(i.n)
        .limit(limit)
    )
    if status is not None:
        query = query.where(i.status == status)
    async with books.connect() as connection:
        return [Item(*row) for row in await connection.execute(query)]


async def list_jobs(
    books: Books, tenant: str, after: tuple[int, str] | None, limit: int, **wanted: str | None
) -> list[Job]:
    """Jobs, the newest first; ``after``: (created, id) of the last one seen.

    ``wanted``: values of the columns ``kind``, ``state``, ``campaign_id``; None = any.
    """
    query = select(jobs).where(jobs.c.tenant == tenant)
    for name, value in wanted.items():
        if value is not None:
            query = query.where(jobs.c[name] == value)
    if after is not None:
        query = query.where(tuple_(jobs.c.created_ms, jobs.c.id) < after)
    async with books.connect() as connection:
        rows = await connection.execute(
            query.order_by(jobs.c.created_ms.desc(), jobs.c.id.desc()).limit(limit)
        )
        return [_job(row) for row in rows]


async def paid_back(books: Books, job: Job, items: Sequence[Item]) -> dict[str, tuple[int, int]]:
    """What the job sent back for coupons, as far as the books have come: (fen, points) each."""
    named = [item.coupon_id for item in items if item.status == "refunded"]
    query = select(refunds.c.coupon_id, refunds.c.amount, refunds.c.points).where(
        refunds.c.tenant == job.tenant,
        refunds.c.coupon_id.in_(named),
        refunds.c.ref == refund_ref(job),
    )
    if not named:
        return {}
    async with books.connect() as connection:
        return {name: (fen, points) for name, fen, points in await connection.execute(query)}


def refund_ref(job: Job) -> str:
    """The number of the refunds that a job makes, one for each coupon."""
    return EXPIRED_REF if job.kind == EXPIRED else f"{job.kind} {job.id}"


# ---- being done --------------------------------------------------------------------------------


async def open_jobs(books: Books, tenants: Sequence[str], most: int) -> list[Job]:
    """Jobs of these tenants that are not at their end, the oldest first."""
    query = (
        select(jobs)
        .where(jobs.c.state.in_(OPEN), jobs.c.tenant.in_(tenants))
        .order_by(jobs.c.created_ms, jobs.c.id)
    )
    async with books.connect() as connection:
        return [_job(row) for row in await connection.execute(query.limit(most))]


async def take(books: Books, job: Job, owner: str, now: int, until: int) -> Job | None:
    """Lease the job to ``owner`` until a time (ms); None while another has it, or it has ended."""
    free = or_(
        jobs.c.lease_owner.is_(None), jobs.c.lease_owner == owner, jobs.c.lease_until_ms < now
    )
    async with books.begin() as connection:
        taken = await connection.execute(
            update(jobs)
            .where(*_is(job), jobs.c.state.in_(OPEN), free)
            .values(
                state="running",
                started_ms=func.coalesce(func.nullif(jobs.c.started_ms, 0), now),
                lease_owner=owner,
                lease_until_ms=until,
            )
            .returning(*jobs.c)
        )
        row = taken.first()
    return _job(row) if row else None


async def list_coupons(books: Books, job: Job) -> bool:
    """Make every coupon of the campaign that is not withdrawn an item; the oldest first.

    One that was given on is the coupon that it went on as, once that has come.

    False while the books have not come to ``places`` ((epoch, seq) of each cell) of what was
    asked: coupons given out before the recall are all in it.
    """
    places = [tuple(place) for place in job.asked["places"]]
    query = select(cells.c.cell, cells.c.epoch, cells.c.seq).where(cells.c.tenant == job.tenant)
    async with books.connect() as connection:
        booked = {row.cell: (row.epoch, row.seq) for row in await connection.execute(query)}
    if any(booked.get(cell, (1, 0)) < place for cell, place in enumerate(places)):
        return False
    c = coupons.c
    number = func.row_number().over(order_by=(c.issued_ms, c.id)) - 1
    later = coupons.alias("later").c
    went_on = select(later.id).where(
        later.tenant == job.tenant, later.came_from == c.id, later.came_from != ""
    )
    listed = select(
        c.tenant, literal(job.id), number, c.user_id, c.id, literal(WAITING), literal("")
    ).where(
        c.tenant == job.tenant,
        c.campaign_id == job.campaign_id,
        c.state != "voided",
        or_(c.state != "transferred", ~went_on.exists()),
    )
    columns = ["tenant", "job_id", "n", "user_id", "coupon_id", "status", "code"]
    async with books.begin() as connection:
        # Nobody else lists them meanwhile: the job's row is ours until the end.
        first = await connection.execute(
            update(jobs).where(*_is(job), jobs.c.total.is_(None)).values(total=-1)
        )
        if first.rowcount == 1:
            await connection.execute(insert(job_items).from_select(columns, listed))
            total = select(func.count()).where(
                job_items.c.tenant == job.tenant, job_items.c.job_id == job.id
            )
            await connection.execute(
                update(jobs).where(*_is(job)).values(total=total.scalar_subquery())
            )
    return True


async def record(books: Books, job: Job, outcomes: Sequence[Item], now: int, until: int) -> bool:
    """Keep the outcomes of the next items, and end the job with the last.

    False, and nothing kept, when another has gone on with it meanwhile.
    """
    assert job.total is not None
    counts = dict(job.counts)
    for item in outcomes:
        name = item.code if item.status == REFUSED else item.status
        counts[name] = counts.get(name, 0) + 1
    done = job.done + len(outcomes)
    values: dict[str, Any] = {
        "done": done, "counts": orjson.dumps(counts).decode(), "lease_until_ms": until
    }  # fmt: skip
    if done >= job.total:
        values |= {"state": "done", "ended_ms": now, "lease_owner": None}
    async with books.begin() as connection:
        kept = await connection.execute(
            update(jobs)
            .where(*_is(job), jobs.c.done == job.done, jobs.c.state.in_(OPEN))
            .values(values)
        )
        if kept.rowcount != 1:
            return False
        if outcomes and job.kind == "print":
            made = [{"tenant": job.tenant, "job_id": job.id, **one._asdict()} for one in outcomes]
            await connection.execute(job_items.insert(), made)
        elif outcomes:
            of_item = update(job_items).where(
                job_items.c.tenant == job.tenant,
                job_items.c.job_id == job.id,
                job_items.c.n == bindparam("of_n"),
            )
            rows = [
                {"of_n": one.n, "coupon_id": one.coupon_id, "status": one.status, "code": one.code}
                for one in outcomes
            ]
            await connection.execute(of_item, rows)
    return True


async def fail(books: Books, job: Job, error: str, now: int) -> None:
    """End the job where it can't go on; what it has done stays done."""
    async with books.begin() as connection:
        await connection.execute(
            update(jobs)
            .where(*_is(job), jobs.c.state.in_(OPEN))
            .values(state="failed", error=error[:500], ended_ms=now, lease_owner=None)
        )


def _is(job: Job) -> tuple[Any, Any]:
    return jobs.c.tenant == job.tenant, jobs.c.id == job.id


def _job(row: Row[Any]) -> Job:
    return Job(
        tenant=row.tenant,
        id=row.id,
        kind=row.kind,
        state=row.state,
        campaign_id=row.campaign_id,
        asked=orjson.loads(row.asked),
        who=row.who,
        clock_ms=row.clock_ms,
        total=row.total,
        done=row.done,
        counts=orjson.loads(row.counts),
        error=row.error,
        created_ms=row.created_ms,
        started_ms=row.started_ms,
        ended_ms=row.ended_ms,
    )
