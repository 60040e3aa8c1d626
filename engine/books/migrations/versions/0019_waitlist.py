"""Waiting lines.

Revision 0019, after 0018.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0019"
down_revision = "0018"
branch_labels = None
depends_on = None


def _text(name: str, length: int = 64) -> sa.Column[str]:
    return sa.Column(name, sa.String(length=length), nullable=False)


def _number(name: str) -> sa.Column[int]:
    return sa.Column(name, sa.BigInteger(), nullable=False)


def _small(name: str) -> sa.Column[int]:
    return sa.Column(name, sa.Integer(), nullable=False)


def upgrade() -> None:
    op.create_table(
        "waitlist",
        _text("tenant"),
        _text("id"),
        _small("cell"),
        _text("campaign_id"),
        _text("user_id"),
        _small("party"),
        _small("priority"),
        _number("place"),
        _number("joined_ms"),
        _text("state", 16),
        _text("order_id"),
        _number("until_ms"),
        _small("why"),
        _number("changed_ms"),
        _number("version"),
        sa.PrimaryKeyConstraint("tenant", "id", name=op.f("waitlist_pkey")),
    )
    op.create_index("waitlist_campaign", "waitlist", ["tenant", "campaign_id", "state"])
