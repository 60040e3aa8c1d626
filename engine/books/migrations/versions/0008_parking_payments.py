"""Parking payments: the lot of a redemption, and what else was taken off its fee.

Revision 0008, after 0007.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    lot = sa.Column("lot_id", sa.String(64), nullable=False, server_default=sa.text("''"))
    op.add_column("redemptions", lot)
    deductions = sa.Column("deductions", sa.Text(), nullable=False, server_default="[]")
    op.add_column("redemptions", deductions)
