"""Reconcile: nothing differs after any acts, and everything that is made to differ is named."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
import pytest
from redis.asyncio import Redis
from sqlalchemy import Table, delete, insert

from engine import keys
from engine.books import schema
from engine.reconcile import Report, reconcile
from engine.records import CouponRecord, RedemptionRecord, RedemptionState, pack
from tests.books.mall import MINUTE, Mall, march, open_mall
from tests.servers import Cluster

TEN = {"type": "amount_off", "amount": 1000}


async def checked(mall: Mall, wait_seconds: float = 0) -> Report:
    return await reconcile(mall.books, mall.redis, mall.id, wait_seconds=wait_seconds)


def named(report: Report) -> set[str]:
    return {difference.what for difference in report.differences}


async def filled(mall: Mall) -> dict[str, str]:
    """One of everything: the ids of coupons and redemptions by what became of them."""
    await mall.campaign("ten", TEN, issue={"per_user": 3, "audiences": None})
    await mall.campaign("free", TEN, stock={"total": None}, issue={"per_user_per_day": 2})
    await mall.campaign("cake", {"type": "exchange", "item": "cake", "value": 1800})
    engine = mall.engine
    await engine.set_profile(user_id="u1", who="{}", tier="gold", tier_until=march(90),
                             now=march(1))  # fmt: skip
    await engine.set_members(audience_id="vip", add=["u1", "u2", "u9"], remove=[], who="{}",
                             now=march(1))  # fmt: skip
    await engine.set_members(audience_id="vip", add=[], remove=["u2"], who="{}", now=march(1))
    ids = {
        "issued": await mall.claim("u1", "ten", march(1), source={"entry": "banner"},
                                   metadata={"n": 1}),
        "redeemed": await mall.claim("u1", "ten", march(1)),
        "voided": await mall.claim("u2", "ten", march(1)),
        "held": await mall.claim("u2", "free", march(1)),
        "returned": await mall.claim("u3", "cake", march(1)),
        "kept": await mall.claim("u4", "ten", march(1)),
        "lapsed": await mall.claim("u5", "ten", march(1)),
    }  # fmt: skip
    basket = [("a", 4000), ("b", 5000)]
    ids["redemption"] = await mall.redeem([ids["redeemed"]], "s1", basket, march(2))
    await mall.reverse(ids["redemption"], march(3), [("a", 4000)])
    await mall.void(ids["voided"], march(2))
    ids["hold"] = await mall.redeem([ids["held"]], "s2", 7000, march(4), hold_seconds=7200,
                                    order_ref="P-1")  # fmt: skip
    whole = await mall.redeem([ids["returned"]], "s3", 0, march(2))
    await mall.reverse(whole, march(3))
    kept = await mall.redeem([ids["kept"]], "s4", 3000, march(2))
    await mall.reverse(kept, march(3), restore=False)
    await mall.redeem([ids["lapsed"]], "s1", 3000, march(2), hold_seconds=60, order_ref="P-2")
    await mall.redeem([ids["lapsed"]], "s1", 3000, march(3), order_ref="P-3")
    await mall.drain()
    return ids


async def test_nothing_differs_after_acts_of_every_kind(mall: Mall) -> None:
    await filled(mall)

    report = await checked(mall)

    assert report.differences == []
    assert report.ok
    assert report.checked == {
        "wallets": 6,
        "coupons": 7,
        "users": 1,
        "memberships": 2,
        "redemptions": 6,
        "open holds": 2,  # one has lapsed by the clock and nobody has told so
        "campaigns": 3,
        "stores": 4,
        "quotas": 0,
        "books: facts": 3 + 1 + 4 + 7 + 6 + 3 + 1,
        "books: refused_facts": 0,
        "books: numbers": report.checked["books: postings"],
        "books: postings": report.checked["books: postings"],
        "books: entries": 7,
        "books: prepaid": 0,
        "books: fundings": 0,
        "books: adjustments": 0,
        "books: redemptions": 6,
        "books: statements": 0,
    }


async def test_books_behind_are_named_and_waited_for(mall: Mall) -> None:
    await filled(mall)
    await mall.claim("u7", "free", march(5))

    behind = await checked(mall)
    waiting = asyncio.create_task(checked(mall, wait_seconds=20))
    await asyncio.sleep(0.1)
    await mall.drain()

    (difference,) = behind.differences
    assert (difference.what, difference.where) == ("facts", "cell 0")
    assert difference.live != difference.books
    assert (await waiting).ok


Undo = Callable[[], Awaitable[object]]
Damage = Callable[[Mall, dict[str, str]], Awaitable[Undo]]


def sql(table: Table, condition: str, values: dict[str, Any] | None) -> Damage:
    """Change or delete the rows of a table where ``column=id``."""

    async def damage(mall: Mall, ids: dict[str, str]) -> Undo:
        column, _, name = condition.partition("=")
        where = (table.c.tenant == mall.id, table.c[column] == ids.get(name, name))
        before = [dict(row._mapping) for row in await mall.rows(table, where[1])]
        assert before
        async with mall.books.begin() as conn:
            await conn.execute(delete(table).where(*where))
            if values is not None:
                await conn.execute(insert(table), [{**row, **values} for row in before])

        async def undo() -> None:
            primary = [column.name for column in table.primary_key]
            async with mall.books.begin() as conn:
                for row in before:
                    same = [table.c[name] == row[name] for name in primary]
                    await conn.execute(delete(table).where(*same))
                await conn.execute(insert(table), before)

        return undo

    return damage


def redis(command: str, key: str, *arguments: Any) -> Damage:
    """A command on a key of the cell: ``g:ten``, ``holds``, ``w:redeemed`` (that one's wallet)."""

    async def damage(mall: Mall, ids: dict[str, str]) -> Undo:
        prefix, _, name = key.partition(":")
        place = f"w:{ids[name][1:17]}" if prefix == "w" else key
        full = f"{mall.engine.tags[0]}:{place}"
        return await changed(mall, full, lambda: mall.redis.execute_command(
            command, full, *arguments))  # fmt: skip

    return damage


async def changed(mall: Mall, key: str, change: Callable[[], Awaitable[object]]) -> Undo:
    """Do ``change`` to a key of Redis; how to undo it."""
    before = await mall.redis.dump(key)
    await change()

    async def undo() -> None:
        await mall.redis.delete(key)
        if before is not None:
            await mall.redis.restore(key, 0, before)

    return undo


def coupon(name: str, **changes: Any) -> Damage:
    """Change a coupon's record in Redis, or delete it."""

    async def damage(mall: Mall, ids: dict[str, str]) -> Undo:
        handle, field = ids[name][1:17], "C" + ids[name][17:]
        key = keys.wallet_key(mall.engine.tag_of(handle), handle)
        record = msgspec.msgpack.decode(await mall.redis.hget(key, field), type=CouponRecord)
        for attribute, value in changes.items():
            setattr(record, attribute, value)
        if changes:
            return await changed(mall, key, lambda: mall.redis.hset(key, field, pack(record)))
        return await changed(mall, key, lambda: mall.redis.hdel(key, field))

    return damage


def redemption(name: str, **changes: Any) -> Damage:
    """Change a redemption's record in Redis, or delete it."""

    async def damage(mall: Mall, ids: dict[str, str]) -> Undo:
        handle, serial = ids[name][1:17], ids[name][17:]
        key = keys.redemption_key(mall.engine.tag_of(handle), handle, serial)
        record = msgspec.msgpack.decode(await mall.redis.get(key), type=RedemptionRecord)
        for attribute, value in changes.items():
            setattr(record, attribute, value)
        if changes:
            return await changed(mall, key, lambda: mall.redis.set(key, pack(record)))
        return await changed(mall, key, lambda: mall.redis.delete(key))

    return damage


DAMAGES: list[tuple[Damage, set[str]]] = [
    (coupon("issued"), {"coupon", "count"}),
    (coupon("issued", state=2), {"coupon"}),
    (coupon("issued", terms_revision=2), {"coupon"}),
    (coupon("issued", valid_until=5), {"coupon"}),
    (coupon("issued", extra='{"source":{"entry":"other"}}'), {"coupon"}),
    (coupon("redeemed", redemption="00000000001"), {"coupon"}),
    (sql(schema.coupons, "id=issued", None), {"coupon", "issued", "left"}),
    (sql(schema.coupons, "id=issued", {"user_id": "u8"}), {"coupon"}),
    (sql(schema.coupons, "id=issued", {"state": "voided"}), {"coupon"}),
    (sql(schema.coupons, "id=redeemed", {"redemption_id": "R1"}), {
        "coupon", "use of a coupon"}),
    (sql(schema.users, "user_id=u1", {"tier": "silver"}), {"user"}),
    (sql(schema.users, "user_id=u1", None), {"user"}),
    (sql(schema.audience_members, "user_id=u9", None), {"audience"}),
    (sql(schema.audience_members, "user_id=u2", {"present": 1}), {"audience"}),
    (redis("DEL", "w:kept"), {"wallet"}),
    (redis("HDEL", "w:issued", "u"), {"wallet"}),
    (redis("HSET", "w:issued", "nten", pack([7])), {"count"}),
    (redis("HSET", "w:issued", "x", 1), {"wallet"}),
    (redis("HDEL", "w:issued", "avip"), {"audience"}),
    (redis("HINCRBY", "g:ten", "left", 1), {"left", "stock law"}),
    (redis("HINCRBY", "g:ten", "issued", -1), {"issued", "stock law"}),
    (redis("DEL", "h:ten"), {"holders"}),
    (redis("HINCRBY", "g:ten", "redeemed", 1), {"redeemed"}),
    (redis("HSET", "g:free", "share", 5), {"share"}),
    (redis("HSET", "g:ten", "version", 7), {"version"}),
    (redis("DEL", "g:cake"), {"campaign"}),
    (redis("HSET", "g:nobody", "issue", "x"), {"campaign"}),
    (redis("HDEL", "cell", "ss1"), {"store"}),
    (redis("SET", "stray", 1), {"unknown key"}),
    (sql(schema.campaigns, "id=ten", {"shares": "[999]"}), {"stock", "share", "left"}),
    (sql(schema.stores, "id=s1", {"merchant_id": "m9"}), {"store"}),
    (redemption("redemption"), {"redemption"}),
    (redemption("redemption", amount=1), {"redemption"}),
    (redemption("redemption", merchant_id="m9"), {"redemption"}),
    (redemption("redemption", state=RedemptionState.REVERSED), {"redemption"}),
    (redemption("redemption", reversals=[]), {"redemption"}),
    (redemption("redemption", coupons=[]), {"redemption"}),
    (redemption("hold", state=RedemptionState.RELEASED), {"redemption", "open hold"}),
    (redis("DEL", "holds"), {"open hold"}),
    (redis("ZADD", "holds", 5, "0" * 27), {"open hold"}),
    (redis("HSET", "w:issued", "hs1/P-9", "0" * 11), {"open hold"}),
    (sql(schema.redemptions, "id=redemption", {"refunded": 1}), {
        "redemption", "redemption equals its entries"}),
    (sql(schema.redemptions, "id=hold", None), {"redemption"}),
    (sql(schema.redemption_coupons, "redemption_id=hold", {"benefit": "gift"}), {"redemption"}),
    (sql(schema.reversals, "redemption_id=redemption", {"gross": 1}), {"redemption"}),
    (sql(schema.postings, "account=mall.subsidy", {"amount": 1}), {
        "postings of an act sum to zero", "entry equals its postings"}),
]  # fmt: skip


async def test_every_difference_is_named(mall: Mall) -> None:
    ids = await filled(mall)
    wrong = []
    for number, (damage, what) in enumerate(DAMAGES):
        undo = await damage(mall, ids)
        report = await checked(mall)
        if named(report) != what:
            wrong.append((number, what, report.differences))
        await undo()

    assert not wrong, "\n".join(map(str, wrong))
    assert (await checked(mall)).ok


async def ordered(mall: Mall) -> dict[str, str]:
    """Orders of every kind: open, paid, one coupon of it used, one refunded, one refund failed."""
    await mall.campaign("sold", TEN, issue={"price": 700, "per_user": 9})
    orders, ids = mall.engine.orders, {}
    for name, number in (("open", 2), ("paid", 3), ("gone", 1)):
        made = await orders.place(user_id="u1", items=[("sold", number)], channel="app",
                                  key=mall.key(), who="{}", now=march(1))  # fmt: skip
        assert made.value
        ids[name] = made.value.id
    paid = await orders.pay(order_id=ids["paid"], payment_ref="p1", paid_amount=2100,
                            key=mall.key(), who="{}", now=march(1))  # fmt: skip
    assert paid.value
    handle, _ = paid.value.place
    used, back, kept = (f"C{handle}{serial}" for serial in paid.value.record.coupons)
    await orders.cancel(order_id=ids["gone"], key=mall.key(), who="{}", now=march(1))
    await mall.redeem([used], "s1", 300, march(2))  # 3.00 off: 4.00 of its price came to nothing
    for coupon_id in (back, kept):
        await orders.refund(coupon_id=coupon_id, reason="r", refund_ref="b", key=mall.key(),
                            who="{}", now=march(2))  # fmt: skip
    await orders.refund_failed(coupon_id=kept, refund_ref="b", key=mall.key(), who="{}",
                               now=march(2))  # fmt: skip
    await mall.drain()
    return ids | {"used": used, "back": back, "kept": kept, "wallet": used}


async def test_a_pass_that_was_bought_used_refunded_and_its_use_reversed(mall: Mall) -> None:
    """10.00 for three uses: 3.34, 3.33, 3.33; what is refunded is not handed back by a reversal."""
    await mall.campaign("pass", {"type": "amount_off", "amount": 500}, kind="pass",
                        issue={"price": 1000}, usage={"uses": 3})  # fmt: skip
    orders = mall.engine.orders
    made = await orders.place(user_id="u1", items=[("pass", 2)], channel="app", key=mall.key(),
                              who="{}", now=march(1))  # fmt: skip
    assert made.value
    paid = await orders.pay(order_id=made.value.id, payment_ref="p", paid_amount=2000,
                            key=mall.key(), who="{}", now=march(1))  # fmt: skip
    assert paid.value
    handle, _ = paid.value.place
    one, two = (f"C{handle}{serial}" for serial in paid.value.record.coupons)
    first = await mall.redeem([one], "s1", 4000, march(2))
    again = await mall.redeem([two], "s1", 4000, march(2))
    await mall.redeem([two], "s1", 4000, march(2))
    await mall.reverse(again, march(3))  # its part of the price comes back with the use
    backs = [
        await orders.refund(
            coupon_id=name, reason="r", refund_ref="b", key=mall.key(), who="{}", now=march(4)
        )
        for name in (one, two)
    ]
    assert [back.value.record.amount for back in backs if back.value] == [666, 666]
    await mall.reverse(first, march(5))
    await mall.drain()

    report = await checked(mall)

    assert report.ok, report.differences
    assert report.checked["books: prepaid"] == 2
    wallet = await mall.engine.wallet(handle, now=march(6))
    assert {wallet.view(serial).status for serial in wallet.coupons} == {"refunded"}


ORDER_DAMAGES: tuple[tuple[Damage, set[str]], ...] = (
    (sql(schema.orders, "id=open", {"state": "expired"}),
     {"order", "aside", "left", "count"}),
    (sql(schema.orders, "id=paid", None), {"order"}),
    (sql(schema.orders, "id=paid", {"payment_ref": "x"}), {"order"}),
    (sql(schema.refunds, "coupon_id=back", {"amount": 1}), {"refunds"}),
    (sql(schema.refunds, "coupon_id=kept", {"failed_ms": 0}), {"refunds"}),
    (sql(schema.coupons, "id=kept", {"paid": 699}), {"prepaid"}),
    (sql(schema.coupons, "id=back", {"restocked": 0}), {"issued", "left"}),
    (redis("HINCRBY", "g:sold", "aside", 1), {"aside", "stock law"}),
    (redis("DEL", "orders"), {"open order"}),
    (redis("DEL", "l:sold"), {"open orders"}),
    (redis("HDEL", "w:wallet", "q"), {"open order"}),
)


async def test_what_differs_of_orders_is_named(mall: Mall) -> None:
    ids = await ordered(mall)
    whole = await checked(mall)
    assert whole.ok, whole.differences
    assert (whole.checked["orders"], whole.checked["books: prepaid"]) == (3, 3)
    wrong = []
    for number, (damage, what) in enumerate(ORDER_DAMAGES):
        undo = await damage(mall, ids)
        report = await checked(mall)
        if named(report) != what:
            wrong.append((number, what, report.differences))
        await undo()
    assert not wrong, "\n".join(map(str, wrong))


async def test_limits_are_checked(mall: Mall) -> None:
    await mall.campaign("ten", TEN, issue={"per_user": 3, "per_user_per_day": 2})
    for day in (1, 1, 2):
        await mall.claim("u1", "ten", march(day))
    await mall.drain()
    assert (await checked(mall)).ok
    body = '{"issue": {"per_user": 2, "per_user_per_day": 1, "per_user_per_week": 2}}'
    await sql(schema.campaign_terms, "campaign_id=ten", {"body": body})(mall, {})

    report = await checked(mall)

    # 1 and 2 March 2026 are a Sunday and a Monday: two weeks.
    assert [(d.what, d.live, d.books) for d in report.differences] == [
        ("limit per_user", "3", "at most 2"),
        ("limit per_day", "2", "at most 1"),
    ]


async def test_a_coupon_in_two_redemptions_at_once(mall: Mall) -> None:
    ids = await filled(mall)
    handle = ids["redemption"][1:17]
    tag = mall.engine.tag_of(handle)
    packed = await mall.redis.get(keys.redemption_key(tag, handle, ids["redemption"][17:]))
    await mall.redis.set(keys.redemption_key(tag, handle, "00000000009"), packed)

    report = await checked(mall)

    assert "use of a coupon" in named(report)


async def test_another_tenants_state_is_not_looked_at(mall: Mall, redis_url: str,
                                                      books_url: str) -> None:  # fmt: skip
    await filled(mall)
    async with open_mall(redis_url, books_url, mall.id + "x") as other:
        await filled(other)
        await redis("HINCRBY", "g:ten", "left", 1)(other, {})
        assert not (await checked(other)).ok
        assert (await checked(mall)).ok


async def test_there_is_no_such_tenant(mall: Mall) -> None:
    with pytest.raises(LookupError):
        await reconcile(mall.books, mall.redis, "nobody")


async def random_acts(mall: Mall, seed: int, count: int) -> None:
    """Acts at random, refused ones among them, four at a time."""
    rng = random.Random(seed)
    coupons: list[str] = []
    redeemed: list[str] = []
    held: list[str] = []

    async def act(n: int) -> None:
        at = march(1) + n * MINUTE
        what = rng.choice("ccccrrrhxxvfp")
        user = f"u{rng.randrange(12)}"
        key = mall.key()
        if what == "c":
            claimed = await mall.engine.claim(
                user_id=user,
                campaign_id=rng.choice(["a", "b", "e"]),
                channel="app",
                key=key,
                who="{}",
                now=at,
            )
            coupons.extend([claimed.value.id] if claimed.value else [])
        elif what in "rh" and coupons:
            chosen = rng.choice(coupons)
            mates = [c for c in coupons if c[:17] == chosen[:17]][: rng.randrange(1, 4)]
            basket = [(str(i), rng.randrange(1, 9000)) for i in range(rng.randrange(1, 4))]
            done = await mall.try_redeem(
                mates,
                rng.choice(["s1", "s3"]),
                basket,
                at,
                best_effort=True,
                hold_seconds=900 * (what == "h"),
                order_ref=rng.choice(["", "P-1"]),
            )
            if done.value:
                (held if what == "h" else redeemed).append(done.value.id)
        elif what == "x" and redeemed:
            chosen = rng.choice(redeemed)
            lines = rng.choice([None, [("0", rng.randrange(1, 3000))]])
            await mall.engine.reverse(
                redemption_id=chosen,
                key=key,
                who="{}",
                reason="",
                lines=lines,
                restore=rng.random() < 0.8,
                now=at,
            )
        elif what == "v" and coupons:
            await mall.engine.void(
                coupon_id=rng.choice(coupons), key=key, who="{}", reason="", now=at
            )
        elif what == "f" and held:
            verb = mall.engine.commit if rng.random() < 0.6 else mall.engine.release
            done = await verb(redemption_id=rng.choice(held), key=key, who="{}", now=at)
            redeemed.extend([done.value.id] if done.value else [])
        elif what == "p":
            await mall.engine.set_members(
                audience_id="vip", add=[user], remove=[], who="{}", now=at
            )

    for n in range(0, count, 4):
        await asyncio.gather(*(act(n + i) for i in range(4)))


async def three_campaigns(mall: Mall) -> None:
    await mall.campaign("a", TEN, stock={"total": 60}, funding={"mall": 33.33, "merchant": 66.67},
                        stacking={"per_redemption": 2})  # fmt: skip
    await mall.campaign(
        "b",
        {"type": "percent_off", "percent_off": 12.5},
        issue={"per_user": 3},
        funding=[{"party": "sponsor:x", "percent": 100}],
    )
    await mall.campaign("e", {"type": "exchange", "item": "tea", "value": 700})


@pytest.mark.parametrize("seed", range(2))
async def test_nothing_differs_after_random_acts(mall: Mall, seed: int) -> None:
    await three_campaigns(mall)
    await random_acts(mall, seed, 240)
    await mall.drain()

    report = await checked(mall)

    assert report.differences == []
    assert report.checked["redemptions"] > 20


@pytest.mark.databases("sqlite")
async def test_several_cells_on_a_cluster(
    redis_cluster: Cluster, books_url: str, tenant: str
) -> None:
    async with open_mall(redis_cluster.url, books_url, tenant, cells=5) as mall:
        await three_campaigns(mall)
        await random_acts(mall, 7, 120)
        await mall.drain()

        report = await checked(mall)
        assert report.differences == []
        assert report.checked["wallets"] == 12

        tag = mall.engine.tags[3]
        await mall.redis.hincrby(keys.campaign_key(tag, "a"), "left", 1)
        (await mall.redis.set(f"{tag}:stray", 1))
        assert named(await checked(mall)) == {"left", "stock law", "unknown key"}


async def test_several_cells_on_one_server(redis_url: str, books_url: str, tenant: str) -> None:
    async with open_mall(redis_url, books_url, tenant, cells=3) as mall:
        await three_campaigns(mall)
        await random_acts(mall, 3, 80)
        await mall.drain()
        assert (await checked(mall)).differences == []


async def test_a_system_in_use(mall: Mall) -> None:
    """While acts go on, what moves is looked at again; a true difference stays."""
    ids = await filled(mall)
    await coupon("issued", valid_until=5)(mall, ids)
    stop = asyncio.Event()

    async def busy() -> None:
        n = 0
        while not stop.is_set():
            n += 1
            await mall.claim(f"x{n}", "free", march(40) + n)
            await mall.drain()

    task = asyncio.create_task(busy())
    try:
        report = await checked(mall, wait_seconds=5)
    finally:
        stop.set()
        await task
    assert report.moved
    assert "coupon" in named(report)
    assert named(report) <= {"coupon", "issued", "facts"}, report.differences
    await mall.drain()
    assert named(await checked(mall)) == {"coupon"}


async def test_both_protocols(mall: Mall, redis_url: str) -> None:
    await filled(mall)
    for protocol in (2, 3):
        client: Any = Redis.from_url(redis_url, protocol=protocol)
        async with client:
            report = await reconcile(mall.books, client, mall.id, wait_seconds=0)
            assert report.differences == []


async def test_many_differences_are_counted_not_all_kept(
    mall: Mall, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("engine.reconcile.check.MOST", 3)
    await filled(mall)
    row = {"tenant": mall.id, "cell": 0, "campaign_id": "ten", "terms_revision": 1,
           "state": "issued", "issued_ms": 1, "valid_from_ms": 1, "valid_until_ms": 0,
           "channel": "", "changed_ms": 1, "version": 1}  # fmt: skip
    async with mall.books.begin() as conn:
        rows = [{**row, "id": f"C{n:027d}", "user_id": f"y{n}"} for n in range(9)]
        await conn.execute(insert(schema.coupons), rows)

    report = await checked(mall)

    assert len(report.differences) == 3
    assert report.dropped > 5
    assert not report.ok
