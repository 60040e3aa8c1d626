"""What all tables of the books are made of."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, MetaData, String

# Constraints have names, so that a later migration can name them on SQLite too.
metadata = MetaData(
    naming_convention={
        "pk": "%(table_name)s_pkey",
        "uq": "%(table_name)s_%(column_0_N_name)s_key",
    }
)

Id = String(64)
Party = String(80)  # mall, customers, merchant:ID, sponsor:ID
Ms = BigInteger
Fen = BigInteger


def tenant_column() -> Column[str]:
    """The first column of every table."""
    return Column("tenant", Id, primary_key=True)
