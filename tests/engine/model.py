"""The rules of one mall as a plain model: no Redis, no batches, no records, only what is meant.

Coupons take a fixed amount off a basket of one line; that keeps the arithmetic out of it.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from engine.outcomes import Outcome

DAY_MS = 86_400_000
OFFSET = 8 * 3_600_000


@dataclass
class Campaign:
    """What is given out; None = unlimited."""

    id: str
    amount: int
    total: int | None = None
    per_user: int | None = None
    per_day: int | None = None
    min_spend: int = 0
    minutes: int = 60
    status: str = "active"
    issued: int = 0
    redeemed: int = 0


@dataclass
class Coupon:
    """One issued coupon. ``held_until`` counts while ``state`` is held."""

    id: str
    user: str
    campaign: Campaign
    issued: int
    ends: int
    state: str = "issued"
    redemption: str = ""
    held_until: int = 0

    def is_held(self, now: int) -> bool:
        return self.state == "held" and now < self.held_until

    def status(self, now: int) -> str:
        if self.state in ("redeemed", "voided"):
            return self.state
        if self.is_held(now):
            return "held"
        return "expired" if now >= self.ends else "issued"


@dataclass
class Redemption:
    """A redemption or a hold."""

    id: str
    user: str
    store: str
    order: str
    amount: int
    discounts: dict[str, int]
    state: str
    until: int = 0
    returned: int = 0
    back: int = 0


@dataclass
class Model:
    """Everything of a mall. Each act says what it must answer, and does it if that is DONE."""

    campaigns: dict[str, Campaign]
    now: int
    frozen: set[str] = field(default_factory=set)
    coupons: dict[str, Coupon] = field(default_factory=dict)
    redemptions: dict[str, Redemption] = field(default_factory=dict)

    # ---- giving out ---------------------------------------------------------------------------

    def may_claim(self, user: str, campaign: Campaign) -> Outcome:
        mine = [c for c in self.coupons.values() if (c.user, c.campaign) == (user, campaign)]
        day = (self.now + OFFSET) // DAY_MS
        today = [c for c in mine if (c.issued + OFFSET) // DAY_MS == day]
        if campaign.status == "frozen":
            return Outcome.CAMPAIGN_FROZEN
        if campaign.status == "paused":
            return Outcome.CAMPAIGN_PAUSED
        if user in self.frozen:
            return Outcome.USER_FROZEN
        if campaign.per_user is not None and len(mine) >= campaign.per_user:
            return Outcome.USER_LIMIT
        if campaign.per_day is not None and len(today) >= campaign.per_day:
            return Outcome.USER_DAY_LIMIT
        if campaign.total is not None and campaign.issued >= campaign.total:
            return Outcome.SOLD_OUT
        return Outcome.DONE

    def claimed(self, user: str, campaign: Campaign, ident: str) -> None:
        campaign.issued += 1
        ends = self.now + campaign.minutes * 60_000
        self.coupons[ident] = Coupon(ident, user, campaign, self.now, ends)

    # ---- taking back --------------------------------------------------------------------------

    def open_hold(self, user: str, store: str, order: str) -> Redemption | None:
        """The hold that a new one of this order would take the place of."""
        found = [
            r for r in self.redemptions.values()
            if order and (r.user, r.store, r.order) == (user, store, order) and self.is_open(r)
        ]
        assert len(found) <= 1
        return found[0] if found else None

    def is_open(self, redemption: Redemption) -> bool:
        return redemption.state == "held" and self.now < redemption.until

    def judge(
        self, user: str, ids: list[str], amount: int, replaced: Redemption | None
    ) -> tuple[Outcome, dict[str, int]]:
        """(the first refusal in order of application or DONE, what each takes off)."""
        refused: list[Outcome] = []
        discounts: dict[str, int] = {}
        running, seen = amount, set[str]()
        for coupon in sorted((self.coupons[i] for i in ids), key=lambda c: (c.ends, c.id)):
            outcome = self._state(user, coupon, replaced)
            if outcome is Outcome.DONE and amount < coupon.campaign.min_spend:
                outcome = Outcome.MIN_SPEND
            if outcome is Outcome.DONE and coupon.campaign.id in seen:
                outcome = Outcome.CAMPAIGN_LIMIT
            discount = min(coupon.campaign.amount, running)
            if outcome is Outcome.DONE and not discount:
                outcome = Outcome.NO_EFFECT
            if outcome is not Outcome.DONE:
                refused.append(outcome)
                continue
            running -= discount
            seen.add(coupon.campaign.id)
            discounts[coupon.id] = discount
        return (refused[0] if refused else Outcome.DONE), discounts

    def _state(self, user: str, coupon: Coupon, replaced: Redemption | None) -> Outcome:
        if coupon.campaign.status == "frozen":
            return Outcome.CAMPAIGN_FROZEN
        if user in self.frozen:
            return Outcome.USER_FROZEN
        if coupon.state == "redeemed":
            return Outcome.ALREADY_REDEEMED
        if coupon.is_held(self.now) and not (replaced and coupon.redemption == replaced.id):
            return Outcome.HELD
        if coupon.state == "voided":
            return Outcome.VOIDED
        if self.now >= coupon.ends:
            return Outcome.EXPIRED
        return Outcome.DONE

    def redeemed(self, made: Redemption, replaced: Redemption | None) -> None:
        if replaced:
            self.freed(replaced, "released")
        self.redemptions[made.id] = made
        for ident in made.discounts:
            coupon = self.coupons[ident]
            coupon.state, coupon.redemption = made.state, made.id
            coupon.held_until = made.until
            if made.state == "redeemed":
                coupon.campaign.redeemed += 1

    def may_finish(self, redemption: Redemption) -> Outcome:
        if self.is_open(redemption):
            return Outcome.DONE
        return {
            "redeemed": Outcome.ALREADY_REDEEMED,
            "reversed": Outcome.ALREADY_REVERSED,
            "released": Outcome.HOLD_RELEASED,
        }.get(redemption.state, Outcome.HOLD_EXPIRED)

    def committed(self, redemption: Redemption) -> None:
        redemption.state = "redeemed"
        for ident in redemption.discounts:
            self.coupons[ident].state = "redeemed"
            self.coupons[ident].campaign.redeemed += 1

    def freed(self, redemption: Redemption, state: str) -> None:
        """A hold has ended unused."""
        redemption.state = state
        for ident in redemption.discounts:
            coupon = self.coupons[ident]
            if coupon.redemption == redemption.id and coupon.state == "held":
                coupon.state, coupon.redemption = "issued", ""

    def may_reverse(self, redemption: Redemption, goods: int | None) -> Outcome:
        if redemption.state == "reversed":
            return Outcome.ALREADY_REVERSED
        if redemption.state != "redeemed":
            return Outcome.NOTHING_TO_REVERSE
        if goods is not None and goods > redemption.amount - redemption.returned:
            return Outcome.MORE_THAN_REDEEMED
        return Outcome.NOTHING_TO_REVERSE if goods == 0 else Outcome.DONE

    def reversed(self, redemption: Redemption, goods: int | None, restore: bool) -> None:
        redemption.returned += redemption.amount - redemption.returned if goods is None else goods
        if redemption.returned < redemption.amount:
            return
        redemption.state = "reversed"
        if restore:
            for ident in redemption.discounts:
                coupon = self.coupons[ident]
                coupon.state, coupon.redemption = "issued", ""
                coupon.campaign.redeemed -= 1

    def may_void(self, coupon: Coupon) -> Outcome:
        if coupon.state == "redeemed":
            return Outcome.ALREADY_REDEEMED
        if coupon.is_held(self.now):
            return Outcome.HELD
        if coupon.state == "voided":
            return Outcome.VOIDED
        return Outcome.EXPIRED if self.now >= coupon.ends else Outcome.DONE
