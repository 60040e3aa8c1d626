"""Coupons that are given on: one winner, the receiver's limits, whatever is cut off in between."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from engine import keys
from engine.acting import Acting
from engine.errors import Unavailable
from engine.gift_records import GiftState
from engine.outcomes import Outcome
from engine.records import Line
from tests.engine.harness import WHO, Running, reconciled
from tests.engine.test_cells import claim
from tests.unit.rules_language import campaign


async def give(mall: Running, coupon_id: str, key: str = "g", seconds: int = 86_400) -> Any:
    return await mall.engine.gifts.offer(
        coupon_id=coupon_id, seconds=seconds, key=key, who=WHO, now=mall.clock
    )


async def accept(mall: Running, gift_id: str, user: str, key: str = "a") -> Any:
    return await mall.engine.gifts.accept(
        gift_id=gift_id, user_id=user, key=key, who=WHO, now=mall.clock
    )


async def bought(mall: Running, name: str = "c", **more: Any) -> str:
    """A campaign whose coupons may be given on, and one of them."""
    await mall.publish(campaign("amount_off amount=100", id=name, transferable=True, **more))
    claimed = await claim(mall, "ann", name)
    assert claimed.value
    return claimed.value.id


async def status(mall: Running, coupon_id: str) -> str:
    wallet = await mall.engine.coupon(coupon_id, now=mall.clock)
    assert wallet
    return wallet.view(coupon_id[-11:]).status


async def test_one_coupon_one_winner(mall: Running, place: Any) -> None:
    """Twenty friends at once, each twice; the winner's limit is full from then on."""
    coupon = await bought(mall, issue={"per_user": 1})
    gift = (await give(mall, coupon)).value
    assert await status(mall, coupon) == "held"
    friends = [f"f{n}" for n in range(20)]
    answers = await asyncio.gather(*(accept(mall, gift.id, user) for user in friends * 2))
    won = [answer for answer in answers if answer.ok]
    assert len({answer.value for answer in won}) == 1
    assert {a.outcome for a in answers if not a.ok} == {Outcome.GIFT_TAKEN}
    assert await status(mall, coupon) == "transferred"
    mine = won[0].value
    winner = (await mall.engine.coupon(mine)).user_id  # type: ignore[union-attr]
    assert await status(mall, mine) == "issued"
    assert (await claim(mall, winner, "c", "k2")).outcome is Outcome.USER_LIMIT
    again = await accept(mall, gift.id, winner)
    assert (again.outcome, again.value) == (Outcome.REPEATED, mine)
    assert (await accept(mall, gift.id, winner, "other")).outcome is Outcome.USER_LIMIT
    sale = {"handle": mine[1:17], "store_id": "s1", "who": WHO, "amount": 500,
            "lines": [Line("1", 500, 1, "", "")], "key": "r"}  # fmt: skip
    await mall.store("s1")
    old = await mall.engine.redeem(**{**sale, "handle": coupon[1:17]}, coupons=[(coupon, 0, False)])
    assert old.outcome is Outcome.TRANSFERRED
    assert (await mall.engine.redeem(**sale, coupons=[(mine, 0, False)])).ok
    await reconciled(mall.books, place.url, mall.id)


async def test_two_gifts_at_once_do_not_pass_a_limit(mall: Running) -> None:
    coupon = await bought(mall, issue={"per_user": 1})
    gifts = [(await give(mall, coupon)).value.id]
    for user in ("bob", "cid", "dan"):
        other = (await claim(mall, user, "c")).value
        assert other
        gifts.append((await give(mall, other.id)).value.id)
    answers = await asyncio.gather(*(accept(mall, one, "eve", one) for one in gifts))
    assert sorted(a.outcome for a in answers) == [Outcome.DONE, *[Outcome.USER_LIMIT] * 3]
    left = [await mall.engine.gifts.read(one) for one in gifts]
    assert sorted(one.status for one in left if one) == ["accepted", "open", "open", "open"]


async def test_the_receivers_side_of_a_claims_rules(small_mall: Running) -> None:
    """Who they are counts; that it is over, sold out, late or not theirs to claim does not."""
    mall = small_mall
    await mall.engine.set_members(audience_id="vip", add=["ann", "bob"], remove=[], who=WHO)
    for user in ("ann", "bob", "cid"):
        tier = "" if user == "cid" else "gold"
        await mall.engine.set_profile(user_id=user, who=WHO, tier=tier)
    coupon = await bought(
        mall, stock={"total": 1}, issue={"tiers": ["gold"], "audiences": ["vip"], "per_minute": 1}
    )
    gift = (await give(mall, coupon)).value.id
    assert (await accept(mall, gift, "cid")).outcome is Outcome.NOT_ELIGIBLE
    await mall.engine.set_profile(user_id="cid", who=WHO, tier="gold")
    assert (await accept(mall, gift, "cid")).outcome is Outcome.NOT_ELIGIBLE
    await mall.engine.set_profile(user_id="bob", who=WHO, frozen=True)
    assert (await accept(mall, gift, "bob")).outcome is Outcome.USER_FROZEN
    await mall.engine.set_profile(user_id="bob", who=WHO, frozen=False)
    await mall.patch("c", {"status": "frozen"})
    assert (await accept(mall, gift, "bob")).outcome is Outcome.CAMPAIGN_FROZEN
    await mall.patch("c", {"status": "ended"})
    assert (await accept(mall, gift, "bob")).outcome is Outcome.DONE


async def test_by_the_clock(small_mall: Running) -> None:
    """It lapses and is the giver's again; taken back; declined; cut at the coupon's end."""
    mall = small_mall
    mall.clock = mall.server.clock()
    coupon = await bought(mall, validity={"type": "relative", "minutes": 120})
    gift = (await give(mall, coupon, seconds=60)).value
    assert (await give(mall, coupon, "g2")).outcome is Outcome.HELD
    mall.clock += 60_000
    assert await status(mall, coupon) == "issued"
    assert (await accept(mall, gift.id, "bob")).outcome is Outcome.GIFT_EXPIRED
    second = (await give(mall, coupon, "g2")).value
    found = await mall.engine.coupon(coupon)
    assert found
    assert second.record.until == found.view(coupon[-11:]).valid_until
    assert (await accept(mall, gift.id, "bob")).outcome is Outcome.GIFT_EXPIRED
    end: Any = {"who": WHO, "now": mall.clock}
    gone: Any = await mall.engine.gifts.end(gift_id=second.id, how=GiftState.TAKEN_BACK, **end)
    assert gone.value.status == "taken_back"
    assert await status(mall, coupon) == "issued"
    again = await mall.engine.gifts.end(gift_id=second.id, how=GiftState.TAKEN_BACK, **end)
    assert again.outcome is Outcome.REPEATED
    late = await mall.engine.gifts.end(gift_id=second.id, how=GiftState.DECLINED, **end)
    assert late.outcome is Outcome.GIFT_EXPIRED
    assert (await accept(mall, second.id, "bob")).outcome is Outcome.GIFT_EXPIRED
    lapsed: Any = await mall.engine.gifts.end(gift_id=gift.id, how=GiftState.LAPSED, **end)
    assert lapsed.value.status == "expired"
    assert (await give(mall, coupon, seconds=60)).value.id == gift.id  # the first answer of its key
    wallet = await mall.hash_of(keys.wallet_key(mall.engine.tags[0], mall.engine.handle_of("bob")))
    assert b"t" not in wallet
    assert not any(name[:1] == b"C" for name in wallet)


async def dies_accepting(
    mall: Running, gift_id: str, verb: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """bob accepts, and the process dies before this half of it."""
    act = Acting.act

    async def dies(self: Acting, name: str, command: Any, **more: Any) -> Any:
        if name == verb:
            raise Unavailable("gone")
        return await act(self, name, command, **more)

    monkeypatch.setattr(Acting, "act", dies)
    with pytest.raises(Unavailable):
        await accept(mall, gift_id, "bob")
    monkeypatch.undo()


@pytest.mark.parametrize("verb", ["gift_send", "gift_receive"])
async def test_cut_off_between_the_halves(
    mall: Running, place: Any, verb: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The process dies before or after the giver's cell let it go; someone else finishes it."""
    coupon = await bought(mall)
    gift = (await give(mall, coupon)).value
    await dies_accepting(mall, gift.id, verb, monkeypatch)
    tag = mall.engine.tag_of(mall.engine.handle_of("bob"))
    (due,) = await mall.server.due(keys.takes_key(tag), mall.server.clock(), 10)
    await mall.engine.gifts.finish(due.decode())
    done = await accept(mall, gift.id, "bob")
    assert done.outcome is Outcome.REPEATED
    assert await status(mall, done.value) == "issued"
    assert await mall.server.due(keys.takes_key(tag), mall.server.clock(), 10) == []
    await reconciled(mall.books, place.url, mall.id)


@pytest.mark.parametrize("verb", ["gift_send", "gift_receive"])
async def test_withdrawn_between_the_halves(
    mall: Running, place: Any, verb: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Still the giver's, it is withdrawn and the receiver has none; on its way, where it comes."""
    coupon = await bought(mall, issue={"per_user": 1})
    gift = (await give(mall, coupon)).value
    await dies_accepting(mall, gift.id, verb, monkeypatch)
    void: Any = {"key": "v", "who": WHO, "reason": "r", "now": mall.clock}
    first = await mall.engine.void(coupon_id=coupon, **void)
    if verb == "gift_send":
        assert first.value
        assert first.value.status == "voided"
        found = await mall.engine.gifts.read(gift.id)
        assert found
        assert found.status == "withdrawn"
        assert (await accept(mall, gift.id, "bob")).outcome is Outcome.VOIDED
        assert (await claim(mall, "bob", "c")).ok  # nothing of it counts any more
    else:
        assert first.outcome is Outcome.TRANSFERRED
        mine = await mall.engine.gifts.bring(coupon, now=mall.clock)
        assert (await mall.engine.void(coupon_id=mine, **void)).ok
        assert await status(mall, mine) == "voided"
        assert (await accept(mall, gift.id, "bob")).value == mine
    tag = mall.engine.tag_of(mall.engine.handle_of("bob"))
    assert await mall.server.due(keys.takes_key(tag), mall.server.clock(), 10) == []
    await reconciled(mall.books, place.url, mall.id)
