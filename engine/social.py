"""Invitations and groups: small layers on claims and orders, kept by the books.

What is to be done stands in the books; any process does it, and does it again after a crash: every
act has a key that derives from the invitation or the group (no caller's key has a blank).
"""

from __future__ import annotations

import itertools
from collections.abc import Awaitable
from typing import Any

import structlog
from sqlalchemy import Row
from sqlalchemy.exc import SQLAlchemyError

from engine.books import groups, invitations
from engine.books.db import Books
from engine.definitions import BY_GROUP, BY_INVITATION
from engine.engine import Engine
from engine.errors import Unavailable
from engine.orders import ENGINE as WHO
from engine.orders import Order
from engine.views import Answer

AT_ONCE = 64
GRACE_SECONDS = 60  # that places outlast their group's time: who comes last is still served
PAY_SECONDS = 900  # that the members of a group have once it has formed
log = structlog.get_logger()


async def round(books: Books, engine: Engine) -> bool:  # noqa: A001 - as a job's
    """Do what is to be done for a mall's invitations and groups; False when nothing was."""
    done = False
    for group_id in await groups.due(books, engine.mall.id, engine.clock(), AT_ONCE):
        done = await _safely(settle(books, engine, group_id), group_id) or done
    for friend, invitation in await invitations.due(books, engine.mall.id, AT_ONCE):
        done = await _safely(_reward(books, engine, friend, invitation), invitation.code) or done
    return done


async def _safely(work: Awaitable[None], what: str) -> bool:
    """Whether it is done; a fault of ours on one of them does not keep the others waiting."""
    try:
        await work
    except (Unavailable, SQLAlchemyError, OSError):
        raise  # later, then
    except Exception:
        log.exception("social_failed", what=what)
        return False
    return True


async def reward(books: Books, engine: Engine, code: str) -> None:
    """Give the friends of an invitation, and who invited them, what they are due by now."""
    for friend, invitation in await invitations.due(books, engine.mall.id, AT_ONCE, code):
        await _reward(books, engine, friend, invitation)


async def _reward(books: Books, engine: Engine, friend: Row[Any], invitation: Row[Any]) -> None:
    """The inviter first: as long as the friend's stands open, both are asked for again."""
    tenant, campaign_id, code = engine.mall.id, invitation.campaign_id, invitation.code
    now = max(friend.clock_ms, friend.met_ms) if friend.clock_ms else 0
    if await invitations.met(books, tenant, code) >= invitation.needs:
        asked = invitation.inviter, campaign_id, f"inviting {campaign_id}"
        coupon_id, why = await _give(engine, *asked, invitation.inviter, now)
        await invitations.rewarded(books, tenant, code, None, coupon_id, why)
    asked = friend.user_id, invitation.reward_friend, f"invited {campaign_id}"
    coupon_id, why = await _give(engine, *asked, invitation.inviter, now)
    await invitations.rewarded(books, tenant, code, friend.user_id, coupon_id, why)


async def _give(
    engine: Engine, user_id: str, campaign_id: str, key: str, inviter: str, now: int
) -> tuple[str, str]:
    """(coupon id, "") or ("", the code of the refusal)."""
    answer = await engine.claim(
        user_id=user_id,
        campaign_id=campaign_id,
        channel=BY_INVITATION,
        key=key,
        who=WHO,
        source={"entry": "invitation", "inviter": inviter},
        now=now,
    )
    if answer.value is None:
        return "", answer.outcome.code
    return answer.value.id, ""


# ---- groups --------------------------------------------------------------------------------------


async def place(
    engine: Engine,
    *,
    group_id: str,
    campaign_id: str,
    user_id: str,
    expires: int,
    who: str,
    now: int,
) -> Answer[Order]:
    """A place in a group: an order of one, held for as long as the group may take.

    Who was in it before and did not stay gets another one.
    """
    seconds = max(0, expires - (now or engine.clock())) // 1000 + GRACE_SECONDS
    for attempt in itertools.count():
        answer = await engine.orders.place(
            user_id=user_id,
            items=[(campaign_id, 1)],
            channel=BY_GROUP,
            key=f"group {group_id} {attempt}",
            who=who,
            hold_seconds=seconds,
            waits=True,
            now=now,
        )
        if answer.value is None or answer.value.status == "pending":
            return answer
    raise AssertionError("there is always another attempt")


async def give_up(engine: Engine, order_id: str, now: int) -> None:
    """A place that led to no membership is free again."""
    await engine.orders.cancel(order_id=order_id, key="group", who=WHO, group=True, now=now)


async def settle(books: Books, engine: Engine, group_id: str, now: int = 0) -> None:
    """Do what is left to do for a group that has formed, or has not in its time.

    Formed: what is free is issued, the rest may be paid. Not formed: every place is free again.
    """
    tenant = engine.mall.id
    await groups.release(books, tenant, group_id, now or engine.clock())
    group = await groups.read(books, tenant, group_id)
    if group is None or not group.row.open or group.row.state == groups.FORMING:
        return
    now = now or group.row.clock_ms
    for member in group.members:
        if member.state != groups.HELD:
            continue
        if group.row.state == groups.RELEASED:
            await give_up(engine, member.order_id, now)
            state, why = groups.RELEASED, ""
        else:
            state, why = await _ready(engine, group_id, member.order_id, now)
        await groups.member_is(books, tenant, group_id, member.user_id, state, why)
    await groups.done(books, tenant, group_id)


async def _ready(engine: Engine, group_id: str, order_id: str, now: int) -> tuple[str, str]:
    """What becomes of a place in a group that has formed: its state, and why it is refused."""
    ready = await engine.orders.ready(order_id=order_id, pay_seconds=PAY_SECONDS, who=WHO, now=now)
    if ready.value is None:
        return "refused", ready.outcome.code
    if ready.value.record.amount:
        return "ready", ""
    paid = await engine.orders.pay(
        order_id=order_id, payment_ref=f"group {group_id}", paid_amount=0, key="group", who=WHO,
        now=now,
    )  # fmt: skip
    return ("issued", "") if paid.value is not None else ("refused", paid.outcome.code)
