"""Run by Alembic: migrates the connection that ``engine.books.db`` hands over."""

from __future__ import annotations

from alembic import context

from engine.books.schema import metadata

connection = context.config.attributes["connection"]
context.configure(connection=connection, target_metadata=metadata)
with context.begin_transaction():
    context.run_migrations()
