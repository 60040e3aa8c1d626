"""Invitations and groups where a crash cut them off: done later, and once."""

from __future__ import annotations

from engine import social
from engine.books import groups, invitations
from engine.books.definitions import Receipt
from engine.outcomes import Outcome
from tests.books.mall import MARCH, MINUTE, WHO, Mall

AMOUNT = {"type": "amount_off", "amount": 100}


async def enter(mall: Mall, group: str, user: str) -> Outcome:
    """As the API does, up to the books."""
    columns = {
        "id": group, "campaign_id": "set", "size": 2, "free": 1, "created_ms": MARCH,
        "expires_ms": MARCH + MINUTE, "clock_ms": MARCH,
    }  # fmt: skip
    place = await social.place(
        mall.engine, group_id=group, campaign_id="set", user_id=user, expires=MARCH + MINUTE,
        who=WHO, now=MARCH,
    )  # fmt: skip
    assert place.value is not None, place
    receipt = Receipt("groups", mall.key(), "f", 200)
    by = mall.by(MARCH)
    answer = await groups.enter(mall.books, mall.id, by, receipt, columns, user, place.value.id)
    return answer.outcome


async def test_a_group_that_was_cut_off_is_settled_by_whoever_comes(mall: Mall) -> None:
    await mall.campaign("set", AMOUNT, stock={"total": 9}, group={"size": 2, "minutes": 1})
    assert [await enter(mall, "g1", user) for user in ("ann", "bob")] == [Outcome.DONE] * 2
    assert await enter(mall, "g1", "cat") is Outcome.SOLD_OUT
    assert await enter(mall, "g2", "dan") is Outcome.DONE
    live = await mall.engine.live("set")
    assert live
    assert (live.set_aside, live.issued) == (4, 0)
    assert await social.round(mall.books, mall.engine)
    assert not await social.round(mall.books, mall.engine)
    found = await groups.read(mall.books, mall.id, "g1")
    assert found
    assert [one.state for one in found.members] == ["issued", "issued"]
    # One that has not formed is released, again and again to the same effect.
    for _ in range(2):
        await social.settle(mall.books, mall.engine, "g2", MARCH + MINUTE)
    found = await groups.read(mall.books, mall.id, "g2")
    assert found
    assert [one.state for one in found.members] == ["released"]
    mall.engine.forget_live("set")
    live = await mall.engine.live("set")
    # The place of who came too late lapses by itself: here nobody gave it up.
    assert live
    assert (live.set_aside, live.issued) == (1, 2)


async def test_rewards_that_were_cut_off_are_given_once(mall: Mall) -> None:
    await mall.campaign("cake", AMOUNT, invite={"condition": "registered"})
    row = {"code": "CODE", "campaign_id": "cake", "inviter": "ann", "condition": "registered",
           "needs": 1, "reward_friend": "cake"}  # fmt: skip
    by = mall.by(MARCH)
    await invitations.invite(mall.books, mall.id, by, Receipt("i", "k", "f", 201), row, None)
    told = await invitations.accept(
        mall.books, mall.id, by, Receipt("a", "k", "f", 200), "CODE", "bob", MARCH, None
    )
    assert told.ok
    (due,) = await invitations.due(mall.books, mall.id, 9)
    # Both were given, and the process was gone before the books knew of the friend's.
    await social.reward(mall.books, mall.engine, "CODE")
    await social._reward(mall.books, mall.engine, *due)
    assert not await social.round(mall.books, mall.engine)
    live = await mall.engine.live("cake")
    assert live
    assert live.issued == 2
