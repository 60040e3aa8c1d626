"""Servers that stall, forget their scripts, are killed, full, or come back with old data."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis

from engine import batching, facts, keys
from engine.books.db import open_books
from engine.embedded import EmbeddedRedis
from engine.engine import Engine
from engine.errors import Unavailable
from engine.outcomes import Outcome
from engine.records import Line
from engine.views import Answer
from tests.conftest import OwnRedis
from tests.engine.harness import WHO, Running, open_mall, reconciled, together
from tests.unit.rules_language import campaign


@pytest.fixture
def server(own_redis: OwnRedis) -> EmbeddedRedis:
    """A server that the test may stop, kill, stall or fill."""
    return own_redis()


@pytest.fixture
async def mall(server: EmbeddedRedis, tenant: str, books_file: Path) -> AsyncIterator[Running]:
    """A mall on a server of its own, with an unlimited campaign and a store."""
    async with open_mall(tenant, server.url, books_file) as running:
        await running.store("s1")
        await running.publish(campaign("amount_off amount=1", id="c", stock={"total": None}))
        yield running


def claim(mall: Running, user: str, key: str = "k", name: str = "c") -> Awaitable[Answer[Any]]:
    return mall.engine.claim(user_id=user, campaign_id=name, channel="app", key=key, who=WHO)


def value(answer: Answer[Any]) -> Any:
    """Of a success."""
    assert answer.value is not None, answer
    return answer.value


async def surely(act: Callable[[], Awaitable[Answer[Any]]]) -> Answer[Any]:
    """Ask until somebody knows, as a caller must: with the same key."""
    while True:
        try:
            return await act()
        except Unavailable:
            await asyncio.sleep(0.02)


async def calls(client: Redis) -> int:
    """EVALSHA calls that the server has executed."""
    stats = await client.info("commandstats")
    return int(stats.get("cmdstat_evalsha", {"calls": 0})["calls"])


async def claimed(mall: Running) -> list[facts.Claimed]:
    return [fact for fact in (await mall.facts())[0] if isinstance(fact, facts.Claimed)]


async def test_a_stalled_server_times_out_and_the_same_key_tells(
    mall: Running, server: EmbeddedRedis, monkeypatch: pytest.MonkeyPatch
) -> None:
    await claim(mall, "before")
    async with Redis.from_url(server.url) as looker:
        before = await calls(looker)
        os.kill(server.pid, signal.SIGSTOP)
        try:
            with monkeypatch.context() as impatient:
                impatient.setattr(batching, "TIMEOUT_SECONDS", 0.3)
                answers = await together(*(claim(mall, f"u{n}") for n in range(30)))
        finally:
            os.kill(server.pid, signal.SIGCONT)
        assert all(isinstance(answer, Unavailable) for answer in answers)
        assert not any(answer.recovering for answer in answers)
        # What was sent is executed now, once; it was not sent again underneath.
        found = [await surely(partial(claim, mall, f"u{n}")) for n in range(30)]
        assert {answer.outcome for answer in found} == {Outcome.REPEATED}
        assert [value(answer).user_id for answer in found] == [f"u{n}" for n in range(30)]
        assert await calls(looker) - before == 1 + 30
    assert len(await claimed(mall)) == 31
    await mall.check_facts()


async def test_a_lost_connection_is_not_asked_again_underneath(
    mall: Running, server: EmbeddedRedis
) -> None:
    await claim(mall, "before")
    async with Redis.from_url(server.url) as killer:
        before = await calls(killer)
        await killer.client_pause(60_000, all=False)
        asked = asyncio.ensure_future(together(claim(mall, "u1"), claim(mall, "u2")))
        waiting: list[Any] = []
        while not waiting:
            await asyncio.sleep(0.005)
            waiting = [row["id"] for row in await killer.client_list() if row["cmd"] == "evalsha"]
        for ident in waiting:
            await killer.client_kill_filter(_id=ident)
        answers = await asked
        await killer.client_unpause()
        assert all(isinstance(answer, Unavailable) for answer in answers)
        assert await calls(killer) == before
    assert len(await claimed(mall)) == 1
    assert (await claim(mall, "u1")).outcome is Outcome.DONE


@pytest.mark.slow
async def test_a_flush_of_the_scripts_under_load(mall: Running, server: EmbeddedRedis) -> None:
    async with Redis.from_url(server.url) as client:
        for wave in range(10):
            users = [f"w{wave}u{n}" for n in range(150)]
            claims = [asyncio.ensure_future(claim(mall, user)) for user in users]
            await client.script_flush()
            answers = await asyncio.gather(*claims)
            assert {answer.outcome for answer in answers} == {Outcome.DONE}
            await client.script_flush()
            wallet = await mall.engine.wallet(mall.engine.handle_of(users[0]))  # reading, too
            assert list(wallet.counts.values()) == [1]
            await client.script_flush()
            await mall.publish(campaign("amount_off amount=1", id=f"c{wave}"))  # and publishing
    assert len(await claimed(mall)) == 1500
    await mall.check_facts()


async def test_killed_under_load_nothing_acknowledged_is_lost(
    mall: Running, server: EmbeddedRedis, books_file: Path
) -> None:
    """SIGKILL twice while people claim and redeem; each asks on with the same key."""
    await mall.publish(campaign("amount_off amount=1", id="few", stock={"total": 600}))
    acknowledged: dict[str, str] = {}
    redeemed: list[str] = []

    async def person(number: int) -> None:
        for turn in range(8):
            user = f"u{number}-{turn}"
            answer = await surely(partial(claim, mall, user, name="few"))
            if not answer.value:
                assert answer.outcome is Outcome.SOLD_OUT
                continue
            acknowledged[user] = answer.value.id
            if number % 2:
                done = await surely(partial(redeem, mall, user, acknowledged[user]))
                redeemed.append(value(done).id)

    people = asyncio.gather(*(person(n) for n in range(100)))
    for _ in range(2):
        before = len(acknowledged)
        for _ in range(10_000):
            await asyncio.sleep(0)
            if len(acknowledged) >= before + 50:
                break
        assert not people.done()
        await asyncio.to_thread(server.kill)
        await asyncio.to_thread(server.start)
    await people

    assert await mall.shares("few") == [(600, 0, 600)]
    assert len(acknowledged) == len(set(acknowledged.values())) == 600
    told = await claimed(mall)
    assert {fact.act: fact.user_id for fact in told} == {
        coupon: user for user, coupon in acknowledged.items()
    }
    assert len(told) == 600
    for user, coupon in acknowledged.items():
        again = await claim(mall, user, name="few")
        assert (again.outcome, value(again).id) == (Outcome.REPEATED, coupon)
    for redemption in redeemed:
        found = await mall.engine.redemption(redemption)
        assert found
        assert found.record.discount == 1
    await mall.check_facts()
    await reconciled(mall.books, server.url, mall.id)


def redeem(mall: Running, user: str, coupon: str, key: str = "r") -> Awaitable[Answer[Any]]:
    return mall.engine.redeem(
        handle=mall.engine.handle_of(user), coupons=[(coupon, 0, False)], store_id="s1", key=key,
        who=WHO, amount=9, lines=[Line("1", 9, 1, "", "")],
    )


@pytest.mark.slow
async def test_restored_from_an_old_copy_it_is_fenced(
    mall: Running, server: EmbeddedRedis, tmp_path: Path, books_file: Path
) -> None:
    """What the books have seen, Redis must have; until then nothing is given out."""
    await claim(mall, "u1")
    server.stop()
    data, old, new = server.directory / "appendonlydir", tmp_path / "old", tmp_path / "new"
    shutil.copytree(data, old)
    server.start()
    await surely(lambda: claim(mall, "u2"))
    await mall.written(0, (await mall.facts())[0][-1].seq)

    server.stop()
    data.rename(new)
    shutil.copytree(old, data)
    server.start()
    for user in ("u2", "u3", "u3"):
        assert await is_fenced(mall, user)
    with pytest.raises(Unavailable):
        await mall.publish(campaign("amount_off amount=1", id="other"))
    assert "behind the books" in mall.control.behind
    assert [fact.user_id for fact in await claimed(mall)] == ["u1"]
    # A process that starts now knows no better.
    async with open_mall(mall.id, server.url, books_file) as fresh:
        assert await is_fenced(fresh, "u3")
    assert [fact.user_id for fact in await claimed(mall)] == ["u1"]

    server.stop()
    shutil.rmtree(data)
    new.rename(data)
    server.start()
    answer = await surely(lambda: claim(mall, "u2"))
    assert answer.outcome is Outcome.REPEATED
    assert (await claim(mall, "u3")).outcome is Outcome.DONE
    assert mall.control.behind == ""


async def test_emptied_it_is_fenced(mall: Running, server: EmbeddedRedis) -> None:
    """A server that lost everything is an old copy, too."""
    await claim(mall, "u1")
    await mall.written(0, (await mall.facts())[0][-1].seq)
    server.stop()
    shutil.rmtree(server.directory / "appendonlydir")
    server.start()
    assert await is_fenced(mall, "u2")
    assert await mall.facts() == [[]]


async def is_fenced(mall: Running, user: str) -> bool:
    """Whether a claim is told to wait for the recovery."""
    for _ in range(2):  # the first may only meet the lost connection
        with pytest.raises(Unavailable) as caught:
            await claim(mall, user)
    return caught.value.recovering


async def test_while_the_books_are_away_acts_go_on_and_a_restart_waits(
    mall: Running, server: EmbeddedRedis, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A restarted server can only be compared with books that answer."""
    away = open_books(f"sqlite+aiosqlite:///{tmp_path}/none/away.db")
    (tmp_path / "none").rmdir()
    with monkeypatch.context() as without:
        without.setattr(mall.control, "_books", away)
        assert (await claim(mall, "u1")).outcome is Outcome.DONE
        async with Redis.from_url(server.url) as client:
            await client.script_flush()
        assert (await claim(mall, "u2")).outcome is Outcome.DONE  # the same server: nothing to ask
        await asyncio.to_thread(server.kill)
        await asyncio.to_thread(server.start)
        assert await is_fenced(mall, "u3")
    await away.close()
    assert (await claim(mall, "u3")).outcome is Outcome.DONE
    await mall.check_facts()


async def test_a_full_server_takes_back_but_gives_out_nothing(
    mall: Running, server: EmbeddedRedis
) -> None:
    coupons = [value(await claim(mall, f"u{n}")).id for n in range(3)]
    held = await hold(mall.engine, "u2", coupons[2])
    async with Redis.from_url(server.url) as client:
        await client.config_set("maxmemory", 1)
        with pytest.raises(Unavailable):
            await claim(mall, "late")
        first = await redeem(mall, "u0", coupons[0])
        assert first.outcome is Outcome.DONE
        committed = await mall.engine.commit(redemption_id=held, key="c", who=WHO)
        assert committed.outcome is Outcome.DONE
        reversed_ = await mall.engine.reverse(
            redemption_id=value(first).id, key="v", who=WHO, reason="r"
        )
        assert reversed_.outcome is Outcome.DONE
        await client.config_set("maxmemory", 0)
    assert (await claim(mall, "late")).outcome is Outcome.DONE
    await mall.check_facts()


async def hold(engine: Engine, user: str, coupon: str) -> str:
    answer = await engine.redeem(
        handle=engine.handle_of(user), coupons=[(coupon, 0, False)], store_id="s1", key="h",
        who=WHO, amount=9, lines=[Line("1", 9, 1, "", "")], hold_seconds=1,
    )
    assert answer.value
    return answer.value.id


async def test_the_sweeper_tells_the_books_and_frees_nothing_that_was_not_free(
    mall: Running
) -> None:
    """By the server's own clock: a hold of a second, swept before and after it."""
    coupon = value(await claim(mall, "u1")).id
    held = await hold(mall.engine, "u1", coupon)
    assert await mall.control.sweep(mall.engine) == 0
    assert (await redeem(mall, "u1", coupon)).outcome is Outcome.HELD
    await asyncio.sleep(1.0)
    done = await redeem(mall, "u1", coupon)  # nobody has swept
    assert done.outcome is Outcome.DONE
    assert await mall.control.sweep(mall.engine) == 1
    assert await mall.control.sweep(mall.engine) == 0
    last = (await mall.facts())[0][-1]
    assert isinstance(last, facts.Released)
    assert (last.act, last.lapsed, last.coupon_ids) == (held, 1, [])
    wallet = await mall.engine.coupon(coupon)
    assert wallet
    assert wallet.view(coupon[17:]).status == "redeemed"
    assert await mall.server.due(keys.holds_key(mall.engine.tags[0]), 2**52, 9) == []
