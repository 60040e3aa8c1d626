"""What of a campaign's stock has gone from cell to cell."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Integer, String, Table

from engine.books.schema_base import metadata, tenant_column

stock_moves = Table(
    "stock_moves",
    metadata,
    tenant_column(),
    Column("cell", Integer, primary_key=True),
    Column("what", String(16), primary_key=True),  # stock
    Column("item", String(160), primary_key=True),  # campaign
    Column("direction", String(8), primary_key=True),  # sent | received
    Column("peer", Integer, primary_key=True),  # the other cell
    Column("total", BigInteger, nullable=False),  # ever; it only grows
)
