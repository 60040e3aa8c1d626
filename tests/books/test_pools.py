"""Codes of third parties between the books and the cells: cut off anywhere, each is there once."""

from __future__ import annotations

import pytest

from engine import keys
from engine.books import pools
from engine.reconcile import reconcile
from tests.books.mall import MARCH, open_mall

AMOUNT = {"type": "amount_off", "amount": 100}


async def test_what_a_crash_left_in_the_books_comes_to_the_cells_once(
    redis_url: str, books_url: str, tenant: str
) -> None:
    async with open_mall(redis_url, books_url, tenant, cells=3) as mall:
        await mall.campaign("film", AMOUNT, stock={"total": 99})
        marked = await pools.mark(mall.books, tenant, mall.by(), "film")
        assert marked.ok
        await mall.control.publish_campaign("film")
        first = {f"a{n}": n for n in range(7)}
        assert await pools.add_codes(mall.books, tenant, 3, "film", "u1", first) == set(first)
        # Cut off here; the same file again, and then another with some of the same codes.
        assert await pools.add_codes(mall.books, tenant, 3, "film", "u1", first) == set(first)
        second = {"a1": 1, "b1": 2, "a2": 3, "b2": 4}
        assert await pools.add_codes(mall.books, tenant, 3, "film", "u2", second) == {"b1", "b2"}

        waiting = await pools.waiting(mall.books, tenant)
        await mall.control.load_codes()
        # A second process had read the same batches before they were there.
        for batch in waiting:
            await mall.control._write(
                batch.cell, "pool", "film", batch.number, "{}", 0, *batch.codes
            )
        assert await mall.control.load_codes() == 0
        lists = [
            await mall.redis.lrange(keys.pool_key(tag, "film"), 0, -1) for tag in mall.engine.tags
        ]
        assert [len(one) for one in lists] == [3, 3, 3]  # as even as can be
        assert {code.decode() for one in lists for code in one} == {*first, "b1", "b2"}
        for n in range(3):
            await mall.claim(f"u{n}", "film", MARCH)
        await mall.drain()
        assert await pools.counts(mall.books, tenant, "film") == (9, 3)
        report = await reconcile(mall.books, mall.redis, tenant, wait_seconds=0)
        assert report.differences == []


@pytest.mark.parametrize("harm", ["lost", "twice", "foreign", "swapped"])
async def test_a_code_that_is_not_where_it_should_be_is_named(
    redis_url: str, books_url: str, tenant: str, harm: str
) -> None:
    async with open_mall(redis_url, books_url, tenant) as mall:
        await mall.campaign("film", AMOUNT, stock={"pool": True})
        await pools.mark(mall.books, tenant, mall.by(), "film")
        await pools.add_codes(mall.books, tenant, 1, "film", "u", {f"a{n}": n for n in range(5)})
        await mall.control.load_codes()
        await mall.claim("u1", "film", MARCH)
        await mall.claim("u2", "film", MARCH)
        await mall.drain()
        tag = mall.engine.tags[0]
        key = keys.pool_key(tag, "film")
        if harm == "lost":
            await mall.redis.lpop(key)
        elif harm == "twice":
            await mall.redis.lset(key, 0, "a4")
        elif harm == "foreign":
            await mall.redis.lset(key, 0, "zz")
        else:
            for user in ("u1", "u2"):
                handle = mall.engine.handle_of(user)
                wallet = keys.wallet_key(tag, handle)
                for name, packed in (await mall.redis.hgetall(wallet)).items():
                    if name.startswith(b"C"):
                        other = packed.replace(b'"a0"', b'"a1"')
                        await mall.redis.hset(wallet, name, other)
        report = await reconcile(mall.books, mall.redis, tenant, wait_seconds=0)
        assert {one.what for one in report.differences} & {"code", "codes"}
