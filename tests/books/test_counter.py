"""What a till took on a local day, and its own list against the books."""

from __future__ import annotations

from datetime import date

from engine.books import counter
from engine.books.counter import TillLine
from tests.books.mall import MINUTE, Mall, march

TEN = {"type": "amount_off", "amount": 1000}
SECOND = (march(2, 0), march(3, 0))  # the second of March


async def till(mall: Mall, user: str, order: str, at: int, terminal: str = "t1") -> str:
    return await mall.use(user, "ten", "s1", 5000, at, order_ref=order, terminal_id=terminal)


async def test_a_terminals_totals(mall: Mall) -> None:
    """Counted on the local day of the act; a hold counts once committed, a reversal by itself."""
    await mall.campaign("ten", TEN)
    first = await till(mall, "u1", "P-1", march(2, 0))  # midnight is the day's
    await till(mall, "u2", "P-2", march(2, 23.99))
    await till(mall, "u3", "P-3", march(3, 0))  # and the next one's is not
    await till(mall, "u4", "P-4", march(2), terminal="t2")
    coupon = await mall.claim("u5", "ten", march(1))
    held = await mall.redeem([coupon], "s1", 5000, march(1, 23.99), hold_seconds=900,
                             terminal_id="t1")  # fmt: skip
    await mall.finish("commit", held, march(2, 0) + MINUTE)
    coupon = await mall.claim("u6", "ten", march(1))
    await mall.redeem([coupon], "s1", 5000, march(2), hold_seconds=900, terminal_id="t1")
    before = await till(mall, "u7", "P-7", march(1))
    await mall.reverse(before, march(2), [("1", 2500)])
    await mall.reverse(first, march(3))
    await mall.drain()

    totals = await counter.terminal_totals(mall.books, mall.id, "t1", "s1", *SECOND)

    assert totals == {
        "redemptions": 3, "amount": 15000, "discount": 3000, "tendered": 0, "payable": 12000,
        "reversals": 1, "gross": 2500, "discount_back": 500, "refund": 2000,
        "tendered_back": 0, "net_discount": 2500, "net_payable": 10000,
    }  # fmt: skip
    other = await counter.terminal_totals(mall.books, mall.id, "t1", "s2", *SECOND)
    assert set(other.values()) == {0}


async def test_a_tills_list_against_the_books(mall: Mall) -> None:
    """By redemption or by order, whose redemptions are summed; what came back the same day nets."""
    await mall.campaign("ten", TEN)
    await till(mall, "u1", "table-7", march(2))
    await till(mall, "u2", "table-7", march(2))  # two people, one order
    half = await till(mall, "u3", "P-3", march(2))
    await mall.reverse(half, march(2), [("1", 2500)])
    late = await till(mall, "u4", "P-4", march(2))
    await mall.reverse(late, march(3))  # counts on the next day
    gone = await till(mall, "u5", "P-5", march(2))
    await mall.reverse(gone, march(2))  # as if it had never been
    alone = await till(mall, "u6", "", march(2))
    forgotten = await till(mall, "u7", "P-7", march(2))
    await till(mall, "u8", "P-8", march(2), terminal="t2")
    await mall.drain()
    ours = await counter.redeemed_on(mall.books, mall.id, "s1", "t1", *SECOND)

    found = counter.compare(ours, [
        TillLine("table-7", "", 1000), TillLine("table-7", "", 1000),
        TillLine("P-3", half, 500),
        TillLine("P-4", "", 0),
        TillLine("", alone, 1000),
        TillLine("P-99", "", 700), TillLine("P-8", "", 1000),
    ])  # fmt: skip

    def shown(items: list[dict[str, object]]) -> list[tuple[object, ...]]:
        return [(one["order_ref"], one["here"], one["there"]) for one in items]

    assert sorted(shown(found.matched), key=str) == [
        ("P-3", 500, 500), ("table-7", 2000, 2000), (None, 1000, 1000)
    ]  # fmt: skip
    assert shown(found.missing_here) == [("P-99", None, 700), ("P-8", None, 1000)]
    assert shown(found.missing_there) == [("P-7", 1000, None)]
    assert found.missing_there[0]["redemption_ids"] == [forgotten]
    assert shown(found.differs) == [("P-4", 1000, 0)]
    listed = counter.compare(ours, [TillLine("P-5", "", 0)])
    assert shown(listed.matched) == [("P-5", 0, 0)]


def test_a_local_day_is_as_long_as_the_clocks_make_it() -> None:
    start, end = counter.local_day(date(2026, 3, 29), "Europe/Berlin")
    assert (end - start) // 3_600_000 == 23
    assert counter.local_day(date(2026, 3, 2), "Asia/Shanghai") == SECOND
