"""A parking payment's order_ref, ``session/fee``, is two ids long: 129 characters.

Revision 0012, after 0011.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    for name in ("redemptions", "entries"):
        with op.batch_alter_table(name) as table:
            table.alter_column(
                "order_ref",
                existing_type=sa.String(128),
                type_=sa.String(129),
                existing_nullable=False,
                existing_server_default=None,
            )
