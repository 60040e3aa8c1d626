"""Codes of third parties that coupons carry.

Revision 0014, after 0013.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None


def _id(name: str, length: int = 64) -> sa.Column[str]:
    return sa.Column(name, sa.String(length=length), nullable=False)


def upgrade() -> None:
    op.create_table(
        "pools",
        _id("tenant"),
        _id("campaign_id"),
        sa.Column("loaded", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("tenant", "campaign_id", name=op.f("pools_pkey")),
    )
    op.create_table(
        "pool_codes",
        _id("tenant"),
        _id("campaign_id"),
        _id("code", 255),
        _id("upload", 32),
        sa.Column("line", sa.BigInteger(), nullable=False),
        _id("coupon_id"),
        sa.PrimaryKeyConstraint("tenant", "campaign_id", "code", name=op.f("pool_codes_pkey")),
    )
    given = sa.text("coupon_id <> ''")
    op.create_index(
        "pool_codes_coupon",
        "pool_codes",
        ["tenant", "coupon_id"],
        sqlite_where=given,
        postgresql_where=given,
    )
    op.create_table(
        "pool_batches",
        _id("tenant"),
        _id("campaign_id"),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column("cell", sa.Integer(), nullable=False),
        sa.Column("codes", sa.Text(), nullable=False),
        sa.Column("count", sa.BigInteger(), nullable=False),
        sa.Column("pushed", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint(
            "tenant", "campaign_id", "number", "cell", name=op.f("pool_batches_pkey")
        ),
    )
    op.create_index("pool_batches_pushed", "pool_batches", ["tenant", "pushed"])
