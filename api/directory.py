"""Merchants, stores, keys, and the audit of everything that was ever defined."""

from __future__ import annotations

import secrets
from typing import Any

from api import wire_office as shapes
from api.auth import digest_of, key_text
from api.office import by, invalid_definition, receipt, written
from api.problems import Refused
from api.routes import Call, Page, Reply, decode_cursor, encode_cursor, route
from engine.books import definitions_directory as directory
from engine.books.definitions import Body, list_audit
from engine.definitions import Merchant, Store, check_store, parse_time
from engine.errors import InvalidRequest
from engine.outcomes import Outcome
from engine.views import Answer

KEY_ID_BYTES = 5

# ---- merchants -------------------------------------------------------------------------------


@route(
    "PUT",
    "/v1/merchants/{id}",
    body=Merchant,
    reply=shapes.MerchantReply,
    summary="Make a merchant, or replace it.",
    tags=("directory",),
)
async def put_merchant(call: Call) -> Reply:
    tenant = call.tenant
    answer = await directory.put_merchant(
        tenant.books, tenant.id, by(call), call.path["id"], call.body
    )
    return await written(call, answer)


@route(
    "GET",
    "/v1/merchants",
    roles={"finance", "desk", "merchant"},
    query=Page,
    reply=shapes.MerchantList,
    summary="Merchants by id; a merchant sees itself.",
    tags=("directory",),
)
async def list_merchants(call: Call) -> Reply:
    tenant, query = call.tenant, call.query
    rows = await directory.list_merchants(
        tenant.books,
        tenant.id,
        only=call.bound_merchant(None) or None,
        after=after(query),
        limit=query.limit + 1,
    )
    return page(rows, query.limit)


@route(
    "GET",
    "/v1/merchants/{id}",
    roles={"finance", "desk", "merchant"},
    reply=shapes.MerchantReply,
    summary="One merchant.",
    tags=("directory",),
)
async def get_merchant(call: Call) -> Reply:
    tenant, merchant_id = call.tenant, call.path["id"]
    if call.key.merchant_id not in ("", merchant_id):
        raise Refused(Outcome.NOT_FOUND)
    rows = await directory.list_merchants(tenant.books, tenant.id, only=merchant_id, limit=1)
    return one_of(rows)


# ---- stores ----------------------------------------------------------------------------------


@route(
    "PUT",
    "/v1/stores/{id}",
    body=Store,
    reply=shapes.StoreReply,
    summary="Make a store, or replace it; its merchant from now on is the one named.",
    tags=("directory",),
)
async def put_store(call: Call) -> Reply:
    tenant, store_id = call.tenant, call.path["id"]
    if problems := check_store(call.body):
        raise invalid_definition(call, problems)
    answer = await directory.put_store(tenant.books, tenant.id, by(call), store_id, call.body)
    return await written(call, answer, lambda: tenant.control.publish_store(store_id))


@route(
    "GET",
    "/v1/stores",
    roles={"storefront", "finance", "desk", "merchant", "terminal"},
    query=shapes.StoreQuery,
    reply=shapes.StoreList,
    summary="Stores by id; a merchant sees its own, a terminal the one it stands in.",
    tags=("directory",),
)
async def list_stores(call: Call) -> Reply:
    tenant, query = call.tenant, call.query
    rows = await directory.list_stores(
        tenant.books,
        tenant.id,
        only=call.bound_store(None) or None,
        merchant_id=call.bound_merchant(query.merchant_id) or None,
        after=after(query),
        limit=query.limit + 1,
    )
    return page(rows, query.limit)


@route(
    "GET",
    "/v1/stores/{id}",
    roles={"storefront", "finance", "desk", "merchant", "terminal"},
    reply=shapes.StoreReply,
    summary="One store.",
    tags=("directory",),
)
async def get_store(call: Call) -> Reply:
    tenant, store_id = call.tenant, call.path["id"]
    if call.key.store_id not in ("", store_id):
        raise Refused(Outcome.NOT_FOUND)
    rows = await directory.list_stores(
        tenant.books, tenant.id, only=store_id, merchant_id=call.key.merchant_id or None, limit=1
    )
    return one_of(rows)


def after(query: Page) -> str:
    """The id where the page before ended; "" for the first."""
    return str(decode_cursor(query.cursor, tuple[str])[0]) if query.cursor else ""


def page(rows: list[Body], limit: int) -> Reply:
    """A page of rows by id; there is one more than ``limit`` when the list goes on."""
    cursor = encode_cursor(rows[limit - 1]["id"]) if len(rows) > limit else None
    return Reply({"items": rows[:limit], "next_cursor": cursor})


def one_of(rows: list[Body]) -> Reply:
    """The only row; ``not_found`` where there is none."""
    if not rows:
        raise Refused(Outcome.NOT_FOUND)
    return Reply(rows[0])


# ---- keys ------------------------------------------------------------------------------------


@route(
    "POST",
    "/v1/keys",
    body=shapes.KeyRequest,
    reply=shapes.KeyMade,
    status=201,
    summary="Make a key; its text is shown in this answer only.",
    tags=("keys",),
)
async def add_key(call: Call) -> Reply:
    tenant = call.tenant
    key_id = "k" + secrets.token_hex(KEY_ID_BYTES)
    fields = {name: getattr(call.body, name) for name in call.body.__struct_fields__}
    key = {"id": key_id, **fields, "digest": digest_of(key_text(tenant.secret, tenant.id, key_id))}
    answer = await directory.add_key(tenant.books, tenant.id, by(call), receipt(call), key)
    if answer.value is not None:
        # A repeat finds the id of the first time, and with it the same text.
        text = key_text(tenant.secret, tenant.id, answer.value["id"])
        answer = Answer(answer.outcome, {**shapes.key_reply(answer.value), "key": text})
    return await written(call, answer)


@route(
    "GET",
    "/v1/keys",
    query=Page,
    reply=shapes.KeyList,
    summary="Keys in the order they were made, revoked ones included.",
    tags=("keys",),
)
async def list_keys(call: Call) -> Reply:
    tenant, query = call.tenant, call.query
    after: Any = decode_cursor(query.cursor, tuple[int, str]) if query.cursor else (0, "")
    rows = await directory.list_keys(tenant.books, tenant.id, after=after, limit=query.limit + 1)
    shown = rows[: query.limit]
    more = len(rows) > query.limit
    cursor = encode_cursor(shown[-1]["created_ms"], shown[-1]["id"]) if more else None
    return Reply({"items": [shapes.key_reply(row) for row in shown], "next_cursor": cursor})


@route(
    "DELETE",
    "/v1/keys/{id}",
    reply=shapes.KeyReply,
    summary="Revoke a key: at once here, within a second at every API process.",
    tags=("keys",),
)
async def revoke_key(call: Call) -> Reply:
    tenant = call.tenant
    answer = await directory.revoke_key(tenant.books, tenant.id, by(call), call.path["id"])
    if answer.value is not None:
        answer = Answer(answer.outcome, shapes.key_reply(answer.value))
    return await written(call, answer)


# ---- audit -----------------------------------------------------------------------------------


@route(
    "GET",
    "/v1/audit",
    roles={"finance"},
    query=shapes.AuditQuery,
    reply=shapes.AuditList,
    summary="Who defined what, newest first.",
    tags=("audit",),
)
async def audit(call: Call) -> Reply:
    tenant, query = call.tenant, call.query
    rows = await list_audit(
        tenant.books,
        tenant.id,
        actor=query.actor,
        what=query.object,
        start=_moment("from", query.from_),
        end=_moment("to", query.to),
        before=decode_cursor(query.cursor, tuple[int])[0] if query.cursor else None,
        limit=query.limit + 1,
    )
    cursor = encode_cursor(rows[query.limit - 1]["n"]) if len(rows) > query.limit else None
    items = [shapes.audit_reply(row) for row in rows[: query.limit]]
    return Reply({"items": items, "next_cursor": cursor})


def _moment(field: str, text: str | None) -> int | None:
    try:
        return None if text is None else parse_time(text)
    except ValueError:
        raise InvalidRequest(field, "This is no date and time.", "不是有效的日期时间。") from None
