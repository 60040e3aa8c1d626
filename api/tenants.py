"""The malls this process serves: each with its engine, books, codes and settings as they are.

The books are asked twice a second whether any mall's definitions have changed; what has is read
again: settings, keys, new malls. While the books are away, all stays as it was.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import msgspec
import structlog
from sqlalchemy import Row, RowMapping, select
from sqlalchemy.dialects import postgresql, sqlite

from api.auth import Auth
from engine import config
from engine.acting import Mall
from engine.books import schema
from engine.books.db import Books
from engine.codes import Codes
from engine.definitions import Settings
from engine.engine import Engine
from engine.gift_codes import GiftCodes
from engine.typed_codes import TypedCodes

POLL_SECONDS = 0.5
HANDLE_KEY_BYTES = 32

log = structlog.get_logger()


@dataclass(slots=True)
class Tenant:
    """What a handler may use of the mall that the key names; nothing of another is in reach."""

    id: str
    cells: int
    timezone: str
    currency: str
    engine: Engine
    books: Books
    codes: Codes
    gift_codes: GiftCodes
    typed_codes: TypedCodes
    control: Any  # engine.control: publish_campaign, publish_store, publish_settings, withdraw
    secret: bytes  # the signing secret, for what is derived from it (keys' texts)
    rehearsal: bool  # whether operators set the clock here
    settings: Settings  # refreshed within a second of a change
    settings_revision: int = 1
    definitions: int = -1  # the tenants.definitions that all of the above was read at
    told: int = 0  # of a rehearsal: the last Hexiao-Now seen here (ms), 0 = none yet


@dataclass(slots=True, frozen=True)
class Parts:
    """What is made once for each mall that appears."""

    engine: Engine
    control: Any


Build = Callable[[Mall], Parts]


class Tenants:
    """All malls in the books, kept up to date."""

    def __init__(
        self, settings: config.Settings, books: Books, secret: bytes, build: Build
    ) -> None:
        self.auth = Auth(books, settings.operator_key)
        self.by_id: dict[str, Tenant] = {}
        self.books_seen = 0.0  # time.monotonic() of the last answer of the books
        self._settings = settings
        self._books = books
        self._secret = secret
        self._build = build
        self._refreshing = asyncio.Lock()  # what was read first must not be taken last

    async def refresh(self) -> None:
        """Read what has changed since the last time."""
        async with self._refreshing:
            async with self._books.connect() as connection:
                rows = (await connection.execute(select(schema.tenants))).all()
                self.books_seen = time.monotonic()
                if self._up_to_date(rows):
                    return
                query = select(schema.keys).where(schema.keys.c.revoked_ms.is_(None))
                keys: Iterable[RowMapping] = (await connection.execute(query)).mappings().all()
            for row in rows:
                self._take(row)
            self.auth.replace(self.by_id, keys, self.by_id.get(self._settings.tenant))

    async def catch_up(self) -> None:
        """Refresh, or leave it to the next poll: whoever asks has done his work already."""
        try:
            await self.refresh()
        except Exception as error:  # noqa: BLE001 - acts go on while the books are away
            log.warning("definitions_not_read", error=repr(error)[:300])

    async def watch(self) -> None:
        """Refresh for as long as the process lives."""
        while True:
            await asyncio.sleep(POLL_SECONDS)
            await self.catch_up()

    def _up_to_date(self, rows: Iterable[Row[Any]]) -> bool:
        known = {tenant.id: tenant.definitions for tenant in self.by_id.values()}
        return {row.id: row.definitions for row in rows} == known

    def _take(self, row: Row[Any]) -> None:
        settings = msgspec.json.decode(row.settings, type=Settings)
        tenant = self.by_id.get(row.id)
        if tenant is None:
            parts = self._build(Mall(row.id, row.cells, row.timezone, bytes(row.handle_key)))
            typed = TypedCodes(self._secret, row.id, bytes(row.handle_key))
            tenant = self.by_id[row.id] = Tenant(
                row.id,
                row.cells,
                row.timezone,
                row.currency,
                parts.engine,
                self._books,
                Codes(self._secret, row.id, typed=typed),
                GiftCodes(self._secret, row.id),
                typed,
                parts.control,
                self._secret,
                self._settings.rehearsal,
                settings,
            )
        tenant.settings = settings
        tenant.settings_revision = row.settings_revision
        tenant.definitions = row.definitions


async def add_tenant(
    books: Books, tenant_id: str, *, cells: int, timezone: str, currency: str
) -> bool:
    """Make a mall; False when there is one of that name, which stays as it is."""
    row = {
        "id": tenant_id,
        "cells": cells,
        "timezone": timezone,
        "currency": currency,
        "handle_key": secrets.token_bytes(HANDLE_KEY_BYTES),
        "definitions": 0,
        "settings": "{}",
        "settings_revision": 1,
        "created_ms": time.time_ns() // 1_000_000,
    }
    insert = sqlite.insert if books.sqlite else postgresql.insert
    statement = insert(schema.tenants).values(row).on_conflict_do_nothing()
    async with books.begin() as connection:
        made = await connection.execute(statement)
    return made.rowcount == 1


async def list_tenants(books: Books) -> list[RowMapping]:
    """All malls: id, cells, timezone, currency, created_ms."""
    columns = schema.tenants.c
    query = select(
        columns.id, columns.cells, columns.timezone, columns.currency, columns.created_ms
    ).order_by(columns.id)
    async with books.connect() as connection:
        return list((await connection.execute(query)).mappings().all())
