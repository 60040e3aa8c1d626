"""Looking acts up in the books: what a coupon went through, redemptions by what is known."""

from __future__ import annotations

import msgspec
import pytest
from sqlalchemy import update

from engine import keys
from engine.books import feeds, schema
from engine.books.feeds import RedemptionFilter
from engine.errors import InvalidRequest
from engine.records import Line
from engine.views import Redemption
from tests.books.mall import MINUTE, Mall, march

TEN = {"type": "amount_off", "amount": 1000}


async def test_the_history_of_a_coupon(mall: Mall) -> None:
    await mall.campaign("ten", TEN, issue={"per_user": 5})
    coupon = await mall.claim("u1", "ten", march(1))
    other = await mall.claim("u1", "ten", march(1))
    released = await mall.redeem([coupon], "s1", 5000, march(2), hold_seconds=900)
    await mall.finish("release", released, march(2) + MINUTE)
    held = await mall.redeem([coupon], "s1", 5000, march(3), hold_seconds=900, order_ref="P-1")
    await mall.finish("commit", held, march(3) + MINUTE)
    back = await mall.reverse(held, march(4))
    direct = await mall.redeem([coupon], "s2", 9000, march(5), channel="cashier")
    reversal = await mall.reverse(direct, march(6), restore=False)
    await mall.void(other, march(7))
    await mall.drain()

    acts, complete = await feeds.coupon_history(mall.books, mall.id, coupon)

    assert [(act.type, act.act, act.at) for act in acts] == [
        ("claimed", coupon, march(1)),
        ("held", released, march(2)),
        ("released", released, march(2) + MINUTE),
        ("held", held, march(3)),
        ("committed", held, march(3) + MINUTE),
        ("reversed", back, march(4)),
        ("redeemed", direct, march(5)),
        ("reversed", reversal, march(6)),
    ]
    assert complete is None  # no watermark yet
    assert all(act.who["staff"] == "08" and act.who["label"] == "till 9" for act in acts)
    assert (acts[3].order_ref, acts[3].until) == ("P-1", march(3) + 15 * MINUTE)
    assert (acts[6].store_id, acts[6].channel, acts[6].discount) == ("s2", "cashier", 1000)
    assert [(act.discount, act.returned, act.reason) for act in (acts[5], acts[7])] == [
        (1000, True, "goods returned"),
        (1000, False, "goods returned"),
    ]
    voided, _ = await feeds.coupon_history(mall.books, mall.id, other)
    assert [(act.type, act.reason) for act in voided] == [("claimed", ""), ("voided", "mistake")]
    assert (await feeds.coupon_history(mall.books, "another", coupon))[0] == []


async def test_history_says_until_when_it_is_complete(mall: Mall) -> None:
    await mall.drain()
    async with mall.books.begin() as conn:
        await conn.execute(
            update(schema.cells).where(schema.cells.c.tenant == mall.id).values(complete_ms=77)
        )

    assert await feeds.complete_until(mall.books, mall.id) == 77
    assert await feeds.complete_until(mall.books, "another") is None


async def test_goods_of_another_coupon_are_not_in_its_history(mall: Mall) -> None:
    for name, category in (("food", "food"), ("toys", "toys")):
        await mall.campaign(name, TEN, usage={"include": {"skus": [category]}})
    food, toys = await mall.claim("u1", "food"), await mall.claim("u1", "toys")
    answer = await mall.engine.redeem(
        handle=food[1 : 1 + keys.HANDLE_LENGTH],
        coupons=[(food, 0, False), (toys, 0, False)],
        store_id="s1",
        key="k",
        who="{}",
        amount=9000,
        lines=[Line("a", 4000, 1, "food", ""), Line("b", 5000, 1, "toys", "")],
        now=march(2),
    )
    assert answer.value is not None, answer
    await mall.reverse(answer.value.id, march(3), [("b", 5000)])
    await mall.drain()

    acts, _ = await feeds.coupon_history(mall.books, mall.id, food)

    assert [act.type for act in acts] == ["claimed", "redeemed"]


async def test_a_redemption_from_the_books_is_the_one_in_redis(mall: Mall) -> None:
    await mall.campaign("ten", TEN)
    await mall.campaign("cake", {"type": "exchange", "item": "cake", "value": 1800})
    ten, cake = await mall.claim("u1", "ten"), await mall.claim("u1", "cake")
    basket = [("a", 3000), ("b", 6001)]
    redeemed = await mall.redeem([cake, ten], "s1", basket, march(2), order_ref="P-7",
                                 terminal_id="t9", staff_id="08", channel="cashier")  # fmt: skip
    await mall.reverse(redeemed, march(3), [("a", 3000)])
    await mall.reverse(redeemed, march(4), [("b", 1)])
    await mall.campaign("much", TEN, usage={"min_spend": 9000})
    both = [await mall.claim("u2", "ten"), await mall.claim("u2", "much")]
    held = await mall.redeem(both, "s1", 5000, march(5), hold_seconds=60, best_effort=True)
    await mall.drain()

    for redemption in (redeemed, held):
        live = await mall.engine.redemption(redemption)
        found = await feeds.redemption_from_books(mall.books, mall.id, redemption)
        assert live is not None
        assert found is not None
        assert _comparable(found) == _comparable(live)
    assert await feeds.redemption_from_books(mall.books, mall.id, "R" + 27 * "0") is None
    assert await feeds.redemption_from_books(mall.books, "another", redeemed) is None


def _comparable(found: Redemption) -> object:
    """All but what the books do not keep: fingerprints, keys of acts, shares gone back by line."""
    record = msgspec.to_builtins(found.record)
    for coupon in record[14]:
        coupon[6] = [share[:2] for share in coupon[6]]
    for reversal in record[17]:
        reversal[1] = reversal[3] = ""  # the books name the store of the redemption
    record[3], record[16] = "", []
    return found.id, found.handle, record


async def test_redemptions_by_what_is_known(mall: Mall) -> None:
    await mall.campaign("ten", TEN, issue={"per_user": None})
    coupon = await mall.claim("u1", "ten")
    first = await mall.redeem([coupon], "s1", 5000, march(2), order_ref="P-1", terminal_id="t1")
    await mall.reverse(first, march(2) + 1)
    again = await mall.redeem([coupon], "s1", 5000, march(3), order_ref="P-2", terminal_id="t2")
    third = await mall.use("u2", "ten", "s3", 5000, march(4), order_ref="P-1", terminal_id="t1")
    await mall.drain()

    async def found(**wanted: object) -> list[str]:
        page, cursor = await feeds.find_redemptions(
            mall.books,
            mall.id,
            RedemptionFilter(**wanted),  # type: ignore[arg-type]
        )
        assert cursor is None
        return [one.id for one in page]

    assert await found() == [third, again, first]  # the newest first
    assert await found(order_ref="P-1") == [third, first]
    assert await found(order_ref="P-1", store_id="s1") == [first]
    assert await found(terminal_id="t2") == [again]
    assert await found(coupon_id=coupon) == [again, first]
    assert await found(user_id="u2") == [third]
    assert await found(start_ms=march(3)) == [third, again]
    assert await found(start_ms=march(2), end_ms=march(3)) == [first]
    assert await found(order_ref="nothing") == []


async def test_pages_of_redemptions(mall: Mall) -> None:
    await mall.campaign("ten", TEN, issue={"per_user": None})
    made = [await mall.use("u1", "ten", "s1", 5000, march(2) + n // 2) for n in range(5)]
    await mall.drain()

    seen: list[str] = []
    cursor: str | None = None
    while True:
        page, cursor = await feeds.find_redemptions(
            mall.books, mall.id, RedemptionFilter(), cursor=cursor, limit=2
        )
        seen += [one.id for one in page]
        if cursor is None:
            break

    assert sorted(seen) == sorted(made)
    assert len(seen) == 5


async def test_a_made_up_cursor_is_refused(mall: Mall) -> None:
    for cursor in ("x", "1.", "-1.R", "1.R1", "²." + "R" + 27 * "0"):
        with pytest.raises(InvalidRequest, match="cursor"):
            await feeds.find_redemptions(mall.books, mall.id, RedemptionFilter(), cursor=cursor)
