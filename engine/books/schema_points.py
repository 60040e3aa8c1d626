"""Tables of points and of the purchases that earn them."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Index, Integer, String, Table, Text

from engine.books.schema_base import Fen, Id, Ms, metadata, tenant_column

points_entries = Table(  # whatever changed a person's balance: it is their sum, always
    "points_entries",
    metadata,
    tenant_column(),
    Column("cell", Integer, primary_key=True),
    Column("epoch", BigInteger, primary_key=True),
    Column("seq", BigInteger, primary_key=True),
    Column("position", Integer, primary_key=True),
    Column("id", Id, nullable=False),
    # earn | spend | adjust | reversal | expiry | purchase | refund | redemption | return
    Column("kind", String(16), nullable=False),
    Column("user_id", Id, nullable=False),
    Column("points", BigInteger, nullable=False),  # signed
    Column("balance", BigInteger, nullable=False),  # after it
    Column("value", Fen, nullable=False),  # what the mall owes for points changed by this
    Column("reason", Text, nullable=False),
    Column("ref", String(128), nullable=False),
    Column("available_ms", Ms, nullable=False),  # of what came in; 0 else
    Column("expires_ms", Ms, nullable=False),  # 0 = never
    Column("of_id", Id, nullable=False),  # id of the entry that it reverses, or whose points expire
    Column("redemption_id", Id, nullable=False),
    Column("transaction_id", String(64), nullable=False),
    Column("at_ms", Ms, nullable=False),
    Index("points_entries_user", "tenant", "user_id", "at_ms"),
    Index("points_entries_id", "tenant", "id"),
    Index("points_entries_at", "tenant", "at_ms"),
)

purchases = Table(  # what the mall's payment platform reported
    "purchases",
    metadata,
    tenant_column(),
    Column("transaction_id", Id, primary_key=True),
    Column("id", Id, nullable=False),  # of its entry of points, where it made one
    Column("user_id", Id, nullable=False),
    Column("store_id", Id, nullable=False),
    Column("merchant_id", Id, nullable=False),  # the store's when it was reported
    Column("amount", Fen, nullable=False),
    Column("refunded", Fen, nullable=False),
    Column("occurred_ms", Ms, nullable=False),
    Column("at_ms", Ms, nullable=False),  # when it was reported
    Column("channel", String(64), nullable=False),
    Column("receipt_no", String(128), nullable=False),
    Column("earned", BigInteger, nullable=False),  # by the rule
    Column("points", BigInteger, nullable=False),  # of them, what refunds did not take back
    Column("reason", String(32), nullable=False),  # why it earned nothing, or less
    Index("purchases_user", "tenant", "user_id", "occurred_ms"),
    Index("purchases_store", "tenant", "store_id", "occurred_ms"),
    Index("purchases_occurred", "tenant", "occurred_ms"),
)

purchase_refunds = Table(  # a refund may come before its purchase
    "purchase_refunds",
    metadata,
    tenant_column(),
    Column("transaction_id", Id, primary_key=True),
    Column("refund_id", Id, primary_key=True),
    Column("user_id", Id, nullable=False),
    Column("amount", Fen, nullable=False),
    Column("points", BigInteger, nullable=False),  # taken back
    Column("short", BigInteger, nullable=False),  # should have been, and could not
    Column("at_ms", Ms, nullable=False),
)
