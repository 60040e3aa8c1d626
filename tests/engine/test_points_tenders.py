"""Points at the till at random: held, paid, paid in part, lapsed, given back."""

from __future__ import annotations

import asyncio
import os
import random
from collections import Counter
from typing import Any

import msgspec
from sqlalchemy import func, select

from engine import keys, lots
from engine.books.schema import points_entries, postings
from engine.records import Line, PointsRecord
from engine.views import Redemption
from tests.engine.harness import WHO, Running, reconciled
from tests.unit.rules_language import ms

LONG = os.environ.get("HEXIAO_LONG") == "1"
PEOPLE, STEPS = 120, 60 if LONG else 14
HOUR = 3_600_000
PER_YUAN = 7  # does not divide a fen: every rounding shows


class Shopper:
    """A person who earns, holds, pays and returns."""

    def __init__(self, mall: Running, number: int) -> None:
        self.mall, self.name = mall, f"u{number}"
        self.handle = mall.engine.handle_of(self.name)
        self.dice = random.Random(number)
        self.held: list[Redemption] = []
        self.paid: list[Redemption] = []
        self.outcomes: Counter[str] = Counter()

    async def act(self, step: int, now: int) -> None:
        act: Any = self.dice.choice(
            [self.earn, self.pay, self.pay, self.commit, self.release, self.reverse, self.claw]
        )
        told: dict[str, Any] = {"key": f"k{step}", "who": WHO, "now": now}
        answer = await act(told)
        if answer is not None:
            self.outcomes[f"{act.__name__} {answer.outcome.name}"] += 1

    async def earn(self, told: dict[str, Any]) -> Any:
        expires = told["now"] + HOUR * self.dice.choice([1, 3, 8])
        return await self.mall.engine.points.credit(
            user_id=self.name,
            kind="earn",
            points=self.dice.randint(1, 200),
            expires=expires,
            **told,
        )

    async def pay(self, told: dict[str, Any]) -> Any:
        hold = self.dice.choice([0, 0, 1800, 7200])
        prices = [self.dice.randint(1, 900), self.dice.randint(0, 400)]
        answer = await self.mall.engine.redeem(
            handle=self.handle, coupons=[], store_id="s1", amount=sum(prices),
            lines=[Line(str(n), price, 1, "", "") for n, price in enumerate(prices, 1)],
            order_ref=self.dice.choice(["a", "b", "c"]), hold_seconds=hold,
            points=self.dice.choice([-1, -1, 5, 60]), **told,
        )  # fmt: skip
        if answer.value:
            (self.held if hold else self.paid).append(answer.value)
        return answer

    async def commit(self, told: dict[str, Any]) -> Any:
        if not self.held:
            return None
        held = self.held.pop()
        less = sum(tender.amount for tender in held.record.tenders) // 2
        answer = await self.mall.engine.commit(
            redemption_id=held.id, amount=self.dice.choice([None, less, 0]), **told
        )
        if answer.value:
            self.paid.append(answer.value)
        return answer

    async def release(self, told: dict[str, Any]) -> Any:
        if not self.held:
            return None
        return await self.mall.engine.release(redemption_id=self.held.pop().id, **told)

    async def reverse(self, told: dict[str, Any]) -> Any:
        if not self.paid:
            return None
        paid = self.dice.choice(self.paid)
        lines = self.dice.choice([None, [("1", self.dice.randint(1, 300))]])
        return await self.mall.engine.reverse(
            redemption_id=paid.id, reason="back", lines=lines, **told
        )

    async def claw(self, told: dict[str, Any]) -> Any:
        return await self.mall.engine.points.credit(
            user_id=self.name, kind="spend", points=-self.dice.randint(1, 30), **told
        )


async def test_points_at_the_till_keep_the_law(small_mall: Running, redis_url: str) -> None:
    mall, now = small_mall, ms("2026-02-06 07:30")
    await mall.store("s1")
    await mall.settings(points_per_yuan=PER_YUAN, points_max_percent=90)
    people = [Shopper(mall, n) for n in range(PEOPLE)]
    # Somebody unknown has no wallet to pay from.
    await asyncio.gather(*(p.earn({"key": "k", "who": WHO, "now": now}) for p in people))
    dice = random.Random(11)
    for step in range(STEPS):
        await asyncio.gather(*(person.act(step, now) for person in people))
        now += dice.choice([0, HOUR // 3, HOUR, 3 * HOUR])
    await reconciled(mall.books, redis_url, mall.id)
    seen = sum((person.outcomes for person in people), Counter())
    assert all(seen[f"{verb} DONE"] > 5 for verb in ("pay", "commit", "release", "reverse")), seen
    balances = await live(mall, people)
    c, p = points_entries.c, postings.c
    changed = select(func.sum(c.value)).where(c.tenant == mall.id)
    query = select(c.user_id, func.sum(c.points)).where(c.tenant == mall.id).group_by(c.user_id)
    owed = select(func.sum(p.amount)).where(p.tenant == mall.id, p.account == "points.liability")
    async with mall.books.connect() as connection:
        told = {user: int(total) for user, total in await connection.execute(query)}
        assert told == balances
        assert any(balances.values())
        worth = sum(lots.worth(balance, PER_YUAN) for balance in balances.values())
        assert await connection.scalar(owed) == -worth
        assert await connection.scalar(changed) == worth


async def live(mall: Running, people: list[Shopper]) -> dict[str, int]:
    """Balances as they lie in Redis; none is below nothing, no lot is empty."""
    found = {}
    for person in people:
        wallet = await mall.hash_of(keys.wallet_key(mall.engine.tags[0], person.handle))
        record = msgspec.msgpack.decode(wallet[b"p"], type=PointsRecord)
        assert record.debt == 0
        assert all(lot.points > 0 for lot in record.lots)
        found[person.name] = record.balance
    return found
