"""After a statement is closed: its status, adjustments by two people, what is borne elsewhere."""

from __future__ import annotations

import itertools
from types import SimpleNamespace
from typing import Any

import pytest

from engine.books import adjustments, schema, settlement, statement_life, statements
from engine.books.definitions import By, Receipt
from engine.books.proofs import proofs
from engine.books.settlement import Reach
from engine.books.statement_files import lines_csv
from engine.outcomes import Outcome
from engine.views import Answer
from tests.books.mall import Mall, march

APRIL = march(32, 0)
FAR = Reach(march(100), march(100))
_keys = itertools.count()


def by(key: str = "k1", actor: str = "") -> By:
    return By(actor or f"label of {key}", key, f"label of {key}", "finance", march(40))


def receipt(key: str = "") -> Receipt:
    return Receipt("test", key or f"key-{next(_keys)}", "same", 200)


async def close(mall: Mall, start: int = march(1, 0), end: int = APRIL) -> list[dict[str, Any]]:
    answer = await settlement.close_period(
        mall.books, mall.id, mall.by(), FAR, merchant_id=None, start=start, end=end
    )
    assert answer.value is not None, answer
    return list(answer.value["items"])


async def sound(mall: Mall) -> None:
    broken = [proof.broken async for proof in proofs(mall.books, mall.id)]
    assert not any(broken), broken


async def settled(mall: Mall) -> dict[str, Any]:
    await mall.campaign("ten", {"type": "amount_off", "amount": 1000})
    await mall.use("u1", "ten", "s1", 5000, march(2))
    await mall.drain()
    (statement,) = await close(mall)
    return statement


async def test_what_may_follow_what(mall: Mall) -> None:
    statement = await settled(mall)
    name = statement["id"]
    more: dict[str, Any] = {"reason": "coupon 7 is not ours", "payment_ref": "BANK-1"}
    # Each row: from a status that was reached before, the moves that are refused, then the next.
    table = [
        ("closed", ["pay"], "dispute"),
        ("disputed", ["dispute"], "confirm"),
        ("confirmed", ["confirm", "dispute"], "pay"),
        ("paid", ["confirm", "dispute", "pay"], ""),
    ]
    for status, refused, then in table:
        for verb in refused:
            answer = await statement_life.move(
                mall.books, mall.id, by(), receipt(), name, verb, **more
            )
            assert (answer.outcome, answer.details) == (Outcome.WRONG_STATUS, {"current": status})
        if then:
            answer = await statement_life.move(
                mall.books, mall.id, by(), receipt("once" + then), name, then, **more
            )
            again = await statement_life.move(
                mall.books, mall.id, by(), receipt("once" + then), name, then, **more
            )
            assert answer.ok
            assert (again.outcome, again.value) == (Outcome.REPEATED, answer.value)
    now = await statements.statement(mall.books, mall.id, name)
    assert now is not None
    assert (now["status"], now["dispute"], now["payment_ref"], now["status_at"]) == (
        "paid", more["reason"], "BANK-1", march(40),
    )  # fmt: skip
    assert now["lines"] == statement["lines"]
    rows = await mall.rows(schema.audit, schema.audit.c.object == f"statement:{name}")
    assert [row.action for row in rows] == [
        "statement.close", "statement.dispute", "statement.confirm", "statement.pay",
    ]  # fmt: skip
    others = await statement_life.move(
        mall.books, mall.id, by(), receipt(), name, "confirm", merchant_id="m2"
    )
    assert others.outcome is Outcome.NOT_FOUND


async def ask(mall: Mall, amount: int, asker: By, actor: str = "", merchant: str = "m1") -> str:
    answer = await adjustments.ask(
        mall.books, mall.id, asker, receipt(), merchant_id=merchant, amount=amount,
        reason="=counted twice", actor=actor,
    )  # fmt: skip
    assert answer.value is not None, answer
    assert answer.value["status"] == "pending"
    return str(answer.value["id"])


async def decide(mall: Mall, name: str, who: By, actor: str = "", **more: Any) -> Answer[Any]:
    return await adjustments.decide(mall.books, mall.id, who, receipt(), name, actor=actor, **more)


@pytest.mark.parametrize(
    ("asked", "decided", "allowed"),
    [
        (("k1", ""), ("k1", ""), False),
        (("k1", ""), ("k2", ""), True),
        (("k1", "Li Lei"), ("k1", "Han Meimei"), True),
        (("k1", "Li Lei"), ("k1", " li  LEI"), False),
        (("k1", "Li Lei"), ("k2", "\uff2ci Lei"), False),  # full-width: the same name
        (("k1", "Li Lei"), ("k1", ""), False),
        (("k1", ""), ("k1", "Han Meimei"), False),
        (("k1", "Li Lei"), ("k2", ""), True),
    ],
)
def test_who_is_somebody_else(
    asked: tuple[str, str], decided: tuple[str, str], allowed: bool
) -> None:
    row: Any = SimpleNamespace(asked_key=asked[0], asked_actor=asked[1])
    assert adjustments.same_person(row, by(*decided), decided[1]) is not allowed


async def test_an_adjustment_by_two_goes_into_the_next_statement(mall: Mall) -> None:
    first = await settled(mall)
    more = await ask(mall, 250, by("k1"))
    less = await ask(mall, -1700, by("k1"))
    never = await ask(mall, 9999, by("k1"))
    await ask(mall, 5555, by("k1"))  # nobody decides on it

    alone = await decide(mall, more, by("k1"))
    assert alone.outcome is Outcome.FORBIDDEN
    agreed = await decide(mall, more, by("k2"))
    assert agreed.value is not None
    assert (agreed.value["status"], agreed.value["statement_id"]) == ("approved", None)
    assert (await decide(mall, less, by("k3"))).ok
    assert (await decide(mall, never, by("k1"), rejection="a mistake")).ok
    for name, status in ((more, "approved"), (never, "rejected")):
        again = await decide(mall, name, by("k9"))
        assert (again.outcome, again.details) == (Outcome.WRONG_STATUS, {"current": status})
    unknown = await adjustments.ask(
        mall.books, mall.id, by(), receipt(), merchant_id="nobody", amount=1, reason="x", actor=""
    )
    assert unknown.outcome is Outcome.NOT_FOUND
    assert (await decide(mall, "AD99999999", by("k2"))).outcome is Outcome.NOT_FOUND

    (april,) = await close(mall, APRIL, APRIL + 1)  # nothing else happened
    assert [(one["id"], one["amount"]) for one in april["adjustments"]] == [
        (more, 250), (less, -1700),
    ]  # fmt: skip
    names = ("adjustments", "payable_to_merchant", "bears_elsewhere", "net_payable", "discount")
    assert [april["totals"][name] for name in names] == [-1450, -1450, 0, -1450, 0]
    assert first["totals"]["payable_to_merchant"] == 1000
    assert await close(mall, APRIL + 1, APRIL + 2) == []  # they are settled once
    async with mall.books.connect() as conn:
        assert await statements.prove(conn, mall.id, first["id"], april["id"]) == []
    sheet = lines_csv(april, "en").decode("utf-8-sig").splitlines()
    assert f"{more} =counted twice" in sheet[1]
    found = await adjustments.find(mall.books, mall.id, merchant_id="m1", limit=3)
    assert [(row["n"], row["status"]) for row in found] == [
        (4, "pending"), (3, "rejected"), (2, "approved"),
    ]  # fmt: skip
    assert found[2]["statement_id"] == april["id"]
    assert await adjustments.find(mall.books, mall.id, merchant_id="m2") == []
    posted = await mall.rows(schema.postings, schema.postings.c.cell == -1)
    assert [(row.account, row.party, row.amount) for row in posted] == [
        ("mall.adjustment", "mall", 250), ("merchant.adjustment", "merchant:m1", -250),
        ("mall.adjustment", "mall", -1700), ("merchant.adjustment", "merchant:m1", 1700),
    ]  # fmt: skip
    await sound(mall)


async def test_what_is_borne_elsewhere_follows_reversals_and_periods(mall: Mall) -> None:
    await mall.campaign(
        "joint",
        {"type": "amount_off", "amount": 1001},
        funding=[{"party": "merchant:m2", "percent": 50}, {"party": "redeeming", "percent": 50}],
    )
    there = await mall.use("u1", "joint", "s1", 5000, march(2))
    await mall.use("u2", "joint", "s3", 5000, march(3))  # m2's own store: nothing is elsewhere
    await mall.drain()
    m1, m2 = await close(mall)
    names = ("payable_to_merchant", "bears_elsewhere", "net_payable", "merchant_bears")
    assert [m1["totals"][name] for name in names] == [501, 0, 501, 500]
    assert [m2["totals"][name] for name in names] == [0, 501, -501, 1001]

    await mall.reverse(there, APRIL + 5)
    await mall.drain()
    m1, m2 = await close(mall, APRIL, APRIL + 10)
    assert [m1["totals"][name] for name in names] == [-501, 0, -501, -500]
    assert [m2["totals"][name] for name in names] == [0, -501, 501, 0]
    assert m2["elsewhere"][0]["reversals"] == 1
    sheet = lines_csv(m2, "zh-CN").decode("utf-8-sig").splitlines()
    assert "承担他店核销(分)" in sheet[0]
    assert "承担 m1 核销的券" in sheet[1]
    await sound(mall)
