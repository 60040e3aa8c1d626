"""Invitations and groups: small layers on claims and orders, kept by the books.

What is to be done stands in the books; any process does it, and does it again after a crash: every
act has a key that derives from the invitation or the group (no caller's key has a blank).
"""

from __future__ import annotations

from engine.books import invitations
from engine.books.db import Books
from engine.definitions import BY_INVITATION
from engine.engine import Engine

AT_ONCE = 64
WHO = '{"key":"","label":"engine","role":"engine"}'


async def round(books: Books, engine: Engine) -> bool:  # noqa: A001 - as a job's
    """Do what is to be done for a mall's invitations; False when nothing was."""
    return await reward(books, engine)


async def reward(books: Books, engine: Engine) -> bool:
    """Give friends and inviters what they are due; False when nothing was to be done."""
    tenant = engine.mall.id
    found = await invitations.due(books, tenant, AT_ONCE)
    for friend, invitation in found:
        now = max(friend.clock_ms, friend.met_ms) if friend.clock_ms else 0
        campaign_id, code = invitation.campaign_id, invitation.code
        if await invitations.met(books, tenant, code) >= invitation.needs:
            asked = invitation.inviter, campaign_id, f"inviting {campaign_id}"
            coupon_id, why = await _give(engine, *asked, invitation.inviter, now)
            await invitations.rewarded(books, tenant, code, None, coupon_id, why)
        asked = friend.user_id, invitation.reward_friend, f"invited {campaign_id}"
        coupon_id, why = await _give(engine, *asked, invitation.inviter, now)
        await invitations.rewarded(books, tenant, code, friend.user_id, coupon_id, why)
    return bool(found)


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
