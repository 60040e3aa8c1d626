"""Statements: periods, late acts, the arithmetic of section 8, and totals equal the postings."""

from __future__ import annotations

import asyncio
from typing import Any

from sqlalchemy import select, update

from engine.books import schema, settlement, statements
from engine.books.definitions import Receipt, fingerprint_of
from engine.books.proofs import proofs
from engine.books.settlement import Reach
from engine.outcomes import Outcome
from engine.views import Answer
from tests.books.mall import DAY, Mall, march

APRIL = march(32, 0)
FAR = Reach(march(100), march(100))


async def close(
    mall: Mall,
    start: int = march(1, 0),
    end: int = APRIL,
    merchant: str | None = None,
    at: Reach = FAR,
    **more: Any,
) -> Answer[dict[str, Any]]:
    return await settlement.close_period(
        mall.books, mall.id, mall.by(), at, merchant_id=merchant, start=start, end=end, **more
    )


async def closed(mall: Mall, *arguments: Any, **more: Any) -> list[dict[str, Any]]:
    answer = await close(mall, *arguments, **more)
    assert answer.value is not None, answer
    items: list[dict[str, Any]] = answer.value["items"]
    async with mall.books.connect() as conn:
        for item in items:
            assert await statements.prove(conn, mall.id, item["id"]) == []
    return items


def shown(line: dict[str, Any], *names: str) -> tuple[Any, ...]:
    return tuple(line[name] for name in names)


async def no_broken_proof(mall: Mall) -> None:
    broken = [proof.broken async for proof in proofs(mall.books, mall.id)]
    assert not any(broken), broken


async def test_a_statement_line_by_line(mall: Mall) -> None:
    await mall.campaign("half", {"type": "amount_off", "amount": 2001},
                        funding={"mall": 50, "merchant": 50})  # fmt: skip
    await mall.campaign(
        "brand",
        {"type": "amount_off", "amount": 1000},
        funding=[
            {"party": "sponsor:cola", "percent": 33.33},
            {"party": "redeeming", "percent": 33.33},
            {"party": "merchant:m9", "percent": 33.34},
        ],
    )
    await mall.campaign("cake", {"type": "exchange", "item": "cake", "value": 1800})
    await mall.use("u1", "half", "s1", 10_000, march(2))
    await mall.use("u2", "half", "s2", 5_000, march(3))
    await mall.use("u1", "brand", "s3", 4_000, march(3))
    await mall.use("u3", "cake", "s3", 0, march(4))
    await mall.drain()

    m1, m2, m9 = await closed(mall)

    assert (m1["merchant_id"], m1["status"], m1["currency"]) == ("m1", "closed", "CNY")
    assert (m1["start"], m1["end"], m1["late"]) == (march(1, 0), APRIL, 0)
    assert [shown(line, "store_id", "lot_id", "campaign_id") for line in m1["lines"]] == [
        ("s1", None, "half"),
        ("s2", None, "half"),
    ]
    # 2001 split in halves: the odd fen goes to the first party named, the mall.
    assert shown(m1["lines"][0], *settlement.LINE_COLUMNS[3:]) == (
        1, 0, 7999, 2001, 0, 1001, 1000, 0, 0, 0, 0, 0, 1001,
    )  # fmt: skip
    assert shown(m1["totals"], "redemptions", "sales", "discount", "payable_to_merchant") == (
        2, 10_998, 4002, 2002,
    )  # fmt: skip
    names = ("campaign_id", "sales", "discount", "mall_bears", "merchant_bears", "others_bear",
             "payable_to_merchant")  # fmt: skip
    assert [shown(line, *names) for line in m2["lines"]] == [
        ("brand", 3000, 1000, 0, 333, 667, 667),
        ("cake", 0, 1800, 1800, 0, 0, 1800),
    ]
    # m9 redeemed nothing: what it bears of m2's redemption does not touch what it is owed.
    assert (m9["lines"], m9["elsewhere"]) == ([], [
        {"merchant_id": "m2", "store_id": "s3", "lot_id": None, "campaign_id": "brand",
         "redemptions": 1, "reversals": 0, "bears_elsewhere": 334},
    ])  # fmt: skip
    owed = ("payable_to_merchant", "bears_elsewhere", "net_payable")
    assert shown(m9["totals"], *owed) == (0, 334, -334)
    assert shown(m2["totals"], *owed) == (2467, 0, 2467)
    await no_broken_proof(mall)


async def test_reversals_in_pieces_net_to_zero(mall: Mall) -> None:
    await mall.campaign("half", {"type": "amount_off", "amount": 1001},
                        funding={"mall": 33.3, "merchant": 66.7})  # fmt: skip
    coupon = await mall.claim("u1", "half", march(1))
    basket = [("a", 3333), ("b", 3333), ("c", 3334)]
    redemption = await mall.redeem([coupon], "s1", basket, march(2))
    await mall.reverse(redemption, march(3), [("a", 1000), ("c", 1)])
    await mall.reverse(redemption, march(4), [("a", 2333)])
    await mall.reverse(redemption, march(5))
    await mall.drain()

    (statement,) = await closed(mall)

    amounts = [statement["totals"][name] for name in settlement.AMOUNTS]
    assert amounts == [0] * len(settlement.AMOUNTS)
    assert shown(statement["totals"], "redemptions", "reversals") == (1, 3)
    rows, more = await statements.entries_of(mall.books, mall.id, statement["id"], None, 200)
    assert more is None
    assert [row["kind"] for row in rows] == ["redemption"] + 3 * ["reversal"]
    assert rows[0]["discount"] == 1001 == -sum(row["discount"] for row in rows[1:])
    await no_broken_proof(mall)


async def test_acts_belong_to_the_period_of_their_time(mall: Mall) -> None:
    await mall.campaign("ten", {"type": "amount_off", "amount": 1000})
    redemption = await mall.use("u1", "ten", "s1", 5000, APRIL - 1)
    await mall.use("u2", "ten", "s1", 5000, APRIL)
    await mall.reverse(redemption, APRIL + DAY)
    await mall.drain()

    (march_,) = await closed(mall)
    (april,) = await closed(mall, APRIL, APRIL + 30 * DAY)

    assert shown(march_["totals"], "redemptions", "reversals", "discount") == (1, 0, 1000)
    assert shown(april["totals"], "redemptions", "reversals", "discount") == (1, 1, 0)
    assert april["late"] == 0


async def test_the_same_period_gives_the_statement_that_exists(mall: Mall) -> None:
    await mall.campaign("ten", {"type": "amount_off", "amount": 1000})
    await mall.use("u1", "ten", "s1", 5000, march(2))
    await mall.drain()
    first = await closed(mall)
    await mall.use("u2", "ten", "s1", 5000, march(3))
    await mall.use("u2", "ten", "s3", 5000, march(3))
    await mall.drain()

    again = await closed(mall)

    assert again[0] == first[0]  # what came after it was closed is not in it
    assert [item["merchant_id"] for item in again] == ["m1", "m2"]  # m2 had nothing to settle
    assert await closed(mall, merchant="m1") == [again[0]]
    assert await closed(mall, merchant="m3") == []


async def test_what_comes_after_closing_goes_into_the_next_as_late(mall: Mall) -> None:
    await mall.campaign("ten", {"type": "amount_off", "amount": 1000})
    await mall.use("u1", "ten", "s1", 5000, march(2))
    await mall.drain()
    await closed(mall)
    await mall.use("u2", "ten", "s1", 7000, march(30))  # reaches the books late
    await mall.use("u3", "ten", "s1", 9000, march(33))
    await mall.use("u3", "ten", "s3", 9000, march(30))  # m2 has no closed March: not late
    await mall.drain()

    (april,) = await closed(mall, APRIL, APRIL + 30 * DAY)

    assert april["merchant_id"] == "m1"
    assert april["late"] == 1
    assert shown(april["totals"], "redemptions", "sales", "discount") == (2, 14_000, 2000)
    rows, _ = await statements.entries_of(mall.books, mall.id, april["id"], None, 200)
    assert [(row["at"], row["late"]) for row in rows] == [(march(30), True), (march(33), False)]
    assert [item["late"] for item in await closed(mall, APRIL + 30 * DAY, APRIL + 60 * DAY)] == []
    await no_broken_proof(mall)


async def test_a_late_act_alone_makes_a_statement(mall: Mall) -> None:
    await mall.campaign("ten", {"type": "amount_off", "amount": 1000})
    redemption = await mall.use("u1", "ten", "s1", 5000, march(2))
    await mall.drain()
    await closed(mall)
    await mall.reverse(redemption, march(20))
    await mall.drain()

    (april,) = await closed(mall, APRIL, APRIL + DAY)

    assert shown(april["totals"], "redemptions", "reversals", "discount") == (0, 1, -1000)
    assert april["totals"]["payable_to_merchant"] == -1000


async def test_periods_of_a_merchant_never_overlap(mall: Mall) -> None:
    await mall.campaign("ten", {"type": "amount_off", "amount": 1000})
    await mall.use("u1", "ten", "s1", 5000, march(2))
    await mall.use("u1b", "ten", "s3", 5000, march(31))
    await mall.drain()
    (mine,) = await closed(mall, merchant="m1")
    month = march(1, 0)
    table = [
        (month, APRIL, "m1", Outcome.DONE),
        (march(2, 0), APRIL, "m1", Outcome.PERIOD_OVERLAPS),
        (march(31, 0), APRIL + DAY, None, Outcome.PERIOD_OVERLAPS),
        (month - DAY, month + 1, None, Outcome.PERIOD_OVERLAPS),
        (month, APRIL, "nobody", Outcome.NOT_FOUND),
        (month, FAR.clock + 1, "m2", Outcome.PERIOD_OPEN),
        (march(31, 0), APRIL + DAY, "m2", Outcome.DONE),
        (month, APRIL, None, Outcome.PERIOD_OVERLAPS),
        (APRIL + DAY, APRIL + 2 * DAY, None, Outcome.DONE),
        (month - DAY, month, None, Outcome.DONE),
    ]
    for start, end, merchant, outcome in table:
        answer = await close(mall, start, end, merchant)
        assert answer.outcome is outcome, (start, end, merchant)
        if outcome is Outcome.PERIOD_OVERLAPS:
            assert answer.details["statement_id"] in (mine["id"], "ST00000002")


async def test_an_open_period_says_when_to_ask_again(mall: Mall) -> None:
    not_ended = await close(mall, at=Reach(APRIL - 1, APRIL - 1))
    behind = await close(mall, at=Reach(APRIL + 5, APRIL - 1))

    assert (not_ended.outcome, not_ended.details) == (Outcome.PERIOD_OPEN, {"retry_at": APRIL})
    assert behind.outcome is Outcome.PERIOD_OPEN
    assert behind.details["retry_at"] > APRIL


async def test_reach_follows_the_facts(mall: Mall) -> None:
    await mall.campaign("ten", {"type": "amount_off", "amount": 1000})
    await mall.use("u1", "ten", "s1", 5000, march(2))

    async def reached(**more: Any) -> Reach:
        return await settlement.reach(mall.books, mall.server, mall.id, rehearsal=True, **more)

    before = await reached()
    await mall.drain()

    assert before.clock == march(2)  # the latest Hexiao-Now seen
    assert before.complete < march(2)
    assert await reached() == Reach(march(2), march(2))
    assert await reached(now=march(9)) == Reach(march(9), march(9))
    wall = await settlement.reach(mall.books, mall.server, mall.id)
    assert wall.clock == wall.complete
    assert abs(wall.clock - mall.engine.clock()) < 5000


async def test_watermarks_alone_make_a_period_complete(mall: Mall) -> None:
    """While acts go on the books never hold all facts; the watermark says enough."""
    await mall.campaign("ten", {"type": "amount_off", "amount": 1000})
    await mall.use("u1", "ten", "s1", 5000, march(2))
    async with mall.books.begin() as conn:
        await conn.execute(
            update(schema.cells).where(schema.cells.c.tenant == mall.id).values(complete_ms=APRIL)
        )

    at = await settlement.reach(mall.books, mall.server, mall.id)
    rehearsed = await settlement.reach(
        mall.books, mall.server, mall.id, rehearsal=True, now=APRIL + 1
    )

    assert at.complete == APRIL
    # There time may go back: the books had come to April when an act of March was told.
    assert rehearsed == Reach(APRIL + 1, 0)


async def test_a_merchant_of_an_act_is_the_one_of_its_moment(mall: Mall) -> None:
    await mall.campaign("ten", {"type": "amount_off", "amount": 1000})
    redemption = await mall.use("u1", "ten", "s1", 5000, march(2))
    await mall.shop("s1", "m9")
    await mall.use("u2", "ten", "s1", 5000, march(3))
    await mall.reverse(redemption, march(4))
    await mall.drain()

    m1, m9 = await closed(mall)

    assert shown(m1["totals"], "redemptions", "reversals", "discount") == (1, 1, 0)
    assert (m9["merchant_id"], m9["totals"]["discount"]) == ("m9", 1000)


async def test_closing_is_audited_and_repeats_by_its_key(mall: Mall) -> None:
    await mall.campaign("ten", {"type": "amount_off", "amount": 1000})
    await mall.use("u1", "ten", "s1", 5000, march(2))
    await mall.drain()
    receipt = Receipt("statements", "k-1", fingerprint_of("march"), 201)
    other = Receipt("statements", "k-1", fingerprint_of("april"), 201)

    first = await close(mall, receipt=receipt)
    await mall.use("u1", "ten", "s3", 5000, march(3))
    await mall.drain()
    again = await close(mall, receipt=receipt)

    assert (first.outcome, again.outcome) == (Outcome.DONE, Outcome.REPEATED)
    assert again.value == first.value
    assert (await close(mall, receipt=other)).outcome is Outcome.IDEMPOTENCY_KEY_REUSED
    audit = await mall.rows(schema.audit, schema.audit.c.action == "statement.close")
    assert [row.object for row in audit] == ["statement:ST00000001"]


async def test_two_closings_at_once_make_one_statement(mall: Mall) -> None:
    await mall.campaign("ten", {"type": "amount_off", "amount": 1000})
    await mall.use("u1", "ten", "s1", 5000, march(2))
    await mall.drain()

    answers = await asyncio.gather(*(close(mall) for _ in range(5)))

    assert len({item["id"] for a in answers if a.value for item in a.value["items"]}) == 1
    assert all(answer.ok for answer in answers)
    await no_broken_proof(mall)


async def test_pages_of_entries_and_lists(mall: Mall) -> None:
    await mall.campaign("ten", {"type": "amount_off", "amount": 100}, issue={"per_user": None})
    for n in range(7):
        await mall.use("u1", "ten", "s1", 5000, march(2) + n // 3)
    await mall.drain()
    (statement,) = await closed(mall)
    await closed(mall, APRIL, APRIL + DAY)

    seen, after = [], None
    while True:
        page, after = await statements.entries_of(mall.books, mall.id, statement["id"], after, 3)
        assert len(page) <= 3
        seen += [row["act_id"] for row in page]
        if after is None:
            break

    assert len(seen) == len(set(seen)) == 7
    (listed,) = await statements.find_statements(mall.books, mall.id, None, None, 10)
    assert listed["id"] == statement["id"]
    assert "lines" not in listed
    assert await statements.find_statements(mall.books, mall.id, "m2", None, 10) == []
    after_it = (listed["start"], listed["id"])
    assert await statements.find_statements(mall.books, mall.id, None, after_it, 10) == []
    assert await statements.statement(mall.books, "another", statement["id"]) is None


async def test_a_proof_finds_a_changed_posting(mall: Mall) -> None:
    await mall.campaign("ten", {"type": "amount_off", "amount": 1000})
    await mall.use("u1", "ten", "s1", 5000, march(2))
    await mall.drain()
    (statement,) = await closed(mall)
    async with mall.books.begin() as conn:
        await conn.execute(
            update(schema.postings)
            .where(schema.postings.c.tenant == mall.id, schema.postings.c.account == "mall.subsidy")
            .values(amount=999)
        )
        kept = schema.statements
        body = (await conn.scalar(select(kept.c.body).where(kept.c.tenant == mall.id))) or ""
        wrong_net = body.replace('"net_payable": 1000', '"net_payable": 1001')
        assert wrong_net != body
        await conn.execute(update(kept).where(kept.c.tenant == mall.id).values(body=wrong_net))

    async with mall.books.connect() as conn:
        wrong = await statements.prove(conn, mall.id, statement["id"])
    found = {broken.what async for proof in proofs(mall.books, mall.id) for broken in proof.broken}

    assert {(item["field"], item["statement"], item["postings"]) for item in wrong} == {
        ("mall_bears", 1000, 999),
        ("net_payable", 1001, 1000),
    }
    assert found == {
        "postings of an act sum to zero",
        "entry equals its postings",
        "statement equals its postings",
    }
