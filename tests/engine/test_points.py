"""Points: a thousand people at random against a tiny model; parallel spends; purchases."""

from __future__ import annotations

import asyncio
import os
import random
import re
from collections import Counter
from collections.abc import Coroutine
from dataclasses import dataclass, field
from typing import Any

import msgspec
import pytest
from sqlalchemy import func, select

from engine import facts, keys, lots
from engine.books.schema import postings
from engine.outbox import open_client
from engine.outcomes import Outcome
from engine.points import Entry
from engine.reconcile import reconcile
from engine.records import PointsRecord, pack
from engine.views import Answer
from tests.engine.harness import WHO, Running, reconciled
from tests.engine.points_language import Play, examples
from tests.unit.rules_language import ms

LONG = os.environ.get("HEXIAO_LONG") == "1"
PEOPLE = 1000
STEPS = 60 if LONG else 12
HOUR = 3_600_000
POLICIES = ("within_balance", "only_unspent", "allow_negative")


@dataclass
class Lot:
    """What one entry brought and what is left of it."""

    left: int
    available: int
    expires: int


@dataclass
class Made:
    """An entry as the model remembers it: ``from_`` tells from which lots a spend took."""

    id: str
    points: int
    from_: list[tuple[str, int]] = field(default_factory=list)
    reversed: int = 0
    expired: int = 0
    reversal: bool = False


class Person:
    """The model: lots in a dict, rules in the plainest words."""

    def __init__(self, name: str, seed: int) -> None:
        self.name = name
        self.dice = random.Random(seed)
        self.lots: dict[str, Lot] = {}
        self.made: dict[str, Made] = {}
        self.dates: dict[str, tuple[int, int]] = {}  # of lots, those that are gone included
        self.debt = 0
        self.sum = 0

    def clock(self, now: int) -> None:
        for name, lot in list(self.lots.items()):
            if lot.expires and now >= lot.expires:
                self.made[name].expired += lot.left
                self.sum -= lot.left
                del self.lots[name]

    def order(self) -> list[str]:
        return sorted(
            self.lots, key=lambda n: (self.lots[n].expires or 1 << 60, self.lots[n].available)
        )

    def put_in(self, name: str, points: int, available: int, expires: int) -> None:
        """Into a lot; what is owed is repaid out of all lots in their order."""
        self.dates[name] = available, expires
        lot = self.lots.setdefault(name, Lot(0, available, expires))
        lot.left += points
        self.sum += points

    def repay(self) -> None:
        for name in self.order():
            paid = min(self.debt, self.lots[name].left)
            self.debt -= paid
            self.lots[name].left -= paid
            if not self.lots[name].left:
                del self.lots[name]

    def draw(self, points: int, names: list[str]) -> list[tuple[str, int]]:
        taken = []
        for name in names:
            part = min(points, self.lots[name].left)
            if part:
                taken.append((name, part))
                points -= part
                self.lots[name].left -= part
                self.sum -= part
            if not self.lots[name].left:
                del self.lots[name]
        return taken

    def usable(self, now: int) -> list[str]:
        return [name for name in self.order() if now >= self.lots[name].available]


async def act(mall: Running, person: Person, step: int, now: int) -> None:
    """One random act, by the engine and by the model; their answers must agree."""
    dice = person.dice
    person.clock(now)
    choice = dice.random()
    targets = list(person.made)
    if choice < 0.35 or not targets:
        await credit(mall, person, step, now, "earn", dice.randint(1, 100))
    elif choice < 0.6:
        await credit(mall, person, step, now, "spend", -dice.randint(1, 90))
    elif choice < 0.7:
        await credit(mall, person, step, now, "adjust", dice.choice([-30, -5, 5, 30]))
    else:
        await reverse(mall, person, step, now, person.made[dice.choice(targets)])


async def credit(
    mall: Running, person: Person, step: int, now: int, kind: str, points: int
) -> None:
    dice = person.dice
    available = now + HOUR * dice.choice([0, 0, 2]) if points > 0 else 0
    expires = available + HOUR * dice.choice([1, 3, 9]) if points > 0 and dice.random() < 0.7 else 0
    answer = await mall.engine.points.credit(
        user_id=person.name, kind=kind, points=points, key=f"k{step}", who=WHO, now=now,
        available=available, expires=expires,
    )  # fmt: skip
    if points > 0:
        made = accepted(person, answer, points)
        person.put_in(made.id, points, available, expires)
        person.repay()
    else:
        usable = person.usable(now)
        have = sum(person.lots[name].left for name in usable)
        if have < -points:
            assert answer.outcome is Outcome.POINTS_INSUFFICIENT
            assert answer.details == {"short_by": -points - have}
            return
        accepted(person, answer, points).from_ = person.draw(-points, usable)
    assert answer.value
    assert answer.value.record.balance == person.sum


def accepted(person: Person, answer: Answer[Entry], points: int) -> Made:
    assert answer.outcome is Outcome.DONE
    assert answer.value
    made = person.made[answer.value.id] = Made(answer.value.id, points)
    return made


async def reverse(mall: Running, person: Person, step: int, now: int, made: Made) -> None:
    dice = person.dice
    policy, asked = dice.choice(POLICIES), dice.choice([-1, -1, 1, 20])
    gone = dict(person.lots)
    answer = await mall.engine.points.reverse(
        entry_id=made.id, key=f"k{step}", who=WHO, points=asked, policy=policy, now=now
    )
    rest = max(0, abs(made.points) - made.reversed - made.expired)
    if made.reversal:
        assert answer.outcome is Outcome.NOTHING_TO_REVERSE
        return
    if made.reversed == abs(made.points):
        assert answer.outcome is Outcome.ALREADY_REVERSED
        return
    if not rest or asked > rest:
        expected = Outcome.MORE_THAN_REDEEMED if rest else Outcome.NOTHING_TO_REVERSE
        assert answer.outcome is expected
        return
    own = gone[made.id].left if made.id in gone else 0
    most = rest
    if made.points > 0 and policy == "within_balance":
        most = min(rest, sum(lot.left for lot in gone.values()))
    if made.points > 0 and policy == "only_unspent":
        most = min(rest, own)
    wanted = asked if asked > 0 else most
    if wanted > most or not wanted:
        assert answer.outcome is Outcome.POINTS_INSUFFICIENT
        return
    if made.points > 0:
        accepted(person, answer, -wanted).reversal = True
        first = [made.id] if own else []
        taken = person.draw(wanted, first)
        left = wanted - sum(part for _, part in taken)
        left -= sum(part for _, part in person.draw(left, person.order()))
        person.debt += left
        person.sum -= left
    else:
        accepted(person, answer, wanted).reversal = True
        back = wanted
        for name, part in reversed(list(made.from_)):
            share = min(back, part)
            back -= share
            at = made.from_.index((name, part))
            made.from_[at : at + 1] = [(name, part - share)] if part > share else []
            if share:
                person.put_in(name, share, *person.dates[name])
        person.repay()
    made.reversed += wanted
    assert answer.value
    assert answer.value.record.balance == person.sum


@pytest.mark.slow
async def test_a_thousand_people_against_a_model(small_mall: Running, redis_url: str) -> None:
    mall, now = small_mall, ms("2026-02-06 07:30")
    people = [Person(f"u{n}", n) for n in range(PEOPLE)]
    dice = random.Random(7)
    for step in range(STEPS):
        await asyncio.gather(*(act(mall, person, step, now) for person in people))
        now += dice.choice([0, HOUR // 2, HOUR, 4 * HOUR])
    told: Counter[str] = Counter()
    for fact in (await mall.facts())[0]:
        if isinstance(fact, facts.PointsChanged):
            told[fact.user_id] += fact.points
        elif isinstance(fact, facts.PointsExpired):
            told[fact.user_id] -= fact.points
        else:
            continue
        assert fact.balance == told[fact.user_id]
    decode = msgspec.msgpack.Decoder(PointsRecord).decode
    for person in people:
        handle = mall.engine.handle_of(person.name)
        stored = (await mall.hash_of(keys.wallet_key(mall.engine.tags[0], handle))).get(b"p")
        record = decode(stored) if stored else PointsRecord()
        assert record.balance == told[person.name]
        assert record.balance == sum(lot.points for lot in record.lots) - record.debt
        person.clock(now)
        purse = (await mall.engine.points.purse(person.name, now=now)).record
        assert purse.balance == person.sum
        assert purse.debt == person.debt
        assert lots.available(purse, now) + lots.pending(purse, now) == sum(
            lot.left for lot in person.lots.values()
        )
        assert (purse.balance < 0) == (person.debt > 0)
    await mall.check_facts()
    await reconciled(mall.books, redis_url, mall.id)
    owed = select(func.sum(postings.c.amount)).where(
        postings.c.tenant == mall.id, postings.c.account == "points.liability"
    )
    async with mall.books.connect() as connection:
        assert await connection.scalar(owed) == -sum(lots.worth(told[p.name], 100) for p in people)
    assert any(person.debt for person in people)  # else nothing was tried


async def test_parallel_spends_never_overspend(mall: Running) -> None:
    points = mall.engine.points
    await points.credit(user_id="u", kind="earn", points=100, key="e", who=WHO)
    answers = await asyncio.gather(
        *(
            points.credit(user_id="u", kind="spend", points=-7, key=f"s{n}", who=WHO)
            for n in range(40)
        )
    )
    assert Counter(answer.outcome for answer in answers) == {
        Outcome.DONE: 14, Outcome.POINTS_INSUFFICIENT: 26,
    }  # fmt: skip
    assert (await points.purse("u")).record.balance == 2


async def test_a_transaction_is_one_persons(mall: Running) -> None:
    """Whoever is told first, on whatever cells the people and the transaction live."""
    await mall.store("s1")
    await mall.settings(earn={"per_yuan": 1})

    def buy(number: int, user: str) -> Coroutine[Any, Any, Answer[Any]]:
        return mall.engine.points.purchase(
            transaction_id=f"t{number}", user_id=user, store_id="s1", amount=100, occurred=1,
            key=f"t{number}", who=WHO,
        )  # fmt: skip

    numbers = range(20)
    answers = await asyncio.gather(*(buy(n, user) for n in numbers for user in ("ann", "bob")))
    for n in numbers:
        told = {answers[2 * n].outcome, answers[2 * n + 1].outcome}
        assert told == {Outcome.DONE, Outcome.ALREADY_EXISTS}
        found = await mall.engine.points.purchase_of(f"t{n}")
        assert found
        assert found.points == 1
    purses = [await mall.engine.points.purse(user) for user in ("ann", "bob")]
    assert sum(purse.record.balance for purse in purses) == 20


async def test_a_key_used_at_once_is_of_one_notice(mall: Running) -> None:
    """Neither had been noted when they were looked at: the person's cell decides."""
    await mall.store("s1")
    told: dict[str, Any] = {"user_id": "ann", "amount": 100, "key": "k", "who": WHO}
    points = mall.engine.points
    notices: list[Coroutine[Any, Any, Answer[Any]]] = []
    for n in range(4):
        notices.append(points.purchase(transaction_id=f"t{n}", store_id="s1", occurred=1, **told))
        notices.append(points.refund(transaction_id=f"t{n}", refund_id="f", **told))
    outcomes = Counter(answer.outcome for answer in await asyncio.gather(*notices))
    assert outcomes == {Outcome.DONE: 1, Outcome.IDEMPOTENCY_KEY_REUSED: 7}


async def test_a_purchase_that_redis_forgot_is_named(small_mall: Running, redis_url: str) -> None:
    mall = small_mall
    await mall.store("s1")
    for n in range(3):
        bought = await mall.engine.points.purchase(
            transaction_id=f"t{n}", user_id="ann", store_id="s1", amount=100, occurred=1,
            key=f"t{n}", who=WHO,
        )  # fmt: skip
        assert bought.ok
    await reconciled(mall.books, redis_url, mall.id)
    handle = mall.engine.handle_of("ann")
    serial = mall.engine.points.purchase_serial(handle, "t1")
    client = await open_client(redis_url)
    await client.delete(keys.purchase_key(mall.engine.tag_of(handle), handle, serial))
    report = await reconcile(mall.books, client, mall.id)
    await client.aclose()
    assert [(one.what, one.where) for one in report.differences] == [("purchase", "t1")]


async def test_the_sweeper_tells_what_the_clock_has_decided(
    small_mall: Running, redis_url: str
) -> None:
    """And a purse of very many lots stays small, without losing a point or a day."""
    mall, points = small_mall, small_mall.engine.points
    start, many = mall.server.clock() - HOUR, 450
    await asyncio.gather(
        *(
            points.credit(
                user_id="ann", kind="earn", points=1, key=f"k{n}", who=WHO, now=start,
                expires=start + (HOUR // 2 if n < 60 else HOUR + 60_000 * (1 + n)),
            )
            for n in range(many)
        )
    )  # fmt: skip
    handle = mall.engine.handle_of("ann")
    wallet = await mall.hash_of(keys.wallet_key(mall.engine.tags[0], handle))
    record = msgspec.msgpack.decode(wallet[b"p"], type=PointsRecord)
    assert (record.balance, len(record.lots)) == (many, 400)
    assert await mall.control.sweep(mall.engine) == 1
    assert await mall.control.sweep(mall.engine) == 0
    last = (await mall.facts())[0][-1]
    assert isinstance(last, facts.PointsExpired)
    assert (await points.purse("ann")).record.balance == last.balance < many
    await reconciled(mall.books, redis_url, mall.id)
    stored = pack(msgspec.structs.replace(record, balance=7))
    await mall.server._reading.hset(keys.wallet_key(mall.engine.tags[0], handle), "p", stored)
    with pytest.raises(AssertionError, match="balance 7"):
        await reconciled(mall.books, redis_url, mall.id)


async def test_the_worked_examples(small_mall: Running, redis_url: str) -> None:
    """docs/RULES.md: each block by people of its own, the books compared in the end."""
    assert len(examples()) >= 10
    for store in ("s1", "s2"):
        await small_mall.store(store)
    for number, block in examples():
        await small_mall.settings(earn=None)
        came, written = await Play(small_mall).run(named(block, number))
        assert came == written, f"docs/RULES.md line {number}"
    await reconciled(small_mall.books, redis_url, small_mall.id)


def named(block: str, number: int) -> str:
    """With people and transactions that no other block has."""
    return re.sub(r"\b(ann|bob|t\d)\b", rf"\1-{number}", block)
