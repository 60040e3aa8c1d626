"""Points and purchases in the books: rows, what they sum to, and the double entry behind them."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import func, select

from engine.books import schema
from engine.books.points import entries_of
from engine.books.proofs import proofs
from engine.definitions.earning import EarnRule, compile_earn
from engine.records import SettingsRecord, pack
from tests.books.mall import MARCH, MINUTE, WHO, Mall


@pytest.mark.parametrize("at_once", [True, False])
async def test_points_and_purchases(mall: Mall, at_once: bool) -> None:
    """A refund folds into its purchase in one transaction as over many."""
    rule = compile_earn(EarnRule(per_yuan=1))
    settings = pack(SettingsRecord(9, points_per_yuan=3, earn=rule))
    await mall.control._write(0, "define", "settings", 9, settings)
    points, now = mall.engine.points, MARCH
    told: dict[str, Any] = {"user_id": "ann", "who": WHO}

    async def next_minute() -> int:
        nonlocal now
        now += MINUTE
        if not at_once:
            await mall.drain()
        return now

    early: dict[str, Any] = {"transaction_id": "t1", "refund_id": "f0", "key": "f0", "amount": 1000}
    await points.refund(**told, **early, now=await next_minute())
    bought: dict[str, Any] = {
        "transaction_id": "t1",
        "key": "t1",
        "store_id": "s1",
        "amount": 10_000,
        "occurred": MARCH,
    }
    for _ in range(2):
        await points.purchase(**told, **bought, receipt_no="7", now=await next_minute())
    await points.credit(
        **told, kind="earn", points=7, key="e", expires=now + 5 * MINUTE, now=await next_minute()
    )
    spent = await points.credit(**told, kind="spend", points=-4, key="s", now=await next_minute())
    assert spent.value
    await points.reverse(
        entry_id=spent.value.id, key="r", who=WHO, points=1, now=await next_minute()
    )
    late: dict[str, Any] = {"transaction_id": "t1", "refund_id": "f1", "key": "f1", "amount": 4000}
    await points.refund(**told, **late, now=await next_minute())
    now += 10 * MINUTE
    await points.expire(mall.engine.handle_of("ann"), now=await next_minute())
    await mall.drain()

    booked = await entries_of(mall.books, mall.id, "ann")
    assert [(row.kind, row.points, row.balance) for row in reversed(booked)] == [
        ("purchase", 90, 90),
        ("earn", 7, 97),
        ("spend", -4, 93),
        ("reversal", 1, 94),
        ("refund", -40, 54),
        ("expiry", -4, 50),
    ]
    # 3 points a yuan: each entry changes what is owed to the balance's worth, rounded down.
    assert sum(row.value for row in booked) == 50 * 100 // 3
    (purchase,) = await mall.rows(schema.purchases)
    assert (purchase.amount, purchase.refunded, purchase.earned, purchase.points) == (
        10_000, 5000, 100, 50,
    )  # fmt: skip
    assert (purchase.merchant_id, purchase.receipt_no, purchase.reason) == ("m1", "7", "refunded")
    refunds = await mall.rows(schema.purchase_refunds)
    assert {(row.refund_id, row.amount, row.points) for row in refunds} == {
        ("f0", 1000, 0), ("f1", 4000, 40),
    }  # fmt: skip
    c = schema.postings.c
    query = select(c.account, func.sum(c.amount)).where(c.tenant == mall.id).group_by(c.account)
    async with mall.books.connect() as conn:
        balances = {account: int(total) for account, total in await conn.execute(query)}
    assert balances["points.liability"] == -(50 * 100 // 3)
    assert sum(balances.values()) == 0
    assert set(balances) == {
        "points.liability", "points.expense", "points.spent", "points.breakage",
    }  # fmt: skip
    async for proof in proofs(mall.books, mall.id):
        assert not proof.broken
