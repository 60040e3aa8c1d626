"""Group commit: what waits together leaves together, and each is answered on its own."""

from __future__ import annotations

import asyncio
import itertools
import random
from collections import Counter
from typing import Any

import pytest

from engine import batching, facts, keys
from engine.batching import BATCH
from engine.errors import Unavailable
from engine.fastpath import serial_of
from engine.outcomes import Outcome
from engine.records import Line
from tests.engine.harness import WHO, Running, mall_on, together
from tests.unit.rules_language import campaign


async def calls(mall: Running) -> int:
    """EVALSHA calls that the server has executed."""
    stats = await mall.server.ask(None, "INFO", "commandstats")
    return int(stats.get("cmdstat_evalsha", {"calls": 0})["calls"])


def claim(mall: Running, user: str, key: str = "k", name: str = "c") -> Any:
    return mall.engine.claim(user_id=user, campaign_id=name, channel="app", key=key, who=WHO)


@pytest.fixture
async def busy_mall(small_mall: Running) -> Running:
    """A mall of one cell with an unlimited campaign and a store, ready."""
    await small_mall.store("s1")
    await small_mall.publish(campaign("amount_off amount=1", id="c", stock={"total": None}))
    return small_mall


async def test_a_thousand_claims_are_a_few_calls(busy_mall: Running) -> None:
    before = await calls(busy_mall)
    answers = await asyncio.gather(*(claim(busy_mall, f"u{n}") for n in range(1000)))
    assert all(answer.outcome is Outcome.DONE for answer in answers)
    assert await calls(busy_mall) - before == -(-1000 // BATCH)
    told = await busy_mall.server._reading.xlen(keys.facts_key(busy_mall.engine.tags[0]))
    assert told <= 2 + -(-1000 // BATCH)  # one entry a call, after the campaign's
    await busy_mall.check_facts()


async def test_one_alone_leaves_at_once(busy_mall: Running) -> None:
    before = await calls(busy_mall)
    for number in range(5):
        await claim(busy_mall, "u1", f"k{number}")
    assert await calls(busy_mall) - before == 5


async def test_tills_go_before_phones(busy_mall: Running) -> None:
    """A redemption that comes after two hundred claims is decided before them."""
    mall = busy_mall
    first = (await claim(mall, "u1")).value
    claims = [claim(mall, f"w{n}") for n in range(200)]
    redemption = mall.engine.redeem(
        handle=mall.engine.handle_of("u1"), coupons=[(first.id, 0, False)], store_id="s1",
        key="r", who=WHO, amount=9, lines=[Line("1", 9, 1, "", "")],
    )
    answers = await asyncio.gather(*claims, redemption)
    assert all(answer.ok for answer in answers)
    told = (await mall.facts())[0]
    kinds = [type(fact) for fact in told[2:]]
    assert kinds[0] is facts.Redeemed
    assert set(kinds[1:]) == {facts.Claimed}


async def test_a_refusal_in_a_batch_is_one_persons(busy_mall: Running) -> None:
    mall = busy_mall
    await mall.publish(campaign("amount_off amount=1", id="few", stock={"total": 10}))
    await mall.publish(campaign("amount_off amount=1", id="off", status="paused"))
    names = ["c", "few", "off", "none"]
    asked = [(f"u{n}", names[n % 4]) for n in range(400)]
    answers = await asyncio.gather(*(claim(mall, user, "k", name) for user, name in asked))
    expected = {"c": Outcome.DONE, "off": Outcome.CAMPAIGN_PAUSED, "none": Outcome.NOT_FOUND}
    for (user, name), answer in zip(asked, answers, strict=True):
        if name == "few":
            assert answer.outcome in (Outcome.DONE, Outcome.SOLD_OUT)
        else:
            assert answer.outcome is expected[name]
        if answer.value:
            assert answer.value.user_id == user
            assert answer.value.record.campaign_id == name
            place = keys.split_id("C", answer.value.id)
            assert place is not None
            assert place[0] == mall.engine.handle_of(user)
    assert sum(a.ok for (_, name), a in zip(asked, answers, strict=True) if name == "few") == 10
    await mall.check_facts()


async def test_the_same_request_five_times_in_one_batch(busy_mall: Running) -> None:
    answers = await asyncio.gather(*(claim(busy_mall, "u1") for _ in range(5)))
    assert sorted(answer.outcome for answer in answers) == [0, 1, 1, 1, 1]
    assert len({answer.value.id for answer in answers}) == 1
    assert len((await busy_mall.facts())[0]) == 2


async def test_who_gives_up_never_takes_anothers_answer(busy_mall: Running) -> None:
    mall, dice = busy_mall, random.Random(6)
    handle_key = mall.engine.mall.handle_key
    for wave in range(5):
        tasks = {
            f"w{wave}u{n}": asyncio.ensure_future(claim(mall, f"w{wave}u{n}")) for n in range(150)
        }
        for _ in range(dice.randrange(4)):
            await asyncio.sleep(0)  # some have been sent by now, some have not
        gone = set(dice.sample(sorted(tasks), 75))
        for user in gone:
            tasks[user].cancel()
        await asyncio.gather(*tasks.values(), return_exceptions=True)
        for user, task in tasks.items():
            if task.cancelled():
                assert user in gone
                answer = await claim(mall, user)  # the same key tells whether it was done
            else:
                answer = task.result()
            handle = mall.engine.handle_of(user)
            window = keys.window_of(answer.value.now)
            serial = serial_of(handle_key, "claim", handle, "k", window)
            assert answer.value.id == keys.make_id("C", handle, serial)
            assert answer.value.user_id == user
    told = [fact for fact in (await mall.facts())[0] if isinstance(fact, facts.Claimed)]
    assert len(told) == len({fact.user_id for fact in told}) == 5 * 150


async def test_past_the_deadline_nothing_is_done(busy_mall: Running) -> None:
    mall = busy_mall
    token = batching.deadline.set(asyncio.get_running_loop().time() - 0.001)
    try:
        late = claim(mall, "late")
        with pytest.raises(Unavailable, match="nothing was done"):
            await late
    finally:
        batching.deadline.reset(token)
    assert len((await mall.facts())[0]) == 1
    assert (await claim(mall, "late")).outcome is Outcome.DONE


async def test_more_than_may_wait_are_refused_at_once(
    busy_mall: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batching, "WAITING", 100)
    answers = await together(*(claim(busy_mall, f"u{n}") for n in range(150)))
    refused = [answer for answer in answers if isinstance(answer, Unavailable)]
    assert len(refused) == 50
    assert sum(getattr(answer, "ok", False) for answer in answers) == 100
    assert (await claim(busy_mall, "u149")).outcome is Outcome.DONE


async def test_one_coupon_at_fifty_tills(busy_mall: Running) -> None:
    """Two processes, fifty keys, each sent twice: one redemption, and its key told so again."""
    mall = busy_mall
    other = await mall_on(mall.server, mall.books, mall.id)
    coupon = (await claim(mall, "u1")).value.id
    handle = mall.engine.handle_of("u1")
    tills = [
        engine.redeem(
            handle=handle, coupons=[(coupon, 0, False)], store_id="s1", key=f"r{n}", who=WHO,
            amount=9, lines=[Line("1", 9, 1, "", "")],
        )
        for n in range(50)
        for engine in (mall.engine, other.engine)
    ]
    answers = await asyncio.gather(*tills)
    outcomes = Counter(answer.outcome for answer in answers)
    assert outcomes == {Outcome.DONE: 1, Outcome.REPEATED: 1, Outcome.ALREADY_REDEEMED: 98}
    assert len({answer.value.id for answer in answers if answer.value}) == 1
    assert len((await mall.facts())[0]) == 3


async def test_redeem_reverse_and_void_at_once_happen_in_a_legal_order(
    busy_mall: Running
) -> None:
    """Whatever the order is, the facts tell it, and it ends where they end."""
    mall = busy_mall
    other = await mall_on(mall.server, mall.books, mall.id)
    engines = itertools.cycle([mall.engine, other.engine])
    people = [f"u{n}" for n in range(40)]
    coupons = [(await claim(mall, user)).value.id for user in people]
    acts = []
    for user, coupon in zip(people, coupons, strict=True):
        handle = mall.engine.handle_of(user)
        for n in range(3):
            redemption_id = keys.make_id("R", handle, mall.engine.serials(
                "redeem", handle, f"r{n}", mall.engine.clock())[0])
            acts += [
                next(engines).redeem(
                    handle=handle, coupons=[(coupon, 0, False)], store_id="s1", key=f"r{n}",
                    who=WHO, amount=9, lines=[Line("1", 9, 1, "", "")],
                ),
                next(engines).reverse(redemption_id=redemption_id, key="v", who=WHO, reason="r"),
                next(engines).reverse(redemption_id=redemption_id, key="w", who=WHO, reason="r"),
            ]
        acts.append(next(engines).void(coupon_id=coupon, key="v", who=WHO, reason="r"))
    dice = random.Random(9)
    dice.shuffle(acts)

    async def some_time(act: Any) -> None:
        await asyncio.sleep(dice.random() / 20)  # else each engine sends them all, verb by verb
        await act

    await asyncio.gather(*map(some_time, acts))
    state = dict.fromkeys(coupons, "issued")
    for fact in (await mall.facts())[0]:
        match fact:
            case facts.Redeemed():
                assert state[fact.coupons[0].coupon_id] == "issued"
                state[fact.coupons[0].coupon_id] = "redeemed"
            case facts.Reversed():
                assert state[fact.coupons[0].coupon_id] == "redeemed"
                state[fact.coupons[0].coupon_id] = "issued"
            case facts.Voided():
                assert state[fact.act] == "issued"
                state[fact.act] = "voided"
    assert len(set(state.values())) > 1
    for coupon, status in state.items():
        wallet = await mall.engine.coupon(coupon)
        assert wallet
        assert wallet.view(coupon[17:]).status == status
    await mall.check_facts()


async def test_hundreds_who_read_at_once_take_turns(small_mall: Running) -> None:
    """More than redis-py has connections for: each waits for one, nobody is refused."""
    engine = small_mall.engine
    found = await asyncio.gather(*(engine.wallet(engine.handle_of(f"u{n}")) for n in range(300)))
    assert len(found) == 300
