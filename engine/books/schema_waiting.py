"""Table of waiting lines: everybody who joined one, and what became of their place."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Index, Integer, String, Table

from engine.books.schema_base import Id, Ms, metadata, tenant_column

waitlist = Table(
    "waitlist",
    metadata,
    tenant_column(),
    Column("id", Id, primary_key=True),
    Column("cell", Integer, nullable=False),
    Column("campaign_id", Id, nullable=False),
    Column("user_id", Id, nullable=False),
    Column("party", Integer, nullable=False),
    Column("priority", Integer, nullable=False),
    Column("place", BigInteger, nullable=False),  # 0: there was room at once
    Column("joined_ms", Ms, nullable=False),
    Column("state", String(16), nullable=False),  # waiting | offered | skipped | left | ended
    Column("order_id", Id, nullable=False),
    Column("until_ms", Ms, nullable=False),
    Column("why", Integer, nullable=False),  # they were skipped: an outcome
    Column("changed_ms", Ms, nullable=False),
    Column("version", BigInteger, nullable=False),
    Index("waitlist_campaign", "tenant", "campaign_id", "state"),
)
