"""A mall for tests of the books: a real engine on a real Redis, its outbox taken in by hand.

No writer runs: ``drain`` takes the facts into the books when a test says so.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import msgspec
from redis.asyncio import Redis, RedisCluster
from sqlalchemy import select

from api.tenants import add_tenant
from engine import keys
from engine.acting import Mall as Tenant
from engine.books import definitions_campaigns, definitions_directory, schema
from engine.books.arrivals import Entry, Position, read_entries
from engine.books.db import Books, open_books
from engine.books.definitions import By, Receipt
from engine.books.ingest import Ingest
from engine.control import Control
from engine.definitions import Campaign, Merchant, Store
from engine.engine import Engine
from engine.records import Line
from engine.server import Server
from engine.views import Answer, Redemption

WHO = '{"key":"k1","label":"till 9","role":"terminal","staff":"08"}'
MINUTE, HOUR, DAY = 60_000, 3_600_000, 86_400_000
MARCH = 1_772_294_400_000  # 2026-03-01 00:00 in Shanghai


def march(day: int, hour: float = 12.0) -> int:
    """A moment of March 2026, local time; day 32 is the first of April."""
    return MARCH + (day - 1) * DAY + round(hour * HOUR)


@dataclass
class Mall:
    """One tenant, ready for acts; every act carries its time, as on a rehearsal server."""

    id: str
    books: Books
    server: Server
    redis: Any
    engine: Engine
    control: Control
    cells: int
    keys_used: int = 0
    read: dict[int, str] = field(default_factory=dict)  # the last entry taken in, by cell

    def key(self) -> str:
        """A new Idempotency-Key."""
        self.keys_used += 1
        return f"key-{self.keys_used}"

    def by(self, at: int = MARCH) -> By:
        """Who changes definitions."""
        return By("ops", "k0", "operator", "operator", at)

    # ---- definitions -------------------------------------------------------------------------

    async def shop(self, store: str, merchant: str) -> None:
        """A store and its merchant."""
        await definitions_directory.put_merchant(
            self.books, self.id, self.by(), merchant, Merchant(name=merchant)
        )
        made = await definitions_directory.put_store(
            self.books, self.id, self.by(), store, Store(name=store, merchant_id=merchant)
        )
        assert made.ok, made
        await self.control.publish_store(store)

    async def campaign(self, name: str, benefit: dict[str, Any], **more: Any) -> None:
        """A campaign; of what is not said: plenty of stock, valid for a year from February."""
        body = {
            "id": name,
            "name": name,
            "kind": "coupon",
            "benefit": benefit,
            "stock": {"total": 1000},
            "validity": {
                "type": "fixed",
                "start": "2026-02-01T00:00:00+08:00",
                "end": "2027-02-01T00:00:00+08:00",
            },
            **more,
        }
        receipt = Receipt("campaigns", self.key(), name, 201)
        made = await definitions_campaigns.create_campaign(
            self.books,
            self.id,
            self.cells,
            self.by(),
            receipt,
            msgspec.convert(body, Campaign),
            lambda row: {"id": row.id},
        )
        assert made.ok, made
        await self.control.publish_campaign(name)

    # ---- acts --------------------------------------------------------------------------------

    async def claim(self, user: str, campaign: str, at: int = MARCH, **more: Any) -> str:
        """The coupon's id."""
        answer = await self.engine.claim(
            user_id=user,
            campaign_id=campaign,
            channel=more.pop("channel", "app"),
            key=self.key(),
            who=WHO,
            now=at,
            **more,
        )
        assert answer.value is not None, answer
        return answer.value.id

    async def try_redeem(
        self,
        coupons: Sequence[str],
        store: str,
        lines: Sequence[tuple[str, int]] | int,
        at: int,
        **more: Any,
    ) -> Answer[Redemption]:
        """``lines``: (id, amount), or the amount of the only one."""
        basket = [("1", lines)] if isinstance(lines, int) else list(lines)
        return await self.engine.redeem(
            handle=coupons[0][1 : 1 + keys.HANDLE_LENGTH],
            coupons=[(coupon, 0, False) for coupon in coupons],
            store_id=store,
            key=more.pop("key", None) or self.key(),
            who=WHO,
            amount=sum(amount for _, amount in basket),
            lines=[Line(name, amount, 1, "", "") for name, amount in basket],
            now=at,
            **more,
        )

    async def redeem(self, *arguments: Any, **more: Any) -> str:
        """The redemption's id."""
        answer = await self.try_redeem(*arguments, **more)
        assert answer.value is not None, answer
        return answer.value.id

    async def use(
        self, user: str, campaign: str, store: str, amount: int, at: int, **more: Any
    ) -> str:
        """Claim a coupon and redeem it a minute later: the redemption's id."""
        coupon = await self.claim(user, campaign, at - MINUTE)
        return await self.redeem([coupon], store, amount, at, **more)

    async def reverse(
        self,
        redemption: str,
        at: int,
        lines: Sequence[tuple[str, int]] | None = None,
        restore: bool = True,
    ) -> str:
        """The reversal's id."""
        answer = await self.engine.reverse(
            redemption_id=redemption,
            key=self.key(),
            who=WHO,
            reason="goods returned",
            lines=lines,
            restore=restore,
            now=at,
        )
        assert answer.value is not None, answer
        return answer.value.id

    async def finish(self, verb: str, redemption: str, at: int) -> None:
        """Commit or release a hold."""
        act = self.engine.commit if verb == "commit" else self.engine.release
        answer = await act(redemption_id=redemption, key=self.key(), who=WHO, now=at)
        assert answer.ok, answer

    async def void(self, coupon: str, at: int) -> None:
        """Withdraw a coupon."""
        answer = await self.engine.void(
            coupon_id=coupon, key=self.key(), who=WHO, reason="mistake", now=at
        )
        assert answer.ok, answer

    # ---- to the books ------------------------------------------------------------------------

    async def drain(self, only: int | None = None) -> None:
        """Take all facts into the books, or the next ``only`` entries of each cell."""
        ingest = Ingest(self.books, self.id)
        for cell, tag in enumerate(self.engine.tags):
            after = self.read.get(cell, "0-0")
            found = await self.redis.xrange(keys.facts_key(tag), f"({after}", "+", count=only)
            entries = [Entry(name.decode(), fields[b"f"]) for name, fields in found]
            epoch, _, seq = after.partition("-")
            arrivals = read_entries(entries, Position(int(epoch) or 1, int(seq)))
            came = await ingest(cell, arrivals, watermark=False)
            assert not came.refused, came.refused
            assert came.gap is None, came
            if entries:
                self.read[cell] = entries[-1].id

    async def rows(self, table: Any, *conditions: Any) -> list[Any]:
        """Rows of this tenant."""
        query = select(table).where(table.c.tenant == self.id, *conditions)
        async with self.books.connect() as conn:
            return list((await conn.execute(query)).all())


@asynccontextmanager
async def open_mall(
    redis_url: str, books_url: str, tenant: str, cells: int = 1
) -> AsyncIterator[Mall]:
    """A new mall in migrated books, with four shops: s1 and s2 of m1, s3 of m2, s4 of m3."""
    books = open_books(books_url, pool_size=2)
    server = await Server.open(redis_url)
    redis = (RedisCluster if server.cluster else Redis).from_url(redis_url)
    try:
        await add_tenant(books, tenant, cells=cells, timezone="Asia/Shanghai", currency="CNY")
        async with books.connect() as conn:
            row = (
                await conn.execute(select(schema.tenants).where(schema.tenants.c.id == tenant))
            ).one()
        control = Control(tenant, cells, server, books)
        engine = Engine(Tenant(tenant, cells, row.timezone, bytes(row.handle_key)), server, control)
        mall = Mall(tenant, books, server, redis, engine, control, cells)
        await control.publish_settings()
        for store, merchant in (("s1", "m1"), ("s2", "m1"), ("s3", "m2"), ("s4", "m3")):
            await mall.shop(store, merchant)
        yield mall
        await engine.drain()
    finally:
        await redis.aclose()
        await server.close()
        await books.close()
