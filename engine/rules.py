"""The rules of using coupons, in Python: what quotes answer with and the search stands on.

CONTRACT.md section 4, "The arithmetic". The decision itself is taken by the same rules in Lua
(``engine/lua/lib/stacking.lua``, ``calendar.lua``; the arithmetic itself: ``engine.arithmetic``);
a property test holds the two together to the fen. Money is fen, times are Unix ms.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from datetime import date

from engine import tenders
from engine.arithmetic import Basket, Effect, Fee, Return, effect_of, reverse, stands_alone
from engine.outcomes import Outcome
from engine.records import CouponRecord, CouponState, Line, LineShare, Terms
from engine.tenders import STORED_VALUE, Paid, Purse

__all__ = [
    "Applied", "Candidate", "Judgement", "Return", "Room", "Scene", "Skipped", "alone", "calendar",
    "fits", "is_open", "judge", "least", "part", "parts", "reverse",
]  # fmt: skip

DAY_MS = 86_400_000
MAX_COUPONS = 12
# Order of application by benefit; an exchange touches no basket. Then what pays what is left.
# On a parking fee minutes go before all that takes off an amount.
RANK = {
    "parking_minutes": -1, "gift": 0, "fixed_price": 1, "percent_off": 2, "amount_off": 3,
    "parking_free": 4, "exchange": 9, "admission": 9, STORED_VALUE: 10,
}  # fmt: skip
_EPOCH_ORDINAL = date(1970, 1, 1).toordinal()


@dataclass(slots=True)
class Room:
    """What a campaign still takes today; shared by its coupons, and used up as they are judged."""

    budget: int | None = None  # fen; None = unlimited
    used: int = 0  # uses of the day so far
    used_here: int = 0  # and of the day in this store


@dataclass(slots=True, frozen=True)
class Candidate:
    """One coupon as presented: its record, its terms as issued, how it was shown."""

    id: str
    record: CouponRecord
    terms: Terms
    campaign_status: str = "active"
    step: int = 0  # full step of a rotating code; 0 = named by id or static code
    stale: bool = False  # an authentic code that is too old
    own_hold: bool = False  # held by the hold that this act replaces
    room: Room | None = None  # None: its campaign has no limits
    day_limit: int = -1  # the cell's part of usage.per_day; -1 = unlimited
    store_limit: int = -1  # of usage.per_store_per_day

    @property
    def valid_until(self) -> int | None:
        """When it ends (ms); None = never."""
        record = self.record
        return record.issued + record.valid_until if record.valid_until > 0 else None

    @property
    def tender(self) -> bool:
        """Whether it pays rather than takes off."""
        return self.terms.benefit == STORED_VALUE


@dataclass(slots=True, frozen=True)
class Scene:
    """Where and when coupons are presented, and by whom."""

    now: int
    offset: int  # the tenant's distance from UTC then, ms
    store_id: str
    channel: str
    payable_floor: int = 0
    store_closed: bool = False
    user_frozen: bool = False
    member_stale: bool = False
    member_used: bool = False  # the member code's step is spent
    replaced: str = ""  # serial of the hold that this act takes the place of
    fee: Fee | None = None  # of a parking payment: its only line is a parking fee


@dataclass(slots=True, frozen=True)
class Applied:
    """A coupon that applies, with what it takes off each line (index from 0, more than 0)."""

    id: str
    discount: int
    value: int  # an exchange's or admission's worth at settlement, 0 else
    shares: list[LineShare]
    uses_left: int = 0  # of a pass


@dataclass(slots=True, frozen=True)
class Skipped:
    """A coupon that does not apply; ``short_by`` fen (min_spend) or units (min_quantity).

    ``id`` "": the points that were asked for.
    """

    id: str
    outcome: Outcome
    short_by: int = 0


@dataclass(slots=True, frozen=True)
class Judgement:
    """All in order of application; ``running`` = what is to pay of each line, tenders paid."""

    applied: list[Applied]
    skipped: list[Skipped]
    running: list[int]
    tenders: list[Paid] = field(default_factory=list)

    @property
    def discount(self) -> int:
        return sum(coupon.discount for coupon in self.applied)

    @property
    def tendered(self) -> int:
        return sum(tender.amount for tender in self.tenders)


# ---- the calendar ------------------------------------------------------------------------------


def calendar(now: int, offset: int) -> tuple[int, int, int]:
    """(day, week, month) as numbers, local: days since 1970-01-01, weeks from Monday, months.

    ``month`` = year * 12 + month - 1.
    """
    day = (now + offset) // DAY_MS
    local = date.fromordinal(_EPOCH_ORDINAL + day)
    return day, (day + 3) // 7, local.year * 12 + local.month - 1


def is_open(
    weekdays: Sequence[int] | None,
    hours: Sequence[tuple[int, int]] | None,
    now: int,
    offset: int,
) -> bool:
    """Whether a moment lies in the weekdays (1 = Monday) and hours ((from, to) in minutes).

    A range whose end is not after its start crosses midnight and belongs to the day it began on.
    """
    day, rest = divmod(now + offset, DAY_MS)
    minute = rest // 60_000

    def on(number: int) -> bool:
        return weekdays is None or (number + 3) % 7 + 1 in weekdays  # day 0 was a Thursday

    if hours is None:
        return on(day)
    for start, end in hours:
        if start < end:
            if start <= minute < end and on(day):
                return True
        elif (minute >= start and on(day)) or (minute < end and on(day - 1)):
            return True
    return False


# ---- several coupons ---------------------------------------------------------------------------


def _order(candidate: Candidate) -> tuple[int, int, int, int, str]:
    end = candidate.valid_until
    terms = candidate.terms
    return RANK[terms.benefit], terms.order, end is None, end or 0, candidate.id


def _state(candidate: Candidate, scene: Scene) -> Outcome:
    """The first reason, in the contract's order, why this coupon can't be used here and now."""
    record, terms = candidate.record, candidate.terms
    now, end = scene.now, candidate.valid_until
    if candidate.stale or scene.member_stale:
        return Outcome.CODE_EXPIRED
    if candidate.campaign_status == "frozen":
        return Outcome.CAMPAIGN_FROZEN
    if scene.user_frozen:
        return Outcome.USER_FROZEN
    if record.state == CouponState.REDEEMED:
        return Outcome.ALREADY_REDEEMED
    if _held(candidate, scene):
        return Outcome.HELD
    if 0 < candidate.step <= record.step or scene.member_used:
        return Outcome.CODE_USED
    if record.state == CouponState.VOIDED:
        return Outcome.VOIDED
    if record.state == CouponState.REFUNDED:
        return Outcome.REFUNDED
    if record.state == CouponState.TRANSFERRED:
        return Outcome.TRANSFERRED
    if end is not None and now >= end:
        return Outcome.EXPIRED
    if now < record.issued + record.valid_from:
        return Outcome.NOT_YET_VALID
    if scene.store_closed or not _allowed(terms.stores, scene.store_id):
        return Outcome.STORE_NOT_ALLOWED
    if not _allowed(terms.channels, scene.channel):
        return Outcome.CHANNEL_NOT_ALLOWED
    if not is_open(terms.weekdays, terms.hours, now, scene.offset):
        return Outcome.OUTSIDE_HOURS
    return Outcome.DONE


def _held(candidate: Candidate, scene: Scene) -> bool:
    """Whether open holds leave nothing of it to use."""
    record = candidate.record
    if tenders.many(candidate.terms):
        uses, money = tenders.left(record, candidate.terms, scene.now, scene.replaced)
        return (money if candidate.tender else uses) <= 0
    held = record.state == CouponState.HELD and scene.now < record.held_until
    return held and not candidate.own_hold


def _person(scene: Scene) -> Outcome:
    """Whether anything of this person can be used here now, whichever coupon it is."""
    if scene.member_stale:
        return Outcome.CODE_EXPIRED
    if scene.user_frozen:
        return Outcome.USER_FROZEN
    if scene.member_used:
        return Outcome.CODE_USED
    return Outcome.STORE_NOT_ALLOWED if scene.store_closed else Outcome.DONE


def _allowed(values: Sequence[str] | None, value: str) -> bool:
    return values is None or value in values


def least(limits: Sequence[int]) -> int | None:
    """The smallest limit named; None when all are unlimited (-1)."""
    return min((limit for limit in limits if limit >= 0), default=None)


def parts(one: Terms, other: Terms) -> bool:
    """Whether their classes keep two coupons apart: exclusive stands alone, save beside always."""
    classes = {one.stacking, other.stacking}
    return "exclusive" in classes and "always" not in classes


def _joins(candidate: Candidate, accepted: Sequence[Candidate], most: int = MAX_COUPONS) -> Outcome:
    """Whether one more may join those accepted."""
    terms = candidate.terms
    others = [] if candidate.tender else [other for other in accepted if not other.tender]
    if any(parts(terms, other.terms) for other in others):  # money stands beside every class
        return Outcome.STACKING_CONFLICT
    if terms.group:
        group = [c.terms.group_limit for c in accepted if c.terms.group == terms.group]
        limit = least([*group, terms.group_limit])
        if limit is not None and len(group) + 1 > limit:
            return Outcome.GROUP_LIMIT
    campaign = [
        c.terms.per_redemption
        for c in accepted
        if c.record.campaign_id == candidate.record.campaign_id
    ]
    limit = least([*campaign, terms.per_redemption])
    if limit is not None and len(campaign) + 1 > limit:
        return Outcome.CAMPAIGN_LIMIT
    return Outcome.TOO_MANY_COUPONS if len(accepted) >= most else Outcome.DONE


def part(limit: int, cell: int, cells: int, window: int) -> int:
    """A cell's part of a limit in one window (a day); -1 = unlimited. The remainder goes round."""
    if limit < 0 or cells == 1:
        return limit
    return limit // cells + ((cell + window) % cells < limit % cells)


def fits(candidate: Candidate, cost: int) -> Outcome:
    """Whether its campaign's budget (``cost``: fen) and uses a day have room for it, else why."""
    room = candidate.room
    if room is None:
        return Outcome.DONE
    if 0 <= candidate.day_limit <= room.used:
        return Outcome.CAMPAIGN_DAY_LIMIT
    if 0 <= candidate.store_limit <= room.used_here:
        return Outcome.STORE_LIMIT
    if room.budget is not None and cost > room.budget:
        return Outcome.BUDGET_EXHAUSTED
    return Outcome.DONE


def _occupy(candidate: Candidate, cost: int) -> None:
    room = candidate.room
    if room is not None:
        room.used += candidate.day_limit >= 0
        room.used_here += candidate.store_limit >= 0
        if room.budget is not None:
            room.budget -= cost


def _judge_one(
    candidate: Candidate, basket: Basket, accepted: Sequence[Candidate], scene: Scene
) -> Effect:
    outcome = _state(candidate, scene)
    if outcome is not Outcome.DONE:
        return Effect(outcome)
    balance = 0
    if candidate.tender:
        balance = tenders.left(candidate.record, candidate.terms, scene.now, scene.replaced)[1]
    effect = effect_of(basket, candidate.terms, balance)
    if effect.outcome is not Outcome.DONE:
        return effect
    outcome = _joins(candidate, accepted, scene.fee.most_coupons if scene.fee else MAX_COUPONS)
    if outcome is Outcome.DONE:
        outcome = fits(candidate, _cost(candidate, effect))
    something = effect.discount or stands_alone(candidate.terms.benefit)
    if outcome is Outcome.DONE and not something and not _given_untold(candidate, basket):
        outcome = Outcome.NO_EFFECT
    return effect if outcome is Outcome.DONE else Effect(outcome)


def _cost(candidate: Candidate, effect: Effect) -> int:
    """What it costs its campaign's budget: that limits what is taken off, not what is paid."""
    return 0 if candidate.tender else effect.discount + candidate.terms.value


def _given_untold(candidate: Candidate, basket: Basket) -> bool:
    """Minutes are given though nobody knows yet what they are worth: the tariff is not told."""
    if candidate.terms.benefit != "parking_minutes" or basket.fee is None:
        return False
    return basket.fee.worth is None and basket.minutes_of(candidate.terms) > 0


def alone(
    candidates: Sequence[Candidate], lines: Sequence[Line], scene: Scene
) -> list[tuple[Candidate, Effect]]:
    """What each coupon would do by itself, in order of application."""
    basket = Basket(lines, scene.payable_floor, scene.fee)
    found = []
    for candidate in sorted(candidates, key=_order):
        if RANK[candidate.terms.benefit] >= 0:
            basket.settle_amounts()
        found.append((candidate, _judge_one(candidate, basket, (), scene)))
    return found


def judge(
    candidates: Sequence[Candidate],
    lines: Sequence[Line],
    scene: Scene,
    chosen: Collection[str] | None = None,
    purse: Purse | None = None,
) -> Judgement:
    """Judge coupons of one wallet on one basket; the order they are given in does not matter.

    Each is judged in order of application on what the ones before it left; a refused one counts
    as not sent. Under policy "all" one refusal refuses the whole, with the code of ``skipped[0]``.
    ``chosen``: only these are used, the rest is told why not (``engine.best.best`` says how).
    ``purse``: the points that pay what coupons and stored value leave, last.
    """
    basket = Basket(lines, scene.payable_floor, scene.fee)
    rooms: dict[int, Room] = {}  # as they are used up; those handed in are not changed
    accepted: list[Candidate] = []
    applied: list[Applied] = []
    paid: list[Paid] = []
    skipped: list[Skipped] = []
    for given in sorted(candidates, key=_order):
        candidate = given
        if given.room is not None:
            room = rooms.setdefault(id(given.room), replace(given.room))
            candidate = replace(given, room=room)
        if RANK[candidate.terms.benefit] >= 0:
            basket.settle_amounts()
        effect = _judge_one(candidate, basket, accepted, scene)
        if effect.outcome is Outcome.DONE and chosen is not None and candidate.id not in chosen:
            outcome = _joins(candidate, [c for c in candidates if c.id in chosen])
            effect = Effect(outcome if outcome is not Outcome.DONE else Outcome.NO_EFFECT)
        if effect.outcome is not Outcome.DONE:
            skipped.append(Skipped(candidate.id, effect.outcome, effect.short_by))
            continue
        for i, share in zip(effect.lines, effect.shares, strict=True):
            basket.running[i] -= share
        if effect.free is not None:
            basket.paying[effect.free] -= 1
        if candidate.terms.benefit == "parking_minutes":
            basket.taken += basket.minutes_of(candidate.terms)
        accepted.append(candidate)
        _occupy(candidate, _cost(candidate, effect))
        shares = [
            LineShare(i, share)
            for i, share in zip(effect.lines, effect.shares, strict=True)
            if share
        ]
        uses, money = tenders.left(candidate.record, candidate.terms, scene.now, scene.replaced)
        if candidate.tender:
            amount = effect.discount
            paid.append(Paid(candidate.id, amount, 0, money - amount, shares))
            continue
        value = candidate.terms.value if stands_alone(candidate.terms.benefit) else 0
        left = uses - 1 if tenders.many(candidate.terms) else 0
        applied.append(Applied(candidate.id, effect.discount, value, shares, left))
    basket.settle_amounts()
    if purse is not None:
        refused = _pay_with_points(purse, basket, scene, paid)
        skipped += [refused] if refused else []
    return Judgement(applied, skipped, basket.running, paid)


def _pay_with_points(
    purse: Purse, basket: Basket, scene: Scene, paid: list[Paid]
) -> Skipped | None:
    """Add what points pay, or say why they do not; nobody asked who left the number open."""
    outcome, short = _person(scene), 0
    tender = None
    if outcome is Outcome.DONE:
        outcome, short, tender = tenders.pay_with_points(purse, basket.running)
    if tender is None:
        return None if purse.asked < 0 else Skipped("", outcome, short)
    for share in tender.shares:
        basket.running[share.line] -= share.discount
    paid.append(tender)
    return None
