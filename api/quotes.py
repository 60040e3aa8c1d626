"""What a snapshot of a wallet says before an act: coupons judged by the rules, nothing written."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from api import lookups
from api.problems import Refused
from engine.outcomes import Outcome
from engine.records import AppliedCoupon, Line
from engine.rules import Candidate, Judgement, Scene, judge
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


def candidate(wallet: Wallet, coupon_id: str, step: int = 0, stale: bool = False) -> Candidate:
    """One coupon of a snapshot as presented; ``not_found`` when it is not there."""
    record = wallet.coupons.get(coupon_id[-11:])
    if record is None:
        raise Refused(Outcome.NOT_FOUND, coupon_id=coupon_id)
    share = wallet.campaigns.get(record.campaign_id)
    terms = wallet.terms.get((record.campaign_id, record.terms_revision))
    if terms is None:
        raise LookupError(f"no terms {record.terms_revision} of {record.campaign_id} in the cell")
    status = share.issue.status if share else "active"
    return Candidate(coupon_id, record, terms, status, step, stale)


def judged(
    wallet: Wallet,
    coupons: Sequence[tuple[str, int, bool]],
    lines: Sequence[Line],
    scene: Scene,
) -> tuple[Judgement, list[AppliedCoupon]]:
    """The judgement, and what applies as a record would keep it."""
    judgement = judge([candidate(wallet, *item) for item in coupons], lines, scene)
    return judgement, kept(wallet, judgement)


def kept(wallet: Wallet, judgement: Judgement) -> list[AppliedCoupon]:
    """What applies as a record would keep it."""
    used = []
    for item in judgement.applied:
        one = candidate(wallet, item.id)
        used.append(
            AppliedCoupon(
                serial=item.id[-11:],
                campaign_id=one.record.campaign_id,
                terms_revision=one.record.terms_revision,
                benefit=one.terms.benefit,
                value=item.value,
                discount=item.discount,
                lines=item.shares,
                uses_left=0,
                item=one.terms.item,
            )
        )
    return used


def alone(one: Candidate, scene: Scene, *, any_channel: bool = False) -> Outcome:
    """DONE when nothing but a basket keeps this coupon from being used by itself, else why not."""
    if any_channel and one.terms.channels:
        scene = replace(scene, channel=one.terms.channels[0])
    skipped = judge([one], [], scene).skipped
    if not skipped or skipped[0].outcome in ABOUT_THE_BASKET:
        return Outcome.DONE
    return skipped[0].outcome
