"""Tables of orders, and of what goes back for coupons that were bought."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Index, Integer, String, Table, Text

from engine.books.schema_base import Fen, Id, Ms, metadata, tenant_column

orders = Table(
    "orders",
    metadata,
    tenant_column(),
    Column("id", Id, primary_key=True),
    Column("cell", Integer, nullable=False),
    Column("user_id", Id, nullable=False),
    Column("state", String(16), nullable=False),  # pending | paid | cancelled | expired
    Column("at_ms", Ms, nullable=False),
    Column("until_ms", Ms, nullable=False),
    Column("channel", String(64), nullable=False),
    Column("source", Text, nullable=False),
    Column("amount", Fen, nullable=False),
    Column("points", BigInteger, nullable=False),
    Column("items", Text, nullable=False),  # JSON
    Column("payment_ref", String(128), nullable=False),
    Column("paid_ms", Ms, nullable=False),
    Column("version", BigInteger, nullable=False),
    Index("orders_user", "tenant", "user_id", "at_ms"),
    Index("orders_at", "tenant", "at_ms"),
)

refunds = Table(
    "refunds",
    metadata,
    tenant_column(),
    Column("coupon_id", Id, primary_key=True),
    Column("ref", String(128), primary_key=True),
    Column("order_id", Id, nullable=False),
    Column("user_id", Id, nullable=False),
    Column("campaign_id", Id, nullable=False),
    Column("at_ms", Ms, nullable=False),
    Column("amount", Fen, nullable=False),
    Column("points", BigInteger, nullable=False),
    Column("reason", Text, nullable=False),
    Column("failed_ms", Ms, nullable=False),  # 0 = it stands
    Column("version", BigInteger, nullable=False),
    Index("refunds_at", "tenant", "at_ms"),
)
