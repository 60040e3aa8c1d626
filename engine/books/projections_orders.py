"""What facts about orders and refunds change in the books; a part of ``projections.Plan``.

Money of a bought coupon is followed here: how much of its price its uses have used up.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from engine import facts
from engine.books import prepaid, schema
from engine.books.arrivals import Position
from engine.books.bulk import Bulk, Row, Rows
from engine.books.ledger import Posting, TermsOf

ORDERS_SET = Bulk.of(
    "id text, state text, payment_ref text, paid_ms bigint, version bigint",
    "UPDATE orders SET state = v.state, payment_ref = v.payment_ref, paid_ms = v.paid_ms,"
    " version = v.version FROM v"
    " WHERE orders.tenant = {tenant} AND orders.id = v.id AND orders.version < v.version",
)
CODES_GIVEN = Bulk.of(
    "campaign_id text, code text, coupon_id text",
    "UPDATE pool_codes SET coupon_id = v.coupon_id FROM v"
    " WHERE pool_codes.tenant = {tenant} AND pool_codes.campaign_id = v.campaign_id"
    " AND pool_codes.code = v.code",
)
ORDERS_READY = Bulk.of(
    "id text, until_ms bigint, version bigint",
    "UPDATE orders SET until_ms = v.until_ms, version = v.version FROM v"
    " WHERE orders.tenant = {tenant} AND orders.id = v.id AND orders.version < v.version",
)
REFUNDS_FAIL = Bulk.of(
    "coupon_id text, ref text, failed_ms bigint, version bigint",
    "UPDATE refunds SET failed_ms = v.failed_ms, version = v.version FROM v"
    " WHERE refunds.tenant = {tenant} AND refunds.coupon_id = v.coupon_id AND refunds.ref = v.ref"
    " AND refunds.version < v.version",
)
COUPONS_USED = Bulk.of(
    "id text, paid_used bigint",
    "UPDATE coupons SET paid_used = v.paid_used FROM v"
    " WHERE coupons.tenant = {tenant} AND coupons.id = v.id",
)
COUPONS_RESTOCK = Bulk.of(
    "id text, restocked bigint",
    "UPDATE coupons SET restocked = v.restocked FROM v"
    " WHERE coupons.tenant = {tenant} AND coupons.id = v.id",
)
PARTS_UNPAID = Bulk.of(
    "redemption_id text, coupon_id text, paid bigint",
    "UPDATE redemption_coupons SET paid = v.paid FROM v"
    " WHERE redemption_coupons.tenant = {tenant}"
    " AND redemption_coupons.redemption_id = v.redemption_id"
    " AND redemption_coupons.coupon_id = v.coupon_id",
)

OrderTold = facts.Ordered | facts.OrderReady | facts.OrderPaid | facts.OrderEnded
RefundTold = facts.Refunded | facts.RefundFailed
_json = msgspec.json.Encoder().encode


class OrdersPlan:
    """Rows of a batch of facts of one cell. ``postings`` is the plan's own list, to add to.

    ``bought``: of coupons that were paid for, the price and how much of it is used up.
    """

    def __init__(
        self,
        tenant: str,
        cell: int,
        currency: str,
        postings: list[Row],
        bought: Mapping[str, tuple[int, int]],
        terms_of: TermsOf,
    ) -> None:
        self._tenant = tenant
        self._cell = cell
        self._currency = currency
        self._postings = postings
        self._bought = dict(bought)
        self._terms_of = terms_of
        self._orders: list[Row] = []
        self._states: dict[str, Row] = {}
        self._ready: dict[str, Row] = {}
        self._codes: list[Row] = []
        self._refunds: list[Row] = []
        self._failed: list[Row] = []
        self._used: dict[str, int] = {}
        self._restocked: dict[str, int] = {}
        self._unpaid: dict[tuple[str, str], int] = {}

    def told(self, fact: OrderTold, version: int) -> None:
        """An order was placed, paid or ended."""
        if isinstance(fact, facts.Ordered):
            items = [
                {
                    "campaign_id": item.campaign_id,
                    "quantity": item.quantity,
                    "price": item.price,
                    "points_price": item.points_price,
                    "terms_revision": item.terms_revision,
                }
                for item in fact.items
            ]
            self._orders.append((
                self._tenant, fact.act, self._cell, fact.user_id, "pending", fact.at, fact.until,
                fact.channel, fact.source, fact.amount, fact.points, _json(items).decode(), "", 0,
                version,
            ))  # fmt: skip
        elif isinstance(fact, facts.OrderReady):
            self._ready[fact.act] = fact.act, fact.until, version
        elif isinstance(fact, facts.OrderPaid):
            self._states[fact.act] = fact.act, "paid", fact.payment_ref, fact.at, version
        else:
            state = "expired" if fact.lapsed else "cancelled"
            self._states[fact.act] = fact.act, state, "", 0, version

    # ---- money -------------------------------------------------------------------------------

    def sold(self, place: Position, fact: facts.Claimed) -> None:
        """A coupon was issued; if it was paid for, that is owed to its buyer."""
        if fact.external_code:
            self._codes.append((fact.campaign_id, fact.external_code, fact.act))
        if fact.paid:
            self._bought[fact.act] = fact.paid, 0
            terms = self._terms_of(fact.campaign_id, fact.terms_revision)
            self._post(place, fact, fact.campaign_id, prepaid.sold(fact.paid, terms))

    def given(self, place: Position, fact: facts.Given) -> None:
        """A coupon goes on with what ``received`` says is owed for it; a fen less is breakage."""
        paid, used = self._bought.get(fact.act, (0, 0))
        if paid and fact.used >= 0:
            terms = self._terms_of(fact.campaign_id, fact.terms_revision)
            rounded = prepaid.used_up(paid, terms, fact.used, fact.spent) - used
            self._post(place, fact, fact.campaign_id, prepaid.refunded(0, rounded, terms))
            self.used(fact.act, rounded)

    def received(self, fact: facts.Received) -> int:
        """A coupon was given on, and its price with it: how much of that is used up."""
        if not fact.paid:
            return 0
        terms = self._terms_of(fact.campaign_id, fact.terms_revision)
        used = prepaid.used_up(fact.paid, terms, fact.used, fact.spent)
        self._bought[fact.act] = fact.paid, used
        return used

    def uses(self, fact: facts.Redeemed | facts.Committed) -> list[int]:
        """What each coupon of a redemption uses up of its price, then each tender.

        Nothing is changed yet. Never below 0: a reversal's rounding may have left a fen more.
        """
        parts = []
        for coupon in fact.coupons:
            paid, used = self._bought.get(coupon.coupon_id, (0, 0))
            if paid and coupon.used >= 0:
                terms = self._terms_of(coupon.campaign_id, coupon.terms_revision)
                paid = prepaid.used_up(paid, terms, coupon.used, 0)
            parts.append(max(0, paid - used))
        for tender in fact.tenders:
            paid, used = self._bought.get(tender.coupon_id, (0, 0))
            if paid:
                terms = self._terms_of(tender.campaign_id, tender.terms_revision)
                paid = prepaid.used_up(paid, terms, 0, tender.spent)
            parts.append(max(0, paid - used))
        return parts

    def used(self, coupon_id: str, change: int) -> None:
        """So much more of a coupon's price is used up, or less."""
        if change:
            paid, used = self._bought.get(coupon_id, (0, 0))
            self._bought[coupon_id] = paid, used + change
            self._used[coupon_id] = used + change

    def unused(self, redemption_id: str, coupon_id: str, paid: int, stays: int = 0) -> None:
        """A reversal gave the coupon back, and with it ``paid`` of its price but what ``stays``."""
        if paid != stays:
            self.used(coupon_id, stays - paid)
            self._unpaid[redemption_id, coupon_id] = stays

    def refunded(self, place: Position, fact: RefundTold, version: int) -> None:
        """Money goes back for a coupon, or it did not after all."""
        paid, used = self._bought.get(fact.act, (0, 0))
        owed, terms = paid - used, self._terms_of(fact.campaign_id, fact.terms_revision)
        if isinstance(fact, facts.Refunded):
            postings = prepaid.refunded(fact.amount, owed, terms)
            self._refunds.append((
                self._tenant, fact.act, fact.refund_ref, fact.order_id, fact.user_id,
                fact.campaign_id, fact.at, fact.amount, fact.points, fact.reason, 0, version,
            ))  # fmt: skip
            self._restocked[fact.act] = fact.stock
        else:
            postings = prepaid.refunded(-fact.amount, -owed, terms)
            self._failed.append((fact.act, fact.refund_ref, fact.at, version))
            self._restocked[fact.act] = 0
        self._post(place, fact, fact.campaign_id, postings)

    def _post(
        self, place: Position, fact: facts.Fact, campaign_id: str, postings: tuple[Posting, ...]
    ) -> None:
        for posting in postings:
            self._postings.append((
                self._cell, *place, 0, fact.act, fact.at, posting.account, posting.party,
                posting.amount, self._currency, "", "", campaign_id, "", fact.act,
            ))  # fmt: skip

    # ---- out ---------------------------------------------------------------------------------

    async def write(self, rows: Rows) -> None:
        """All but the postings; coupons and redemptions of the batch are there already."""
        tenant = self._tenant
        await rows.insert(schema.orders, self._orders)
        await rows.run(CODES_GIVEN, tenant, self._codes)
        await rows.run(ORDERS_READY, tenant, list(self._ready.values()))
        await rows.run(ORDERS_SET, tenant, list(self._states.values()))
        await rows.insert(schema.refunds, self._refunds)
        await rows.run(REFUNDS_FAIL, tenant, self._failed)
        await rows.run(COUPONS_USED, tenant, list(self._used.items()))
        await rows.run(COUPONS_RESTOCK, tenant, list(self._restocked.items()))
        unpaid = [(*part, stays) for part, stays in self._unpaid.items()]
        await rows.run(PARTS_UNPAID, tenant, unpaid)
