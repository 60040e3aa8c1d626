"""Invitations in the books: who invited whom, who has met the condition, who was rewarded.

A friend counts once a campaign, whoever invites. Rewards are claims under keys that derive from the
invitation (engine/social.py), so what a crash cut off is asked for again.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Row, func, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from engine.books.db import Books
from engine.books.definitions import Body, By, Change, Receipt, change
from engine.books.schema import invitation_friends as friends
from engine.books.schema import invitations, purchases
from engine.outcomes import Outcome
from engine.views import Answer

WAITING = "waiting"
LONGEST = 10_000  # of a chain of invitations


async def invite(
    books: Books, tenant: str, by: By, receipt: Receipt, row: Body, closed: Outcome | None
) -> Answer[Body]:
    """An inviter's code for a campaign; ``closed``: why it gives nothing out any more."""

    async def work(doing: Change) -> Body:
        known = await _of(doing.connection, tenant, row["campaign_id"], row["inviter"])
        if known is None and closed is not None:
            doing.refuse(closed)
        if known is None:
            new = {**row, "tenant": tenant, "created_ms": by.at, **_NO_REWARD}
            await doing.connection.execute(invitations.insert(), new)
        doing.changed = True
        told = row if known is None else dict(known._mapping)
        return {name: told[name] for name in _SHOWN}

    return await change(books, tenant, by, work, receipt=receipt, defines=False)


async def accept(
    books: Books,
    tenant: str,
    by: By,
    receipt: Receipt,
    code: str,
    user_id: str,
    clock: int,
    closed: Outcome | None,
) -> Answer[Body]:
    """A friend takes an invitation up; ``closed``: why nobody can any more.

    NOT_ELIGIBLE: themselves, who invited the inviter or one of those before, or (of a first
    purchase) who has bought before. ALREADY_EXISTS: they took another one up.
    """

    async def work(doing: Change) -> Body:
        connection = doing.connection
        found = await find(connection, tenant, code)
        if found is None:
            doing.refuse(Outcome.NOT_FOUND)
        if closed is not None:
            doing.refuse(closed)
        if found.inviter == user_id:
            doing.refuse(Outcome.NOT_ELIGIBLE)
        known = await _friend(connection, tenant, found.campaign_id, user_id)
        if known is not None and known.code != code:
            doing.refuse(Outcome.ALREADY_EXISTS)
        doing.changed = True
        told = {"code": code, "campaign_id": found.campaign_id, "user_id": user_id}
        if known is not None:
            return {**told, "met": known.met_ms > 0}
        if await _before(connection, tenant, found.campaign_id, found.inviter, user_id):
            doing.refuse(Outcome.NOT_ELIGIBLE)
        registered = found.condition == "registered"
        if not registered and await _has_bought(connection, tenant, user_id):
            doing.refuse(Outcome.NOT_ELIGIBLE)
        new = {
            "tenant": tenant, "campaign_id": found.campaign_id, "user_id": user_id, "code": code,
            "accepted_ms": by.at, "clock_ms": clock, "met_ms": by.at if registered else 0,
            **_NO_REWARD,
        }  # fmt: skip
        await connection.execute(friends.insert(), new)
        return {**told, "met": registered}

    return await change(books, tenant, by, work, receipt=receipt, defines=False)


_NO_REWARD = {"state": WAITING, "coupon_id": "", "why": ""}
_SHOWN = ("code", "campaign_id", "inviter", "condition", "needs", "reward_friend")


async def read(books: Books, tenant: str, code: str) -> tuple[Row[Any], Sequence[Row[Any]]] | None:
    """An invitation and its friends, who came first first; None when there is none."""
    query = (
        select(friends)
        .where(friends.c.tenant == tenant, friends.c.code == code)
        .order_by(friends.c.accepted_ms, friends.c.user_id)
        .limit(1000)
    )
    async with books.connect() as connection:
        found = await find(connection, tenant, code)
        return found and (found, (await connection.execute(query)).all())


async def due(
    books: Books, tenant: str, most: int, code: str | None = None
) -> list[tuple[Row[Any], Row[Any]]]:
    """Friends (of one invitation) who have met the condition and are not rewarded yet.

    Each with the invitation.
    """
    f = friends.c
    query = select(friends).where(f.tenant == tenant, f.state == WAITING, f.met_ms > 0)
    if code is not None:
        query = query.where(f.code == code)
    async with books.connect() as connection:
        found = []
        for row in (await connection.execute(query.order_by(f.met_ms).limit(most))).all():
            invitation = await find(connection, tenant, row.code)
            assert invitation is not None
            found.append((row, invitation))
        return found


async def met(books: Books, tenant: str, code: str) -> int:
    """How many friends of an invitation have met the condition."""
    f = friends.c
    query = select(func.count()).where(f.tenant == tenant, f.code == code, f.met_ms > 0)
    async with books.connect() as connection:
        return await connection.scalar(query) or 0


async def rewarded(
    books: Books, tenant: str, code: str, user_id: str | None, coupon_id: str, why: str
) -> None:
    """A friend's reward, or (None) the inviter's, and why there is none."""
    values = {"state": "issued" if coupon_id else "refused", "coupon_id": coupon_id, "why": why}
    table = invitations if user_id is None else friends
    query = update(table).where(
        table.c.tenant == tenant, table.c.code == code, table.c.state == WAITING
    )
    if user_id is not None:
        query = query.where(friends.c.user_id == user_id)
    async with books.begin() as connection:
        await connection.execute(query.values(values))


async def find(connection: AsyncConnection, tenant: str, code: str) -> Row[Any] | None:
    """One invitation."""
    i = invitations.c
    query = select(invitations).where(i.tenant == tenant, i.code == code)
    return (await connection.execute(query)).first()


async def _of(
    connection: AsyncConnection, tenant: str, campaign: str, inviter: str
) -> Row[Any] | None:
    i = invitations.c
    query = select(invitations).where(
        i.tenant == tenant, i.campaign_id == campaign, i.inviter == inviter
    )
    return (await connection.execute(query)).first()


async def _friend(
    connection: AsyncConnection, tenant: str, campaign: str, user_id: str
) -> Row[Any] | None:
    f = friends.c
    query = select(friends).where(
        f.tenant == tenant, f.campaign_id == campaign, f.user_id == user_id
    )
    return (await connection.execute(query)).first()


async def _before(
    connection: AsyncConnection, tenant: str, campaign: str, inviter: str, user_id: str
) -> bool:
    """Whether this person invited the inviter, or who invited them, and so on."""
    person = inviter
    for _ in range(LONGEST):
        taken = await _friend(connection, tenant, campaign, person)
        if taken is None:
            return False
        invitation = await find(connection, tenant, taken.code)
        assert invitation is not None
        person = invitation.inviter
        if person == user_id:
            return True
    return True


async def _has_bought(connection: AsyncConnection, tenant: str, user_id: str) -> bool:
    p = purchases.c
    query = select(p.transaction_id).where(
        p.tenant == tenant, p.user_id == user_id, p.amount > p.refunded
    )
    return (await connection.execute(query.limit(1))).first() is not None
