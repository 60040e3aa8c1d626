"""A tenant's gapless numbers: of postings, statements, audit entries, notices, prints."""

from __future__ import annotations

from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

from engine.books.schema import counters


async def take(connection: AsyncConnection, tenant: str, name: str, count: int = 1) -> int:
    """The first of ``count`` numbers, from 1 on; the tenant's counter is locked to the end.

    One statement, so that whoever is first to count is not surprised by another first one.
    """
    insert = sqlite.insert if connection.dialect.name == "sqlite" else postgresql.insert
    statement = insert(counters).values(tenant=tenant, name=name, value=count)
    taken = await connection.execute(
        statement.on_conflict_do_update(
            index_elements=[counters.c.tenant, counters.c.name],
            set_={"value": counters.c.value + statement.excluded.value},
        ).returning(counters.c.value)
    )
    return int(taken.scalar_one()) - count + 1
