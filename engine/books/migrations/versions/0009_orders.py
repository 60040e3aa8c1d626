"""Orders, refunds, and what was paid for coupons.

Revision 0009, after 0008.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def _id(name: str, length: int = 64) -> sa.Column[str]:
    return sa.Column(name, sa.String(length=length), nullable=False)


def _number(name: str) -> sa.Column[int]:
    return sa.Column(name, sa.BigInteger(), nullable=False)


def _money(name: str) -> sa.Column[int]:
    return sa.Column(name, sa.BigInteger(), nullable=False, server_default="0")


def upgrade() -> None:
    op.create_table(
        "orders",
        _id("tenant"),
        _id("id"),
        sa.Column("cell", sa.Integer(), nullable=False),
        _id("user_id"),
        _id("state", 16),
        _number("at_ms"),
        _number("until_ms"),
        _id("channel"),
        sa.Column("source", sa.Text(), nullable=False),
        _number("amount"),
        _number("points"),
        sa.Column("items", sa.Text(), nullable=False),
        _id("payment_ref", 128),
        _number("paid_ms"),
        _number("version"),
        sa.PrimaryKeyConstraint("tenant", "id", name=op.f("orders_pkey")),
    )
    op.create_index("orders_user", "orders", ["tenant", "user_id", "at_ms"])
    op.create_index("orders_at", "orders", ["tenant", "at_ms"])
    op.create_table(
        "refunds",
        _id("tenant"),
        _id("coupon_id"),
        _id("ref", 128),
        _id("order_id"),
        _id("user_id"),
        _id("campaign_id"),
        _number("at_ms"),
        _number("amount"),
        _number("points"),
        sa.Column("reason", sa.Text(), nullable=False),
        _number("failed_ms"),
        _number("version"),
        sa.PrimaryKeyConstraint("tenant", "coupon_id", "ref", name=op.f("refunds_pkey")),
    )
    op.create_index("refunds_at", "refunds", ["tenant", "at_ms"])
    op.add_column(
        "coupons",
        sa.Column("order_id", sa.String(length=64), nullable=False, server_default=sa.text("''")),
    )
    op.add_column("coupons", _money("paid"))
    op.add_column("coupons", _money("paid_used"))
    op.add_column(
        "coupons", sa.Column("restocked", sa.Integer(), nullable=False, server_default="0")
    )
    op.add_column("redemption_coupons", _money("paid"))
