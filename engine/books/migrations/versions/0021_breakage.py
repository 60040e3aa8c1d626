"""What was paid beyond a discount and is the merchant's.

Revision 0021, after 0020.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0021"
down_revision = "0020"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column(
        "entries",
        sa.Column("breakage", sa.BigInteger(), nullable=False, server_default="0"),
    )
