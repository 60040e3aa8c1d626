"""Cells: a person's acts stay in one, stock is shared out evenly, ids and codes name the cell."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest
from structlog.testing import capture_logs

from engine import keys
from engine.codes import Codes
from engine.errors import InvalidRequest
from engine.outcomes import Outcome
from engine.records import Line
from engine.views import Answer, CouponView
from tests.engine.harness import WHO, Running, mall_on
from tests.unit.rules_language import campaign


async def claim(
    mall: Running, user: str, name: str, key: str = "k", now: int = 0
) -> Answer[CouponView]:
    return await mall.engine.claim(
        user_id=user, campaign_id=name, channel="app", key=key, who=WHO, now=now
    )


async def crowd(mall: Running, name: str, number: int) -> list[Answer[CouponView]]:
    """Claims of so many people at once."""
    return await asyncio.gather(*(claim(mall, f"u{n}", name) for n in range(number)))


async def test_seven_coupons_and_a_crowd(mall: Running) -> None:
    await mall.publish(campaign("amount_off amount=1", id="c", stock={"total": 7}))
    assert [share for share, _, _ in await mall.shares("c")] == (
        [7] if mall.cells == 1 else [2, 2, 1, 1, 1]
    )
    answers = await crowd(mall, "c", 120)
    outcomes = Counter(answer.outcome for answer in answers)
    assert outcomes == {Outcome.DONE: 7, Outcome.SOLD_OUT: 113}
    shares = await mall.shares("c")
    assert all(left == 0 and issued == share for share, left, issued in shares)
    live = await mall.engine.live("c")
    assert live
    assert (live.left, live.issued) == (0, 7)
    told = [fact for cell in await mall.facts() for fact in cell if fact.act[0] == "C"]
    assert {fact.act for fact in told} == {a.value.id for a in answers if a.value}
    await mall.check_facts()


async def test_a_rate_is_never_exceeded_and_no_cell_starves(mall: Running) -> None:
    """Each cell has its part of a day's limit; the remainder goes round with the days."""
    body = {"stock": {"total": None}, "issue": {"per_day": 7}}
    await mall.publish(campaign("amount_off amount=1", id="c", **body))
    start = mall.server.clock()
    by_cell: Counter[int] = Counter()
    for day in range(mall.cells):
        answers = await asyncio.gather(
            *(claim(mall, f"d{day}-{n}", "c", now=start + day * 86_400_000) for n in range(80))
        )
        handles = [answer.value.id[1:17] for answer in answers if answer.value]
        assert len(handles) == 7
        assert {a.outcome for a in answers} == {Outcome.DONE, Outcome.CAMPAIGN_DAY_LIMIT}
        by_cell.update(mall.engine.cell_of(handle) for handle in handles)
    assert set(by_cell.values()) == {7}


async def test_a_budget_warns_once_at_each_mark(mall: Running) -> None:
    """Of the whole budget, over all cells; again once money came back and is spent anew."""
    await mall.store("s1")
    budget = {"total": None, "budget": 1000 * mall.cells}
    await mall.publish(campaign("amount_off amount=100", id="c", stock=budget))
    sales: list[str] = []

    async def sell(share: int) -> list[int]:
        """Sell until that much of each cell's part is spent; the marks that were told."""
        for n in range(120):
            handle = mall.engine.handle_of(f"u{n}")
            tag = mall.engine.tag_of(handle)
            row = await mall.hash_of(keys.campaign_key(tag, "c"))
            if int(row[b"budget_left"]) <= 1000 - share:
                continue
            issued = await claim(mall, f"u{n}", "c", key=f"{share}")
            assert issued.value
            sale = await mall.engine.redeem(
                handle=handle, coupons=[(issued.value.id, 0, False)], store_id="s1",
                key=f"{share}", who=WHO, amount=900, lines=[Line("1", 900, 1, "", "")],
            )  # fmt: skip
            assert sale.value
            sales.append(sale.value.id)
        with capture_logs() as told:
            await mall.control.watch_budgets()
            await mall.control.watch_budgets()
        return [line["mark"] for line in told if line["event"] == "budget_alarm"]

    assert await sell(400) == []
    assert await sell(500) == [50]
    assert await sell(900) == [80]
    for one in sales[-2 * mall.cells :]:
        await mall.engine.reverse(redemption_id=one, key="k", who=WHO, reason="returned")
    assert await sell(0) == []
    assert await sell(1000) == [95]


async def test_stock_is_added_to_the_smallest_and_taken_where_it_is_left(mall: Running) -> None:
    await mall.publish(campaign("amount_off amount=1", id="c", stock={"total": 7}))
    await mall.add_stock("c", 3)
    shares = await mall.shares("c")
    assert [share for share, _, _ in shares] == [10 // mall.cells] * mall.cells
    answers = await crowd(mall, "c", 3)
    issued = sum(answer.ok for answer in answers)
    with pytest.raises(InvalidRequest):
        await mall.add_stock("c", -(10 - issued + 1))
    assert sum(left for _, left, _ in await mall.shares("c")) == 10 - issued
    await mall.add_stock("c", -(10 - issued))
    shares = await mall.shares("c")
    assert all(left == 0 and share == gone for share, left, gone in shares)
    assert not any(answer.ok for answer in (await crowd(mall, "c", 120))[3:])
    await mall.add_stock("c", 6)
    assert sum(answer.outcome is Outcome.DONE for answer in await crowd(mall, "c", 120)) == 6


async def test_stock_is_there_once_it_is_added_however_late_the_last_answer_was_read(
    mall: Running,
) -> None:
    """A stalled process takes the server's clock for one that is behind; a promise ends all the
    same before the change is answered."""
    await mall.publish(campaign("amount_off amount=1", id="c", stock={"total": 7}))
    await crowd(mall, "c", 120)
    await mall.engine.doors.drain()
    mall.server.offset -= 400
    await mall.add_stock("c", 2 * mall.cells)
    answers = await crowd(mall, "c", 120)
    assert sum(answer.outcome is Outcome.DONE for answer in answers) == 2 * mall.cells


async def test_claims_and_withdrawals_at_once_lose_nothing(mall: Running) -> None:
    await mall.publish(campaign("amount_off amount=1", id="c", stock={"total": 100}))
    taking = [mall.control.withdraw("c", 7) for _ in range(5)]
    claiming = asyncio.ensure_future(crowd(mall, "c", 150))
    changes = await asyncio.gather(*taking)
    answers = await claiming
    issued = sum(answer.ok for answer in answers)
    withdrawn = -sum(sum(change) for change in changes if change)
    shares = await mall.shares("c")
    assert all(left + gone == share for share, left, gone in shares)
    assert sum(share for share, _, _ in shares) == 100 - withdrawn
    assert sum(gone for _, _, gone in shares) == issued
    await mall.check_facts()


async def test_ids_and_codes_carry_the_cell(mall: Running) -> None:
    await mall.store("s1")
    await mall.publish(campaign("amount_off amount=1", id="c"))
    codes = Codes(b"s" * 32, mall.id)
    cells = set()
    for answer in await crowd(mall, "c", 120):
        assert answer.value
        view = answer.value
        handle, serial = keys.split_id("C", view.id) or ("", "")
        cell = keys.cell_of(handle, mall.cells)
        cells.add(cell)
        key = keys.wallet_key(mall.engine.tags[cell], handle)
        assert b"C" + serial.encode() in await mall.hash_of(key)
        scan = codes.read(codes.rotating(view.id, view.now).code, view.now)
        assert scan.coupon_id == view.id
        assert mall.engine.cell_of(scan.handle) == cell
    assert cells == set(range(mall.cells))
    redeemed = await mall.engine.redeem(
        handle=handle, coupons=[(view.id, 0, False)], store_id="s1", key="r", who=WHO, amount=9,
        lines=[Line("1", 9, 1, "", "")],
    )
    assert redeemed.value
    assert keys.split_id("R", redeemed.value.id) == (handle, redeemed.value.id[17:])
    reversed_ = await mall.engine.reverse(
        redemption_id=redeemed.value.id, key="v", who=WHO, reason="r"
    )
    assert reversed_.value
    place = keys.split_id("V", reversed_.value.id)
    assert place
    assert place[0] == handle


async def test_another_mall_on_the_same_server_sees_nothing(
    mall: Running, tenant: str
) -> None:
    """The same names and keys in two malls are two people, two campaigns, two coupons."""
    other = await mall_on(mall.server, mall.books, f"{tenant}-other", cells=mall.cells)
    for one in (mall, other):
        await one.publish(campaign("amount_off amount=1", id="c", stock={"total": mall.cells}))
    first, second = await claim(mall, "u1", "c"), await claim(other, "u1", "c")
    assert first.value
    assert second.value
    assert first.outcome is second.outcome is Outcome.DONE
    assert first.value.id != second.value.id
    assert await other.engine.coupon(first.value.id) is None
    voided = await other.engine.void(coupon_id=first.value.id, key="v", who=WHO, reason="r")
    assert voided.outcome is Outcome.NOT_FOUND


async def test_an_engine_whose_clock_is_a_window_off_learns_the_time(mall: Running) -> None:
    """Ids come from the server's window; a claim is asked again, once, with its answer's clock."""
    await mall.publish(campaign("amount_off amount=1", id="c"))
    first = await claim(mall, "u1", "c")
    for days in (31, -31, 400):
        mall.server.offset = days * 86_400_000
        again = await claim(mall, "u1", "c")
        assert again.outcome is Outcome.REPEATED
        assert first.value
        assert again.value
        assert again.value.id == first.value.id
        assert abs(mall.server.offset) < 60_000
