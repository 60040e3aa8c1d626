"""What facts about points and purchases change in the books; a part of ``projections.Plan``."""

from __future__ import annotations

from engine import facts
from engine.books import schema
from engine.books.arrivals import Position
from engine.books.bulk import Bulk, Row, Rows
from engine.books.points_ledger import postings_of, value_of

PURCHASES_BACK = Bulk.of(
    "transaction_id text, refunded bigint, points bigint",
    "UPDATE purchases SET refunded = v.refunded, points = purchases.points - v.points FROM v"
    " WHERE purchases.tenant = {tenant} AND purchases.transaction_id = v.transaction_id",
)
FRIENDS_BOUGHT = Bulk.of(  # a first purchase is what some invitations wait for
    "user_id text, at_ms bigint",
    "UPDATE invitation_friends SET met_ms = v.at_ms FROM v"
    " WHERE invitation_friends.tenant = {tenant} AND invitation_friends.user_id = v.user_id"
    " AND invitation_friends.met_ms = 0 AND invitation_friends.accepted_ms <= v.at_ms",
)

_REVERSAL = "_reversal"

Paid = facts.Redeemed | facts.Held | facts.Committed | facts.Reversed
Told = facts.PointsChanged | facts.PointsExpired | facts.Purchased | facts.PurchaseRefunded


class PointsPlan:
    """Rows of a batch of facts of one cell. ``postings`` is the plan's own list, to add to."""

    def __init__(self, tenant: str, cell: int, currency: str, postings: list[Row]) -> None:
        self._tenant = tenant
        self._cell = cell
        self._currency = currency
        self._postings = postings
        self._entries: list[Row] = []
        self._purchases: dict[str, Row] = {}
        self._refunds: list[Row] = []
        self._back: dict[str, list[int]] = {}
        self._buyers: dict[str, int] = {}

    def add(self, place: Position, fact: Told) -> None:
        """Take one fact in."""
        if isinstance(fact, facts.PointsChanged):
            self._changed(place, fact)
        elif isinstance(fact, facts.PointsExpired):
            # A lot may expire in pieces (points came back later): the place tells them apart.
            name = f"{fact.act}.{place.epoch}.{place.seq}"
            self._entry(
                place, fact, name, "expiry", -fact.points, fact.balance, fact.per_yuan,
                expires=fact.expires, of=fact.act,
            )  # fmt: skip
        elif isinstance(fact, facts.Purchased):
            self._purchased(place, fact)
        else:
            self._refunded(place, fact)

    def tendered(
        self, place: Position, fact: Paid, redemption_id: str, points: int, balance: int, rate: int
    ) -> None:
        """Points that a redemption took (negative) or gave back; ``rate`` of them are one yuan.

        Their money is settled with the redemption, so no postings are made here.
        """
        kind, of = ("redemption", "") if points < 0 else ("return", redemption_id)
        self._entries.append((
            self._tenant, self._cell, *place, 0, fact.act, kind, fact.user_id, points, balance,
            value_of(points, balance, rate), "", "", 0, 0, of, redemption_id, "", fact.at,
        ))  # fmt: skip

    def _changed(self, place: Position, fact: facts.PointsChanged) -> None:
        self._entry(
            place, fact, fact.act, fact.kind, fact.points, fact.balance, fact.per_yuan,
            fact.reason, fact.ref, fact.available, fact.expires, fact.of,
        )  # fmt: skip

    def _purchased(self, place: Position, fact: facts.Purchased) -> None:
        if fact.points:
            self._entry(
                place, fact, fact.act, "purchase", fact.points, fact.balance, fact.per_yuan,
                ref=fact.transaction_id, available=fact.available, expires=fact.expires,
                transaction=fact.transaction_id,
            )  # fmt: skip
        if fact.amount > fact.refunded:
            self._buyers.setdefault(fact.user_id, fact.at)
        self._purchases[fact.transaction_id] = (
            self._tenant, fact.transaction_id, fact.act, fact.user_id, fact.store_id,
            fact.merchant_id, fact.amount, fact.refunded, fact.occurred, fact.at, fact.channel,
            fact.receipt_no, fact.earned, fact.points, fact.reason,
        )  # fmt: skip

    def _refunded(self, place: Position, fact: facts.PurchaseRefunded) -> None:
        if fact.points:
            self._entry(
                place, fact, f"{fact.act}.{place.epoch}.{place.seq}", "refund", -fact.points,
                fact.balance, fact.per_yuan, ref=fact.refund_id, of=fact.act,
                transaction=fact.transaction_id,
            )  # fmt: skip
        self._refunds.append((
            self._tenant, fact.transaction_id, fact.refund_id, fact.user_id, fact.amount,
            fact.points, fact.short, fact.at,
        ))  # fmt: skip
        if fact.known:
            sums = self._back.setdefault(fact.transaction_id, [0, 0])
            sums[0] = fact.refunded
            sums[1] += fact.points

    def _entry(
        self,
        place: Position,
        fact: Told,
        name: str,
        kind: str,
        points: int,
        balance: int,
        per_yuan: int,
        reason: str = "",
        ref: str = "",
        available: int = 0,
        expires: int = 0,
        of: str = "",
        transaction: str = "",
    ) -> None:
        value = value_of(points, balance, per_yuan)
        store = getattr(fact, "store_id", ""), getattr(fact, "merchant_id", "")
        booked = kind.removesuffix(_REVERSAL)
        self._entries.append((
            self._tenant, self._cell, *place, 0, name, kind if kind == booked else "reversal",
            fact.user_id, points, balance, value, reason, ref, available, expires, of, "",
            transaction, fact.at,
        ))  # fmt: skip
        for posting in postings_of(booked, value):
            self._postings.append((
                self._cell, *place, 0, fact.act, fact.at, posting.account, posting.party,
                posting.amount, self._currency, store[1], store[0], "", "", "",
            ))  # fmt: skip

    async def write(self, rows: Rows) -> None:
        """All but the postings."""
        await rows.insert(schema.points_entries, self._entries)
        await rows.insert(schema.purchases, list(self._purchases.values()))
        await rows.insert(schema.purchase_refunds, self._refunds)
        back = [(name, *sums) for name, sums in self._back.items()]
        await rows.run(PURCHASES_BACK, self._tenant, back)
        await rows.run(FRIENDS_BOUGHT, self._tenant, list(self._buyers.items()))
