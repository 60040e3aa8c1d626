"""Doing jobs: grants, recalls, refunds and prints, item by item beside live traffic.

One process a mall's host does them (the API's first). A job is done in slices: lease it, take the
next items, act, keep their outcomes. A crash loses at most the outcomes of one slice; its acts are
asked for again under the same keys, and have had their effect.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import structlog
from sqlalchemy.exc import SQLAlchemyError

from engine import social
from engine.batching import ScriptError
from engine.books import jobs
from engine.books.db import Books
from engine.books.jobs import REFUSED, Item, Job
from engine.engine import Engine
from engine.errors import Unavailable
from engine.outcomes import Outcome

SLICE = 256  # items between two times that outcomes are kept
IN_FLIGHT = 32  # of a job at once: half a call, so that callers at the counter hardly notice
AT_ONCE = 32  # jobs
LOOK_SECONDS = 0.5
TROUBLE_SECONDS = 1.0
LEASE_MS = 4000
TROUBLE = (Unavailable, SQLAlchemyError, OSError)  # what going on later may mend

log = structlog.get_logger()


class Jobs:
    """Does the open jobs of all malls; ``engines``: those of this process, by tenant."""

    def __init__(self, books: Books, engines: Callable[[], Mapping[str, Engine]]) -> None:
        self._books = books
        self._engines = engines
        self._owner = secrets.token_hex(16)

    async def watch(self) -> None:
        """Work for as long as the process lives."""
        while True:
            try:
                busy = await self.round()
            except TROUBLE as error:
                log.warning("jobs_wait", error=repr(error)[:300])
                busy = False
            if not busy:
                await asyncio.sleep(LOOK_SECONDS)

    async def round(self) -> bool:
        """A slice of each open job; False when none of them could go on."""
        engines = self._engines()
        found = await jobs.open_jobs(self._books, list(engines), AT_ONCE)
        busy = any(await asyncio.gather(*(self._try(job) for job in found)))
        for engine in engines.values():
            busy = await social.round(self._books, engine) or busy
        return busy

    async def _try(self, job: Job) -> bool:
        try:
            return await self._slice(self._engines()[job.tenant], job)
        except TROUBLE as error:
            log.warning("job_waits", job=job.id, tenant=job.tenant, error=repr(error)[:300])
            await asyncio.sleep(TROUBLE_SECONDS)
            return False
        except Exception as error:
            log.exception("job_failed", job=job.id, tenant=job.tenant)
            await jobs.fail(self._books, job, repr(error), _now())
            return False

    async def _slice(self, engine: Engine, asked: Job) -> bool:
        job = await jobs.take(self._books, asked, self._owner, _now(), _now() + LEASE_MS)
        if job is None:
            return False
        if job.total is None:
            return await jobs.list_coupons(self._books, job)
        if job.kind == "print":  # its items come into the books as they are done
            last = min(job.total, job.done + SLICE)
            items = [Item(n, "") for n in range(job.done, last)]
        else:
            items = await jobs.items_of(self._books, job, job.done, SLICE)
        act = _ACTS[job.kind]
        outcomes: list[Item] = []
        for start in range(0, len(items), IN_FLIGHT):
            some = items[start : start + IN_FLIGHT]
            outcomes += await asyncio.gather(*(_safely(act, engine, job, item) for item in some))
        return await jobs.record(self._books, job, outcomes, _now(), _now() + LEASE_MS)


async def _safely(
    act: Callable[[Engine, Job, Item], Awaitable[Item]], engine: Engine, job: Job, item: Item
) -> Item:
    """The outcome of an item; a fault of ours on one of them does not keep the others waiting."""
    try:
        return await act(engine, job, item)
    except ScriptError:
        log.exception("job_item_failed", job=job.id, n=item.n)
        return item._replace(status=REFUSED, code="internal_error")


async def _grant(engine: Engine, job: Job, item: Item) -> Item:
    """One person's coupon, under the rules of a claim."""
    answer = await engine.claim(
        user_id=item.user_id,
        campaign_id=job.campaign_id,
        channel=job.asked["channel"],
        key=f"grant {job.id}",  # no caller's key has a blank
        who=job.who,
        source=job.asked["source"],
        now=job.clock_ms,
    )
    if answer.value is None:
        return item._replace(status=REFUSED, code=answer.outcome.code)
    return item._replace(status="issued", coupon_id=answer.value.id)


async def _recall(engine: Engine, job: Job, item: Item) -> Item:
    """One coupon withdrawn, unless it is used, set aside or over; what was paid comes back.

    One that was given on since is withdrawn where it is now.
    """
    act: dict[str, Any] = {
        "coupon_id": item.coupon_id,
        "key": f"recall {job.id}",
        "who": job.who,
        "reason": job.asked["reason"],
        "now": job.clock_ms,
    }
    answer = await engine.void(**act)
    while answer.outcome is Outcome.TRANSFERRED:
        act["coupon_id"] = await engine.gifts.bring(act["coupon_id"], now=job.clock_ms)
        answer = await engine.void(**act)
    if answer.value is None:
        return item._replace(status=REFUSED, code=answer.outcome.code)
    if answer.value.record.paid or answer.value.record.points_paid:
        refund = await engine.orders.refund(**act, refund_ref=jobs.refund_ref(job))
        if refund.value is not None:
            return item._replace(status="refunded")
        return item._replace(status="voided", code=refund.outcome.code)
    return item._replace(status="voided")


async def _refund_expired(engine: Engine, job: Job, item: Item) -> Item:
    """What was paid for a coupon that has expired unused; once, whatever job comes to it."""
    answer = await engine.orders.refund(
        coupon_id=item.coupon_id,
        key=jobs.EXPIRED_REF,
        who=job.who,
        reason="expired",
        refund_ref=jobs.refund_ref(job),
        now=job.clock_ms,
    )
    if answer.value is None:
        return item._replace(status=REFUSED, code=answer.outcome.code)
    return item._replace(status="refunded")


async def _print(engine: Engine, job: Job, item: Item) -> Item:
    """One printed coupon, which is nobody's yet."""
    answer = await engine.prints.issue(
        number=job.asked["first"] + item.n,
        campaign_id=job.campaign_id,
        channel=job.asked["channel"],
        who=job.who,
        now=job.clock_ms,
    )
    if answer.value is None:
        return item._replace(status=REFUSED, code=answer.outcome.code)
    return item._replace(status="issued", coupon_id=answer.value)


_ACTS = {"grant": _grant, "recall": _recall, jobs.EXPIRED: _refund_expired, "print": _print}


def _now() -> int:
    return time.time_ns() // 1_000_000
