"""Bulk work on SQLite: few long statements instead of many short ones.

One statement takes hundreds of rows, because Python's driver lets go of the interpreter lock and
takes it again at each step of a statement: in a busy process that costs more than the row.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import chain

from sqlalchemy import Table
from sqlalchemy.exc import DataError, IntegrityError
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
        for chunk in _chunks(rows, len(bulk.columns)):
            sql, tenants = _bulk_sql(bulk, len(chunk))
            values = (*chain.from_iterable(chunk), *[tenant] * tenants)
            found += await self._execute(sql, values)
        return found

    async def insert(self, table: Table, rows: Sequence[Row]) -> None:
        for chunk in _chunks(rows, len(table.columns)):
            await self._execute(_insert_sql(table, len(chunk)), tuple(chain.from_iterable(chunk)))

    async def _execute(self, sql: str, values: Row) -> list[Row]:
        try:
            result = await self._connection.exec_driver_sql(sql, values)
            return [tuple(row) for row in result] if result.returns_rows else []
        except (IntegrityError, DataError) as error:
            raise RefusedByDatabase(str(error.orig)) from None
        except OverflowError as error:  # an integer beyond 64 bits
            raise RefusedByDatabase(str(error)) from None


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


@lru_cache(maxsize=256)
def _insert_sql(table: Table, rows: int) -> str:
    columns = ", ".join(table.columns.keys())
    values = _values(len(table.columns), rows)
    return f"INSERT INTO {table} ({columns}) VALUES {values}"  # noqa: S608 - all ours
