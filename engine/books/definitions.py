"""How a definition is written: one transaction with the change, its receipt and its audit row.

Campaigns are in ``definitions_campaigns``, merchants, stores, keys and settings in
``definitions_directory``; both hand a ``Work`` to ``change``. All definitional writes of a tenant
queue up at its row in ``tenants``, which also numbers them (column ``definitions``): processes
that keep definitions in memory see by it that something is new.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, NoReturn
from weakref import WeakKeyDictionary

import msgspec
import orjson
from sqlalchemy import func, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from engine.books import numbers, schema
from engine.books.db import Books
from engine.outcomes import Outcome
from engine.views import Answer

Body = dict[str, Any]


@dataclass(slots=True, frozen=True)
class By:
    """Who asks for a change, and when by the engine's clock (ms): what the audit keeps."""

    actor: str  # Hexiao-Actor, else the key's label
    key_id: str
    label: str
    role: str
    at: int


@dataclass(slots=True, frozen=True)
class Receipt:
    """What makes a POST safe to repeat; PUT, PATCH and DELETE need none."""

    scope: str  # the resource in the path, e.g. campaigns/noodle-20/stock
    key: str  # Idempotency-Key
    fingerprint: str  # of the request: ``fingerprint_of``
    status: int  # of the first answer


class _Leave(Exception):  # noqa: N818 - the way out of a transaction that is to change nothing
    def __init__(self, answer: Answer[Body]) -> None:
        self.answer = answer


class Change:
    """An open transaction of one definitional write."""

    def __init__(self, connection: AsyncConnection, tenant: str, by: By) -> None:
        self.connection = connection
        self.tenant = tenant
        self.by = by
        self.changed = False

    def refuse(self, outcome: Outcome, **details: Any) -> NoReturn:
        """Leave with a refusal; nothing of the transaction stays."""
        raise _Leave(Answer(outcome, details=details))

    async def note(self, action: str, what: str, detail: Body) -> None:
        """Say in the audit what is changed; without it nothing of the transaction stays.

        ``action`` e.g. ``campaign.patch``, ``what`` e.g. ``campaign:noodle-20``.
        """
        self.changed = True
        row = {
            "tenant": self.tenant,
            "n": await numbers.take(self.connection, self.tenant, "audit"),
            "at_ms": self.by.at,
            "actor": self.by.actor,
            "key_id": self.by.key_id,
            "label": self.by.label,
            "role": self.by.role,
            "action": action,
            "object": what,
            "detail": orjson.dumps(detail).decode(),
        }
        await self.connection.execute(schema.audit.insert(), row)


Work = Callable[[Change], Awaitable[Body]]


def fingerprint_of(*request: Any) -> str:
    """SHA-256 over what a request says; member order and white space in its JSON do not count."""
    return hashlib.sha256(msgspec.json.encode(request, order="deterministic")).hexdigest()


async def change(
    books: Books,
    tenant: str,
    by: By,
    work: Work,
    *,
    receipt: Receipt | None = None,
    defines: bool = True,
) -> Answer[Body]:
    """Do ``work`` in one transaction; its body is the answer, and the same again to a repeat.

    The receipt is looked up before ``work`` judges anything. ``defines``: whether processes that
    keep definitions in memory must read them again. LookupError when there is no such tenant.
    """
    try:
        async with _turn(books, tenant), books.begin() as connection:
            await _queue_up(connection, tenant, raised_by=int(defines))
            if receipt:
                known = await _look_up(connection, tenant, receipt)
                if known:
                    raise _Leave(known)
            doing = Change(connection, tenant, by)
            body = await work(doing)
            if not doing.changed:
                raise _Leave(Answer(Outcome.DONE, body))
            if receipt:
                await _keep(connection, tenant, receipt, body, by.at)
    except _Leave as left:
        return left.answer
    return Answer(Outcome.DONE, body)


async def answered(books: Books, tenant: str, receipt: Receipt) -> Answer[Body] | None:
    """The answer that this request has had, or IDEMPOTENCY_KEY_REUSED; None when it is new."""
    async with books.connect() as connection:
        return await _look_up(connection, tenant, receipt)


_turns: WeakKeyDictionary[Books, dict[str, asyncio.Lock]] = WeakKeyDictionary()


def _turn(books: Books, tenant: str) -> asyncio.Lock:
    """Where tasks of this process wait for the tenant's row without holding a connection.

    Else a burst of writes could take every connection that the first of them may need.
    """
    return _turns.setdefault(books, {}).setdefault(tenant, asyncio.Lock())


async def _queue_up(connection: AsyncConnection, tenant: str, *, raised_by: int) -> None:
    tenants = schema.tenants
    row = await connection.execute(
        update(tenants)
        .where(tenants.c.id == tenant)
        .values(definitions=tenants.c.definitions + raised_by)
    )
    if row.rowcount != 1:
        raise LookupError(f"there is no tenant {tenant}")


async def _look_up(
    connection: AsyncConnection, tenant: str, receipt: Receipt
) -> Answer[Body] | None:
    receipts = schema.receipts
    found = await connection.execute(
        select(receipts.c.fingerprint, receipts.c.body).where(
            receipts.c.tenant == tenant,
            receipts.c.scope == receipt.scope,
            receipts.c.key == receipt.key,
        )
    )
    row = found.first()
    if row is None:
        return None
    if row.fingerprint != receipt.fingerprint:
        return Answer(Outcome.IDEMPOTENCY_KEY_REUSED)
    return Answer(Outcome.REPEATED, orjson.loads(row.body))


async def _keep(
    connection: AsyncConnection, tenant: str, receipt: Receipt, body: Body, at: int
) -> None:
    row = {
        "tenant": tenant,
        "scope": receipt.scope,
        "key": receipt.key,
        "fingerprint": receipt.fingerprint,
        "status": receipt.status,
        "body": orjson.dumps(body).decode(),
        "created_ms": at,
    }
    await connection.execute(schema.receipts.insert(), row)


async def list_audit(
    books: Books,
    tenant: str,
    *,
    actor: str | None = None,
    what: str | None = None,
    start: int | None = None,
    end: int | None = None,
    before: int | None = None,
    limit: int = 50,
) -> list[Body]:
    """Rows of the audit, newest first, with ``n`` below ``before``.

    ``actor`` is matched with the person named and with the key's label and id.
    ``what``: an object (``store:s1``), its id alone (``s1``) or a kind (``store``). Times in ms.
    """
    audit = schema.audit
    query = select(audit).where(audit.c.tenant == tenant)
    if actor is not None:
        query = query.where(
            (audit.c.actor == actor) | (audit.c.label == actor) | (audit.c.key_id == actor)
        )
    if what is not None:
        kind = what + ":"
        query = query.where(
            (audit.c.object == what)
            | (func.substr(audit.c.object, 1, len(kind)) == kind)
            | (func.substr(audit.c.object, func.length(audit.c.object) - len(what)) == ":" + what)
        )
    if start is not None:
        query = query.where(audit.c.at_ms >= start)
    if end is not None:
        query = query.where(audit.c.at_ms < end)
    if before is not None:
        query = query.where(audit.c.n < before)
    async with books.connect() as connection:
        rows = await connection.execute(query.order_by(audit.c.n.desc()).limit(limit))
        return [
            {**row, "detail": orjson.loads(row["detail"])} for row in map(dict, rows.mappings())
        ]
