"""Tables of invitations and groups."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Index, Integer, String, Table, UniqueConstraint

from engine.books.schema_base import Id, Ms, metadata, tenant_column

invitations = Table(
    "invitations",
    metadata,
    tenant_column(),
    Column("code", Id, primary_key=True),
    Column("campaign_id", Id, nullable=False),
    Column("inviter", Id, nullable=False),
    Column("needs", Integer, nullable=False),  # friends; as the campaign said then
    Column("condition", String(16), nullable=False),  # registered | first_purchase
    Column("reward_friend", Id, nullable=False),  # a campaign
    Column("created_ms", Ms, nullable=False),
    Column("state", String(16), nullable=False),  # of the inviter's: waiting | issued | refused
    Column("coupon_id", Id, nullable=False),
    Column("why", String(32), nullable=False),  # of refused: its code
    UniqueConstraint("tenant", "campaign_id", "inviter", name="invitations_inviter_key"),
)

invitation_friends = Table(
    "invitation_friends",
    metadata,
    tenant_column(),
    Column("campaign_id", Id, primary_key=True),
    Column("user_id", Id, primary_key=True),  # once a campaign, whoever invites
    Column("code", Id, nullable=False),
    Column("accepted_ms", Ms, nullable=False),
    Column("clock_ms", Ms, nullable=False),  # of a rehearsal: the time of its acts, else 0
    Column("met_ms", Ms, nullable=False),  # when the condition was met, 0 = not yet
    Column("state", String(16), nullable=False),  # of the friend's: waiting | issued | refused
    Column("coupon_id", Id, nullable=False),
    Column("why", String(32), nullable=False),
    Index("invitation_friends_user", "tenant", "user_id"),
    Index("invitation_friends_code", "tenant", "code"),
    Index("invitation_friends_state", "tenant", "state", "met_ms"),
)

groups = Table(
    "groups",
    metadata,
    tenant_column(),
    Column("id", Id, primary_key=True),
    Column("campaign_id", Id, nullable=False),
    Column("size", Integer, nullable=False),
    Column("joined", Integer, nullable=False),
    Column("free", Integer, nullable=False),  # 1: nothing is to be paid
    Column("state", String(16), nullable=False),  # forming | formed | released
    Column("open", Integer, nullable=False),  # 1: something is still to be done for it
    Column("created_ms", Ms, nullable=False),
    Column("expires_ms", Ms, nullable=False),
    Column("clock_ms", Ms, nullable=False),  # of a rehearsal: the time of its last act, else 0
    Index("groups_open", "tenant", "open", "expires_ms"),
)

group_members = Table(
    "group_members",
    metadata,
    tenant_column(),
    Column("group_id", Id, primary_key=True),
    Column("user_id", Id, primary_key=True),
    Column("campaign_id", Id, nullable=False),
    Column("order_id", Id, nullable=False),
    Column("joined_ms", Ms, nullable=False),
    Column("n", BigInteger, nullable=False),  # who came first
    Column("state", String(16), nullable=False),  # held | ready | issued | released | refused
    Column("why", String(32), nullable=False),
    Index("group_members_user", "tenant", "user_id", "campaign_id"),
)
