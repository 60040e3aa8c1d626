"""What handlers read from the books beside an act: bodies coupons were issued under, stores."""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from typing import TYPE_CHECKING, NamedTuple
from zoneinfo import ZoneInfo

import msgspec
import orjson
from redis.exceptions import RedisError
from sqlalchemy import select

from api import wire
from engine.books import feeds
from engine.books.schema import campaign_terms, campaigns, cells, lots, stores
from engine.definitions import Campaign, Lot, rules_text
from engine.keys import cell_key

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from api.routes import Call
    from api.tenants import Tenant

MAX_KEPT = 4096
PATIENCE = 1.0  # seconds that a look-up waits for the writer

# A body at a revision never changes: read once, kept while it is asked for.
_kept: OrderedDict[tuple[str, str, int], Campaign] = OrderedDict()


async def bodies(
    tenant: Tenant, wanted: Iterable[tuple[str, int]]
) -> dict[tuple[str, int], Campaign]:
    """Campaign bodies by (campaign id, terms revision); what the books do not have is left out."""
    found: dict[tuple[str, int], Campaign] = {}
    missing: set[tuple[str, int]] = set()
    for campaign_id, revision in wanted:
        body = _kept.get((tenant.id, campaign_id, revision))
        if body is None:
            missing.add((campaign_id, revision))
        else:
            _kept.move_to_end((tenant.id, campaign_id, revision))
            found[campaign_id, revision] = body
    if missing:
        found |= await _read(tenant, missing)
    return found


async def _read(tenant: Tenant, missing: set[tuple[str, int]]) -> dict[tuple[str, int], Campaign]:
    query = select(
        campaign_terms.c.campaign_id, campaign_terms.c.revision, campaign_terms.c.body
    ).where(
        campaign_terms.c.tenant == tenant.id,
        campaign_terms.c.campaign_id.in_({campaign_id for campaign_id, _ in missing}),
    )
    found = {}
    async with tenant.books.connect() as connection:
        for campaign_id, revision, text in await connection.execute(query):
            if (campaign_id, revision) in missing:
                campaign = msgspec.json.decode(text, type=Campaign)
                found[campaign_id, revision] = campaign
                _kept[tenant.id, campaign_id, revision] = campaign
    while len(_kept) > MAX_KEPT:
        _kept.popitem(last=False)
    return found


class StoreState(NamedTuple):
    """What a quote, or a coupon's rules in words, need to know of a store."""

    name: str
    closed: bool
    lat: float | None
    lng: float | None


# By tenant: the definitions' number they were read at, and all stores of the mall.
_stores: dict[str, tuple[int, dict[str, StoreState]]] = {}


async def all_stores(tenant: Tenant) -> dict[str, StoreState]:
    """The stores as of the newest definitions that this process has seen, by id."""
    known = _stores.get(tenant.id)
    if known is not None and known[0] == tenant.definitions:
        return known[1]
    seen = tenant.definitions
    query = select(stores.c.id, stores.c.name, stores.c.closed, stores.c.body).where(
        stores.c.tenant == tenant.id
    )
    async with tenant.books.connect() as connection:
        rows = await connection.execute(query)
        found = {
            row.id: StoreState(row.name, bool(row.closed), body.get("lat"), body.get("lng"))
            for row in rows
            for body in (orjson.loads(row.body),)
        }
    _stores[tenant.id] = (seen, found)
    return found


async def store(tenant: Tenant, store_id: str) -> StoreState | None:
    """One store; None = no such store. One that was made just now is looked for in the books."""
    found = (await all_stores(tenant)).get(store_id)
    if found is None:
        _stores.pop(tenant.id, None)
        found = (await all_stores(tenant)).get(store_id)
    return found


# By tenant: the definitions' number they were read at, and all lots of the mall.
_lots: dict[str, tuple[int, dict[str, Lot]]] = {}


async def all_lots(tenant: Tenant) -> dict[str, Lot]:
    """The lots as of the newest definitions that this process has seen, by id."""
    known = _lots.get(tenant.id)
    if known is not None and known[0] == tenant.definitions:
        return known[1]
    seen = tenant.definitions
    query = select(lots.c.id, lots.c.body).where(lots.c.tenant == tenant.id)
    async with tenant.books.connect() as connection:
        rows = await connection.execute(query)
        found = {row.id: msgspec.json.decode(row.body, type=Lot) for row in rows}
    _lots[tenant.id] = (seen, found)
    return found


async def lot(tenant: Tenant, lot_id: str) -> Lot | None:
    """One lot with its tariff; one that was made just now is looked for in the books."""
    found = (await all_lots(tenant)).get(lot_id)
    if found is None:
        _lots.pop(tenant.id, None)
        found = (await all_lots(tenant)).get(lot_id)
    return found


async def caught_up(tenant: Tenant) -> None:
    """Wait a moment until the books hold what the cells hold now: who asks meets what they did.

    After PATIENCE seconds, or where Redis does not answer, the books are read as they are.
    """
    try:
        live = [
            (int(epoch or 1), int(seq or 0))
            for tag in tenant.engine.tags
            for epoch, seq in [await tenant.engine.server.fields(cell_key(tag), "epoch", "seq")]
        ]
    except (RedisError, OSError):
        return
    query = select(cells.c.epoch, cells.c.seq).where(cells.c.tenant == tenant.id)
    until, pause = time.monotonic() + PATIENCE, 0.01
    while time.monotonic() < until:
        async with tenant.books.connect() as connection:
            held = (await connection.execute(query.order_by(cells.c.cell))).all()
        if all(tuple(mine) >= theirs for mine, theirs in zip(held, live, strict=False)):
            return
        await asyncio.sleep(pause)
        pause = min(2 * pause, 0.1)  # fewer looks where the writer is far behind


async def held_until(tenant: Tenant) -> int | None:
    """The books hold every act before this moment (ms): waited for as ``caught_up`` does."""
    await caught_up(tenant)
    return await feeds.complete_until(tenant.books, tenant.id)


# By tenant: the definitions' number they were read at, and tags of campaigns as they are now.
_tags: dict[str, tuple[int, dict[str, list[str]]]] = {}


async def tags(tenant: Tenant, campaign_ids: Sequence[str]) -> dict[str, list[str]]:
    """Tags of campaigns as they are now, not as they were when a coupon was issued."""
    known = _tags.get(tenant.id)
    if known is None or known[0] != tenant.definitions:
        known = _tags[tenant.id] = (tenant.definitions, {})
    missing = [one for one in campaign_ids if one not in known[1]]
    if missing:
        query = select(campaigns.c.id, campaigns.c.body).where(
            campaigns.c.tenant == tenant.id, campaigns.c.id.in_(missing)
        )
        async with tenant.books.connect() as connection:
            for row in await connection.execute(query):
                known[1][row.id] = orjson.loads(row.body)["tags"]
    return known[1]


async def explain(call: Call, coupons: Iterable[wire.CouponReply]) -> None:
    """Add name and rules in words to coupons, as they were issued: ``?expand=terms``."""
    tenant = call.tenant
    coupons = list(coupons)
    found = await bodies(tenant, {(one.campaign_id, one.terms_revision) for one in coupons})
    names = {ident: state.name for ident, state in (await all_stores(tenant)).items()}
    zone = ZoneInfo(tenant.timezone)
    for one in coupons:
        campaign = found.get((one.campaign_id, one.terms_revision))
        if campaign is None:
            continue
        rules = rules_text(
            campaign, call.language, zone=zone, currency=tenant.currency, store_names=names
        )
        one.name = campaign.name
        one.rules = [wire.Rule(code=rule["code"], text=rule["text"]) for rule in rules]
