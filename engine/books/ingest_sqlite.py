"""Bulk work on SQLite, on the driver's own connection inside SQLAlchemy's transaction.

Whole rows go by one prepared statement. Rows that are looked up or merged go some hundreds a
statement, since what it returns comes back once for all.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import AsyncIterator, Iterator, Sequence
from functools import lru_cache
from itertools import chain
from typing import Any

from sqlalchemy import Table
from sqlalchemy.ext.asyncio import AsyncConnection

from engine.books.bulk import Bulk, RefusedByDatabase, Row

_SIZES = (256, 64, 16, 4, 1)  # few different statements, so that SQLite parses each once
_MOST_VALUES = 8192  # parameters a statement


class SqliteRows:
    """See ``engine.books.bulk.Rows``."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def run(self, bulk: Bulk, tenant: str, rows: Sequence[Row]) -> list[Row]:
        found: list[Row] = []
        async with self._driver() as driver:
            for chunk in _chunks(rows, len(bulk.columns)):
                sql, tenants = _bulk_sql(bulk, len(chunk))
                values = (*chain.from_iterable(chunk), *[tenant] * tenants)
                found += await driver.execute_fetchall(sql, values)
        return found

    async def insert(self, table: Table, rows: Sequence[Row]) -> None:
        if not rows:
            return
        async with self._driver() as driver:
            await driver.executemany(_insert_sql(table), rows)

    @contextlib.asynccontextmanager
    async def _driver(self) -> AsyncIterator[Any]:
        raw = await self._connection.get_raw_connection()
        try:
            yield raw.driver_connection
        except (sqlite3.IntegrityError, sqlite3.DataError, OverflowError) as error:
            raise RefusedByDatabase(str(error)) from None  # OverflowError: beyond 64 bits


def _chunks(rows: Sequence[Row], columns: int) -> Iterator[Sequence[Row]]:
    done = 0
    for size in _SIZES:
        if size * columns > _MOST_VALUES:
            continue
        while len(rows) - done >= size:
            yield rows[done : done + size]
            done += size


def _values(columns: int, rows: int) -> str:
    row = f"({','.join('?' * columns)})"
    return ",".join([row] * rows)


@lru_cache(maxsize=256)
def _bulk_sql(bulk: Bulk, rows: int) -> tuple[str, int]:
    values = _values(len(bulk.columns), rows)
    sql = f"WITH v({bulk.names}) AS (VALUES {values}) {bulk.sql.format(tenant='?')}"
    return sql, bulk.sql.count("{tenant}")


@lru_cache
def _insert_sql(table: Table) -> str:
    columns = ", ".join(table.columns.keys())
    return f"INSERT INTO {table} ({columns}) VALUES {_values(len(table.columns), 1)}"  # noqa: S608
