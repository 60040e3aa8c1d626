"""Third parties' codes in the books: each once a campaign, shared out over the cells in batches.

The books have a code before any cell has, and a batch stays here until its cell has told that it
is there: what a crash cut off is pushed again, and a cell takes each batch once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from sqlalchemy import ColumnElement, Table, bindparam, func, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from engine.books.bulk import Bulk, Rows
from engine.books.db import Books
from engine.books.definitions import Body, By, Change, change
from engine.books.definitions_campaigns import set_pool
from engine.books.ingest_postgres import PostgresRows
from engine.books.ingest_sqlite import SqliteRows
from engine.books.schema import pool_batches, pool_codes, pools
from engine.errors import InvalidRequest
from engine.outcomes import Outcome
from engine.views import Answer

_NEW = Bulk.of(
    "campaign_id text, code text, upload text, line bigint",
    "INSERT INTO pool_codes (tenant, campaign_id, code, upload, line, coupon_id)"
    " SELECT {tenant}, campaign_id, code, upload, line, '' FROM v"
    " WHERE true ON CONFLICT (tenant, campaign_id, code) DO NOTHING RETURNING code",
)
_KNOWN = Bulk.of(
    "campaign_id text, code text, upload text, line bigint",
    "SELECT v.code FROM v JOIN pool_codes AS p ON p.tenant = {tenant}"
    " AND p.campaign_id = v.campaign_id AND p.code = v.code"
    " WHERE p.upload = v.upload AND p.line = v.line",
)
KINDS = ("coupon", "ticket")  # of campaigns whose coupons may carry one


class Batch(NamedTuple):
    """Codes that a cell is to have."""

    campaign_id: str
    number: int
    cell: int
    codes: list[str]


def _rows(books: Books, connection: AsyncConnection) -> Rows:
    return SqliteRows(connection) if books.sqlite else PostgresRows(connection)


async def mark(books: Books, tenant: str, by: By, campaign_id: str) -> Answer[Body]:
    """From now on each coupon of the campaign takes a code with it; NOT_FOUND, or as it was.

    InvalidRequest where its kind carries none.
    """

    async def work(doing: Change) -> Body:
        kind = await set_pool(doing, campaign_id, KINDS)
        if kind is None:
            doing.refuse(Outcome.NOT_FOUND)
        if kind not in KINDS:
            raise InvalidRequest(
                "id",
                "Only campaigns of kind coupon or ticket take codes.",
                "仅 coupon 与 ticket 类活动可导入第三方券码。",
            )
        known = select(pools.c.loaded).where(*_is(pools, tenant, campaign_id))
        if (await doing.connection.execute(known)).first() is None:
            row = {"tenant": tenant, "campaign_id": campaign_id, "loaded": 0}
            await doing.connection.execute(pools.insert(), row)
            doing.changed = True
        return {}

    return await change(books, tenant, by, work)


async def add_codes(
    books: Books, tenant: str, cells: int, campaign_id: str, upload: str, lines: Mapping[str, int]
) -> set[str]:
    """Take codes in (code to its line) in one transaction; those that this upload brought.

    Among them are those that the same lines of the same upload brought before a crash.
    """
    rows = sorted((campaign_id, code, upload, line) for code, line in lines.items())
    async with books.begin() as connection:
        bulk = _rows(books, connection)
        new = {code for (code,) in await bulk.run(_NEW, tenant, rows)}
        rest = [row for row in rows if row[1] not in new]
        again = {code for (code,) in await bulk.run(_KNOWN, tenant, rest)}
        if new:
            # The row stays locked to the end: a number is committed before the next one is there.
            codes = [code for code in lines if code in new]
            raised = await connection.execute(
                update(pools)
                .where(*_is(pools, tenant, campaign_id))
                .values(loaded=pools.c.loaded + len(codes))
                .returning(pools.c.loaded)
            )
            last = raised.scalar_one()
            first = last - len(codes)
            batches = []
            for cell in range(cells):
                own = codes[(cell - first) % cells :: cells]
                if own:
                    batches.append((tenant, campaign_id, last, cell, "\n".join(own), len(own), 0))
            await bulk.insert(pool_batches, batches)
    return new | again


async def waiting(books: Books, tenant: str, campaign_id: str | None = None) -> list[Batch]:
    """Batches that no cell has told it has, in order; at most a few hundred at once."""
    b = pool_batches.c
    query = select(b.campaign_id, b.number, b.cell, b.codes).where(
        b.tenant == tenant, b.pushed == 0
    )
    if campaign_id is not None:
        query = query.where(b.campaign_id == campaign_id)
    async with books.connect() as connection:
        rows = (await connection.execute(query.order_by(b.number, b.cell).limit(256))).all()
    return [Batch(row.campaign_id, row.number, row.cell, row.codes.split("\n")) for row in rows]


async def pushed(books: Books, tenant: str, batches: Sequence[Batch]) -> None:
    """The cells have them."""
    b = pool_batches.c
    one = (
        update(pool_batches)
        .where(b.tenant == tenant, b.campaign_id == bindparam("of_campaign"))
        .where(b.number == bindparam("of_number"), b.cell == bindparam("of_cell"))
        .values(pushed=1, codes="")
    )
    rows = [
        {"of_campaign": it.campaign_id, "of_number": it.number, "of_cell": it.cell}
        for it in batches
    ]
    async with books.begin() as connection:
        await connection.execute(one, rows)


async def counts(books: Books, tenant: str, campaign_id: str) -> tuple[int, int]:
    """How many codes a campaign has had, and how many of them went out with coupons."""
    c = pool_codes.c
    given = select(func.count()).where(*_is(pool_codes, tenant, campaign_id), c.coupon_id != "")
    async with books.connect() as connection:
        loaded = await connection.scalar(
            select(pools.c.loaded).where(*_is(pools, tenant, campaign_id))
        )
        return loaded or 0, await connection.scalar(given) or 0


def _is(table: Table, tenant: str, campaign_id: str) -> tuple[ColumnElement[bool], ...]:
    return table.c.tenant == tenant, table.c.campaign_id == campaign_id
