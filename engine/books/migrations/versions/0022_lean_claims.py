"""Two scattered indexes less a claim: by person, and by the act that is the coupon itself.

A coupon's id begins with its person's handle, so its own key serves; its claim is found by
``born``, the version of the fact that made it.

Revision 0022, after 0021.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0022"
down_revision = "0021"
branch_labels = None
depends_on = None

NO_CLAIM = sa.text("type <> 'claimed'")


def upgrade() -> None:
    op.add_column(
        "coupons",
        sa.Column("born", sa.BigInteger(), nullable=False, server_default="0"),
    )
    op.execute(
        "UPDATE coupons SET born = f.born FROM"
        " (SELECT tenant, act, max((epoch - 1) * 1099511627776 + seq) AS born FROM facts"
        " WHERE type IN ('claimed', 'received') GROUP BY tenant, act) AS f"
        " WHERE f.tenant = coupons.tenant AND f.act = coupons.id"
    )
    op.drop_index("coupons_user", table_name="coupons")
    op.drop_index("facts_act", table_name="facts")
    op.create_index(
        "facts_act",
        "facts",
        ["tenant", "act"],
        sqlite_where=NO_CLAIM,
        postgresql_where=NO_CLAIM,
    )
