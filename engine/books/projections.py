"""What new facts change in the books: a ``Plan`` collects it, ``Plan.write`` writes it at once.

The facts of a batch are folded in their order, so each row is written once with what it ends as.
Every row carries the ``version`` of the fact that wrote it last and only moves forward.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

import msgspec

from engine import facts
from engine.books import ledger, schema
from engine.books.arrivals import Arrival, Position
from engine.books.bulk import Row, Rows
from engine.books.claim_runs import Runs
from engine.books.fact_body import body_of
from engine.books.ledger import LedgerError, Original
from engine.books.projections_checkins import CheckInsPlan
from engine.books.projections_orders import OrdersPlan, OrderTold, RefundTold
from engine.books.projections_parking import ParkingPlan, ParkingTold
from engine.books.projections_points import PointsPlan, Told
from engine.books.projections_sql import (
    COUPONS_FREE,
    COUPONS_SET,
    COUPONS_USE,
    MEMBERS_PUT,
    PARTS_BACK,
    PARTS_DROP,
    REDEMPTIONS_BACK,
    REDEMPTIONS_DROP,
    REDEMPTIONS_RELEASE,
    STOCK_MOVES_PUT,
    USERS_PUT,
)
from engine.books.projections_sql import FACTS_NEW as FACTS_NEW
from engine.books.projections_waiting import WaitingPlan
from engine.books.sources import entry_of

_json = msgspec.json.Encoder().encode
_MERCHANT = "merchant:"  # a party's id begins so

Whole = facts.Redeemed | facts.Held | facts.Committed


@dataclass(slots=True)
class Known:
    """What the books hold already of what a batch names."""

    terms_of: ledger.TermsOf
    tiers: Mapping[str, tuple[str, int]]  # user id -> tier, until (ms, 0 = no end)
    originals: Mapping[str, Sequence[Original]]  # redemption id -> its coupons, in order
    bought: Mapping[str, tuple[int, int]] = field(default_factory=dict)  # see OrdersPlan


def version_of(place: Position) -> int:
    """Grows with every act of a cell, even if ``seq`` began anew in an epoch; in the first, seq."""
    return (place.epoch - 1) << 40 | place.seq


def place_of(version: int) -> Position:
    """The place of the fact that has this version."""
    return Position((version >> 40) + 1, version & (1 << 40) - 1)


def _text(value: object) -> str:
    return _json(value).decode()


class Plan:
    """The changes of a batch of facts of one cell."""

    def __init__(self, tenant: str, cell: int, currency: str, known: Known) -> None:
        self.tenant = tenant
        self.cell = cell
        self.currency = currency
        self.facts: list[Row] = []
        self.runs: Runs | None = None  # where claims go if not among ``facts``
        self.last_ms = 0
        self._known = known
        self._tiers = dict(known.tiers)
        self._originals = {name: list(parts) for name, parts in known.originals.items()}
        self._users: dict[str, Row] = {}
        self._members: dict[tuple[str, str], Row] = {}
        self._claims: dict[str, Row] = {}
        self._coupons: dict[str, Row] = {}
        self._redemptions: dict[str, Row] = {}
        self._parts: dict[str, list[Row]] = {}
        self._dropped: list[Row] = []
        self._freed: list[Row] = []
        self._back: dict[str, list[int]] = {}
        self._part_back: dict[tuple[str, str], list[int]] = {}
        self._uses: dict[str, Row] = {}
        self._reversals: list[Row] = []
        self._entries: list[Row] = []
        self._postings: list[Row] = []
        self._fundings: list[Row] = []
        self._points = PointsPlan(tenant, cell, currency, self._postings)
        self._orders = OrdersPlan(
            tenant, cell, currency, self._postings, known.bought, known.terms_of
        )
        self._parking = ParkingPlan(tenant, cell)
        self._moves: dict[tuple[str, str, str, int], int] = {}
        self._checkins = CheckInsPlan(tenant, cell)
        self._waiting = WaitingPlan(tenant, cell)

    def add(self, arrival: Arrival, fact: facts.AnyFact) -> None:
        """Take one fact in; LedgerError (and nothing changed) when it cannot be settled."""
        self._ACTS[type(fact)](self, arrival.place, fact)
        if self.runs is not None and type(fact) is facts.Claimed:
            self.runs.add(arrival)
        else:
            self.facts.append((
                self.tenant, self.cell, *arrival.place, facts.type_of(fact), fact.act,
                fact.fingerprint, fact.at, arrival.digest, _text(body_of(fact)),
            ))  # fmt: skip
        self.last_ms = max(self.last_ms, fact.at)

    # ---- one method a fact -------------------------------------------------------------------

    def _claimed(self, place: Position, fact: facts.Claimed) -> None:
        if fact.act in self._claims:
            raise LedgerError(f"{fact.act} was issued twice")
        tier, until = self._tiers.get(fact.user_id, ("", 0))
        if until and fact.at >= until:
            tier = ""
        self._claims[fact.act] = (
            self.tenant, fact.act, self.cell, fact.campaign_id, fact.terms_revision, fact.user_id,
            "issued", fact.at, fact.valid_from, fact.valid_until, fact.channel,
            entry_of(fact.source), tier, fact.source, fact.metadata, None, fact.at,
            version_of(place), 0, 0, fact.order_id, fact.paid, 0, 0, "", 0, version_of(place),
        )  # fmt: skip
        self._orders.sold(place, fact)

    def _profile_told(self, place: Position, fact: facts.ProfileTold) -> None:
        self._tiers[fact.user_id] = fact.tier, fact.tier_until
        self._users[fact.user_id] = (
            fact.user_id, fact.tier, fact.tier_until, fact.frozen, version_of(place)
        )  # fmt: skip

    def _member_told(self, place: Position, fact: facts.MemberTold) -> None:
        self._members[fact.audience_id, fact.user_id] = (
            fact.audience_id, fact.user_id, fact.present, version_of(place)
        )  # fmt: skip

    def _redeemed(self, place: Position, fact: facts.Redeemed) -> None:
        self._refuse_twice(fact)
        paid = self._orders.uses(fact)
        self._settle(place, fact, ledger.redemption_entries(fact, self._known.terms_of, paid))
        self._whole(place, fact, "redeemed", paid=paid)

    def _held(self, place: Position, fact: facts.Held) -> None:
        self._refuse_twice(fact)
        self._whole(place, fact, "held", fact.until)

    def _committed(self, place: Position, fact: facts.Committed) -> None:
        paid = self._orders.uses(fact)
        self._settle(place, fact, ledger.redemption_entries(fact, self._known.terms_of, paid))
        self._dropped.append((fact.act,))
        for coupon_id in fact.freed:
            self._set_coupon(coupon_id, "issued", None, fact.at, place)
        self._whole(place, fact, "redeemed", paid=paid)

    def _released(self, place: Position, fact: facts.Released) -> None:
        self._freed.append((fact.act, fact.at, version_of(place)))

    def _voided(self, place: Position, fact: facts.Voided) -> None:
        self._set_coupon(fact.act, "voided", None, fact.at, place)

    def _gift_told(self, place: Position, fact: facts.Gifted | facts.GiftEnded) -> None:
        if isinstance(fact, facts.Gifted) and fact.held:
            self._set_coupon(fact.act, "held", None, fact.at, place)
        elif isinstance(fact, facts.GiftEnded) and fact.freed:
            self._set_coupon(fact.act, "issued", None, fact.at, place)

    def _given(self, place: Position, fact: facts.Given) -> None:
        self._orders.given(place, fact)
        self._set_coupon(fact.act, "transferred", None, fact.at, place)

    def _received(self, place: Position, fact: facts.Received) -> None:
        """What was paid for it goes along; it is issued, sold and counted as what it was."""
        tier, until = self._tiers.get(fact.user_id, ("", 0))
        self._claims[fact.act] = (
            self.tenant, fact.act, self.cell, fact.campaign_id, fact.terms_revision, fact.user_id,
            "issued", fact.issued, fact.valid_from, fact.valid_until, fact.channel,
            entry_of(fact.source), "" if until and fact.at >= until else tier, fact.source,
            fact.metadata, None, fact.at, version_of(place), fact.used, fact.spent, "", fact.paid,
            self._orders.received(fact), 0, fact.came_from, fact.used, version_of(place),
        )  # fmt: skip

    def _order_told(self, place: Position, fact: OrderTold) -> None:
        self._orders.told(fact, version_of(place))

    def _refund_told(self, place: Position, fact: RefundTold) -> None:
        self._orders.refunded(place, fact, version_of(place))
        state = "refunded"
        if isinstance(fact, facts.RefundFailed):
            state = "voided" if fact.voided else "issued"
        self._set_coupon(fact.act, state, None, fact.at, place)

    def _points_told(self, place: Position, fact: Told) -> None:
        self._points.add(place, fact)

    def _parking_told(self, place: Position, fact: ParkingTold) -> None:
        self._parking.add(place, fact, version_of(place))

    def _stock_moved(self, _place: Position, fact: facts.StockSent | facts.StockReceived) -> None:
        direction = "sent" if isinstance(fact, facts.StockSent) else "received"
        self._moves[fact.what, fact.act, direction, fact.peer] = fact.total

    def _checked(self, _place: Position, fact: facts.Checked) -> None:
        self._checkins.add(fact)

    def _line_told(self, place: Position, fact: facts.LineTold) -> None:
        self._waiting.add(fact, version_of(place))

    def _published(self, _place: Position, _fact: facts.Published | facts.CodesLoaded) -> None:
        """Definitions are born in the books; that one reached a cell changes nothing here."""

    def _reversed(self, place: Position, fact: facts.Reversed) -> None:
        originals = self._originals.get(fact.redemption_id, ())
        if not originals and not fact.lot_id:
            raise LedgerError(f"the books hold no redemption {fact.redemption_id}")
        self._settle(place, fact, ledger.reversal_entries(fact, originals, self._known.terms_of))
        stays = {coupon.coupon_id: 0 for coupon in fact.coupons if coupon.returned}
        cards = {tender.coupon_id: tender for tender in fact.tenders if tender.coupon_id}
        for original in originals:
            name = original.coupon_id
            if name in cards:
                stays[name] = ledger.paid_after(original.paid, cards[name])
            if name in stays:
                self._orders.unused(fact.redemption_id, name, original.paid, stays[name])
        self._originals[fact.redemption_id] = [
            replace(one, paid=stays.get(one.coupon_id, one.paid)) for one in originals
        ]
        back = 0
        for coupon in fact.coupons:
            part = coupon.discount_before - coupon.discount_after
            self._give_back(fact, coupon.coupon_id, part)
            back += part
            if coupon.used >= 0:
                self._use_coupon(coupon.coupon_id, 0, fact.at, place, used=coupon.used)
            elif coupon.returned:
                self._set_coupon(coupon.coupon_id, "issued", None, fact.at, place)
        for number, gone in enumerate(fact.deductions):
            name = ledger.deduction_id(gone.type, number)
            self._give_back(fact, name, gone.before - gone.after)
            back += gone.before - gone.after
        tendered = 0
        for tender in fact.tenders:
            fen = tender.amount_before - tender.amount_after
            points = tender.points_before - tender.points_after
            self._give_back(fact, tender.coupon_id, 0, fen, points)
            tendered += fen
            if tender.coupon_id:
                self._use_coupon(tender.coupon_id, 0, fact.at, place, spent=tender.spent)
            elif points:
                told = fact.redemption_id, points, tender.spent, tender.per_yuan
                self._points.tendered(place, fact, *told)
        refund = fact.payable_before - fact.payable_after
        sums = self._back.setdefault(fact.redemption_id, [0, 0, 0, 0, 0])
        sums[0] += back
        sums[1] += refund
        sums[2:4] = max(sums[2], fact.whole), version_of(place)
        sums[4] += tendered
        lines, coupons = map(body_of, fact.lines), map(body_of, fact.coupons)
        self._reversals.append((
            self.tenant, fact.act, fact.redemption_id, fact.at, fact.store_id,
            fact.gross_before - fact.gross_after, back, refund, fact.reason,
            _text({
                "lines": list(lines), "coupons": list(coupons),
                "tenders": [body_of(tender) for tender in fact.tenders],
                "deductions": [body_of(gone) for gone in fact.deductions],
            }),
        ))  # fmt: skip

    _ACTS: ClassVar[dict[type, Callable[[Plan, Position, Any], None]]] = {
        facts.Claimed: _claimed,
        facts.ProfileTold: _profile_told,
        facts.MemberTold: _member_told,
        facts.Redeemed: _redeemed,
        facts.Held: _held,
        facts.Committed: _committed,
        facts.Released: _released,
        facts.Reversed: _reversed,
        facts.Voided: _voided,
        facts.Published: _published,
        facts.CodesLoaded: _published,
        facts.Ordered: _order_told,
        facts.OrderPaid: _order_told,
        facts.OrderReady: _order_told,
        facts.OrderEnded: _order_told,
        facts.Refunded: _refund_told,
        facts.RefundFailed: _refund_told,
        facts.PointsChanged: _points_told,
        facts.PointsExpired: _points_told,
        facts.Purchased: _points_told,
        facts.PurchaseRefunded: _points_told,
        facts.VehicleTold: _parking_told,
        facts.StayTold: _parking_told,
        facts.Validated: _parking_told,
        facts.StockSent: _stock_moved,
        facts.StockReceived: _stock_moved,
        facts.Gifted: _gift_told,
        facts.GiftEnded: _gift_told,
        facts.Given: _given,
        facts.Received: _received,
        facts.Checked: _checked,
        facts.LineTold: _line_told,
    }

    # ---- shared ------------------------------------------------------------------------------

    def _refuse_twice(self, fact: facts.Redeemed | facts.Held) -> None:
        if fact.act in self._redemptions:
            raise LedgerError(f"{fact.act} was made twice")

    def _set_coupon(
        self, coupon_id: str, state: str, redemption_id: str | None, at: int, place: Position
    ) -> None:
        version = version_of(place)
        claim = self._claims.get(coupon_id)
        if claim is None:
            self._coupons[coupon_id] = coupon_id, state, redemption_id, at, version
        else:
            self._claims[coupon_id] = (
                *claim[:6], state, *claim[7:15], redemption_id, at, version, *claim[18:]
            )  # fmt: skip

    def _use_coupon(
        self, coupon_id: str, done: int, at: int, place: Position, used: int = -1, spent: int = -1
    ) -> None:
        """What is used of a pass, or spent of a stored value, as it stands from now on."""
        state = "redeemed" if done else "issued"
        self._uses[coupon_id] = coupon_id, state, used, spent, at, version_of(place)

    def _give_back(
        self, fact: facts.Reversed, coupon_id: str, discount: int, fen: int = 0, points: int = 0
    ) -> None:
        sums = self._part_back.setdefault((fact.redemption_id, coupon_id), [0, 0, 0])
        for n, more in enumerate((discount, fen, points)):
            sums[n] += more

    def _whole(
        self, place: Position, fact: Whole, state: str, until: int = 0, paid: Sequence[int] = ()
    ) -> None:
        """A redemption as it was made, held or committed; ``paid``: what it uses up of prices."""
        paid = paid or [0] * (len(fact.coupons) + len(fact.tenders))
        weights = [coupon.discount + coupon.value for coupon in fact.coupons]
        sales = ledger.sales_of(fact.payable, weights, len(fact.tenders), fact.deductions)
        replaces = getattr(fact, "replaces", "")
        if replaces:
            self._freed.append((replaces, fact.at, version_of(place)))
        self._redemptions[fact.act] = (
            self.tenant, fact.act, self.cell, state, fact.at, until, fact.user_id, fact.store_id,
            fact.merchant_id, fact.terminal_id, fact.staff_id, fact.channel, fact.order_ref,
            fact.amount, fact.discount, fact.payable, 0, 0,
            _text([body_of(line) for line in fact.lines]), version_of(place),
            sum(tender.amount for tender in fact.tenders), 0, fact.lot_id,
            _text([body_of(d) for d in fact.deductions]), _text(fact.skipped),
        )  # fmt: skip
        self._parts[fact.act] = [
            (
                self.tenant, fact.act, position, used.coupon_id, used.campaign_id,
                used.terms_revision, used.benefit, used.discount, used.value, 0, sales[position],
                _text(used.lines), 0, 0, 0, 0, 0, used.uses, paid[position],
            )
            for position, used in enumerate(fact.coupons)
        ]  # fmt: skip
        self._originals[fact.act] = [
            Original(used.coupon_id, used.campaign_id, used.terms_revision, weight, paid=part)
            for used, weight, part in zip(fact.coupons, weights, paid, strict=False)
        ]
        for used, part in zip(fact.coupons, paid, strict=False):
            self._orders.used(used.coupon_id, part)
            if used.uses == 1:
                self._set_coupon(used.coupon_id, state, fact.act, fact.at, place)
            elif state == "redeemed":
                self._use_coupon(used.coupon_id, used.done, fact.at, place, used=used.used)
        self._tenders(place, fact, state, sales, paid)
        self._deductions(fact, sales)

    def _deductions(self, fact: Whole, sales: Sequence[int]) -> None:
        """What else was taken off a parking fee: parts of it, too."""
        first = len(fact.coupons) + len(fact.tenders)
        for number, d in enumerate(ledger.own_deductions(fact.deductions)):
            name, position = ledger.deduction_id(d.type, number), first + number
            self._parts[fact.act].append((
                self.tenant, fact.act, position, name, "", 0, d.type, d.amount, 0, 0,
                sales[position], _text([(0, d.amount)]), 0, 0, 0, 0, 0, 1, 0,
            ))  # fmt: skip
            self._originals[fact.act].append(Original(name, "", 0, d.amount, d.type))

    def _tenders(
        self, place: Position, fact: Whole, state: str, sales: Sequence[int], paid: Sequence[int]
    ) -> None:
        """What a redemption was paid with: parts of it, too."""
        for position, by in enumerate(fact.tenders, len(fact.coupons)):
            benefit, part = ledger.benefit_of(by.kind), paid[position]
            self._parts[fact.act].append((
                self.tenant, fact.act, position, by.coupon_id, by.campaign_id,
                by.terms_revision, benefit, 0, 0, 0, sales[position], _text(by.lines),
                by.amount, 0, by.points, 0, by.balance, 1, part,
            ))  # fmt: skip
            self._originals[fact.act].append(
                Original(by.coupon_id, by.campaign_id, by.terms_revision, 0, benefit, part)
            )
            if state != "redeemed":
                continue
            if by.coupon_id:
                self._orders.used(by.coupon_id, part)
                self._use_coupon(by.coupon_id, by.done, fact.at, place, spent=by.spent)
            elif by.points:
                told = fact.act, -by.points, by.spent, by.per_yuan
                self._points.tendered(place, fact, *told)

    def _settle(
        self,
        place: Position,
        fact: facts.Redeemed | facts.Committed | facts.Reversed,
        entries: Iterable[ledger.Entry],
    ) -> None:
        """Entries and postings, these without their numbers."""
        redemption = fact.redemption_id if isinstance(fact, facts.Reversed) else fact.act
        for e in entries:
            self._entries.append((
                self.tenant, self.cell, *place, e.position, e.kind, fact.act, redemption,
                e.coupon_id, e.campaign_id, fact.merchant_id, fact.store_id, fact.lot_id,
                fact.order_ref,
                fact.at, e.sales, e.discount, e.prepaid, e.mall_bears, e.merchant_bears,
                e.others_bear, e.stored_value, e.points_value, e.commission, None, 0,
                e.breakage,
            ))  # fmt: skip
            for posting in e.postings:
                if posting.account == "other.subsidy" and posting.party.startswith(_MERCHANT):
                    self._fundings.append((
                        self.tenant, self.cell, *place, e.position,
                        posting.party.removeprefix(_MERCHANT), posting.amount, fact.at, None, 0,
                    ))  # fmt: skip
                self._postings.append((
                    self.cell, *place, e.position, fact.act, fact.at, posting.account,
                    posting.party, posting.amount, self.currency, fact.merchant_id,
                    fact.store_id, e.campaign_id, redemption, e.coupon_id,
                ))  # fmt: skip

    # ---- out ---------------------------------------------------------------------------------

    async def write(self, rows: Rows, next_postings: Callable[[int], Any]) -> None:
        """Everything but the facts. ``await next_postings(n)``: the first of n new numbers."""
        tenant = self.tenant
        await rows.run(USERS_PUT, tenant, list(self._users.values()))
        await rows.run(MEMBERS_PUT, tenant, list(self._members.values()))
        await rows.insert(schema.coupons, list(self._claims.values()))
        await rows.run(REDEMPTIONS_DROP, tenant, self._dropped)
        await rows.run(PARTS_DROP, tenant, self._dropped)
        await rows.insert(schema.redemptions, list(self._redemptions.values()))
        parts = [part for parts in self._parts.values() for part in parts]
        await rows.insert(schema.redemption_coupons, parts)
        await rows.run(COUPONS_SET, tenant, list(self._coupons.values()))
        await rows.run(COUPONS_USE, tenant, list(self._uses.values()))
        # After what was set: a version tells whether a freed coupon has moved on since.
        await rows.run(COUPONS_FREE, tenant, self._freed)
        await rows.run(REDEMPTIONS_RELEASE, tenant, self._freed)
        await rows.run(
            REDEMPTIONS_BACK, tenant, [(name, *sums) for name, sums in self._back.items()]
        )
        await rows.run(PARTS_BACK, tenant, [(*key, *sums) for key, sums in self._part_back.items()])
        await rows.insert(schema.reversals, self._reversals)
        await rows.insert(schema.entries, self._entries)
        await rows.insert(schema.fundings, self._fundings)
        parts_of = (self._points, self._orders, self._parking, self._checkins, self._waiting)
        for plan in parts_of:
            await plan.write(rows)
        moves = [(self.cell, *key, total) for key, total in self._moves.items()]
        await rows.run(STOCK_MOVES_PUT, tenant, moves)
        if self._postings:
            # Last, because until the commit nobody else gets numbers of this tenant.
            first = await next_postings(len(self._postings))
            numbered = [(tenant, n, *row) for n, row in enumerate(self._postings, first)]
            await rows.insert(schema.postings, numbered)
