"""Many rows in few statements, on either database.

A ``Bulk`` statement reads its rows from ``v``, a table that exists for that statement only: a list
of VALUES on SQLite, arrays on PostgreSQL. The rest of the SQL is the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from sqlalchemy import Table
from sqlalchemy.ext.asyncio import AsyncConnection

Row = tuple[Any, ...]


class RefusedByDatabase(Exception):  # noqa: N818 - a verdict on the rows, not a broken database
    """The database does not take these rows; the same rows will be refused again."""


@dataclass(frozen=True)
class Bulk:
    """SQL over the rows of ``v``; ``{tenant}`` in it stands for the tenant's id.

    ``columns``: name and type (text or bigint) of the columns of ``v``, in order.
    """

    columns: tuple[tuple[str, str], ...]
    sql: str

    @classmethod
    def of(cls, columns: str, sql: str) -> Bulk:
        """``columns`` as in SQL: ``"id text, version bigint"``."""
        pairs = [part.split() for part in columns.split(",")]
        return cls(tuple((name, kind) for name, kind in pairs), sql)

    @property
    def names(self) -> str:
        """``id, version``."""
        return ", ".join(name for name, _ in self.columns)


class Rows(Protocol):
    """Bulk work inside one transaction. RefusedByDatabase where a row breaks a rule of the
    database; any other error is the database's own trouble."""

    def __init__(self, connection: AsyncConnection) -> None: ...

    async def run(self, bulk: Bulk, tenant: str, rows: Sequence[Row]) -> list[Row]:
        """Run it over ``rows``; what it returns, if it returns anything."""
        ...

    async def insert(self, table: Table, rows: Sequence[Row]) -> None:
        """Plain insert of whole rows, values in the order of the table's columns."""
        ...
