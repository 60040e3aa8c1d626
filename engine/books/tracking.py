"""What apps and channels tell of their visitors; nothing is decided or settled by it.

An event is one row by person, type, campaign and time, so telling it twice is harmless.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import orjson
from sqlalchemy import select
from sqlalchemy.dialects import postgresql, sqlite

from engine.books.bulk import Bulk, Rows
from engine.books.ingest_postgres import PostgresRows
from engine.books.ingest_sqlite import SqliteRows
from engine.books.schema import receipts
from engine.outcomes import Outcome
from engine.views import Answer

if TYPE_CHECKING:
    from engine.books.db import Books
    from engine.books.definitions import Receipt

TYPES = ("exposure", "click", "open", "choose", "order", "pay", "pay_failed", "signup", "help")

_PUT = Bulk.of(
    "user_id text, type text, campaign_id text, occurred_ms bigint, channel text, entry text,"
    " received_ms bigint",
    "INSERT INTO track_events (tenant, user_id, type, campaign_id, occurred_ms, channel, entry,"
    " received_ms) SELECT {tenant}, user_id, type, campaign_id, occurred_ms, channel, entry,"
    " received_ms FROM v WHERE true"
    " ON CONFLICT (tenant, user_id, type, campaign_id, occurred_ms) DO NOTHING"
    " RETURNING occurred_ms",
)


class Event(NamedTuple):
    """One event; "" = none."""

    user_id: str
    type: str  # of TYPES
    campaign_id: str
    occurred_ms: int
    channel: str
    entry: str


async def track(
    books: Books, tenant: str, events: Sequence[Event], receipt: Receipt, now: int
) -> Answer[dict[str, Any]]:
    """Keep events: ``{"accepted": how many, "repeated": of them, known before}``.

    Not queued behind definitions as other writes of the books are. IDEMPOTENCY_KEY_REUSED.
    """
    # In one order, so that two of the same events at once never wait for each other in a ring.
    rows = sorted({event[:4]: event for event in events}.values())
    async with books.begin() as connection:
        insert = sqlite.insert if books.sqlite else postgresql.insert
        mine = {"tenant": tenant, "scope": receipt.scope, "key": receipt.key}
        first = await connection.execute(
            insert(receipts)
            .values(
                **mine,
                fingerprint=receipt.fingerprint,
                status=receipt.status,
                body="",
                created_ms=now,
            )
            .on_conflict_do_nothing()
        )
        same = (receipts.c[name] == value for name, value in mine.items())
        if not first.rowcount:
            known = (await connection.execute(select(receipts).where(*same))).one()
            if known.fingerprint != receipt.fingerprint:
                return Answer(Outcome.IDEMPOTENCY_KEY_REUSED)
            return Answer(Outcome.REPEATED, orjson.loads(known.body))
        to_books: Rows = SqliteRows(connection) if books.sqlite else PostgresRows(connection)
        new = await to_books.run(_PUT, tenant, [(*row, now) for row in rows])
        body = {"accepted": len(events), "repeated": len(events) - len(new)}
        kept = receipts.update().where(*(receipts.c[n] == v for n, v in mine.items()))
        await connection.execute(kept.values(body=orjson.dumps(body).decode()))
    return Answer(Outcome.DONE, body)
