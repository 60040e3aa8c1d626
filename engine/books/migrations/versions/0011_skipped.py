"""Coupons that a redemption was asked for and did not use.

Revision 0011, after 0010.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column(
        "redemptions", sa.Column("skipped", sa.Text(), nullable=False, server_default="[]")
    )
