"""Tables of parking: lots, whose car a plate is, stays, and what shops and the booth gave."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Index, Integer, String, Table, Text

from engine.books.schema_base import Fen, Id, Ms, metadata, tenant_column

Plate = String(16)

lots = Table(
    "lots",
    metadata,
    tenant_column(),
    Column("id", Id, primary_key=True),
    Column("merchant_id", Id, nullable=False),  # its operator
    Column("name", String(256), nullable=False),
    Column("body", Text, nullable=False),
    Column("revision", BigInteger, nullable=False),  # what the cells must have at least
    Column("created_ms", Ms, nullable=False),
)

vehicle_users = Table(
    "vehicle_users",
    metadata,
    tenant_column(),
    Column("plate", Plate, primary_key=True),
    Column("user_id", Id, primary_key=True),
    Column("position", Integer, nullable=False),  # the first one is asked first
    Column("present", Integer, nullable=False),
    Column("version", BigInteger, nullable=False),
    Index("vehicle_users_user", "tenant", "user_id"),
)

parking_stays = Table(
    "parking_stays",
    metadata,
    tenant_column(),
    Column("id", Id, primary_key=True),  # the stay's handle
    Column("cell", Integer, nullable=False),
    Column("lot_id", Id, nullable=False),
    Column("session_id", Id, nullable=False),
    Column("plate", Plate, nullable=False),  # "" = not known
    Column("user_id", Id, nullable=False),  # "" = nobody yet
    Column("entered_ms", Ms, nullable=False),
    Column("recorded_ms", Ms, nullable=False),
    Column("closed_ms", Ms, nullable=False),  # 0 = open
    Column("exited_ms", Ms, nullable=False),
    Column("version", BigInteger, nullable=False),
    Index("parking_stays_plate", "tenant", "plate", "closed_ms"),
    Index("parking_stays_user", "tenant", "user_id", "closed_ms"),
    Index("parking_stays_lot", "tenant", "lot_id", "closed_ms", "entered_ms"),
)

parking_validations = Table(
    "parking_validations",
    metadata,
    tenant_column(),
    Column("id", Id, primary_key=True),
    Column("cell", Integer, nullable=False),
    Column("lot_id", Id, nullable=False),  # and session_id: of the stay, or ""
    Column("session_id", Id, nullable=False),
    Column("plate", Plate, nullable=False),
    Column("user_id", Id, nullable=False),
    Column("campaign_id", Id, nullable=False),
    Column("terms_revision", BigInteger, nullable=False),
    Column("store_id", Id, nullable=False),
    Column("merchant_id", Id, nullable=False),
    Column("minutes", BigInteger, nullable=False),
    Column("amount", Fen, nullable=False),  # the most it takes off; -1 = all of the fee
    Column("at_ms", Ms, nullable=False),
    Index("parking_validations_campaign", "tenant", "campaign_id"),
    Index("parking_validations_store", "tenant", "store_id", "at_ms"),
)

parking_overrides = Table(
    "parking_overrides",
    metadata,
    tenant_column(),
    Column("cell", Integer, primary_key=True),
    Column("epoch", BigInteger, primary_key=True),
    Column("seq", BigInteger, primary_key=True),
    Column("lot_id", Id, nullable=False),
    Column("session_id", Id, nullable=False),
    Column("amount", Fen, nullable=False),
    Column("reason", Text, nullable=False),
    Column("staff_id", String(128), nullable=False),
    Column("at_ms", Ms, nullable=False),
    Index("parking_overrides_at", "tenant", "at_ms"),
)
