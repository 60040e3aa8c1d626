"""Merchants, stores, keys and settings in the books."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import Any

import msgspec
import orjson
from sqlalchemy import Row, Table, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from engine.books import schema
from engine.books.db import Books
from engine.books.definitions import Body, By, Change, Receipt, change
from engine.definitions import Merchant, Settings, Store, merge_settings, name_in
from engine.errors import InvalidRequest
from engine.outcomes import Outcome
from engine.views import Answer

NAMED_IN = "zh-CN"  # the language of the name columns; bodies have them all

# ---- merchants and stores: PUT whole, read one or a list --------------------------------------


async def put_merchant(
    books: Books, tenant: str, by: By, merchant_id: str, merchant: Merchant
) -> Answer[Body]:
    """Make a merchant or replace it. The same again changes nothing."""

    async def work(doing: Change) -> Body:
        columns = {"name": name_in(merchant.name, NAMED_IN)}
        return await put(doing, schema.merchants, "merchant", merchant_id, merchant, columns)

    return await change(books, tenant, by, work)


async def put_store(books: Books, tenant: str, by: By, store_id: str, store: Store) -> Answer[Body]:
    """Make a store or replace it; its merchant must be there. The same again changes nothing."""

    async def work(doing: Change) -> Body:
        await must_exist(doing, schema.merchants, "merchant_id", store.merchant_id)
        columns = {
            "name": name_in(store.name, NAMED_IN),
            "merchant_id": store.merchant_id,
            "closed": int(store.closed),
        }
        return await put(doing, schema.stores, "store", store_id, store, columns)

    return await change(books, tenant, by, work)


async def listed(
    table: Table,
    books: Books,
    tenant: str,
    *,
    only: str | None = None,
    merchant_id: str | None = None,
    after: str = "",
    limit: int = 50,
) -> list[Body]:
    """Rows by id, those after ``after``; ``only`` the one of that id, or one merchant's."""
    query = select(table).where(table.c.tenant == tenant, table.c.id > after)
    if only is not None:
        query = query.where(table.c.id == only)
    if merchant_id is not None:
        query = query.where(table.c.merchant_id == merchant_id)
    async with books.connect() as connection:
        rows = await connection.execute(query.order_by(table.c.id).limit(limit))
        return [read(row) for row in rows]


list_merchants = partial(listed, schema.merchants)
list_stores = partial(listed, schema.stores)


async def put(
    doing: Change, table: Table, kind: str, ident: str, definition: Any, columns: Body
) -> Body:
    """Make a row of a definition or replace it; one that says the same stays as it is."""
    body = _plain(definition)
    row = await _row(doing.connection, table, doing.tenant, ident)
    if row is not None and orjson.loads(row.body) == body:
        return read(row)
    columns |= {"body": orjson.dumps(body).decode(), "revision": row.revision + 1 if row else 1}
    if row is None:
        columns |= {"tenant": doing.tenant, "id": ident, "created_ms": doing.by.at}
        await doing.connection.execute(table.insert(), columns)
    else:
        await doing.connection.execute(
            update(table).where(table.c.tenant == doing.tenant, table.c.id == ident).values(columns)
        )
    await doing.note(f"{kind}.put", f"{kind}:{ident}", body)
    return {"id": ident, **body, "revision": columns["revision"]}


async def _row(
    connection: AsyncConnection, table: Table, tenant: str, ident: str
) -> Row[Any] | None:
    found = await connection.execute(
        select(table).where(table.c.tenant == tenant, table.c.id == ident)
    )
    return found.first()


def read(row: Row[Any]) -> Body:
    """A definition as it was put."""
    return {"id": row.id, **orjson.loads(row.body), "revision": row.revision}


async def must_exist(doing: Change, table: Table, field: str, ident: str) -> None:
    """InvalidRequest where a row that is named is not there."""
    if await _row(doing.connection, table, doing.tenant, ident) is None:
        raise InvalidRequest(
            field,
            f"There is no {table.name.rstrip('s')} {ident}.",
            f"{ident} 不存在。",
        )


async def missing(
    books: Books,
    tenant: str,
    *,
    stores: Iterable[str] = (),
    merchants: Iterable[str] = (),
    audiences: Iterable[str] = (),
) -> list[str]:
    """Those of these ids that the mall does not have, as ``store:s1``, ``merchant:m1``.

    An audience is there when somebody is in it.
    """
    absent: list[str] = []
    async with books.connect() as connection:
        for table, wanted in ((schema.stores, set(stores)), (schema.merchants, set(merchants))):
            if wanted:
                query = select(table.c.id).where(table.c.tenant == tenant)
                known = set((await connection.execute(query)).scalars())
                kind = table.name.rstrip("s")
                absent += [f"{kind}:{ident}" for ident in sorted(wanted - known)]
        members = schema.audience_members.c
        for audience in sorted(set(audiences)):
            query = select(members.user_id).where(
                members.tenant == tenant, members.audience_id == audience, members.present == 1
            )
            if (await connection.execute(query.limit(1))).first() is None:
                absent.append(f"audience:{audience}")
    return absent


# ---- keys -------------------------------------------------------------------------------------


KEY_ROLES = (
    "operator", "storefront", "payments", "terminal", "desk", "gate", "parking", "merchant",
    "finance",
)  # fmt: skip
BINDINGS = {"store_id": "terminal", "lot_id": "parking", "merchant_id": "merchant",
            "event_id": "gate"}  # fmt: skip


def check_key(key: Body) -> None:
    """InvalidRequest unless a key of that role is bound to what it must be, and nothing else.

    A gate may go without its event: then it lets in to any. Its store is whom entries are
    settled with.
    """
    if key["role"] not in KEY_ROLES:
        raise InvalidRequest("role", f"Use one of {', '.join(KEY_ROLES)}.", "角色不存在。")
    for name, role in BINDINGS.items():
        if key.get(name) and key["role"] != role and (name, key["role"]) != ("store_id", "gate"):
            roles = "terminal or gate" if name == "store_id" else role
            raise InvalidRequest(
                name, f"Only a {roles} key has a {name}.", f"仅 {roles} 密钥可绑定 {name}。"
            )
        if key["role"] == role and not key.get(name) and role != "gate":
            raise InvalidRequest(
                name, f"A {role} key needs a {name}.", f"{role} 密钥必须绑定 {name}。"
            )


async def add_key(
    books: Books, tenant: str, by: By, receipt: Receipt | None, key: Body
) -> Answer[Body]:
    """Keep a key: ``id``, ``role``, ``label``, ``digest`` (SHA-256 of its text), bindings.

    A repeat answers the id of the first time; what the text of a key is, is the caller's matter.
    """
    check_key(key)

    async def work(doing: Change) -> Body:
        if key.get("store_id"):
            await must_exist(doing, schema.stores, "store_id", key["store_id"])
        if key.get("merchant_id"):
            await must_exist(doing, schema.merchants, "merchant_id", key["merchant_id"])
        row = {**key, "tenant": tenant, "created_ms": by.at}
        await doing.connection.execute(schema.keys.insert(), row)
        shown = {name: value for name, value in key.items() if name != "digest"}
        await doing.note("key.create", f"key:{key['id']}", shown)
        return {**shown, "created_ms": by.at, "revoked_ms": None}

    return await change(books, tenant, by, work, receipt=receipt)


async def revoke_key(books: Books, tenant: str, by: By, key_id: str) -> Answer[Body]:
    """From now on the key opens nothing; one revoked before stays as it is."""

    async def work(doing: Change) -> Body:
        keys = schema.keys
        row = await _row(doing.connection, keys, tenant, key_id)
        if row is None:
            doing.refuse(Outcome.NOT_FOUND)
        shown = _key(row)
        if row.revoked_ms is None:
            await doing.connection.execute(
                update(keys)
                .where(keys.c.tenant == tenant, keys.c.id == key_id)
                .values(revoked_ms=by.at)
            )
            await doing.note("key.revoke", f"key:{key_id}", {"label": row.label})
            shown["revoked_ms"] = by.at
        return shown

    return await change(books, tenant, by, work)


async def list_keys(
    books: Books, tenant: str, *, after: tuple[int, str] = (0, ""), limit: int = 50
) -> list[Body]:
    """Keys in the order they were made, those after (created_ms, id); revoked ones included."""
    keys = schema.keys
    made, ident = after
    later = (keys.c.created_ms > made) | ((keys.c.created_ms == made) & (keys.c.id > ident))
    query = select(keys).where(keys.c.tenant == tenant, later)
    async with books.connect() as connection:
        rows = await connection.execute(query.order_by(keys.c.created_ms, keys.c.id).limit(limit))
        return [_key(row) for row in rows]


def _key(row: Row[Any]) -> Body:
    hidden = {"tenant", "digest"}
    return {str(name): value for name, value in row._mapping.items() if name not in hidden}


# ---- settings ---------------------------------------------------------------------------------


async def get_settings(books: Books, tenant: str) -> Body:
    """The settings, each default filled in, and their ``revision``; LookupError: no such tenant."""
    async with books.connect() as connection:
        revision, settings = await _settings(connection, tenant)
        return {**_plain(settings), "revision": revision}


async def patch_settings(
    books: Books, tenant: str, by: By, patch: Body, revision: int | None
) -> Answer[Body]:
    """Change the settings by JSON Merge Patch; ``revision`` as for campaigns.

    The audit has the values, save ``jwt_keys``: secrets are among them.
    """

    async def work(doing: Change) -> Body:
        current, old = await _settings(doing.connection, tenant)
        if revision is not None and revision != current:
            doing.refuse(Outcome.REVISION_CHANGED, revision=current)
        new = merge_settings(msgspec.json.encode(old), patch)
        before, after = _plain(old), _plain(new)
        changed = {name: value for name, value in after.items() if value != before[name]}
        if changed:
            current += 1
            tenants = schema.tenants
            await doing.connection.execute(
                update(tenants)
                .where(tenants.c.id == tenant)
                .values(settings=orjson.dumps(after).decode(), settings_revision=current)
            )
            if "jwt_keys" in changed:
                changed["jwt_keys"] = sorted(changed["jwt_keys"])
            await doing.note("settings.patch", "settings", {**changed, "revision": current})
        return {**after, "revision": current}

    return await change(books, tenant, by, work)


async def _settings(connection: AsyncConnection, tenant: str) -> tuple[int, Settings]:
    tenants = schema.tenants
    found = await connection.execute(
        select(tenants.c.settings_revision, tenants.c.settings).where(tenants.c.id == tenant)
    )
    row = found.first()
    if row is None:
        raise LookupError(f"there is no tenant {tenant}")
    return row.settings_revision, msgspec.json.decode(row.settings or "{}", type=Settings)


def _plain(definition: msgspec.Struct) -> Body:
    plain: Body = orjson.loads(msgspec.json.encode(definition))
    return plain
