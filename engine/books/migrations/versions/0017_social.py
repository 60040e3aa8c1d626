"""Invitations and groups.

Revision 0017, after 0016.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None


def _id(name: str, length: int = 64) -> sa.Column[str]:
    return sa.Column(name, sa.String(length=length), nullable=False)


def _ms(name: str) -> sa.Column[int]:
    return sa.Column(name, sa.BigInteger(), nullable=False)


def _number(name: str) -> sa.Column[int]:
    return sa.Column(name, sa.Integer(), nullable=False)


def _key(table: str, *columns: str) -> sa.PrimaryKeyConstraint:
    return sa.PrimaryKeyConstraint("tenant", *columns, name=op.f(f"{table}_pkey"))


def upgrade() -> None:
    op.create_table(
        "invitations",
        _id("tenant"),
        _id("code"),
        _id("campaign_id"),
        _id("inviter"),
        _number("needs"),
        _id("condition", 16),
        _id("reward_friend"),
        _ms("created_ms"),
        _id("state", 16),
        _id("coupon_id"),
        _id("why", 32),
        _key("invitations", "code"),
        sa.UniqueConstraint(
            "tenant", "campaign_id", "inviter", name=op.f("invitations_inviter_key")
        ),
    )
    op.create_table(
        "invitation_friends",
        _id("tenant"),
        _id("campaign_id"),
        _id("user_id"),
        _id("code"),
        _ms("accepted_ms"),
        _ms("clock_ms"),
        _ms("met_ms"),
        _id("state", 16),
        _id("coupon_id"),
        _id("why", 32),
        _key("invitation_friends", "campaign_id", "user_id"),
    )
    op.create_index("invitation_friends_user", "invitation_friends", ["tenant", "user_id"])
    op.create_index("invitation_friends_code", "invitation_friends", ["tenant", "code"])
    op.create_index("invitation_friends_state", "invitation_friends", ["tenant", "state", "met_ms"])
    op.create_table(
        "groups",
        _id("tenant"),
        _id("id"),
        _id("campaign_id"),
        _number("size"),
        _number("joined"),
        _number("free"),
        _id("state", 16),
        _number("open"),
        _ms("created_ms"),
        _ms("expires_ms"),
        _ms("clock_ms"),
        _key("groups", "id"),
    )
    op.create_index("groups_open", "groups", ["tenant", "open", "expires_ms"])
    op.create_table(
        "group_members",
        _id("tenant"),
        _id("group_id"),
        _id("user_id"),
        _id("campaign_id"),
        _id("order_id"),
        _ms("joined_ms"),
        _ms("n"),
        _id("state", 16),
        _id("why", 32),
        _key("group_members", "group_id", "user_id"),
    )
    op.create_index("group_members_user", "group_members", ["tenant", "user_id", "campaign_id"])
