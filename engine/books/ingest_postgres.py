"""Bulk work on PostgreSQL, on asyncpg's own connection inside SQLAlchemy's transaction.

Whole rows go by COPY, rows that are merged as one array a column. Names alone, to look something
up by, go as JSON: 1.1 us each where an array takes 4.2.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Sequence
from functools import lru_cache
from typing import Any

import asyncpg
import msgspec
from sqlalchemy import Table
from sqlalchemy.ext.asyncio import AsyncConnection

from engine.books.bulk import Bulk, RefusedByDatabase, Row

_json = msgspec.json.Encoder().encode

# SQLSTATE classes that judge the data: data exception, integrity, a limit such as an index row's.
_REFUSALS = ("22", "23", "54")


class PostgresRows:
    """See ``engine.books.bulk.Rows``."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def run(self, bulk: Bulk, tenant: str, rows: Sequence[Row]) -> list[Row]:
        if not rows:
            return []
        async with self._driver() as driver:
            if _names_alone(bulk):
                values: tuple[Any, ...] = (_json([name for (name,) in rows]).decode(),)
            else:
                values = tuple(zip(*rows, strict=True))
            found = await driver.fetch(_bulk_sql(bulk), *values, tenant)
        return [tuple(row) for row in found]

    async def insert(self, table: Table, rows: Sequence[Row]) -> None:
        if not rows:
            return
        async with self._driver() as driver:
            await driver.copy_records_to_table(
                table.name, records=rows, columns=table.columns.keys()
            )

    @contextlib.asynccontextmanager
    async def _driver(self) -> AsyncIterator[Any]:
        raw = await self._connection.get_raw_connection()
        try:
            yield raw.driver_connection
        except asyncpg.PostgresError as error:
            if str(error.sqlstate)[:2] in _REFUSALS:
                raise RefusedByDatabase(str(error)) from None
            raise
        except (OverflowError, ValueError) as error:  # COPY could not encode a value
            raise RefusedByDatabase(str(error)) from None


def _names_alone(bulk: Bulk) -> bool:
    return [kind for _, kind in bulk.columns] == ["text"]


@lru_cache
def _bulk_sql(bulk: Bulk) -> str:
    if _names_alone(bulk):
        source = "json_array_elements_text($1::text::json)"
    else:
        arrays = ", ".join(f"${n}::{kind}[]" for n, (_, kind) in enumerate(bulk.columns, 1))
        source = f"unnest({arrays})"
    tenant = f"${len(bulk.columns) + 1}::text"
    return (
        f"WITH v({bulk.names}) AS (SELECT * FROM {source}) "  # noqa: S608
        f"{bulk.sql.format(tenant=tenant)}"
    )
