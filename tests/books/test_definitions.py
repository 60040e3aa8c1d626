"""Definitional writes on real books: receipts, audit, revisions, stock over the cells."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import msgspec
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import select

from engine.books import definitions_campaigns as campaigns
from engine.books import definitions_directory as directory
from engine.books import numbers, schema
from engine.books.db import Books, migrate, open_books
from engine.books.definitions import Body, By, Receipt, answered, fingerprint_of, list_audit
from engine.definitions import Campaign, InvalidDefinitionError, Merchant, Store
from engine.errors import InvalidRequest
from engine.outcomes import Outcome
from engine.views import Answer

ANN = By(actor="ann", key_id="k1", label="office", role="operator", at=1_000)


@dataclass
class Mall:
    """One tenant on its own books, and the verbs that a table of acts needs."""

    books: Books
    id: str = "mall"
    cells: int = 3
    in_cells: list[int] = field(default_factory=list)  # what the cells still have left

    def receipt(self, scope: str, key: str, *request: Any) -> Receipt:
        return Receipt(scope, key, fingerprint_of(*request), 201)

    async def create(self, key: str, campaign: Campaign) -> Any:
        receipt = self.receipt("campaigns", key, campaign)
        return await campaigns.create_campaign(
            self.books, self.id, self.cells, ANN, receipt, campaign, shown
        )

    async def patch(self, patch: Any, revision: int | None = None, name: str = "spring") -> Any:
        return await campaigns.patch_campaign(
            self.books, self.id, ANN, name, patch, revision, shown
        )

    async def add(self, key: str, add: int, name: str = "spring") -> Any:
        receipt = self.receipt(f"campaigns/{name}/stock", key, add)
        return await campaigns.add_stock(
            self.books, self.id, ANN, receipt, name, add, shown, self.withdraw
        )

    async def withdraw(self, _campaign: str, wanted: int, _what: str) -> list[int] | None:
        if sum(self.in_cells) < wanted:
            return None
        changes: list[int] = []
        for cell, left in enumerate(self.in_cells):
            part = min(left, wanted + sum(changes))
            self.in_cells[cell] -= part
            changes.append(-part)
        return changes

    async def definitions(self) -> int:
        tenants = schema.tenants
        asked = select(tenants.c.definitions).where(tenants.c.id == self.id)
        async with self.books.connect() as connection:
            return int((await connection.execute(asked)).scalar_one())

    async def audit(self) -> list[str]:
        rows = await list_audit(self.books, self.id, limit=200)
        assert [row["n"] for row in rows] == list(range(len(rows), 0, -1))  # gapless
        return [f"{row['actor']} {row['action']} {row['object']}" for row in reversed(rows)]


def value(answer: Answer[Body]) -> Body:
    assert answer.value is not None
    return answer.value


def shown(row: campaigns.CampaignRow) -> dict[str, Any]:
    return {"id": row.id, "revision": row.revision, "version": row.version, "shares": row.shares}


def campaign(name: str = "spring", total: int | None = 10, **more: Any) -> Campaign:
    body = {
        "id": name,
        "name": {"en": "Ten off", "zh-CN": "减十元"},
        "kind": "coupon",
        "benefit": {"type": "amount_off", "amount": 1000},
        "stock": {"total": total},
        "validity": {"type": "relative", "minutes": 60},
    }
    return msgspec.convert(body | more, Campaign)


@pytest.fixture
async def mall(database_url: str) -> AsyncIterator[Mall]:
    await migrate(database_url)
    books = open_books(database_url)
    row = {
        "id": "mall", "cells": 3, "timezone": "Asia/Shanghai", "currency": "CNY",
        "handle_key": b"k" * 32, "definitions": 0, "settings": "{}", "settings_revision": 1,
        "created_ms": 1,
    }  # fmt: skip
    async with books.begin() as connection:
        await connection.execute(schema.tenants.insert(), [row, row | {"id": "other"}])
    yield Mall(books)
    await books.close()


async def test_a_campaign_is_created_once(mall: Mall) -> None:
    first = await mall.create("r1", campaign())
    assert first.outcome is Outcome.DONE
    assert first.value == {"id": "spring", "revision": 1, "version": 1, "shares": [4, 3, 3]}

    again = await mall.create("r1", campaign())
    assert (again.outcome, again.value) == (Outcome.REPEATED, first.value)
    other = await mall.create("r1", campaign("summer"))
    assert other.outcome is Outcome.IDEMPOTENCY_KEY_REUSED
    taken = await mall.create("r2", campaign())
    assert taken.outcome is Outcome.ALREADY_EXISTS
    # A refusal leaves nothing behind: the key may be tried again.
    assert (await mall.create("r2", campaign("summer"))).outcome is Outcome.DONE
    assert await mall.audit() == [
        "ann campaign.create campaign:spring",
        "ann campaign.create campaign:summer",
    ]


async def test_unlimited_stock_has_no_shares(mall: Mall) -> None:
    assert (await mall.create("r1", campaign(total=None))).value["shares"] == []
    with pytest.raises(InvalidRequest, match="unlimited"):
        await mall.add("r2", 5)


async def test_copies_of_one_request_have_one_effect(mall: Mall) -> None:
    await mall.create("r1", campaign())
    answers = await asyncio.gather(*[mall.add("r2", 5) for _ in range(5)])
    assert sorted(answer.outcome for answer in answers) == [0, 1, 1, 1, 1]
    assert {str(answer.value) for answer in answers} == {str(answers[0].value)}
    row = await campaigns.get_campaign(mall.books, "mall", "spring")
    assert row is not None
    assert (row.total, sum(row.shares), row.version) == (15, 15, 2)
    assert row.body["stock"]["total"] == 15


async def test_a_patch_raises_the_revision_and_keeps_the_old_terms(mall: Mall) -> None:
    await mall.create("r1", campaign())
    before = await mall.definitions()
    changed = await mall.patch({"usage": {"min_spend": 5000}}, revision=1)
    assert (changed.value["revision"], changed.value["version"]) == (2, 2)
    assert await mall.definitions() == before + 1

    late = await mall.patch({"status": "paused"}, revision=1)
    assert late.outcome is Outcome.REVISION_CHANGED
    assert late.details == {"revision": 2}
    assert (await mall.patch({"status": "paused"})).value["revision"] == 3
    same = await mall.patch({"status": "paused"})
    assert same.value["revision"] == 3
    assert (await mall.patch({}, name="none")).outcome is Outcome.NOT_FOUND
    with pytest.raises(InvalidDefinitionError, match="stock"):
        await mall.patch({"stock": {"total": 99}})

    terms = schema.campaign_terms
    async with mall.books.connect() as connection:
        rows = (await connection.execute(select(terms).order_by(terms.c.revision))).all()
    spends = [orjson.loads(row.body)["usage"]["min_spend"] for row in rows]
    assert spends == [0, 5000, 5000]
    assert len(await mall.audit()) == 3
    assert await mall.definitions() == before + 2


async def test_a_patch_after_stock_was_added_sees_the_new_stock(mall: Mall) -> None:
    await mall.create("r1", campaign())
    await mall.add("r2", 2)
    assert (await mall.patch({"tags": ["hot"]})).value["shares"] == [4, 4, 4]


async def test_stock_is_taken_away_only_where_it_is_left(mall: Mall) -> None:
    await mall.create("r1", campaign())
    mall.in_cells = [1, 3, 0]  # 4 + 3 + 3 shared out, 6 issued
    lowered = await mall.add("r2", -3)
    assert lowered.value["shares"] == [3, 1, 3]
    again = await mall.add("r2", -3)
    assert (again.outcome, again.value) == (Outcome.REPEATED, lowered.value)
    assert mall.in_cells == [0, 1, 0]
    with pytest.raises(InvalidRequest, match="left"):
        await mall.add("r3", -2)
    # More spreads to the smallest first.
    assert (await mall.add("r4", 3)).value["shares"] == [4, 3, 3]
    assert (await mall.add("r5", 0)).value["shares"] == [4, 3, 3]


async def test_lists_go_on_where_they_stopped(mall: Mall) -> None:
    for name in ("a", "b", "c"):
        await mall.create(name, campaign(name))
    await mall.patch({"status": "ended"}, name="b")
    page = await campaigns.list_campaigns(mall.books, "mall", limit=2)
    assert [row.id for row in page] == ["a", "b"]
    rest = await campaigns.list_campaigns(mall.books, "mall", after="b", limit=2)
    assert [row.id for row in rest] == ["c"]
    active = await campaigns.list_campaigns(mall.books, "mall", status="active")
    assert [row.id for row in active] == ["a", "c"]
    assert await campaigns.list_campaigns(mall.books, "other") == []
    assert await campaigns.get_campaign(mall.books, "other", "a") is None


async def test_merchants_and_stores_are_put_whole(mall: Mall) -> None:
    books = mall.books
    store = Store(name="Noodles", merchant_id="m1", floor="B1")
    with pytest.raises(InvalidRequest, match="no merchant m1"):
        await directory.put_store(books, "mall", ANN, "s1", store)
    made = await directory.put_merchant(books, "mall", ANN, "m1", Merchant(name={"zh-CN": "面馆"}))
    assert made.value == {"id": "m1", "name": {"zh-CN": "面馆"}, "revision": 1}
    with pytest.raises(InvalidRequest, match="no merchant"):  # another mall's is none
        await directory.put_store(books, "other", ANN, "s1", store)

    first = await directory.put_store(books, "mall", ANN, "s1", store)
    same = await directory.put_store(books, "mall", ANN, "s1", store)
    assert first.value == same.value
    closed = msgspec.structs.replace(store, closed=True)
    second = await directory.put_store(books, "mall", ANN, "s1", closed)
    assert (value(second)["revision"], value(second)["closed"]) == (2, True)
    assert await directory.list_stores(books, "mall") == [second.value]
    assert await directory.list_stores(books, "mall", merchant_id="m2") == []
    assert await directory.list_stores(books, "mall", only="s1") == [second.value]
    assert await directory.list_merchants(books, "mall", after="m1") == []
    assert await mall.audit() == [
        "ann merchant.put merchant:m1",
        "ann store.put store:s1",
        "ann store.put store:s1",
    ]


async def test_keys_are_kept_as_digests_and_revoked(mall: Mall) -> None:
    books = mall.books
    key = {"id": "K1", "role": "terminal", "label": "till 1", "digest": "d" * 64, "store_id": "s1"}
    receipt = mall.receipt("keys", "r1", key)
    with pytest.raises(InvalidRequest, match="no store s1"):
        await directory.add_key(books, "mall", ANN, receipt, key)
    await directory.put_merchant(books, "mall", ANN, "m1", Merchant(name="M"))
    await directory.put_store(books, "mall", ANN, "s1", Store(name="S", merchant_id="m1"))
    made = await directory.add_key(books, "mall", ANN, receipt, key)
    assert value(made)["id"] == "K1"
    assert "digest" not in value(made)
    # A repeat brings another id of its own, and is told the first one.
    other = key | {"id": "K2", "digest": "e" * 64}
    again = await directory.add_key(books, "mall", ANN, receipt, other)
    assert (again.outcome, again.value) == (Outcome.REPEATED, made.value)

    (listed,) = await directory.list_keys(books, "mall")
    assert (listed["id"], listed["store_id"], listed["revoked_ms"]) == ("K1", "s1", None)
    assert (await directory.revoke_key(books, "other", ANN, "K1")).outcome is Outcome.NOT_FOUND
    gone = await directory.revoke_key(books, "mall", ANN, "K1")
    assert value(gone)["revoked_ms"] == ANN.at
    later = By("bob", "k1", "office", "operator", 2_000)
    assert (await directory.revoke_key(books, "mall", later, "K1")).value == gone.value
    assert [line for line in await mall.audit() if "key" in line] == [
        "ann key.create key:K1",
        "ann key.revoke key:K1",
    ]


async def test_settings_have_revisions_and_their_secrets_stay_out_of_the_audit(mall: Mall) -> None:
    books = mall.books
    start = await directory.get_settings(books, "mall")
    assert (start["revision"], start["payable_floor"]) == (1, 0)
    secret = "s3cret" * 8
    patch = {"payable_floor": 1, "jwt_keys": {"app": {"alg": "HS256", "key": secret}}}
    changed = await directory.patch_settings(books, "mall", ANN, patch, 1)
    assert value(changed)["revision"] == 2
    assert await directory.get_settings(books, "mall") == changed.value
    late = await directory.patch_settings(books, "mall", ANN, {"payable_floor": 2}, 1)
    assert late.outcome is Outcome.REVISION_CHANGED
    same = await directory.patch_settings(books, "mall", ANN, {"payable_floor": 1}, None)
    assert same.value == changed.value
    (row,) = await list_audit(books, "mall")
    assert row["detail"] == {"payable_floor": 1, "jwt_keys": ["app"], "revision": 2}
    with pytest.raises(LookupError):
        await directory.get_settings(books, "nobody")
    with pytest.raises(LookupError):
        await directory.patch_settings(books, "nobody", ANN, {}, None)


async def test_the_audit_can_be_searched(mall: Mall) -> None:
    books = mall.books
    bob = By(actor="bob", key_id="k2", label="till", role="operator", at=2_000)
    await directory.put_merchant(books, "mall", ANN, "m1", Merchant(name="M"))
    await directory.put_merchant(books, "mall", bob, "m10", Merchant(name="N"))
    await directory.put_store(books, "mall", bob, "s1", Store(name="S", merchant_id="m1"))

    async def found(**filters: Any) -> list[int]:
        return [row["n"] for row in await list_audit(books, "mall", **filters)]

    assert await found() == [3, 2, 1]
    assert await found(actor="bob") == [3, 2]
    assert await found(actor="office") == [1]
    assert await found(what="merchant:m1") == [1]
    assert await found(what="merchant") == [2, 1]
    assert await found(start=2_000) == [3, 2]
    assert await found(end=2_000) == [1]
    assert await found(before=3, limit=1) == [2]
    assert await list_audit(books, "other") == []


async def test_a_receipt_can_be_looked_up_before_an_act_elsewhere(mall: Mall) -> None:
    receipt = mall.receipt("campaigns", "r1", campaign())
    assert await answered(mall.books, "mall", receipt) is None
    made = await mall.create("r1", campaign())
    known = await answered(mall.books, "mall", receipt)
    assert known is not None
    assert known.value == made.value
    assert await answered(mall.books, "other", receipt) is None


def test_a_fingerprint_is_of_what_is_said_not_of_how() -> None:
    assert fingerprint_of({"a": 1, "b": 2}) == fingerprint_of({"b": 2, "a": 1})
    assert fingerprint_of({"a": 1}) != fingerprint_of({"a": 2})
    assert fingerprint_of("x", {"a": 1}) != fingerprint_of({"a": 1})


@given(
    st.lists(st.integers(0, 50), min_size=1, max_size=8),
    st.integers(0, 300),
)
def test_stock_is_spread_as_evenly_as_can_be(shares: list[int], add: int) -> None:
    after = campaigns.spread(shares, add)
    assert sum(after) == sum(shares) + add
    assert all(new >= old for new, old in zip(after, shares, strict=True))
    raised = [new for new, old in zip(after, shares, strict=True) if new > old]
    # Nobody who got something ends above one who could have had it instead.
    assert not raised or max(raised) <= min(after) + 1


async def test_two_that_count_first_at_once(mall: Mall) -> None:
    """The books' writer and the office, say: neither fails, and no number is left out."""
    other = open_books(mall.books.engine.url.render_as_string(hide_password=False))
    began = asyncio.Event()

    async def second() -> int:
        await began.wait()
        async with other.begin() as connection:
            return await numbers.take(connection, mall.id, "postings", 3)

    waiting = asyncio.create_task(second())
    async with mall.books.begin() as connection:
        assert await numbers.take(connection, mall.id, "postings") == 1
        began.set()
        await asyncio.sleep(0.2)
        assert not waiting.done()
    assert await waiting == 2
    async with mall.books.begin() as connection:
        assert await numbers.take(connection, mall.id, "postings") == 5
    await other.close()
