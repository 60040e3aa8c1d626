"""Coupons that were given on name the one that they were.

Revision 0015, after 0014.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column(
        "coupons",
        sa.Column("came_from", sa.String(64), nullable=False, server_default=sa.text("''")),
    )
    op.create_index(
        "coupons_came_from",
        "coupons",
        ["tenant", "came_from"],
        sqlite_where=sa.text("came_from <> ''"),
        postgresql_where=sa.text("came_from <> ''"),
    )
