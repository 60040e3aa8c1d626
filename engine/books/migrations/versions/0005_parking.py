"""Lots, whose car a plate is, stays, validations, overrides.

Revision 0005, after 0004.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def _text(name: str, length: int) -> sa.Column[str]:
    return sa.Column(name, sa.String(length=length), nullable=False)


def _number(name: str) -> sa.Column[int]:
    return sa.Column(name, sa.BigInteger(), nullable=False)


def _ids(*names: str) -> list[sa.Column[str]]:
    return [_text(name, 64) for name in names]


def _key(table: str, *names: str) -> sa.PrimaryKeyConstraint:
    return sa.PrimaryKeyConstraint("tenant", *names, name=op.f(f"{table}_pkey"))


def upgrade() -> None:
    op.create_table(
        "lots",
        *_ids("tenant", "id", "merchant_id"),
        _text("name", 256),
        sa.Column("body", sa.Text(), nullable=False),
        *map(_number, ("revision", "created_ms")),
        _key("lots", "id"),
    )
    op.create_table(
        "vehicle_users",
        *_ids("tenant"),
        _text("plate", 16),
        *_ids("user_id"),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("present", sa.Integer(), nullable=False),
        _number("version"),
        _key("vehicle_users", "plate", "user_id"),
    )
    op.create_index("vehicle_users_user", "vehicle_users", ["tenant", "user_id"])
    op.create_table(
        "parking_stays",
        *_ids("tenant", "id"),
        sa.Column("cell", sa.Integer(), nullable=False),
        *_ids("lot_id", "session_id"),
        _text("plate", 16),
        *_ids("user_id"),
        *map(_number, ("entered_ms", "recorded_ms", "closed_ms", "exited_ms", "version")),
        _key("parking_stays", "id"),
    )
    op.create_index("parking_stays_plate", "parking_stays", ["tenant", "plate", "closed_ms"])
    op.create_index("parking_stays_user", "parking_stays", ["tenant", "user_id", "closed_ms"])
    op.create_index(
        "parking_stays_lot", "parking_stays", ["tenant", "lot_id", "closed_ms", "entered_ms"]
    )
    op.create_table(
        "parking_validations",
        *_ids("tenant", "id"),
        sa.Column("cell", sa.Integer(), nullable=False),
        *_ids("lot_id", "session_id"),
        _text("plate", 16),
        *_ids("user_id", "campaign_id"),
        _number("terms_revision"),
        *_ids("store_id", "merchant_id"),
        *map(_number, ("minutes", "amount", "at_ms")),
        _key("parking_validations", "id"),
    )
    op.create_index(
        "parking_validations_campaign", "parking_validations", ["tenant", "campaign_id"]
    )
    op.create_index(
        "parking_validations_store", "parking_validations", ["tenant", "store_id", "at_ms"]
    )
    op.create_table(
        "parking_overrides",
        *_ids("tenant"),
        sa.Column("cell", sa.Integer(), nullable=False),
        *map(_number, ("epoch", "seq")),
        *_ids("lot_id", "session_id"),
        _number("amount"),
        sa.Column("reason", sa.Text(), nullable=False),
        _text("staff_id", 128),
        _number("at_ms"),
        _key("parking_overrides", "cell", "epoch", "seq"),
    )
    op.create_index("parking_overrides_at", "parking_overrides", ["tenant", "at_ms"])
