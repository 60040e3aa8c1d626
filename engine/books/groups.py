"""Groups in the books: who joined, whether all came in time.

A member's place is an order that is held (engine/orders.py); the order is there before the member
is, and what is to be done once a group has formed or not stands in ``open``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Row, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from engine.books.db import Books
from engine.books.definitions import Body, By, Change, Receipt, change
from engine.books.schema import group_members as members
from engine.books.schema import groups
from engine.outcomes import Outcome
from engine.views import Answer

FORMING, FORMED, RELEASED = "forming", "formed", "released"
HELD = "held"


@dataclass(slots=True, frozen=True)
class Group:
    """A group with its members, who came first first."""

    row: Row[Any]
    members: Sequence[Row[Any]]

    def status(self, now: int) -> str:
        """forming | formed | released, by the clock."""
        late = self.row.state == FORMING and now >= self.row.expires_ms
        return RELEASED if late else str(self.row.state)

    def member(self, user_id: str) -> Row[Any] | None:
        """Their place in it."""
        return next((one for one in self.members if one.user_id == user_id), None)

    def closed(self, now: int) -> Outcome | None:
        """Why nobody else can join; None = somebody can."""
        if self.status(now) == RELEASED:
            return Outcome.ORDER_EXPIRED
        return Outcome.SOLD_OUT if self.row.joined >= self.row.size else None


async def read(books: Books, tenant: str, group_id: str) -> Group | None:
    """One group; None when there is none."""
    async with books.connect() as connection:
        return await _find(connection, tenant, group_id)


async def elsewhere(
    books: Books, tenant: str, campaign_id: str, user_id: str, now: int, but: str = ""
) -> bool:
    """Whether this person waits in another group of the campaign."""
    async with books.connect() as connection:
        return await _elsewhere(connection, tenant, campaign_id, user_id, now, but)


async def enter(
    books: Books,
    tenant: str,
    by: By,
    receipt: Receipt,
    group: Body,
    user_id: str,
    order_id: str,
) -> Answer[Body]:
    """A person comes in with the order that is their place; the first makes the group.

    ``group``: the columns it is made with. SOLD_OUT when all places are taken, ORDER_EXPIRED when
    its time is over, USER_LIMIT when they wait in another one.
    """

    async def work(doing: Change) -> Body:
        connection, now, group_id = doing.connection, by.at, group["id"]
        doing.changed = True
        found = await _find(connection, tenant, group_id)
        if found is None:
            new = {**group, "tenant": tenant, "joined": 0, "state": FORMING, "open": 1}
            await connection.execute(groups.insert(), new)
            found = await _find(connection, tenant, group_id)
            assert found is not None
        known = found.member(user_id)
        if known is not None:
            return _told(found.row, found.row.joined, known.order_id)
        if closed := found.closed(now):
            doing.refuse(closed)
        if await _elsewhere(connection, tenant, found.row.campaign_id, user_id, now, group_id):
            doing.refuse(Outcome.USER_LIMIT)
        joined = found.row.joined + 1
        state = FORMED if joined == found.row.size else FORMING
        taken = await connection.execute(
            update(groups)
            .where(*_is(tenant, group_id), groups.c.state == FORMING)
            .where(groups.c.joined == joined - 1)
            .values(joined=joined, state=state, clock_ms=group["clock_ms"])
        )
        if taken.rowcount != 1:
            doing.refuse(Outcome.ORDER_EXPIRED)
        row = {
            "tenant": tenant, "group_id": group_id, "user_id": user_id, "order_id": order_id,
            "campaign_id": found.row.campaign_id, "joined_ms": now, "n": joined, "state": HELD,
            "why": "",
        }  # fmt: skip
        await connection.execute(members.insert(), row)
        return _told(found.row, joined, order_id)

    return await change(books, tenant, by, work, receipt=receipt, defines=False)


def _told(row: Row[Any], joined: int, order_id: str) -> Body:
    return {
        "id": row.id,
        "campaign_id": row.campaign_id,
        "size": row.size,
        "joined": joined,
        "status": FORMED if joined == row.size else FORMING,
        "expires_ms": row.expires_ms,
        "order_id": order_id,
    }


async def due(books: Books, tenant: str, now: int, most: int) -> list[str]:
    """Groups that have formed or run out of time, and are not done with; not a rehearsal's."""
    g = groups.c
    over = (g.state == FORMED) | ((g.expires_ms <= now) & (g.clock_ms == 0))
    query = select(g.id).where(g.tenant == tenant, g.open == 1, over | (g.state == RELEASED))
    async with books.connect() as connection:
        return list(await connection.scalars(query.order_by(g.expires_ms).limit(most)))


async def release(books: Books, tenant: str, group_id: str, now: int) -> None:
    """It did not form in time."""
    async with books.begin() as connection:
        await connection.execute(
            update(groups)
            .where(*_is(tenant, group_id), groups.c.state == FORMING, groups.c.expires_ms <= now)
            .values(state=RELEASED)
        )


async def member_is(
    books: Books, tenant: str, group_id: str, user_id: str, state: str, why: str = ""
) -> None:
    """What has become of a member's place."""
    m = members.c
    async with books.begin() as connection:
        await connection.execute(
            update(members)
            .where(m.tenant == tenant, m.group_id == group_id, m.user_id == user_id)
            .values(state=state, why=why)
        )


async def done(books: Books, tenant: str, group_id: str) -> None:
    """Nothing is left to be done for it."""
    async with books.begin() as connection:
        await connection.execute(update(groups).where(*_is(tenant, group_id)).values(open=0))


async def _find(connection: AsyncConnection, tenant: str, group_id: str) -> Group | None:
    row = (await connection.execute(select(groups).where(*_is(tenant, group_id)))).first()
    if row is None:
        return None
    m = members.c
    query = select(members).where(m.tenant == tenant, m.group_id == group_id).order_by(m.n)
    return Group(row, (await connection.execute(query)).all())


async def _elsewhere(
    connection: AsyncConnection, tenant: str, campaign_id: str, user_id: str, now: int, but: str
) -> bool:
    m, g = members.c, groups.c
    query = (
        select(g.id)
        .join(members, (m.tenant == g.tenant) & (m.group_id == g.id))
        .where(m.tenant == tenant, m.user_id == user_id, m.campaign_id == campaign_id)
        .where(g.state == FORMING, g.expires_ms > now, g.id != but)
    )
    return (await connection.execute(query.limit(1))).first() is not None


def _is(tenant: str, group_id: str) -> tuple[Any, Any]:
    return groups.c.tenant == tenant, groups.c.id == group_id
