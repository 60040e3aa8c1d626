"""Events in the books. An event is what its campaigns say of it, and they all say the same.

Its quotas have rows of their own: a total, and what of it is each cell's. A campaign that joins an
event must agree with those that are there; a patch of one changes the event for all of them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import msgspec
import orjson
from sqlalchemy import Row, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from engine.books import schema
from engine.books.db import Books
from engine.books.definitions import Body, By, Change, change
from engine.books.shares import spread
from engine.definitions import Campaign, InvalidDefinitionError, Problem
from engine.errors import Unavailable

WITHDRAW_SECONDS = 5.0  # how long a transaction may wait for the cells
# Event, quota, how much: the change of each cell's share, None = not enough left.
WithdrawQuota = Callable[[str, str, int], Awaitable[Sequence[int] | None]]


async def join(doing: Change, campaign: Campaign, cells: int) -> None:
    """A new campaign names an event; InvalidDefinitionError where others say something else."""
    event = campaign.event
    if event is None:
        return
    if problems := await _disagreements(doing.connection, doing.tenant, campaign):
        raise InvalidDefinitionError(problems)
    known = {row.id for row in await _quotas(doing.connection, doing.tenant, event.id)}
    for quota in event.quotas or []:
        if quota.id not in known:
            row = {
                "tenant": doing.tenant, "event_id": event.id, "id": quota.id,
                "total": quota.total, "version": 1,
                "shares": orjson.dumps(spread([0] * cells, quota.total)).decode(),
            }  # fmt: skip
            await doing.connection.execute(schema.quotas.insert(), row)


async def disagreements(books: Books, tenant: str, campaign: Campaign) -> list[Problem]:
    """What a new campaign says of its event that others do not."""
    async with books.connect() as connection:
        return await _disagreements(connection, tenant, campaign)


async def _disagreements(
    connection: AsyncConnection, tenant: str, campaign: Campaign
) -> list[Problem]:
    event = campaign.event
    if event is None:
        return []
    campaigns = schema.campaigns
    first = await connection.scalar(
        select(campaigns.c.body)
        .where(campaigns.c.tenant == tenant, campaigns.c.event_id == event.id)
        .limit(1)
    )
    if first is None:
        return []
    problems = []
    said, told = _times(event), _times(msgspec.json.decode(first)["event"])
    for name, value in said.items():
        if value != told[name]:
            shown = orjson.dumps(told[name]).decode()
            problems.append(
                Problem(
                    f"event.{name}",
                    f"Event {event.id} is there already, with {name} {shown}.",
                    f"活动 {event.id} 已存在,其 {name} 为 {shown}。",
                )
            )
    totals = {row.id: row.total for row in await _quotas(connection, tenant, event.id)}
    for i, quota in enumerate(event.quotas or []):
        total = totals.get(quota.id, quota.total)
        if total != quota.total:
            problems.append(
                Problem(
                    f"event.quotas[{i}].total",
                    f"Quota {quota.id} of event {event.id} is there already, with {total}.",
                    f"活动 {event.id} 的配额 {quota.id} 已存在,总量为 {total}。",
                )
            )
    return problems


def _times(event: Any) -> Body:
    """All of an event that its campaigns have in common, but its quotas."""
    body: Body = event if isinstance(event, dict) else msgspec.to_builtins(event)
    return {name: value for name, value in body.items() if name not in ("id", "quotas")}


async def retotal(doing: Change, after: Campaign, withdraw: WithdrawQuota | None) -> Body:
    """Bring the quotas of an event to the totals that a patched campaign says; {quota: total}.

    What is taken away is first taken from the cells, as ``add_stock`` has it.
    InvalidDefinitionError when fewer than that are left.
    """
    event, changed = after.event, {}
    if event is None:
        return {}
    rows = {row.id: row for row in await _quotas(doing.connection, doing.tenant, event.id)}
    for i, quota in enumerate(event.quotas or []):
        row = rows[quota.id]
        if row.total == quota.total:
            continue
        shares, add = orjson.loads(row.shares), quota.total - row.total
        if add > 0:
            shares = spread(shares, add)
        else:
            changes = await _taken(event.id, quota.id, -add, withdraw)
            if changes is None:
                raise InvalidDefinitionError(
                    [
                        Problem(
                            f"event.quotas[{i}].total",
                            "Fewer than that are left: the rest is out or set aside.",
                            "剩余不足:其余已发放或被占用。",
                        )
                    ]
                )
            shares = [share + by for share, by in zip(shares, changes, strict=True)]
        await _save(doing, row, total=quota.total, shares=orjson.dumps(shares).decode())
        changed[quota.id] = quota.total
    return changed


async def _taken(
    event_id: str, quota_id: str, number: int, withdraw: WithdrawQuota | None
) -> Sequence[int] | None:
    if withdraw is None:
        raise Unavailable("the cells can't be asked")
    try:
        async with asyncio.timeout(WITHDRAW_SECONDS):
            return await withdraw(event_id, quota_id, number)
    except TimeoutError:
        raise Unavailable("the cells did not give back quota in time") from None


async def _save(doing: Change, row: Row[Any], **values: Any) -> None:
    quotas = schema.quotas
    await doing.connection.execute(
        update(quotas)
        .where(
            quotas.c.tenant == doing.tenant,
            quotas.c.event_id == row.event_id,
            quotas.c.id == row.id,
        )
        .values(version=row.version + 1, **values)
    )


def told_of(body: Body, after: Campaign) -> Body:
    """The body of another campaign of the event, as a patch of this one leaves it."""
    plain: Body = orjson.loads(msgspec.json.encode(after.event))
    totals = {quota["id"]: quota for quota in plain["quotas"] or []}
    quotas = body["event"]["quotas"]
    if quotas is not None:
        quotas = [totals.get(quota["id"], quota) for quota in quotas]
    return {**body, "event": {**plain, "quotas": quotas}}


async def others(doing: Change, after: Campaign) -> list[str]:
    """The other campaigns of the event."""
    if after.event is None:
        return []
    campaigns = schema.campaigns
    query = select(campaigns.c.id).where(
        campaigns.c.tenant == doing.tenant,
        campaigns.c.event_id == after.event.id,
        campaigns.c.id != after.id,
    )
    return [str(name) for name in await doing.connection.scalars(query.order_by(campaigns.c.id))]


async def restate_quotas(books: Books, tenant: str, by: By, event_id: str) -> None:
    """Raise their versions alone: published, they set the cells' shares to what the books say.

    Needed before any is lowered, in case an earlier try was cut off half-way.
    """
    quotas = schema.quotas

    async def work(doing: Change) -> Body:
        await doing.connection.execute(
            update(quotas)
            .where(quotas.c.tenant == tenant, quotas.c.event_id == event_id)
            .values(version=quotas.c.version + 1)
        )
        doing.changed = True
        return {}

    await change(books, tenant, by, work)


async def _quotas(connection: AsyncConnection, tenant: str, event_id: str) -> Sequence[Row[Any]]:
    quotas = schema.quotas
    query = select(quotas).where(quotas.c.tenant == tenant, quotas.c.event_id == event_id)
    return (await connection.execute(query.order_by(quotas.c.id))).all()


async def quotas_of(books: Books, tenant: str, event_id: str) -> Sequence[Row[Any]]:
    """The quotas of an event: id, total, shares (JSON), version."""
    async with books.connect() as connection:
        return await _quotas(connection, tenant, event_id)


async def campaigns_of(books: Books, tenant: str, event_id: str) -> list[str]:
    """Ids of the campaigns of an event."""
    campaigns = schema.campaigns
    query = select(campaigns.c.id).where(
        campaigns.c.tenant == tenant, campaigns.c.event_id == event_id
    )
    async with books.connect() as connection:
        return [str(name) for name in await connection.scalars(query.order_by(campaigns.c.id))]
