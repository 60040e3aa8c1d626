"""Of a pass that was given on: how many of its uses were gone when it came.

Revision 0020, after 0019.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0020"
down_revision = "0019"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column(
        "coupons",
        sa.Column("came_used", sa.BigInteger(), nullable=False, server_default="0"),
    )
