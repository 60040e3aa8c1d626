"""Tables of third parties' codes."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Index, Integer, String, Table, Text, text

from engine.books.schema_base import Id, metadata, tenant_column

pools = Table(
    "pools",
    metadata,
    tenant_column(),
    Column("campaign_id", Id, primary_key=True),
    Column("loaded", BigInteger, nullable=False),  # codes so far: its row orders batches
)

pool_codes = Table(
    "pool_codes",
    metadata,
    tenant_column(),
    Column("campaign_id", Id, primary_key=True),
    Column("code", String(255), primary_key=True),
    Column("upload", String(32), nullable=False),  # who brought it, and in which line: to tell
    Column("line", BigInteger, nullable=False),  # a repeat from a duplicate
    Column("coupon_id", Id, nullable=False),  # that it went out with, "" = none yet
    Index(
        "pool_codes_coupon",
        "tenant",
        "coupon_id",
        sqlite_where=text("coupon_id <> ''"),
        postgresql_where=text("coupon_id <> ''"),
    ),
)

# What a cell is to have. Pushed: the cell has it, and its codes are kept by pool_codes alone.
pool_batches = Table(
    "pool_batches",
    metadata,
    tenant_column(),
    Column("campaign_id", Id, primary_key=True),
    Column("number", BigInteger, primary_key=True),  # codes of the campaign up to its last
    Column("cell", Integer, primary_key=True),
    Column("codes", Text, nullable=False),  # one a line; "" once it is pushed
    Column("count", BigInteger, nullable=False),
    Column("pushed", Integer, nullable=False),
    Index("pool_batches_pushed", "tenant", "pushed"),
)
