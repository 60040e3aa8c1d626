"""Passes by their uses, stored value by its balance, and what redemptions were paid with.

Revision 0007, after 0006.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

_ADDED = {
    "coupons": ("used", "spent"),
    "redemptions": ("tendered", "tendered_back"),
    "redemption_coupons": ("tendered", "tendered_back", "points", "points_back", "balance"),
}


def upgrade() -> None:
    for table, names in _ADDED.items():
        for name in names:
            column = sa.Column(name, sa.BigInteger(), nullable=False, server_default="0")
            op.add_column(table, column)
    column = sa.Column("uses", sa.BigInteger(), nullable=False, server_default="1")
    op.add_column("redemption_coupons", column)
