"""What a snapshot of a wallet says before an act: coupons judged by the rules, nothing written."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from api import lookups
from api.problems import Refused
from engine import tenders
from engine.definitions import compile_settings
from engine.keys import SERIAL_LENGTH, make_id
from engine.outcomes import Outcome
from engine.records import AppliedCoupon, CouponState, Tender, TenderKind
from engine.rules import Candidate, Judgement, Room, Scene, calendar, fits, judge, part
from engine.tenders import Purse
from engine.views import Redemption, Wallet

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


async def given_up(
    call: Call, wallet: Wallet, store_id: str, order_ref: str | None
) -> Redemption | None:
    """The open hold that a new hold of this store's order would take the place of.

    What it sets aside is as good as free. Looked for among the holds on what the snapshot shows.
    """
    if not order_ref:
        return None
    holders = [
        (record.redemption, record.held_until)
        for record in wallet.coupons.values()
        if record.state == CouponState.HELD
    ]
    holders += [(h.redemption, h.until) for r in wallet.coupons.values() for h in r.holds]
    holders += [(h.serial, h.until) for h in wallet.points.holds] if wallet.points else []
    for serial in sorted({serial for serial, until in holders if wallet.now < until}):
        redemption_id = make_id("R", wallet.handle, serial)
        hold = await call.tenant.engine.redemption(redemption_id, now=call.now)
        if hold and (hold.record.store_id, hold.record.order_ref) == (store_id, order_ref):
            return hold
    return None


def free(rooms: dict[str, Room], hold: Redemption, store_id: str, day: int) -> None:
    """Add to the rooms of campaigns what a hold would give back."""
    record = hold.record
    parts = [
        (c.campaign_id, c.counted, c.value + sum(s.discount - s.back for s in c.lines))
        for c in record.coupons
    ]
    parts += [(t.campaign_id, t.counted, 0) for t in record.tenders if t.serial]
    for campaign_id, counted, cost in parts:
        room = rooms.get(campaign_id)
        if room is None:
            continue
        if room.budget is not None:
            room.budget += cost
        if record.day == day:
            room.used -= counted % 2
            room.used_here -= counted >= 2 and record.store_id == store_id


async def candidates_of(
    call: Call,
    wallet: Wallet,
    coupons: Sequence[tuple[str, int, bool]],
    scene: Scene,
    hold: Redemption | None,
) -> tuple[list[Candidate], Scene]:
    """Coupons of a snapshot as presented, and the scene, where ``hold`` gives way."""
    rooms = rooms_of(wallet)
    if hold is None:
        return [candidate(wallet, scene, *item, rooms=rooms) for item in coupons], scene
    serial = hold.id[-SERIAL_LENGTH:]
    free(rooms, hold, scene.store_id, calendar(scene.now, scene.offset)[0])
    found = [candidate(wallet, scene, *item, rooms=rooms) for item in coupons]
    found = [replace(c, own_hold=c.record.redemption == serial) for c in found]
    return found, replace(scene, replaced=serial)


def purse_of(call: Call, asked: int, wallet: Wallet, scene: Scene) -> Purse | None:
    """The points that may pay; None when none are asked for."""
    if not asked:
        return None
    settings = compile_settings(call.tenant.settings, 0)
    return tenders.purse_of(asked, wallet.points, settings, wallet.now, scene.replaced)


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
                uses_left=item.uses_left,
                item=terms.item,
                uses=terms.uses,
            )
        )
    return used


def paid(wallet: Wallet, judgement: Judgement) -> list[Tender]:
    """What pays, as a record would keep it."""
    return [
        Tender(
            kind=TenderKind.STORED_VALUE if item.id else TenderKind.POINTS,
            serial=item.id[-11:],
            amount=item.amount,
            points=item.points,
            balance=item.balance,
            campaign_id=wallet.coupons[item.id[-11:]].campaign_id if item.id else "",
            lines=item.shares,
        )
        for item in judgement.tenders
    ]


def alone(one: Candidate, scene: Scene, *, any_channel: bool = False) -> Outcome:
    """DONE when nothing but a basket keeps this coupon from being used by itself, else why not."""
    if any_channel and one.terms.channels:
        scene = replace(scene, channel=one.terms.channels[0])
    skipped = judge([one], [], scene).skipped
    if skipped and skipped[0].outcome not in ABOUT_THE_BASKET:
        return skipped[0].outcome
    return fits(one, max(1, one.terms.value))
