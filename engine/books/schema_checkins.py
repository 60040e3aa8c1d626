"""Table of check-ins: every attempt of a ticket at a gate."""

from __future__ import annotations

from sqlalchemy import Column, Index, Integer, String, Table

from engine.books.schema_base import Id, Ms, metadata, tenant_column

checkins = Table(
    "checkins",
    metadata,
    tenant_column(),
    Column("id", Id, primary_key=True),
    Column("cell", Integer, nullable=False),
    Column("user_id", Id, nullable=False),
    Column("coupon_id", Id, nullable=False),  # "" = a member's code, and no ticket
    Column("campaign_id", Id, nullable=False),
    Column("event_id", Id, nullable=False),
    Column("gate", Id, nullable=False),
    Column("direction", String(4), nullable=False),  # in | out
    Column("code", String(32), nullable=False),  # "" = let through, else the refusal
    Column("offline", Integer, nullable=False),
    Column("at_ms", Ms, nullable=False),
    Column("scanned_ms", Ms, nullable=False),
    Column("staff_id", String(64), nullable=False),
    Column("redemption_id", Id, nullable=False),  # of a first entry, "" else
    Column("entries", Integer, nullable=False),
    Column("other_gate", Id, nullable=False),
    Column("other_ms", Ms, nullable=False),
    Index("checkins_coupon", "tenant", "coupon_id", "at_ms"),
    Index("checkins_event", "tenant", "event_id", "at_ms"),
    Index("checkins_at", "tenant", "at_ms"),
)
