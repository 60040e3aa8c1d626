"""Reports, the postings feed and balances, on acts of a real engine."""

from __future__ import annotations

from typing import Any

from sqlalchemy import delete, insert, text, update

from engine.books import schema
from engine.books.proofs import proofs
from engine.books.reports import attribution, postings, redemptions, stock
from tests.books.mall import HOUR, Mall, march

TEN = {"type": "amount_off", "amount": 1000}


def shown(rows: list[dict[str, Any]], *names: str) -> list[tuple[Any, ...]]:
    return [tuple(row[name] for name in names) for row in rows]


async def filled(mall: Mall) -> None:
    """Three campaigns' worth of acts: two channels, entries and tiers, three stores.

    u1 claims ten by app/banner, redeems at s1          basket 5000
    u2 claims ten by wechat, redeems at s3, reversed whole
    u3 (gold) claims ten by app, keeps it
    u3 claims gift, redeems at s3 with half of the goods back      basket 4000
    u1 claims cake (exchange), redeems at s2, no basket
    """
    await mall.campaign("ten", TEN)
    await mall.campaign("gift", {"type": "percent_off", "percent_off": 50}, stock={"total": None},
                        funding={"merchant": 100})  # fmt: skip
    await mall.campaign("cake", {"type": "exchange", "item": "cake", "value": 1800})
    told = await mall.engine.set_profile(user_id="u3", who="{}", tier="gold", now=march(1))
    assert told.ok
    first = await mall.claim("u1", "ten", march(1), source={"entry": "banner"})
    second = await mall.claim("u2", "ten", march(1), channel="wechat")
    await mall.claim("u3", "ten", march(2))
    gift = await mall.claim("u3", "gift", march(2))
    cake = await mall.claim("u1", "cake", march(2))
    await mall.redeem([first], "s1", 5000, march(3), channel="cashier")
    wrong = await mall.redeem([second], "s3", 3000, march(3, 23.9), channel="cashier")
    half = await mall.redeem([gift], "s3", [("a", 2000), ("b", 2000)], march(4), channel="scan")
    await mall.redeem([cake], "s2", 0, march(5), channel="cashier")
    await mall.reverse(wrong, march(4, 0.1))
    await mall.reverse(half, march(6), [("a", 2000)])
    await mall.drain()


async def test_attribution_by_campaign(mall: Mall) -> None:
    await filled(mall)

    rows = await attribution.attribution(mall.books, mall.id, ["campaign"])

    names = ("campaign", "issued", "redeemed", "redemption_rate", "discount", "sales", "basket")
    assert shown(rows, *names) == [
        ("cake", 1, 1, 1.0, 1800, 0, 0),
        ("gift", 1, 1, 1.0, 1000, 1000, 4000),
        ("ten", 3, 1, 0.3333, 1000, 4000, 5000),
    ]
    assert all(row["baseline_basket"] is row["basket_change"] is None for row in rows)


async def test_attribution_by_what_the_claim_said(mall: Mall) -> None:
    await filled(mall)
    table: list[tuple[list[str], list[tuple[Any, ...]]]] = [
        (["channel"], [("app", 4, 3), ("wechat", 1, 0)]),
        (["entry"], [(None, 4, 2), ("banner", 1, 1)]),
        (["tier"], [(None, 3, 2), ("gold", 2, 1)]),
        # A coupon is not issued for a store: of five issued so many came there.
        (["store"], [("s1", 5, 1), ("s2", 5, 1), ("s3", 5, 1)]),
    ]
    for groups, expected in table:
        rows = await attribution.attribution(mall.books, mall.id, groups)
        assert shown(rows, *groups, "issued", "redeemed") == expected


async def test_attribution_in_a_period_and_of_a_merchant(mall: Mall) -> None:
    await filled(mall)

    both = await attribution.attribution(
        mall.books, mall.id, ["campaign", "store"], march(2, 0), march(4, 0)
    )
    mine = await attribution.attribution(mall.books, mall.id, ["campaign"], merchant_id="m2")

    # Issued from the 2nd on, redeemed on the 3rd; the reversal of the 4th counts against it.
    assert shown(both, "campaign", "store", "issued", "redeemed", "sales") == [
        ("ten", "s1", 1, 1, 4000),
        ("ten", "s3", 1, 0, 0),
    ]
    assert shown(mine, "campaign", "issued", "redeemed", "discount") == [
        ("gift", None, 1, 1000),
        ("ten", None, 0, 0),
    ]


async def test_redemptions_by_local_day(mall: Mall) -> None:
    await filled(mall)

    rows = await redemptions.by_group(mall.books, mall.id, ["day"], "Asia/Shanghai")

    names = ("day", "redemptions", "reversals", "coupons", "sales", "discount",
             "payable_to_merchant")  # fmt: skip
    assert shown(rows, *names) == [
        ("2026-03-03", 2, 0, 2, 6000, 2000, 2000),
        ("2026-03-04", 1, 1, 1, 0, 1000, -1000),
        ("2026-03-05", 1, 0, 1, 0, 1800, 1800),
        ("2026-03-06", 0, 1, 0, -1000, -1000, 0),
    ]
    utc = await redemptions.by_group(mall.books, mall.id, ["day"], "UTC", march(3), march(4, 0.5))
    assert shown(utc, "day", "redemptions", "reversals") == [("2026-03-03", 2, 1)]


async def test_redemptions_by_other_groups(mall: Mall) -> None:
    await filled(mall)

    async def rows(*groups: str, **more: Any) -> list[dict[str, Any]]:
        return await redemptions.by_group(mall.books, mall.id, groups, "Asia/Shanghai", **more)

    assert shown(await rows("channel"), "channel", "redemptions", "reversals") == [
        ("cashier", 3, 1),
        ("scan", 1, 1),
    ]
    assert shown(await rows("merchant", "campaign"), "merchant", "campaign", "discount") == [
        ("m1", "cake", 1800),
        ("m1", "ten", 1000),
        ("m2", "gift", 1000),
        ("m2", "ten", 0),
    ]
    assert shown(await rows("store", merchant_id="m2"), "store", "coupons") == [("s3", 2)]


async def test_stock(mall: Mall) -> None:
    await filled(mall)
    held = await mall.claim("u4", "ten", march(6))
    await mall.redeem([held], "s1", 5000, march(6), hold_seconds=900)
    await mall.void(await mall.claim("u5", "ten", march(6)), march(7))
    await mall.drain()

    rows = await stock.stock(mall.books, mall.id, now=march(7))

    names = ("campaign_id", "total", "issued", "left", "redeemed", "held", "voided")
    assert shown(rows, *names) == [
        ("cake", 1000, 1, 999, 1, 0, 0),
        ("gift", None, 1, None, 1, 0, 0),
        ("ten", 1000, 5, 995, 1, 1, 1),
    ]
    assert await stock.stock(mall.books, mall.id, "gift", march(7)) == [rows[1]]
    # Of the five, one is used and one withdrawn; the lapsed hold's is over with the others.
    rows = await stock.stock(mall.books, mall.id, now=march(400))
    assert shown(rows, "expired", "budget", "spent") == [
        (0, None, 1800), (0, None, 1000), (3, None, 1000)
    ]  # fmt: skip


async def test_postings_come_in_gapless_pages_with_control_totals(mall: Mall) -> None:
    await filled(mall)

    pages, after = [], 0
    while page := await postings.feed(mall.books, mall.id, after, 4):
        control = postings.control(page, after)
        assert control["count"] == len(page) <= 4
        assert control["last"] == page[-1]["n"]
        pages.append(control)
        after = control["last"]
    everything = await postings.feed(mall.books, mall.id, 0, 1000)

    assert [row["n"] for row in everything] == list(range(1, after + 1))
    assert set(everything[0]) == set(postings.COLUMNS)
    debits = sum(page["debits"] for page in pages)
    assert debits == sum(page["credits"] for page in pages) > 0
    assert postings.control([], 7) == {"count": 0, "debits": 0, "credits": 0, "last": 7}
    assert await postings.feed(mall.books, "another", 0, 10) == []


async def test_balances(mall: Mall) -> None:
    await filled(mall)

    rows = await postings.balances(mall.books, mall.id)
    early = await postings.balances(mall.books, mall.id, march(3) + HOUR)
    mine = await postings.balances(mall.books, mall.id, merchant_id="m2")

    assert sum(row["debits"] for row in rows) == sum(row["credits"] for row in rows)
    found = {(row["account"], row["party"]): row["balance"] for row in rows}
    assert found["mall.subsidy", "mall"] == 1000 + 1800
    assert found["merchant.subsidy", "merchant:m2"] == 1000
    assert found["merchant.discount", "merchant:m1"] == -2800
    assert found["customer.paid", "customers"] == 5000
    assert {(row["account"], row["balance"]) for row in early} == {
        ("customer.paid", 4000),
        ("merchant.sales", -4000),
        ("mall.subsidy", 1000),
        ("merchant.discount", -1000),
    }
    assert {row["party"] for row in mine} == {"customers", "merchant:m2", "mall"}


async def test_nothing_yet(mall: Mall) -> None:
    assert await attribution.attribution(mall.books, mall.id, list(attribution.GROUPS)) == []
    assert await redemptions.by_group(mall.books, mall.id, redemptions.GROUPS, "UTC") == []
    assert await stock.stock(mall.books, mall.id) == []
    assert await postings.balances(mall.books, mall.id) == []


async def broken(mall: Mall) -> set[str]:
    return {one.what async for proof in proofs(mall.books, mall.id) for one in proof.broken}


async def test_proofs_of_sound_books(mall: Mall) -> None:
    await filled(mall)

    found = [proof async for proof in proofs(mall.books, mall.id)]

    assert not any(proof.broken for proof in found), found
    checked = {proof.name: proof.checked for proof in found}
    assert checked["entries"] == 6
    assert checked["redemptions"] == 4
    assert checked["facts"] == 3 + 1 + 5 + 4 + 2


DAMAGES: list[tuple[str, str, dict[str, Any] | None, set[str]]] = [
    ("facts", "facts.seq = 3", None, {"facts: gapless"}),
    ("cells", "true", {"seq": 99}, {"facts: last seq"}),
    ("postings", "n = 5", None, {
        "numbered without a gap", "postings of an act sum to zero",
        "entry equals its postings"}),
    ("postings", "n = 1", {"currency": "EUR"}, {"currency of postings"}),
    ("entries", "kind = 'reversal' and campaign_id = 'ten'", None, {
        "postings have an entry", "redemption equals its entries"}),
    ("entries", "campaign_id = 'cake'", {"stored_value": 5}, {"entry equals its postings"}),
    ("redemptions", "store_id = 's1'", {"discount": 999}, {"redemption equals its entries"}),
]  # fmt: skip


async def test_proofs_find_what_is_wrong(mall: Mall) -> None:
    await filled(mall)
    for name, condition, values, what in DAMAGES:
        target = schema.metadata.tables[name]
        mine = target.c.tenant == mall.id
        before = [dict(row._mapping) for row in await mall.rows(target)]
        async with mall.books.begin() as conn:
            if values is None:
                await conn.execute(delete(target).where(mine, text(condition)))
            else:
                await conn.execute(update(target).where(mine, text(condition)).values(**values))

        assert await broken(mall) == what, (name, condition)

        async with mall.books.begin() as conn:
            await conn.execute(delete(target).where(mine))
            await conn.execute(insert(target), before)
    assert await broken(mall) == set()


async def test_a_fact_set_aside_is_named(mall: Mall) -> None:
    await filled(mall)
    row = {"tenant": mall.id, "cell": 0, "epoch": 1, "seq": 2, "entry": "1-2", "raw": b"x",
           "error": "undecodable", "created_ms": 1}  # fmt: skip
    async with mall.books.begin() as conn:
        await conn.execute(schema.refused_facts.insert(), row)

    assert await broken(mall) == {"fact set aside"}
