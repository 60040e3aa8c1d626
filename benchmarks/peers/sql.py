"""The usual SQL way to claim: ``UPDATE … WHERE remaining > 0``, then ``INSERT``.

asyncpg on a real PostgreSQL that syncs each commit; ``everysec`` stands for ``synchronous_commit
off``, which may lose the last moments of a power cut as well. A unique index keeps it to one a
person. Left out against ours: receipts (whoever asks again is told "you have one", not which),
limits a day, week or month, windows, tiers and channels, terms and ends, an outbox, settlement.
"""

from __future__ import annotations

from typing import Any

import asyncpg

TABLES = """
CREATE TABLE campaigns (id text PRIMARY KEY, remaining bigint NOT NULL);
CREATE TABLE coupons (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    campaign_id text NOT NULL REFERENCES campaigns,
    user_id text NOT NULL,
    issued_at timestamptz NOT NULL DEFAULT now(),
    UNIQUE (campaign_id, user_id)
);
"""
TAKE = "UPDATE campaigns SET remaining = remaining - 1 WHERE id = $1 AND remaining > 0"
GIVE = "INSERT INTO coupons (campaign_id, user_id) VALUES ($1, $2) RETURNING id"
AT_ONCE = f"""
WITH taken AS ({TAKE} RETURNING id)
INSERT INTO coupons (campaign_id, user_id) SELECT id, $2 FROM taken RETURNING id
"""


async def open_pool(dsn: str, size: int, durability: str) -> Any:
    """Connections, at least one of them open."""
    settings = {"synchronous_commit": "on" if durability == "always" else "off"}
    return await asyncpg.create_pool(dsn, min_size=size, max_size=size, server_settings=settings)


class InTransaction:
    """BEGIN, UPDATE, INSERT, COMMIT: what is written everywhere."""

    name = "SQL, transaction"

    def __init__(self, pool: Any, server: int) -> None:
        self.pool = pool
        self.server = server

    async def open(self, campaign: str, stock: int) -> None:
        await self.pool.execute("INSERT INTO campaigns VALUES ($1, $2)", campaign, stock)

    async def claim(self, campaign: str, person: int) -> bool:
        return await self.take(campaign, f"member:{person:010d}") is not None

    async def take(self, campaign: str, user: str) -> int | None:
        """The id of the coupon; None where there is none left, or this user has one."""
        try:
            async with self.pool.acquire() as connection, connection.transaction():
                if await connection.execute(TAKE, campaign) != "UPDATE 1":
                    return None
                found: int = await connection.fetchval(GIVE, campaign, user)
                return found
        except asyncpg.UniqueViolationError:
            return None

    async def given(self, campaign: str) -> int:
        counted = "SELECT count(*) FROM coupons WHERE campaign_id = $1"
        return int(await self.pool.fetchval(counted, campaign))

    async def script(self) -> tuple[int, int]:
        return 0, 0


class OneStatement(InTransaction):
    """The same in one statement: one round trip, the row locked for as short as can be."""

    name = "SQL, one statement"

    async def take(self, campaign: str, user: str) -> int | None:
        try:
            found: int | None = await self.pool.fetchval(AT_ONCE, campaign, user)
        except asyncpg.UniqueViolationError:
            return None
        return found
