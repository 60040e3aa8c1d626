"""Tables of the office: jobs in bulk with an outcome for each item, and refused tries."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Index, Integer, String, Table, Text

from engine.books.schema_base import Id, Ms, metadata, tenant_column

jobs = Table(
    "jobs",
    metadata,
    tenant_column(),
    Column("id", Id, primary_key=True),
    Column("kind", String(16), nullable=False),  # grant | recall | print | refund_expired
    Column("state", String(16), nullable=False),  # queued | running | done | failed
    Column("campaign_id", Id, nullable=False),
    Column("asked", Text, nullable=False),  # JSON: what the request said beyond the items
    Column("who", Text, nullable=False),  # JSON, for the facts
    Column("clock_ms", Ms, nullable=False, default=0),  # of a rehearsal: the time of its acts
    Column("total", Integer),  # null = its items are not listed yet
    Column("done", Integer, nullable=False, default=0),  # items 0 … done-1 have their outcome
    Column("counts", Text, nullable=False),  # JSON: outcome -> how many
    Column("error", Text, nullable=False, default=""),
    Column("created_ms", Ms, nullable=False),
    Column("started_ms", Ms, nullable=False, default=0),
    Column("ended_ms", Ms, nullable=False, default=0),
    Column("lease_owner", String(64)),
    Column("lease_until_ms", Ms, nullable=False, default=0),
    Index("jobs_open", "state", "created_ms"),
)

job_items = Table(
    "job_items",
    metadata,
    tenant_column(),
    Column("job_id", Id, primary_key=True),
    Column("n", Integer, primary_key=True),  # 0, 1, 2 … in the order they are done
    Column("user_id", Id, nullable=False),
    Column("coupon_id", Id, nullable=False, default=""),
    Column("status", String(16), nullable=False),  # waiting | issued | voided | refunded | refused
    Column("code", String(32), nullable=False, default=""),  # of a refusal
)

attempts = Table(  # bounded: the oldest are struck off
    "attempts",
    metadata,
    tenant_column(),
    Column("id", Id, primary_key=True),  # time, process, number: sorts by time
    Column("at_ms", Ms, nullable=False),
    Column("verb", String(16), nullable=False),  # redeem | hold | park | checkin | …
    Column("code", String(32), nullable=False),
    Column("coupon_id", Id, nullable=False, default=""),  # "" = the code named none
    Column("short_by", BigInteger, nullable=False, default=0),
    Column("store_id", Id, nullable=False, default=""),
    Column("terminal_id", Id, nullable=False, default=""),
    Column("staff_id", Id, nullable=False, default=""),
    Column("channel", String(64), nullable=False, default=""),
    Column("order_ref", String(128), nullable=False, default=""),
    Column("role", String(16), nullable=False),
    Column("label", String(128), nullable=False),  # of the key
    Column("request_id", String(128), nullable=False, default=""),
    Index("attempts_coupon", "tenant", "coupon_id", "id"),
    Index("attempts_at", "tenant", "at_ms"),
)
