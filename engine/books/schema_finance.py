"""Tables of settlement beyond the entries, and of what apps tell of their visitors."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Index, Integer, String, Table, Text

from engine.books.schema_base import Fen, Id, Ms, metadata, tenant_column

adjustments = Table(
    "adjustments",
    metadata,
    tenant_column(),
    Column("id", Id, primary_key=True),
    Column("n", BigInteger, nullable=False),  # gapless; stands in its postings as seq
    Column("merchant_id", Id, nullable=False),
    Column("amount", Fen, nullable=False),  # owed to the merchant; negative: by it
    Column("reason", Text, nullable=False),
    Column("status", String(16), nullable=False),  # pending | approved | rejected
    Column("asked_ms", Ms, nullable=False),
    Column("asked_by", String(128), nullable=False),
    Column("asked_actor", String(128), nullable=False),  # Hexiao-Actor as sent, "" = none
    Column("asked_key", Id, nullable=False),
    Column("decided_ms", Ms, nullable=False, default=0),
    Column("decided_by", String(128), nullable=False, default=""),
    Column("decided_key", Id, nullable=False, default=""),
    Column("rejection", Text, nullable=False, default=""),
    Column("statement_id", Id),
    Index("adjustments_open", "tenant", "statement_id", "status"),
    Index("adjustments_merchant", "tenant", "merchant_id", "n"),
)

fundings = Table(  # what a merchant bears of a coupon that another one redeemed
    "fundings",
    metadata,
    tenant_column(),
    Column("cell", Integer, primary_key=True),
    Column("epoch", BigInteger, primary_key=True),
    Column("seq", BigInteger, primary_key=True),
    Column("position", Integer, primary_key=True),  # of the entry
    Column("merchant_id", Id, primary_key=True),  # who bears
    Column("amount", Fen, nullable=False),
    Column("at_ms", Ms, nullable=False),
    Column("statement_id", Id),
    Column("late", Integer, nullable=False, default=0),
    Index("fundings_open", "tenant", "merchant_id", "statement_id", "at_ms"),
    Index("fundings_statement", "tenant", "statement_id"),
)

track_events = Table(  # the natural key: the same event told twice is one row
    "track_events",
    metadata,
    tenant_column(),
    Column("user_id", Id, primary_key=True),
    Column("type", String(16), primary_key=True),
    Column("campaign_id", Id, primary_key=True),  # "" = none
    Column("occurred_ms", Ms, primary_key=True),
    Column("channel", String(64), nullable=False),
    Column("entry", String(64), nullable=False, default=""),
    Column("received_ms", Ms, nullable=False),
    Index("track_events_at", "tenant", "occurred_ms"),
)
