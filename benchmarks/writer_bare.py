"""What the writer is compared with on PostgreSQL: the same rows by bare COPY and merge.

The rows that a writer left are read back, then brought into empty books in as many transactions:
each table's share by COPY into a staging table, then ``INSERT … SELECT … ON CONFLICT DO NOTHING``.
No decoding of facts, no projections worked out, no postings, no Redis, no lease: nobody can do less
and still have these rows once.
"""

from __future__ import annotations

import time
from typing import Any

from sqlalchemy import Table, select

from engine.books import schema
from engine.books.db import Books, migrate, open_books

# What the writer has to itself: what a mall defines is there before it starts.
DEFINED = ("tenants", "campaign_terms", "cells", "writers", "leases")


async def bare(source: str, target: str, transactions: int) -> float:
    """Seconds for all rows that the writer made in the books at ``source``."""
    await migrate(target)
    books, empty = open_books(source), open_books(target)
    try:
        tables = await _rows(books)
        async with empty.connect() as connection:
            raw = await connection.get_raw_connection()
            driver: Any = raw.driver_connection
            begun = time.perf_counter()
            for number in range(transactions):
                async with driver.transaction():
                    for table, rows in tables:
                        first = len(rows) * number // transactions
                        last = len(rows) * (number + 1) // transactions
                        if last > first:
                            await _merge(driver, table, rows[first:last])
            seconds = time.perf_counter() - begun
        await _check(empty, tables)
        return seconds
    finally:
        await books.close()
        await empty.close()


async def _rows(books: Books) -> list[tuple[Table, list[Any]]]:
    """All that is in the tables that facts are written to, in the order of their keys' parents."""
    found = []
    async with books.connect() as connection:
        for table in schema.metadata.sorted_tables:
            if table.name in DEFINED:
                continue
            rows = (await connection.execute(select(*table.columns))).all()
            if rows:
                found.append((table, [tuple(row) for row in rows]))
    return found


async def _merge(driver: Any, table: Table, rows: list[Any]) -> None:
    stage = f"stage_{table.name}"
    await driver.execute(
        f"CREATE TEMP TABLE IF NOT EXISTS {stage} (LIKE {table.name}) ON COMMIT DELETE ROWS"
    )
    await driver.copy_records_to_table(stage, records=rows, columns=table.columns.keys())
    await driver.execute(f"INSERT INTO {table.name} SELECT * FROM {stage} ON CONFLICT DO NOTHING")


async def _check(books: Books, tables: list[tuple[Table, list[Any]]]) -> None:
    """It did what it was timed for."""
    async with books.connect() as connection:
        raw = await connection.get_raw_connection()
        driver: Any = raw.driver_connection
        for table, rows in tables:
            count = await driver.fetchval(f"SELECT count(*) FROM {table.name}")
            if count != len(rows):
                raise SystemExit(f"bare {table.name}: {count} rows where {len(rows)} belong")
