"""Printed batches in the books: a job whose items are printed coupons, numbered a tenant."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from sqlalchemy import and_, select

from engine.books.jobs import Job
from engine.books.schema import coupons, job_items

if TYPE_CHECKING:
    from engine.books.db import Books

ISSUED = "issued"


class Printed(NamedTuple):
    """One printed coupon; times in ms, ``valid_until`` 0 = no end; None: not in the books yet."""

    number: int
    coupon_id: str
    valid_from: int | None
    valid_until: int | None


async def printed_page(books: Books, job: Job, page: int, size: int) -> int | None:
    """The item that a page begins with, from 1; None where there is no such page."""
    i = job_items.c
    query = (
        select(i.n)
        .where(i.tenant == job.tenant, i.job_id == job.id, i.status == ISSUED)
        .order_by(i.n)
        .offset((page - 1) * size)
        .limit(1)
    )
    async with books.connect() as connection:
        first: int | None = await connection.scalar(query)
    return first


async def printed(books: Books, job: Job, start: int, limit: int) -> list[Printed]:
    """Coupons of a batch from item ``start`` on, in order; what was refused is left out."""
    i, c = job_items.c, coupons.c
    query = (
        select(i.n, i.coupon_id, c.valid_from_ms, c.valid_until_ms)
        .outerjoin(coupons, and_(c.tenant == i.tenant, c.id == i.coupon_id))
        .where(i.tenant == job.tenant, i.job_id == job.id, i.n >= start, i.status == ISSUED)
        .order_by(i.n)
        .limit(limit)
    )
    first = int(job.asked["first"])
    async with books.connect() as connection:
        return [
            Printed(first + n, coupon_id, begins, ends)
            for n, coupon_id, begins, ends in await connection.execute(query)
        ]
