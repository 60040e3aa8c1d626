"""What has gone from cell to cell: stock of campaigns, quotas of events."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Integer, String, Table

from engine.books.schema_base import metadata, tenant_column

stock_moves = Table(
    "stock_moves",
    metadata,
    tenant_column(),
    Column("cell", Integer, primary_key=True),
    Column("what", String(16), primary_key=True),  # stock | quota
    Column("item", String(160), primary_key=True),  # campaign, or event/quota
    Column("direction", String(8), primary_key=True),  # sent | received
    Column("peer", Integer, primary_key=True),  # the other cell
    Column("total", BigInteger, nullable=False),  # ever; it only grows
)
