"""Campaigns in the books: created, patched, their stock shared out over the cells.

Every revision's body is kept in ``campaign_terms``: a coupon lives by the terms it was issued
under. ``version`` rises with each revision and each change of stock; the cells must reach it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import msgspec
import orjson
from sqlalchemy import Row, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from engine.books import definitions_events as events
from engine.books import schema
from engine.books.db import Books
from engine.books.definitions import Body, By, Change, Receipt, change
from engine.books.shares import spread as spread
from engine.definitions import (
    MAX_MONEY,
    Campaign,
    InvalidDefinitionError,
    Problem,
    checked,
    merge_patch,
)
from engine.errors import InvalidRequest, Unavailable
from engine.outcomes import Outcome
from engine.views import Answer

MAX_STOCK = 10**9
WITHDRAW_SECONDS = 5.0  # how long a transaction may wait for the cells


@dataclass(slots=True, frozen=True)
class CampaignRow:
    """A campaign as the books have it; times in ms."""

    id: str
    revision: int  # of the body: what If-Match names
    version: int  # of revision or stock: what the cells must have
    status: str
    kind: str
    body: Body  # every default filled in
    total: int | None  # None = unlimited
    shares: list[int]  # stock per cell; [] when unlimited
    budgets: list[int]  # budget per cell in fen; [] when unlimited
    created_ms: int
    updated_ms: int


Render = Callable[[CampaignRow], Body]  # the row as the caller is answered
# Campaign, how much, "stock" or "budget": the change of each cell's share, None = not enough left.
Withdraw = Callable[[str, int, str], Awaitable[Sequence[int] | None]]


async def create_campaign(
    books: Books,
    tenant: str,
    cells: int,
    by: By,
    receipt: Receipt,
    campaign: Campaign,
    render: Render,
) -> Answer[Body]:
    """A new campaign at revision 1; ALREADY_EXISTS when the id is taken.

    InvalidDefinitionError where other campaigns of its event say something else of it.
    """

    async def work(doing: Change) -> Body:
        if await _row(doing.connection, tenant, campaign.id):
            doing.refuse(Outcome.ALREADY_EXISTS, field="id")
        await events.join(doing, campaign, cells)
        total, budget = campaign.stock.total, campaign.stock.budget
        row = CampaignRow(
            id=campaign.id,
            revision=1,
            version=1,
            status=campaign.status,
            kind=campaign.kind,
            body=_plain(campaign),
            total=total,
            shares=[] if total is None else spread([0] * cells, total),
            budgets=[] if budget is None else spread([0] * cells, budget),
            created_ms=by.at,
            updated_ms=by.at,
        )
        await doing.connection.execute(
            schema.campaigns.insert(), {"tenant": tenant, **_columns(row)}
        )
        await _keep_terms(doing, row)
        await doing.note("campaign.create", f"campaign:{row.id}", {"body": row.body})
        return render(row)

    return await change(books, tenant, by, work, receipt=receipt)


async def patch_campaign(
    books: Books,
    tenant: str,
    by: By,
    campaign_id: str,
    patch: Body,
    revision: int | None,
    render: Render,
    withdraw_quota: events.WithdrawQuota | None = None,
) -> Answer[Body]:
    """Change a campaign by JSON Merge Patch; a patch that changes nothing raises no revision.

    What it says of an event holds for all campaigns of the event. A quota is lowered by taking
    from the cells first; where the transaction fails after that, ``restate_quotas`` and publishing
    give it back.

    ``revision``: the one that the caller has read (If-Match), REVISION_CHANGED when there is
    another by now; None = whatever it is. InvalidDefinitionError names what cannot be.
    """

    async def work(doing: Change) -> Body:
        old = await _row(doing.connection, tenant, campaign_id)
        if old is None:
            doing.refuse(Outcome.NOT_FOUND)
        if revision is not None and revision != old.revision:
            doing.refuse(Outcome.REVISION_CHANGED, revision=old.revision)
        campaign = merge_patch(old.body, patch)
        body = _plain(campaign)
        if body == old.body:
            return render(old)
        row = await _revised(doing, old, body, {"patch": patch})
        if body["event"] != old.body["event"]:
            for name in await events.others(doing, campaign):
                await _follow(doing, name, campaign)
            await events.retotal(doing, campaign, withdraw_quota)
        return render(row)

    return await change(books, tenant, by, work)


async def _revised(doing: Change, old: CampaignRow, body: Body, detail: Body) -> CampaignRow:
    """The next revision of a campaign, written down."""
    row = replace(
        old,
        revision=old.revision + 1,
        version=old.version + 1,
        status=body["status"],
        body=body,
        updated_ms=doing.by.at,
    )
    await _save(doing, row)
    await _keep_terms(doing, row)
    detail = {**detail, "revision": row.revision}
    await doing.note("campaign.patch", f"campaign:{row.id}", detail)
    return row


async def _follow(doing: Change, campaign_id: str, patched: Campaign) -> None:
    """Another campaign of the event says of it what the one says that was patched."""
    old = await _row(doing.connection, doing.tenant, campaign_id)
    if old is None:
        return
    body = events.told_of(old.body, patched)
    try:
        checked(body)
    except InvalidDefinitionError as error:
        raise InvalidDefinitionError(
            [
                Problem(
                    "event",
                    f"Campaign {campaign_id} has the same event: {problem.detail_en}",
                    f"批次 {campaign_id} 属于同一活动:{problem.detail_zh}",
                )
                for problem in error.problems
            ]
        ) from None
    if body != old.body:
        await _revised(doing, old, body, {"event": body["event"], "with": patched.id})


async def add_stock(
    books: Books,
    tenant: str,
    by: By,
    receipt: Receipt,
    campaign_id: str,
    add: int,
    render: Render,
    withdraw: Withdraw,
    *,
    add_budget: int = 0,
) -> Answer[Body]:
    """Raise (> 0) or lower (< 0) a campaign's stock by ``add``, its budget by ``add_budget`` fen.

    What is taken away is first taken from the cells by ``withdraw`` (the change of each cell's
    share, or None when they have less than that left): never below what is issued, spent or set
    aside. It must first bring the cells to the version in the books, and must not write to the
    books: it runs inside the transaction, so that nobody publishes other shares meanwhile. Should
    the transaction fail after it, ``restate`` and publishing give back what was taken.
    """

    async def work(doing: Change) -> Body:
        old = await _row(doing.connection, tenant, campaign_id)
        if old is None:
            doing.refuse(Outcome.NOT_FOUND)
        stock = dict(old.body["stock"])
        total, budget = stock["total"], stock.get("budget")
        if add or not add_budget:
            total = _raised("add", total, add, MAX_STOCK)
        if add_budget:
            budget = _raised("add_budget", budget, add_budget, MAX_MONEY)
        shares, budgets = old.shares, old.budgets
        if total is not None:
            shares = await _shared_out(old, shares, add, "stock", withdraw)
        if budget is not None:
            budgets = await _shared_out(old, budgets, add_budget, "budget", withdraw)
        row = CampaignRow(
            id=old.id,
            revision=old.revision,
            version=old.version + 1,
            status=old.status,
            kind=old.kind,
            body={**old.body, "stock": {**stock, "total": total, "budget": budget}},
            total=total,
            shares=shares,
            budgets=budgets,
            created_ms=old.created_ms,
            updated_ms=by.at,
        )
        await _save(doing, row)
        detail = {"add": add, "total": total}
        if add_budget:
            detail |= {"add_budget": add_budget, "budget": budget}
        await doing.note("campaign.stock", f"campaign:{row.id}", detail)
        return render(row)

    return await change(books, tenant, by, work, receipt=receipt)


def _raised(field: str, before: int | None, add: int, most: int) -> int:
    """What a stock or budget comes to; InvalidRequest when it has no bound, or too high a one."""
    what, chinese = ("stock", "库存") if field == "add" else ("budget", "预算")
    if before is None:
        raise InvalidRequest(field, f"The {what} is unlimited.", f"{chinese}不限量。")
    if before + add > most:
        raise InvalidRequest(field, f"At most {most} in all.", f"总量不超过 {most}。")
    return before + add


async def _shared_out(
    old: CampaignRow, shares: list[int], add: int, what: str, withdraw: Withdraw
) -> list[int]:
    """The cells' shares after ``add``; InvalidRequest when fewer than that are left."""
    if add >= 0:
        return spread(shares, add)
    try:
        async with asyncio.timeout(WITHDRAW_SECONDS):
            changes = await withdraw(old.id, -add, what)
    except TimeoutError:
        raise Unavailable("the cells did not give back stock in time") from None
    if changes is None:
        if what == "budget":
            raise InvalidRequest(
                "add_budget",
                "Less than that is left: the rest is spent or set aside.",
                "剩余预算不足:其余已使用或被占用。",
            )
        raise InvalidRequest(
            "add",
            "Fewer than that are left: the rest is issued or set aside.",
            "剩余不足:其余已发放或被占用。",
        )
    return [share + change for share, change in zip(shares, changes, strict=True)]


async def restate(books: Books, tenant: str, by: By, campaign_id: str) -> bool:
    """Raise the version alone: published, it sets each cell's stock to what the books say.

    Needed before stock is taken away, in case an earlier try was cut off half-way. False when
    there is no such campaign.
    """
    campaigns = schema.campaigns

    async def work(doing: Change) -> Body:
        raised = await doing.connection.execute(
            update(campaigns)
            .where(campaigns.c.tenant == tenant, campaigns.c.id == campaign_id)
            .values(version=campaigns.c.version + 1)
        )
        doing.changed = raised.rowcount == 1
        return {"found": doing.changed}

    answer = await change(books, tenant, by, work)
    return bool(answer.value and answer.value["found"])


async def set_pool(doing: Change, campaign_id: str, kinds: Sequence[str]) -> str | None:
    """Each coupon takes a third party's code with it from now on, if its kind is one of these.

    The kind; None when there is no such campaign.
    """
    old = await _row(doing.connection, doing.tenant, campaign_id)
    if old is None:
        return None
    if old.kind not in kinds or old.body["stock"].get("pool"):
        return old.kind
    row = replace(
        old,
        revision=old.revision + 1,
        version=old.version + 1,
        body={**old.body, "stock": {**old.body["stock"], "pool": True}},
        updated_ms=doing.by.at,
    )
    await _save(doing, row)
    await _keep_terms(doing, row)
    await doing.note("campaign.pool", f"campaign:{row.id}", {"revision": row.revision})
    return row.kind


async def get_campaign(books: Books, tenant: str, campaign_id: str) -> CampaignRow | None:
    """One campaign, or None."""
    async with books.connect() as connection:
        return await _row(connection, tenant, campaign_id)


async def list_campaigns(
    books: Books,
    tenant: str,
    *,
    status: str | None = None,
    after: str = "",
    limit: int = 50,
    drafts: bool = True,
) -> list[CampaignRow]:
    """Campaigns by id, those after ``after``; ``drafts`` False leaves drafts out."""
    campaigns = schema.campaigns
    query = select(campaigns).where(campaigns.c.tenant == tenant, campaigns.c.id > after)
    if status is not None:
        query = query.where(campaigns.c.status == status)
    if not drafts:
        query = query.where(campaigns.c.status != "draft")
    async with books.connect() as connection:
        rows = await connection.execute(query.order_by(campaigns.c.id).limit(limit))
        return [_read(row) for row in rows]


async def _row(connection: AsyncConnection, tenant: str, campaign_id: str) -> CampaignRow | None:
    campaigns = schema.campaigns
    found = await connection.execute(
        select(campaigns).where(campaigns.c.tenant == tenant, campaigns.c.id == campaign_id)
    )
    row = found.first()
    return _read(row) if row else None


def _read(row: Row[Any]) -> CampaignRow:
    return CampaignRow(
        id=row.id,
        revision=row.revision,
        version=row.version,
        status=row.status,
        kind=row.kind,
        body=orjson.loads(row.body),
        total=row.total,
        shares=orjson.loads(row.shares),
        budgets=orjson.loads(row.budgets),
        created_ms=row.created_ms,
        updated_ms=row.updated_ms,
    )


def _plain(campaign: Campaign) -> Body:
    """The body as JSON has it, so that it can be compared with one read back."""
    plain: Body = orjson.loads(msgspec.json.encode(campaign))
    return plain


def _columns(row: CampaignRow) -> Body:
    columns = {name: getattr(row, name) for name in CampaignRow.__dataclass_fields__}
    columns["body"] = orjson.dumps(row.body).decode()
    columns["shares"] = orjson.dumps(row.shares).decode()
    columns["budgets"] = orjson.dumps(row.budgets).decode()
    columns["event_id"] = (row.body.get("event") or {}).get("id", "")
    return columns


async def _save(doing: Change, row: CampaignRow) -> None:
    campaigns = schema.campaigns
    await doing.connection.execute(
        update(campaigns)
        .where(campaigns.c.tenant == doing.tenant, campaigns.c.id == row.id)
        .values(_columns(row))
    )


async def _keep_terms(doing: Change, row: CampaignRow) -> None:
    terms = {
        "tenant": doing.tenant,
        "campaign_id": row.id,
        "revision": row.revision,
        "body": orjson.dumps(row.body).decode(),
        "created_ms": row.updated_ms,
    }
    await doing.connection.execute(schema.campaign_terms.insert(), terms)
