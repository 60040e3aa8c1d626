"""A mall as tests drive it: the engine and its control on a real server, real migrated books."""

from __future__ import annotations

import asyncio
import itertools
import json
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from engine import facts, keys
from engine.acting import Mall
from engine.books import definitions_campaigns as campaigns
from engine.books import definitions_directory as directory
from engine.books import schema
from engine.books.db import Books, open_books
from engine.books.definitions import By, Receipt
from engine.books.definitions_events import campaigns_of
from engine.control import Control
from engine.definitions import Campaign, Merchant, Settings, Store
from engine.engine import Engine
from engine.outbox import open_client
from engine.reconcile import reconcile
from engine.records import Issue, StoreRecord, Terms, pack
from engine.server import Server
from engine.writer import Writer, WriterOptions

WHO = json.dumps({"key": "k", "label": "test", "role": "operator"})
ANN = By(actor="ann", key_id="k", label="test", role="operator", at=0)


@dataclass
class Running:
    """One tenant, open. Definitions go the way they go in the API: books first, then the cells."""

    id: str
    cells: int
    books: Books
    server: Server
    control: Control
    engine: Engine
    clock: int = 0  # what acts carry as ``now``: 0 = the server's clock
    _numbers: itertools.count[int] = field(default_factory=itertools.count)

    # ---- definitions ------------------------------------------------------------------------

    def _receipt(self) -> Receipt:
        return Receipt("test", f"n{next(self._numbers)}", "", 201)

    async def publish(self, campaign: Campaign) -> None:
        """Make a campaign in the books and bring it to the cells."""
        answer = await campaigns.create_campaign(
            self.books, self.id, self.cells, ANN, self._receipt(), campaign, _shown
        )
        assert answer.ok, answer
        await self.control.publish_campaign(campaign.id, now=self.clock)

    async def patch(self, campaign_id: str, patch: dict[str, Any]) -> None:
        """PATCH a campaign."""
        answer = await campaigns.patch_campaign(
            self.books, self.id, ANN, campaign_id, patch, None, _shown,
            self.control.quotas.withdraw,
        )
        assert answer.ok, answer
        row = await campaigns.get_campaign(self.books, self.id, campaign_id)
        event = row and row.body["event"]
        names = await campaigns_of(self.books, self.id, event["id"]) if event else [campaign_id]
        for name in names:
            await self.control.publish_campaign(name, now=self.clock)

    async def add_stock(self, campaign_id: str, add: int, add_budget: int = 0) -> None:
        """POST .../stock; InvalidRequest when fewer than that are left."""
        answer = await campaigns.add_stock(
            self.books, self.id, ANN, self._receipt(), campaign_id, add, _shown,
            self.control.withdraw, add_budget=add_budget,
        )
        assert answer.ok, answer
        await self.control.publish_campaign(campaign_id, now=self.clock)

    async def store(self, store_id: str, merchant: str = "m1", closed: bool = False) -> None:
        """PUT a merchant and its store."""
        await directory.put_merchant(self.books, self.id, ANN, merchant, Merchant(name=merchant))
        store = Store(name=store_id, merchant_id=merchant, closed=closed)
        await directory.put_store(self.books, self.id, ANN, store_id, store)
        await self.control.publish_store(store_id)

    async def settings(self, **patch: Any) -> None:
        """PATCH the settings."""
        await directory.patch_settings(self.books, self.id, ANN, patch, None)
        await self.control.publish_settings()

    async def put_raw(self, campaign_id: str, issue: Issue, terms: Terms, share: int = -1) -> None:
        """A campaign straight into every cell, for tests whose terms no API would take."""
        stock = "" if share < 0 else share
        for cell in range(self.cells):
            await self.control._write(
                cell, "publish", campaign_id, issue.revision, pack(issue), stock, WHO, 0,
                -1, issue.revision, pack(terms),
            )

    async def put_raw_store(self, store_id: str, closed: bool = False) -> None:
        """A store straight into every cell."""
        record = pack(StoreRecord(1, "m1", int(closed)))
        for cell in range(self.cells):
            await self.control._write(cell, "define", f"s{store_id}", 1, record)

    # ---- looking ----------------------------------------------------------------------------

    async def hash_of(self, key: str) -> dict[bytes, bytes]:
        """HGETALL."""
        found: dict[bytes, bytes] = await self.server._reading.hgetall(key)
        return found

    async def facts(self) -> list[list[facts.AnyFact]]:
        """All facts of each cell, in order."""
        found = []
        for tag in self.engine.tags:
            rows = await self.server._reading.xrange(keys.facts_key(tag))
            found.append([fact for _, row in rows for fact in facts.decode(row[b"f"])])
        return found

    async def shares(self, campaign_id: str) -> list[tuple[int, int, int]]:
        """(share, left, issued) of each cell; a campaign of limited stock."""
        found = []
        for tag in self.engine.tags:
            row = await self.hash_of(keys.campaign_key(tag, campaign_id))
            found.append((int(row[b"share"]), int(row[b"left"]), int(row[b"issued"])))
        return found

    async def check_facts(self) -> None:
        """Seq is gapless, the cell's own seq is that of the last fact."""
        for tag, told in zip(self.engine.tags, await self.facts(), strict=True):
            assert [fact.seq for fact in told] == list(range(1, len(told) + 1))
            row = await self.hash_of(keys.cell_key(tag))
            assert int(row.get(b"seq", 0)) == len(told)

    async def written(self, cell: int, seq: int) -> None:
        """As if the writer had brought the books to this seq of a cell."""
        async with self.books.begin() as connection:
            await connection.execute(
                schema.cells.update()
                .where(schema.cells.c.tenant == self.id, schema.cells.c.cell == cell)
                .values(seq=seq)
            )


def _shown(row: campaigns.CampaignRow) -> dict[str, Any]:
    return {"id": row.id}


@asynccontextmanager
async def open_ground(url: str, books: Path) -> AsyncIterator[tuple[Server, Books]]:
    """What malls stand on: a server, and books in a migrated SQLite file."""
    opened = open_books(f"sqlite+aiosqlite:///{books}")
    server = await Server.open(url)
    try:
        yield server, opened
    finally:
        await server.close()
        await opened.close()


async def mall_on(
    server: Server,
    books: Books,
    tenant: str,
    *,
    cells: int = 1,
    zone: str = "Asia/Shanghai",
    handle_key: bytes = b"",
) -> Running:
    """A mall; the tenant is made in the books if it is new. With one handle key ids are alike."""
    handle_key = handle_key or tenant.encode().ljust(32, b"k")[:32]
    await _tenant(books, tenant, cells, zone, handle_key)
    control = Control(tenant, cells, server, books)
    engine = Engine(Mall(tenant, cells, zone, handle_key), server, control)
    return Running(tenant, cells, books, server, control, engine)


@asynccontextmanager
async def open_mall(
    tenant: str, url: str, books: Path, *, cells: int = 1, zone: str = "Asia/Shanghai"
) -> AsyncIterator[Running]:
    """A mall on ground of its own."""
    async with open_ground(url, books) as (server, opened):
        running = await mall_on(server, opened, tenant, cells=cells, zone=zone)
        yield running
        await running.engine.drain()


async def _tenant(books: Books, tenant: str, cells: int, zone: str, handle_key: bytes) -> None:
    async with books.begin() as connection:
        known = await connection.execute(
            schema.tenants.select().where(schema.tenants.c.id == tenant)
        )
        if known.first() is None:
            await connection.execute(
                schema.tenants.insert().values(
                    id=tenant, cells=cells, timezone=zone, currency="CNY", handle_key=handle_key,
                    definitions=0, settings=msgspec.json.encode(Settings()).decode(),
                    settings_revision=1, created_ms=0,
                )
            )


def copy_books(migrated: Path, directory: Path) -> Path:
    """Books of one's own."""
    return Path(shutil.copy(migrated, directory / "hexiao.db"))


QUICK = WriterOptions(
    wait_ms=200, gather_ms=1, share_ms=1000, lease_ms=5000, keep_ms=10**13, rehearsal=True
)


async def reconciled(books: Books, url: str, *tenants: str) -> None:
    """Let a writer bring everything into the books, then compare them with live state."""
    writer = Writer(books, lambda: open_client(url), QUICK)
    task = asyncio.create_task(writer.run())
    client = await open_client(url)
    try:
        for tenant in tenants:
            report = await reconcile(books, client, tenant, wait_seconds=120)
            assert report.ok, report.differences
    finally:
        writer.stop()
        await client.aclose()
        await task


async def together(*acts: Any) -> list[Any]:
    """All at once; exceptions are handed back as they are."""
    return list(await asyncio.gather(*acts, return_exceptions=True))
