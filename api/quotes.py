"""What a snapshot of a wallet says before an act: coupons judged by the rules, nothing written."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from api import lookups
from api.problems import Refused
from engine.outcomes import Outcome
from engine.records import AppliedCoupon, Line
from engine.rules import Candidate, Judgement, Room, Scene, calendar, fits, judge, part
from engine.views import Wallet

if TYPE_CHECKING:
    from api.naming import Member
    from api.routes import Call

# What a basket could still change: a coupon refused for these alone is good where it was scanned.
ABOUT_THE_BASKET = frozenset(
    {Outcome.NO_ELIGIBLE_ITEMS, Outcome.MIN_QUANTITY, Outcome.MIN_SPEND, Outcome.NO_EFFECT}
)


async def scene_of(
    call: Call, wallet: Wallet, store_id: str, channel: str | None, member: Member | None = None
) -> Scene:
    """Where and when the coupons of a snapshot are presented; ``not_found`` for no such store."""
    closed = False
    if store_id:
        store = await lookups.store(call.tenant, store_id)
        if store is None:
            raise Refused(Outcome.NOT_FOUND, field="store_id")
        closed = store.closed
    user = wallet.user
    return Scene(
        now=wallet.now,
        offset=call.tenant.engine.offset(wallet.now),
        store_id=store_id,
        channel=channel or "",
        payable_floor=call.tenant.settings.payable_floor,
        store_closed=closed,
        user_frozen=bool(user and user.frozen),
        member_stale=bool(member and member.stale),
        member_used=bool(member and user and 0 < member.step <= user.member_step),
    )


def rooms_of(wallet: Wallet) -> dict[str, Room]:
    """What each campaign of a snapshot still takes, to be shared by its coupons."""
    return {
        name: Room(share.room.budget, share.room.used, share.room.used_here)
        if share.room
        else Room()
        for name, share in wallet.campaigns.items()
    }


def candidate(
    wallet: Wallet,
    scene: Scene,
    coupon_id: str,
    step: int = 0,
    stale: bool = False,
    rooms: dict[str, Room] | None = None,
) -> Candidate:
    """One coupon of a snapshot as presented; ``not_found`` when it is not there."""
    record = wallet.coupons.get(coupon_id[-11:])
    if record is None:
        raise Refused(Outcome.NOT_FOUND, coupon_id=coupon_id)
    share = wallet.campaigns.get(record.campaign_id)
    terms = wallet.terms.get((record.campaign_id, record.terms_revision))
    if terms is None:
        raise LookupError(f"no terms {record.terms_revision} of {record.campaign_id} in the cell")
    if share is None:
        return Candidate(coupon_id, record, terms, "active", step, stale)
    rooms = rooms_of(wallet) if rooms is None else rooms
    day = calendar(scene.now, scene.offset)[0]
    return Candidate(
        coupon_id,
        record,
        terms,
        share.issue.status,
        step,
        stale,
        room=rooms[record.campaign_id],
        day_limit=part(terms.per_day, share.issue.cell, share.issue.cells, day),
        store_limit=part(terms.per_store_per_day, share.issue.cell, share.issue.cells, day),
    )


def judged(
    wallet: Wallet,
    coupons: Sequence[tuple[str, int, bool]],
    lines: Sequence[Line],
    scene: Scene,
) -> tuple[Judgement, list[AppliedCoupon]]:
    """The judgement, and what applies as a record would keep it."""
    rooms = rooms_of(wallet)
    candidates = [candidate(wallet, scene, *item, rooms=rooms) for item in coupons]
    judgement = judge(candidates, lines, scene)
    return judgement, kept(wallet, judgement)


def kept(wallet: Wallet, judgement: Judgement) -> list[AppliedCoupon]:
    """What applies as a record would keep it."""
    used = []
    for item in judgement.applied:
        record = wallet.coupons[item.id[-11:]]
        terms = wallet.terms[record.campaign_id, record.terms_revision]
        used.append(
            AppliedCoupon(
                serial=item.id[-11:],
                campaign_id=record.campaign_id,
                terms_revision=record.terms_revision,
                benefit=terms.benefit,
                value=item.value,
                discount=item.discount,
                lines=item.shares,
                uses_left=0,
                item=terms.item,
            )
        )
    return used


def alone(one: Candidate, scene: Scene, *, any_channel: bool = False) -> Outcome:
    """DONE when nothing but a basket keeps this coupon from being used by itself, else why not."""
    if any_channel and one.terms.channels:
        scene = replace(scene, channel=one.terms.channels[0])
    skipped = judge([one], [], scene).skipped
    if skipped and skipped[0].outcome not in ABOUT_THE_BASKET:
        return skipped[0].outcome
    return fits(one, max(1, one.terms.value))
