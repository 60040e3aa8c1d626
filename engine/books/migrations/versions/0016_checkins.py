"""Check-ins: every attempt of a ticket at a gate.

Revision 0016, after 0015.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "checkins",
        sa.Column("tenant", sa.String(length=64), nullable=False),
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("cell", sa.Integer(), nullable=False),
        sa.Column("user_id", sa.String(length=64), nullable=False),
        sa.Column("coupon_id", sa.String(length=64), nullable=False),
        sa.Column("campaign_id", sa.String(length=64), nullable=False),
        sa.Column("event_id", sa.String(length=64), nullable=False),
        sa.Column("gate", sa.String(length=64), nullable=False),
        sa.Column("direction", sa.String(length=4), nullable=False),
        sa.Column("code", sa.String(length=32), nullable=False),
        sa.Column("offline", sa.Integer(), nullable=False),
        sa.Column("at_ms", sa.BigInteger(), nullable=False),
        sa.Column("scanned_ms", sa.BigInteger(), nullable=False),
        sa.Column("staff_id", sa.String(length=64), nullable=False),
        sa.Column("redemption_id", sa.String(length=64), nullable=False),
        sa.Column("entries", sa.Integer(), nullable=False),
        sa.Column("other_gate", sa.String(length=64), nullable=False),
        sa.Column("other_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("tenant", "id", name=op.f("checkins_pkey")),
    )
    op.create_index("checkins_coupon", "checkins", ["tenant", "coupon_id", "at_ms"])
    op.create_index("checkins_event", "checkins", ["tenant", "event_id", "at_ms"])
    op.create_index("checkins_at", "checkins", ["tenant", "at_ms"])
