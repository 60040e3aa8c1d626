"""The best offer: the set of coupons that takes most off a basket (CONTRACT.md section 4, rule 8).

``fastpath`` searches; the rules say what each coupon is by itself and judge what was found. Only
coupons that take money off are picked: an exchange or an admission is worth nothing to the basket.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

from engine.arithmetic import Basket, Effect
from engine.fastpath import MOST_OFFERS, Offer, search
from engine.outcomes import Outcome
from engine.records import Line, Terms
from engine.rules import Candidate, Judgement, Scene, alone, judge, least, parts
from engine.tenders import Purse

KINDS = {  # as fastpath numbers them
    "gift": 0, "fixed_price": 1, "percent_off": 2, "amount_off": 3, "parking_free": 3,
    "parking_minutes": 6,
}  # fmt: skip
STEPS, EVERY, MINUTES = 4, 5, 6


@dataclass(slots=True, frozen=True)
class Choice:
    """What was picked, and why the rest was not; ``exact``: no permitted set takes off more."""

    judgement: Judgement
    exact: bool

    @property
    def ids(self) -> list[str]:
        """The coupons picked, in order of application; what pays comes last."""
        used = [coupon.id for coupon in self.judgement.applied]
        return used + [tender.id for tender in self.judgement.tenders if tender.id]


def best(
    candidates: Sequence[Candidate],
    lines: Sequence[Line],
    scene: Scene,
    *,
    use: Collection[str] = ("free",),
    purse: Purse | None = None,
) -> Choice:
    """Pick from a wallet the permitted set with the largest discount.

    ``use``: what may be picked: ``free`` coupons, those that were ``bought``, and ``stored_value``
    to pay what they leave, in order of application; ``purse``: points that pay last.

    Ties: less paid for by the customer, fewer coupons, earliest ``valid_until`` (compared in
    ascending order, none last), smallest ids. Exact for up to 12 usable coupons and where dominance
    brings a larger wallet down to 12 (``_without_spares``); else among the 12 most promising, and
    ``exact`` is False.

    A usable coupon that was not picked is skipped with what refuses it beside those that were:
    what ``judge`` says of it in its place among them; else the stacking rule that keeps it and
    them apart; else ``no_effect``: it would not make the discount larger.
    """
    as_given = {candidate.id: candidate for candidate in candidates}
    usable = [
        (as_given[candidate.id], effect)
        for candidate, effect in alone([_rich(c) for c in candidates], lines, scene)
        if candidate.terms.benefit in KINDS and (effect.discount or _later(candidate, effect))
    ]
    usable = [pair for pair in usable if _money_of(pair[0]) in use]
    kept = _without_spares(usable)
    exact = len(kept) <= MOST_OFFERS and _limited_alike(kept)
    if len(kept) > MOST_OFFERS:
        kept = _promising(kept)
    picked = _search(kept, lines, scene)
    cards = {c.id for c in candidates if c.tender} if "stored_value" in use else set()
    judgement = judge(candidates, lines, scene, chosen=picked | cards, purse=purse)
    if len(judgement.applied) < len(picked):  # a rule that the search does not know
        exact = False
    return Choice(judgement, exact)


def _money_of(candidate: Candidate) -> str:
    """Whose money a coupon spends, as ``use`` calls it."""
    return "bought" if candidate.record.paid or candidate.record.points_paid else "free"


def _rich(candidate: Candidate) -> Candidate:
    """As if its campaign's budget were unlimited: after others a coupon may need less of it."""
    room = candidate.room
    if room is None or room.budget is None:
        return candidate
    return replace(candidate, room=replace(room, budget=None))


def _later(candidate: Candidate, effect: Effect) -> bool:
    """Whether a coupon worth nothing by itself may take something off after another one.

    A gift whose cheapest unit costs nothing: when that unit is given away, the next one may cost.
    Minutes that only reach into a unit of parking that others complete.
    """
    later = candidate.terms.benefit in ("gift", "parking_minutes")
    return later and effect.outcome is Outcome.NO_EFFECT


def _limited_alike(usable: Sequence[tuple[Candidate, Effect]]) -> bool:
    """Whether the coupons of each campaign name the same limits a day; else the search is strict.

    It holds all coupons of a campaign to the smallest limit, the rules each to its own revision's.
    """
    named = {(c.record.campaign_id, c.day_limit, c.store_limit) for c, _ in usable}
    return len(named) == len({campaign for campaign, _, _ in named})


def _search(
    usable: Sequence[tuple[Candidate, Effect]], lines: Sequence[Line], scene: Scene
) -> frozenset[str]:
    """The ids of the best set of at most 12."""
    if not usable:
        return frozenset()
    basket = Basket(lines, scene.payable_floor, scene.fee)
    # Off the fee in any case, and the whole is the same whether minutes go before it or after.
    basket.settle_amounts()
    offers = _offers(usable, basket)
    budgets = [-1] * (1 + max(offer.campaign for offer in offers))
    for offer, (candidate, _) in zip(offers, usable, strict=True):
        if candidate.room is not None and candidate.room.budget is not None:
            budgets[offer.campaign] = max(0, candidate.room.budget)
    fee = scene.fee
    parking = (basket.worth_table(), fee.taken, fee.most_coupons) if fee else ()
    costs = list(zip(basket.running, basket.paying, strict=True))
    found = search(costs, scene.payable_floor, offers, budgets, *parking)
    return frozenset(usable[i][0].id for i in found)


def _offers(usable: Sequence[tuple[Candidate, Effect]], basket: Basket) -> list[Offer]:
    """The coupons as numbers."""
    coupons = [candidate for candidate, _ in usable]
    total = sum(basket.running)
    groups = _numbers([c.terms.group for c in coupons if c.terms.group])
    campaigns = _numbers([c.record.campaign_id for c in coupons])
    ends = sorted({_end(c) for c in coupons})
    names = sorted(c.id for c in coupons)
    last = len(coupons) - 1
    return [
        _offer(
            candidate.terms,
            basket,
            total,
            effect.discount,
            bars=sum(
                1 << i for i, other in enumerate(coupons) if parts(candidate.terms, other.terms)
            ),
            group=groups.get(candidate.terms.group, -1),
            campaign=campaigns[candidate.record.campaign_id],
            campaign_limit=_campaign_limit(candidate),
            # Sums of these compare sorted lists of equal length: 4 bits count to 12.
            end=1 << 4 * (last - ends.index(_end(candidate))),
            name=1 << (last - names.index(candidate.id)),
            paid=_paid(candidate),
        )
        for candidate, effect in usable
    ]


def _offer(
    terms: Terms,
    basket: Basket,
    total: int,
    discount: int,
    *,
    bars: int,
    group: int,
    campaign: int,
    campaign_limit: int,
    end: int,
    name: int,
    paid: int,
) -> Offer:
    eligible = basket.eligible(terms)
    gift = terms.benefit == "gift"
    kind = KINDS[terms.benefit]
    minutes = kind == MINUTES
    amount = total if terms.amount < 0 else terms.amount if minutes else min(terms.amount, total)
    if kind == KINDS["amount_off"]:
        kind = EVERY if terms.every > 0 else STEPS if terms.steps else kind
    most = discount
    if gift:  # after another gift the cheapest unit left may cost more than the cheapest does now
        most = min(amount, max(basket.running[i] for i in eligible))
    elif kind == STEPS:  # after others a lower step may be reached, which may be worth more
        most = min(max(off for _, off in terms.steps), total)
    elif minutes:  # after others they may complete a unit, or reach hours that cost more
        most = min(basket.most_worth(amount), total)
    return Offer(
        benefit=kind,
        amount=amount,
        cap=-1 if gift or kind in (1, 3, STEPS, MINUTES) else min(terms.max_amount, total),
        basis_points=terms.basis_points,
        every=terms.every,
        steps=[(least, min(off, total)) for least, off in terms.steps],
        min_spend=terms.min_spend,
        spend_running=terms.min_spend_running,
        base_initial=terms.base_initial,
        initial=basket.initial_of(eligible),
        lines=eligible,
        bars=bars,
        group=group,
        group_limit=terms.group_limit if terms.group else -1,
        campaign=campaign,
        campaign_limit=campaign_limit,
        most=most,
        end=end,
        name=name,
        paid=paid,
    )


def _paid(candidate: Candidate) -> int:
    """What the customer paid for one use of it, in fen."""
    return candidate.record.paid // max(1, candidate.terms.uses)


def _campaign_limit(candidate: Candidate) -> int:
    """How many coupons of its campaign may still be used here and today; -1 = unlimited."""
    limits = [candidate.terms.per_redemption]
    room = candidate.room
    if room is not None:
        if candidate.day_limit >= 0:
            limits.append(max(0, candidate.day_limit - room.used))
        if candidate.store_limit >= 0:
            limits.append(max(0, candidate.store_limit - room.used_here))
    found = least(limits)
    return -1 if found is None else found


def _numbers(names: Sequence[str]) -> dict[str, int]:
    return {name: number for number, name in enumerate(dict.fromkeys(names))}


def _end(candidate: Candidate) -> tuple[bool, int]:
    end = candidate.valid_until
    return end is None, end or 0


# ---- larger wallets ----------------------------------------------------------------------------


def _without_spares(
    usable: Sequence[tuple[Candidate, Effect]],
) -> list[tuple[Candidate, Effect]]:
    """Leave out coupons that others like them dominate.

    Coupons of one campaign under equal terms, bought for as much, that follow each other in the
    order of application are interchangeable, so of each such run the first do, the ones that end
    earliest: as many as one redemption may hold of them.
    """
    kept: list[tuple[Candidate, Effect]] = []
    run: tuple[str, int] | None = None
    alike: Terms | None = None
    length = 0
    for candidate, effect in usable:
        terms, kind = candidate.terms, (candidate.record.campaign_id, candidate.record.paid)
        if kind != run or (terms is not alike and terms != alike):
            run, alike, length = kind, terms, 0
        length += 1
        if length <= _most_of(terms):
            kept.append((candidate, effect))
    return kept


def _most_of(terms: Terms) -> int:
    """How many coupons of these terms one redemption may hold."""
    if terms.stacking == "exclusive":
        return 1
    limits = [terms.per_redemption, terms.group_limit if terms.group else -1, MOST_OFFERS]
    return least(limits) or 0


def _promising(
    usable: Sequence[tuple[Candidate, Effect]],
) -> list[tuple[Candidate, Effect]]:
    """The 12 that take most off by themselves; first those that limits let stand together."""
    order = sorted(range(len(usable)), key=lambda i: (-usable[i][1].discount, i))
    first: list[int] = []
    spare: list[int] = []
    for i in order:
        terms, campaign = usable[i][0].terms, usable[i][0].record.campaign_id
        taken = [usable[n][0] for n in first]
        in_campaign = sum(c.record.campaign_id == campaign for c in taken)
        in_group = sum(c.terms.group == terms.group for c in taken) if terms.group else 0
        alike = max(in_campaign, in_group)
        (first if alike < _most_of(terms) else spare).append(i)
    picked = sorted([*first, *spare][:MOST_OFFERS])
    return [usable[i] for i in picked]
