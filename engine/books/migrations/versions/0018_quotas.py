"""Quotas of events, and which event a campaign is for.

Revision 0018, after 0017.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "quotas",
        sa.Column("tenant", sa.String(length=64), nullable=False),
        sa.Column("event_id", sa.String(length=64), nullable=False),
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("total", sa.BigInteger(), nullable=False),
        sa.Column("shares", sa.Text(), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("tenant", "event_id", "id", name=op.f("quotas_pkey")),
    )
    op.add_column(
        "campaigns",
        sa.Column("event_id", sa.String(length=64), nullable=False, server_default=sa.text("''")),
    )
    op.create_index("campaigns_event", "campaigns", ["tenant", "event_id"])
