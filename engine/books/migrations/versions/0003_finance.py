"""Statements' life, adjustments, what merchants bear of each other's coupons, tracked events.

Revision 0003, after 0002.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    for column in (
        sa.Column("status_ms", sa.BigInteger(), nullable=False, server_default="0"),
        sa.Column("reason", sa.Text(), nullable=False, server_default=sa.text("''")),
        sa.Column(
            "payment_ref", sa.String(length=128), nullable=False, server_default=sa.text("''")
        ),
    ):
        op.add_column("statements", column)
    op.execute("UPDATE statements SET status_ms = created_ms")
    # "merchant:" and an id of 64 characters.
    with op.batch_alter_table("postings") as postings:
        postings.alter_column(
            "party", existing_type=sa.String(length=64), type_=sa.String(length=80),
            existing_nullable=False,
        )  # fmt: skip
    op.create_index("receipts_created", "receipts", ["created_ms"], unique=False)
    op.create_table(
        "adjustments",
        sa.Column("tenant", sa.String(length=64), nullable=False),
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("n", sa.BigInteger(), nullable=False),
        sa.Column("merchant_id", sa.String(length=64), nullable=False),
        sa.Column("amount", sa.BigInteger(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("status", sa.String(length=16), nullable=False),
        sa.Column("asked_ms", sa.BigInteger(), nullable=False),
        sa.Column("asked_by", sa.String(length=128), nullable=False),
        sa.Column("asked_actor", sa.String(length=128), nullable=False),
        sa.Column("asked_key", sa.String(length=64), nullable=False),
        sa.Column("decided_ms", sa.BigInteger(), nullable=False),
        sa.Column("decided_by", sa.String(length=128), nullable=False),
        sa.Column("decided_key", sa.String(length=64), nullable=False),
        sa.Column("rejection", sa.Text(), nullable=False),
        sa.Column("statement_id", sa.String(length=64), nullable=True),
        sa.PrimaryKeyConstraint("tenant", "id", name=op.f("adjustments_pkey")),
    )
    op.create_index("adjustments_open", "adjustments", ["tenant", "statement_id", "status"])
    op.create_index("adjustments_merchant", "adjustments", ["tenant", "merchant_id", "n"])
    op.create_table(
        "fundings",
        sa.Column("tenant", sa.String(length=64), nullable=False),
        sa.Column("cell", sa.Integer(), nullable=False),
        sa.Column("epoch", sa.BigInteger(), nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("merchant_id", sa.String(length=64), nullable=False),
        sa.Column("amount", sa.BigInteger(), nullable=False),
        sa.Column("at_ms", sa.BigInteger(), nullable=False),
        sa.Column("statement_id", sa.String(length=64), nullable=True),
        sa.Column("late", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint(
            "tenant", "cell", "epoch", "seq", "position", "merchant_id",
            name=op.f("fundings_pkey"),
        ),
    )  # fmt: skip
    op.create_index("fundings_open", "fundings", ["tenant", "merchant_id", "statement_id", "at_ms"])
    op.create_index("fundings_statement", "fundings", ["tenant", "statement_id"])
    # What was borne before there was this table: it goes into the bearer's next statement.
    op.execute(
        "INSERT INTO fundings"
        " (tenant, cell, epoch, seq, position, merchant_id, amount, at_ms, late)"
        " SELECT tenant, cell, epoch, seq, position, substr(party, 10), sum(amount), min(at_ms), 0"
        " FROM postings WHERE account = 'other.subsidy' AND party LIKE 'merchant:%'"
        " GROUP BY tenant, cell, epoch, seq, position, party"
    )
    op.create_table(
        "track_events",
        sa.Column("tenant", sa.String(length=64), nullable=False),
        sa.Column("user_id", sa.String(length=64), nullable=False),
        sa.Column("type", sa.String(length=16), nullable=False),
        sa.Column("campaign_id", sa.String(length=64), nullable=False),
        sa.Column("occurred_ms", sa.BigInteger(), nullable=False),
        sa.Column("channel", sa.String(length=64), nullable=False),
        sa.Column("entry", sa.String(length=64), nullable=False),
        sa.Column("received_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint(
            "tenant", "user_id", "type", "campaign_id", "occurred_ms",
            name=op.f("track_events_pkey"),
        ),
    )  # fmt: skip
    op.create_index("track_events_at", "track_events", ["tenant", "occurred_ms"])
