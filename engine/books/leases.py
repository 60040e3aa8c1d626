"""Which writer has which cell: a lease by the database's clock, a fence number for each change.

A lease that has run out may be taken by another writer; the fence then rises, and a batch of the
old owner finds it changed inside its transaction and is not written (``ingest.LeaseLost``). So
leases only have to be fair and quick; being right does not hang on any clock.
"""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import BigInteger, bindparam, delete, func, select, text, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

from engine.books.db import Books
from engine.books.ingest import Lease
from engine.books.schema import cells, tenants, writers

_NOW_SQLITE = "CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER)"
_NOW_POSTGRES = "CAST(extract(epoch FROM clock_timestamp()) * 1000 AS BIGINT)"
_FORGOTTEN = 10  # lease times after which a writer that was not seen is struck off


class Leases:
    """The leases of one writer process, called ``owner``. ``term_ms``: how long one lasts."""

    def __init__(self, books: Books, owner: str, term_ms: int) -> None:
        self._books = books
        self.owner = owner
        self._term_ms = term_ms

    async def share_out(self) -> list[Lease]:
        """Renew what is ours, give up what is above a fair share, take what is free below it.

        Called at least three times a term. Returns all that this writer has now.
        """
        async with self._books.begin() as connection:
            now = await self._now(connection)
            await self._ensure_cells(connection)
            await self._report(connection, now)
            mine = await self._renew(connection, now)
            fair = await self._fair_share(connection, now)
            if len(mine) > fair:
                await self._release(connection, mine[fair:])
                mine = mine[:fair]
            if len(mine) < fair:
                mine += await self._take(connection, fair - len(mine), now)
            return mine

    async def leave(self, leases: Sequence[Lease]) -> None:
        """Hand everything back at a graceful stop: the next writer need not wait."""
        async with self._books.begin() as connection:
            await self._release(connection, leases)
            await connection.execute(delete(writers).where(writers.c.id == self.owner))

    async def _now(self, connection: AsyncConnection) -> int:
        clock = _NOW_SQLITE if self._books.sqlite else _NOW_POSTGRES
        return int((await connection.execute(text(f"SELECT {clock}"))).scalar_one())

    async def _ensure_cells(self, connection: AsyncConnection) -> None:
        """A row for every cell of every tenant; usually nothing to do."""
        counted = select(cells.c.tenant, func.count().label("n")).group_by(cells.c.tenant)
        have = counted.subquery()
        query = (
            select(tenants.c.id, tenants.c.cells)
            .outerjoin(have, have.c.tenant == tenants.c.id)
            .where(func.coalesce(have.c.n, 0) < tenants.c.cells)
        )
        missing = (await connection.execute(query)).all()
        if not missing:
            return
        insert = sqlite.insert if self._books.sqlite else postgresql.insert
        rows = [
            {"tenant": tenant, "cell": cell} for tenant, count in missing for cell in range(count)
        ]
        await connection.execute(insert(cells).on_conflict_do_nothing(), rows)

    async def _report(self, connection: AsyncConnection, now: int) -> None:
        insert = sqlite.insert if self._books.sqlite else postgresql.insert
        statement = insert(writers).values(id=self.owner, seen_ms=now)
        await connection.execute(
            statement.on_conflict_do_update(
                index_elements=[writers.c.id], set_={"seen_ms": statement.excluded.seen_ms}
            )
        )
        gone = now - _FORGOTTEN * self._term_ms
        await connection.execute(delete(writers).where(writers.c.seen_ms < gone))

    async def _renew(self, connection: AsyncConnection, now: int) -> list[Lease]:
        """Ours as the database has it, in a fixed order: nobody else is called ``owner``."""
        await connection.execute(
            update(cells)
            .where(cells.c.lease_owner == self.owner)
            .values(lease_until_ms=now + self._term_ms)
        )
        query = _LEASES.where(cells.c.lease_owner == self.owner)
        return [
            Lease(tenant, cell, count, self.owner, fence)
            for tenant, cell, fence, count in await connection.execute(query)
        ]

    async def _fair_share(self, connection: AsyncConnection, now: int) -> int:
        alive = select(func.count()).where(writers.c.seen_ms > now - self._term_ms)
        count = (await connection.execute(select(func.count()).select_from(cells))).scalar_one()
        return -(-int(count) // max(1, int((await connection.execute(alive)).scalar_one())))

    async def _release(self, connection: AsyncConnection, leases: Sequence[Lease]) -> None:
        if leases:
            await connection.execute(
                _OF_LEASE.values(lease_owner=None, lease_until_ms=0),
                [_parameters(lease) for lease in leases],
            )

    async def _take(self, connection: AsyncConnection, most: int, now: int) -> list[Lease]:
        free = (
            _LEASES.where((cells.c.lease_owner.is_(None)) | (cells.c.lease_until_ms < now))
            .limit(most)
            .with_for_update(of=cells, skip_locked=True)
        )
        taken = [
            Lease(tenant, cell, count, self.owner, fence + 1)
            for tenant, cell, fence, count in await connection.execute(free)
        ]
        if taken:
            await connection.execute(
                _OF_CELL.values(
                    lease_owner=self.owner,
                    lease_until_ms=now + self._term_ms,
                    fence=cells.c.fence + 1,
                ),
                [{"of_tenant": lease.tenant, "of_cell": lease.cell} for lease in taken],
            )
        return taken

    async def complete(self, times: Sequence[tuple[Lease, int, int]]) -> None:
        """Idle cells: the books hold all before a time. (lease, seq it was true at, time in ms)."""
        async with self._books.begin() as connection:
            await connection.execute(
                _COMPLETE,
                [
                    {**_parameters(lease), "at_seq": seq, "until": until}
                    for lease, seq, until in times
                ],
            )


_LEASES = (
    select(cells.c.tenant, cells.c.cell, cells.c.fence, tenants.c.cells)
    .join(tenants, tenants.c.id == cells.c.tenant)
    .order_by(cells.c.tenant, cells.c.cell)
)
_OF_CELL = update(cells).where(
    cells.c.tenant == bindparam("of_tenant"), cells.c.cell == bindparam("of_cell")
)
_OF_LEASE = _OF_CELL.where(cells.c.fence == bindparam("of_fence"))
_UNTIL = bindparam("until", type_=BigInteger)
_COMPLETE = _OF_LEASE.where(
    cells.c.seq == bindparam("at_seq"), cells.c.complete_ms < _UNTIL
).values(complete_ms=_UNTIL)


def _parameters(lease: Lease) -> dict[str, object]:
    return {"of_tenant": lease.tenant, "of_cell": lease.cell, "of_fence": lease.fence}
