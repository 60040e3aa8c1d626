"""What the events feed tells beside facts."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, String, Table, Text, UniqueConstraint

from engine.books.schema_base import Ms, metadata, tenant_column

notices = Table(  # what no act did and somebody may want to know
    "notices",
    metadata,
    tenant_column(),
    Column("n", BigInteger, primary_key=True),  # gapless; rises in the order of commits
    Column("type", String(24), nullable=False),  # expiring_soon | budget_alarm
    Column("key", String(128), nullable=False),  # what is told once only
    Column("at_ms", Ms, nullable=False),
    Column("body", Text, nullable=False),  # JSON
    UniqueConstraint("tenant", "key"),
)
