"""Table of quotas: how many tickets of an event may be out, of all its campaigns together."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Table, Text

from engine.books.schema_base import Id, metadata, tenant_column

quotas = Table(
    "quotas",
    metadata,
    tenant_column(),
    Column("event_id", Id, primary_key=True),
    Column("id", Id, primary_key=True),
    Column("total", BigInteger, nullable=False),
    Column("shares", Text, nullable=False),  # JSON list: of each cell
    Column("version", BigInteger, nullable=False),  # what the cells must have
)
