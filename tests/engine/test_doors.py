"""Doors: who would hear the same as everybody is answered without Redis; nobody else is."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from typing import Any

import pytest

from engine import keys
from engine.doors import Holders
from engine.outcomes import Outcome
from engine.views import Answer, CouponView
from tests.engine.conftest import Place
from tests.engine.harness import WHO, Running, mall_on, reconciled
from tests.unit.rules_language import campaign

STRANGERS = 400


async def script_calls(mall: Running) -> int:
    """EVALSHA calls that the servers have executed."""
    stats = [await mall.server.ask(node, "INFO", "commandstats") for node in mall.server.nodes()]
    return sum(int(one.get("cmdstat_evalsha", {"calls": 0})["calls"]) for one in stats)


async def claim(
    mall: Running, user: str, key: str = "k", name: str = "c", channel: str = "app"
) -> Answer[CouponView]:
    """As the storefront does."""
    here = mall.engine.refused_here(user, name, channel, key)
    if here is not None:
        return here
    return await mall.engine.claim(
        user_id=user, campaign_id=name, channel=channel, key=key, who=WHO
    )


async def outcome(mall: Running, *args: Any, **more: Any) -> Outcome:
    answer: Answer[CouponView] = await claim(mall, *args, **more)
    return answer.outcome


async def shut(mall: Running, name: str = "c") -> Outcome:
    """Knock until every cell's door is shut; what it says."""
    said = {await outcome(mall, f"knock{n}", name=name) for n in range(12 * mall.cells)}
    await mall.engine.doors.drain()
    assert len(said) == 1
    return said.pop()


async def strangers(mall: Running, expected: Outcome, name: str = "c") -> None:
    """Many whom nothing is known of, one after the other: all refused, nearly all without Redis."""
    before = await script_calls(mall)
    for n in range(STRANGERS):
        assert await outcome(mall, f"stranger{n}", name=name) is expected
    # In a quarter of a second a door asks a few times; a few strangers look like holders.
    assert await script_calls(mall) - before < STRANGERS / 4


async def test_sold_out_costs_no_call_and_winners_are_known(mall: Running) -> None:
    """Also to another process, and one that knows nothing yet."""
    await mall.publish(
        campaign("amount_off amount=1", id="c", stock={"total": 30}, issue={"per_user": 1})
    )
    answers = await asyncio.gather(*(claim(mall, f"u{n}") for n in range(200)))
    won = {f"u{n}": a.value.id for n, a in enumerate(answers) if a.value}
    assert len(won) == 30
    other = await mall_on(mall.server, mall.books, mall.id, cells=mall.cells)
    for one in (mall, other):
        assert await shut(one) is Outcome.SOLD_OUT
        await strangers(one, Outcome.SOLD_OUT)
        for user, coupon in won.items():
            again = await claim(one, user)
            assert (again.outcome, again.value and again.value.id) == (Outcome.REPEATED, coupon)
            assert await outcome(one, user, "k2") is Outcome.USER_LIMIT
            assert await outcome(one, user, channel="web") is Outcome.IDEMPOTENCY_KEY_REUSED
    await other.engine.drain()


async def test_who_has_another_answer_gets_it(mall: Running) -> None:
    await mall.publish(
        campaign("amount_off amount=1", id="c", stock={"total": 0}, issue={"channels": ["app"]})
    )
    await mall.publish(campaign("amount_off amount=1", id="d", stock={"total": None}))
    await mall.publish(
        campaign("amount_off amount=1", id="e", stock={"total": 0}, issue={"tiers": ["gold"]})
    )
    for n in range(5):
        await mall.engine.set_profile(user_id=f"bad{n}", who=WHO, frozen=True)
    await mall.engine.set_profile(user_id="rich", who=WHO, tier="gold")
    assert (await claim(mall, "u1", "once", "d")).ok
    assert await shut(mall) is Outcome.SOLD_OUT
    assert await shut(mall, "e") is Outcome.NOT_ELIGIBLE
    await strangers(mall, Outcome.SOLD_OUT)
    assert await outcome(mall, "u1", "once") is Outcome.IDEMPOTENCY_KEY_REUSED
    assert await outcome(mall, "u1", "other") is Outcome.SOLD_OUT
    assert await outcome(mall, "u2", channel="web") is Outcome.CHANNEL_NOT_ALLOWED
    assert await outcome(mall, "rich", name="e") is Outcome.SOLD_OUT
    for n in range(5):
        assert await outcome(mall, f"bad{n}") is Outcome.USER_FROZEN
    await mall.engine.set_profile(user_id="bad1", who=WHO, frozen=False)
    await mall.engine.set_profile(user_id="u9", who=WHO, frozen=True)
    await asyncio.sleep(0.11)  # a promise at most
    assert await outcome(mall, "bad1") is Outcome.SOLD_OUT
    assert await outcome(mall, "u9") is Outcome.USER_FROZEN


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        ("paused", Outcome.CAMPAIGN_PAUSED),
        ("frozen", Outcome.CAMPAIGN_FROZEN),
        ("ended", Outcome.CAMPAIGN_ENDED),
    ],
)
async def test_a_campaign_that_gives_nothing_out(
    small_mall: Running, status: str, expected: Outcome
) -> None:
    mall = small_mall
    await mall.publish(campaign("amount_off amount=1", id="c", stock={"total": None}))
    assert (await claim(mall, "u1")).ok
    await mall.patch("c", {"status": status})
    assert await shut(mall) is expected
    await strangers(mall, expected)
    assert await outcome(mall, "u1") is Outcome.REPEATED
    assert await outcome(mall, "u1", "k2") is expected
    await mall.patch("c", {"status": "active"})
    assert (await claim(mall, "stranger1")).ok


async def test_a_draft_has_not_started(small_mall: Running) -> None:
    body = campaign("amount_off amount=1", id="c", stock={"total": None}, status="draft")
    await small_mall.publish(body)
    assert await shut(small_mall) is Outcome.NOT_STARTED
    await strangers(small_mall, Outcome.NOT_STARTED)
    await small_mall.patch("c", {"status": "active"})
    assert (await claim(small_mall, "stranger1")).ok


async def test_it_opens_to_the_millisecond(small_mall: Running) -> None:
    """A promise ends where giving out starts, and nobody is let in before."""
    mall = small_mall
    start = mall.server.clock() + 400
    body = campaign("amount_off amount=1", id="c", stock={"total": None})
    await mall.publish(body)
    await mall.patch("c", {"issue": {"start": f"{_rfc(start)}"}})
    assert await shut(mall) is Outcome.NOT_STARTED
    refused = await claim(mall, "u1")
    assert refused.details == {"retry_at": start}
    first: Answer[CouponView] = refused
    begun = last_refused = 0
    for n in range(100_000):
        begun = mall.server.clock()  # before it asks: whatever holds it up then, it is open by now
        first = await claim(mall, f"u{n}")
        if first.ok:
            break
        last_refused = begun
        await asyncio.sleep(0)
    assert first.value
    assert start <= first.value.record.issued
    assert last_refused < start + 60


async def test_no_winner_hears_sold_out(place: Place, mall: Running) -> None:
    """Four processes, stock that comes back by ones and twos: a winner asks another process."""
    await mall.publish(
        campaign("amount_off amount=1", id="c", stock={"total": 5}, issue={"per_user": 1})
    )
    others = [await mall_on(mall.server, mall.books, mall.id, cells=mall.cells) for _ in "abc"]
    malls = [mall, *others]
    dice = random.Random(7)
    wrong: list[Any] = []
    won: Counter[str] = Counter()
    done = False

    async def person(name: str) -> None:
        n = 0
        while not done:
            n += 1
            key = f"k{n}"
            answer = await claim(dice.choice(malls), name, key)
            if answer.value is None:
                if answer.outcome is not Outcome.SOLD_OUT:
                    wrong.append((name, "first", answer.outcome))
                await asyncio.sleep(dice.random() / 50)
                continue
            won[name] += 1
            for _ in range(8):
                again = await claim(dice.choice(malls), name, key)
                if again.value is None or again.value.id != answer.value.id:
                    wrong.append((name, "again", again.outcome))
                other = await outcome(dice.choice(malls), name, "new")
                if other is not Outcome.USER_LIMIT:
                    wrong.append((name, "other", other))
                await asyncio.sleep(dice.random() / 50)
            return

    people = [asyncio.create_task(person(f"u{n}")) for n in range(120)]
    for n in range(12):
        await asyncio.sleep(dice.random() / 10)
        await malls[n % 4].add_stock("c", 1 + n % 2 * mall.cells)
        late = await claim(malls[-1], f"late{n}")  # it is claimable as soon as that is answered
        won[f"late{n}"] += late.ok
        lefts = [left for _, left, _ in await mall.shares("c")]
        assert late.ok or lefts[mall.engine.cell_of(mall.engine.handle_of(f"late{n}"))] == 0
    done = True
    await asyncio.gather(*people)
    assert not wrong
    for one in malls[1:]:
        await one.engine.drain()
    await mall.engine.drain()
    assert sum(won.values()) == sum(issued for _, _, issued in await mall.shares("c"))
    await reconciled(mall.books, place.url, mall.id)


async def test_holders_are_told_in_parts_and_again_when_they_are_others(
    small_mall: Running,
) -> None:
    mall = small_mall
    await mall.publish(campaign("amount_off amount=1", id="c", stock={"total": 5000}))
    answers = await asyncio.gather(*(claim(mall, f"u{n}") for n in range(5000)))
    assert all(answer.ok for answer in answers)
    assert await shut(mall) is Outcome.SOLD_OUT
    (door,) = mall.engine.doors._doors.values()
    tag = mall.engine.tags[0]
    length = await mall.server._reading.strlen(keys.holders_key(tag, "c"))
    assert door.holders.known == length == 5000 * keys.HOLDER_LENGTH > 24576
    assert all(mall.engine.handle_of(f"u{n}") in door.holders for n in range(5000))
    by_chance = sum(mall.engine.handle_of(f"v{n}") in door.holders for n in range(5000))
    assert by_chance < 5000 / 16
    # A list that is not whole: nobody is refused here, whoever it may be.
    await mall.server._hot.setrange(keys.holders_key(tag, "c"), 0, "")
    await mall.server._hot.execute_command("DEL", keys.holders_key(tag, "c"))
    await asyncio.sleep(0.11)
    assert await outcome(mall, "v1") is Outcome.SOLD_OUT
    await mall.engine.doors.drain()
    assert door.until == 0
    assert await outcome(mall, "u1") is Outcome.REPEATED


def test_holders_of_another_list_are_read_from_its_beginning() -> None:
    holders = Holders()
    holders.add("AAAAAABBBBBB", 0, 12)
    assert "AAAAAA0000" in holders
    assert "BBBBBB0000" in holders
    holders.add("CCCCCC", 0, 6)
    assert holders.known == 6
    assert "CCCCCC0000" in holders
    assert "AAAAAA0000" not in holders


def _rfc(ms: int) -> str:
    from engine.definitions import format_time

    return format_time(ms)
