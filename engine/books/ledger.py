"""From facts to money: what each act puts into the books. Pure functions, CONTRACT.md section 8.

Double entry: a debit is positive, a credit negative, the postings of one act sum to zero.

=======================  =================  ==================================================
account                  party              meaning
=======================  =================  ==================================================
``customer.paid``        ``customers``      what customers paid at tills (sales), memo
``merchant.sales``       ``merchant:ID``    the same, as the merchant's sales, memo
``mall.subsidy``         ``mall``           what the mall bears of a discount
``merchant.subsidy``     ``merchant:ID``    what the redeeming merchant bears of it
``other.subsidy``        any other party    what that party bears of it
``customer.prepaid``     ``customers``      what the customer had paid for the coupon (prepaid)
``customer.breakage``    ``customers``      what of that was more than the discount (prepaid)
``mall.breakage``        ``mall``           the same, as the mall's gain; or by its terms:
``merchant.breakage``    ``merchant:ID``    the redeeming merchant's, who is owed it
``merchant.discount``    ``merchant:ID``    the discount that the merchant gave at its till
``merchant.stored_value``  ``merchant:ID``  stored value that customers paid with
``merchant.points``      ``merchant:ID``    points that customers paid with, in money
``customer.stored_value``  ``customers``    what they had paid for the stored value used up
``stored_value.liability``  ``mall``        the rest of it: the mall's promise is kept
``points.liability``     ``customers``      points used up (books/points_ledger.py)
``merchant.commission``  ``merchant:ID``    commission that the merchant owes
``mall.commission``      ``mall``           commission that the mall earned
``merchant.adjustment``  ``merchant:ID``    an adjustment that two people agreed on
``mall.adjustment``      ``mall``           the same, as the mall's cost
=======================  =================  ==================================================

A merchant is owed ``-(merchant.discount + merchant.subsidy + merchant.stored_value +
merchant.points + merchant.commission + merchant.breakage + merchant.adjustment)``. Stored value is
worth more than was paid for it, or was given for free: nothing was credited for that when it was
issued, it is a promise of the mall, and what of it was kept is the debit balance of
``stored_value.liability`` (no funding splits a tender). Commission is on what was paid, at most
what is tendered. For settlement a coupon's discount is what it took off plus its ``value``
(exchange and admission coupons are settled at their value).

An act moves the books from one balance to another: a redemption from nothing to ``Balance``, a
reversal from the balance of what was redeemed before to that of what stays. So any sequence of
reversals nets to zero once nothing stays redeemed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from engine.books.settlement_terms import MALL as MALL
from engine.books.settlement_terms import STORED_VALUE as STORED_VALUE
from engine.books.settlement_terms import WHOLE
from engine.books.settlement_terms import LedgerError as LedgerError
from engine.books.settlement_terms import Terms as Terms
from engine.books.settlement_terms import read_terms as read_terms
from engine.facts import BackCoupon, BackTender, Committed, FactDeduction, Redeemed, Reversed
from engine.lots import worth
from engine.records import TenderKind

CUSTOMERS = "customers"
OFFICE_CELL = -1  # of postings that no act of a cell made, but people in the office

POINTS = "points"  # the benefit of what was paid with, beside STORED_VALUE

REDEMPTION = "redemption"
REVERSAL = "reversal"


OWN = ("tier", "merchant", "spend", "manual")  # deductions of parking that are no coupon's


@dataclass(frozen=True, slots=True)
class Balance:
    """What is in the books for one coupon in one redemption, in fen. All >= 0."""

    sales: int = 0
    discount: int = 0  # exchange value included
    prepaid: int = 0  # of the discount
    excess: int = 0  # what was paid for this use beyond the discount


@dataclass(frozen=True, slots=True)
class Posting:
    """Debit positive, credit negative, in fen; never 0."""

    account: str
    party: str
    amount: int


@dataclass(frozen=True, slots=True)
class Entry:
    """One settled act on one coupon: a line of a statement's entries, with its postings.

    Amounts of a reversal are negative. ``position`` is the coupon's in its redemption, from 0.
    ``mall_bears + merchant_bears + others_bear + prepaid = discount``.
    """

    kind: str
    position: int
    coupon_id: str
    campaign_id: str
    sales: int
    discount: int
    prepaid: int
    mall_bears: int
    merchant_bears: int
    others_bear: int
    commission: int
    postings: tuple[Posting, ...]
    breakage: int = 0  # the excess that is the merchant's
    stored_value: int = 0
    points_value: int = 0


@dataclass(frozen=True, slots=True)
class Original:
    """A coupon of the redemption that a reversal answers, as it was redeemed."""

    coupon_id: str
    campaign_id: str
    terms_revision: int
    weight: int  # discount + value: its part in the redemption's sales
    benefit: str = ""  # "stored_value" and "points" were paid with; of other deductions their type
    paid: int = 0  # what the customer had paid for this use, as long as it stays used


TermsOf = Callable[[str, int], Terms]
"""Terms by (campaign id, revision); LedgerError when there are none."""


def split(amount: int, weights: Sequence[int]) -> list[int]:
    """``amount`` >= 0 in proportion to ``weights`` by largest remainder, ties to the earlier.

    The parts add up exactly; all weights 0: the first takes all.
    """
    if amount < 0 or not weights:
        raise LedgerError(f"cannot split {amount} fen over {len(weights)} parts")
    total = sum(weights)
    if total == 0:
        return [amount, *(0 for _ in weights[1:])]
    shares = [amount * weight // total for weight in weights]
    over = amount - sum(shares)
    if over:
        order = sorted(range(len(weights)), key=lambda i: (-(amount * weights[i] % total), i))
        for i in order[:over]:
            shares[i] += 1
    return shares


def balance_postings(
    terms: Terms, merchant_id: str, balance: Balance
) -> dict[tuple[str, str], int]:
    """What the books say for ``balance``: amounts by (account, party), zeros included."""
    merchant = f"merchant:{merchant_id}"
    books: dict[tuple[str, str], int] = {}

    def post(account: str, party: str, amount: int) -> None:
        books[account, party] = books.get((account, party), 0) + amount

    post("customer.paid", CUSTOMERS, balance.sales)
    post("merchant.sales", merchant, -balance.sales)
    subsidy = split(balance.discount - balance.prepaid, [share for _, share in terms.funding])
    for (party, _), amount in zip(terms.funding, subsidy, strict=True):
        if party == MALL:
            post("mall.subsidy", MALL, amount)
        elif party in ("redeeming", merchant):
            post("merchant.subsidy", merchant, amount)
        else:
            post("other.subsidy", party, amount)
    post("customer.prepaid", CUSTOMERS, balance.prepaid)
    post("merchant.discount", merchant, -balance.discount)
    for posting in _on_what_was_paid(terms, merchant_id, balance):
        post(posting.account, posting.party, posting.amount)
    return books


def _on_what_was_paid(terms: Terms, merchant_id: str, balance: Balance) -> list[Posting]:
    """Breakage and commission."""
    merchant = f"merchant:{merchant_id}"
    commission = _commission(balance.prepaid, terms.commission)
    whose = ("mall.breakage", MALL)
    if terms.breakage != MALL and merchant_id:
        whose = ("merchant.breakage", merchant)
    return [
        Posting("customer.breakage", CUSTOMERS, balance.excess),
        Posting(*whose, -balance.excess),
        Posting("merchant.commission", merchant, commission),
        Posting("mall.commission", MALL, -commission),
    ]


def _commission(prepaid: int, percent: int) -> int:
    return (2 * prepaid * percent + WHOLE) // (2 * WHOLE)  # half up


def _balance(sales: int, discount: int, paid: int) -> Balance:
    return Balance(sales, discount, min(paid, discount), max(0, paid - discount))


def sales_of(
    payable: int, weights: Sequence[int], tenders: int, deductions: Sequence[FactDeduction] = ()
) -> list[int]:
    """What each coupon, tender and other deduction has of the sales; [] where there is none.

    Tenders have some only where they stand alone.
    """
    parts = [*weights, *[0] * tenders, *(d.amount for d in own_deductions(deductions))]
    return split(payable, parts) if parts else []


def own_deductions(deductions: Sequence[FactDeduction]) -> list[FactDeduction]:
    """Those of a parking payment that are neither a coupon's nor points."""
    return [d for d in deductions if d.type in OWN]


def deduction_id(kind: str, number: int) -> str:
    """What a part of a parking payment is called that is no coupon's: ``merchant 0``."""
    return f"{kind} {number}"


def _borne_by(bearer: str) -> Terms:
    return Terms(((bearer, WHOLE),))


def redemption_entries(
    fact: Redeemed | Committed, terms_of: TermsOf, paid: Sequence[int] = ()
) -> list[Entry]:
    """An entry for each coupon that was applied, each tender, and each other deduction.

    ``paid``: what of each coupon's price is used up here, then of each tender's.
    """
    paid = paid or [0] * (len(fact.coupons) + len(fact.tenders))
    weights = [coupon.discount + coupon.value for coupon in fact.coupons]
    sales = sales_of(fact.payable, weights, len(fact.tenders), fact.deductions)
    entries = [
        _entry(
            REDEMPTION,
            position,
            Original(coupon.coupon_id, coupon.campaign_id, coupon.terms_revision, 0),
            terms_of(coupon.campaign_id, coupon.terms_revision),
            fact.merchant_id,
            Balance(),
            _balance(sales[position], coupon.discount + coupon.value, paid[position]),
        )
        for position, coupon in enumerate(fact.coupons)
    ]
    for position, tender in enumerate(fact.tenders, len(entries)):
        owed = worth(tender.spent + tender.points, tender.per_yuan) - worth(
            tender.spent, tender.per_yuan
        )
        part = paid[position]
        original = Original(
            tender.coupon_id, tender.campaign_id, tender.terms_revision, 0, benefit_of(tender.kind)
        )
        entries.append(
            _tendered(
                REDEMPTION,
                position,
                original,
                terms_of(tender.campaign_id, tender.terms_revision) if part else _UNPAID,
                fact.merchant_id,
                Balance(),
                _balance(sales[position], tender.amount, part),
                owed,
            )
        )
    for position, d in enumerate(own_deductions(fact.deductions), len(entries)):
        original = Original("", d.label, 0, d.amount, d.type)
        after = Balance(sales[position], d.amount)
        terms = _borne_by(d.bearer)
        entries.append(
            _entry(REDEMPTION, position, original, terms, fact.merchant_id, Balance(), after)
        )
    return entries


def benefit_of(kind: int) -> str:
    """What the parts of a redemption call a tender."""
    return POINTS if kind == TenderKind.POINTS else STORED_VALUE


def reversal_entries(
    fact: Reversed, originals: Sequence[Original], terms_of: TermsOf
) -> list[Entry]:
    """An entry for each coupon or tender that the reversal names or whose sales it changes.

    ``originals``: the redemption's coupons in order of application, then its tenders. LedgerError
    when the fact names one that is not among them,
    or the books do not hold the redemption (no originals).
    """
    if not originals and fact.lot_id:  # of a parking payment that took nothing off
        return []
    weights = [original.weight for original in originals]
    before = split(fact.payable_before, weights)
    after = split(fact.payable_after, weights)
    named = {coupon.coupon_id: coupon for coupon in fact.coupons}
    deductions = list(fact.deductions)
    paid = {(benefit_of(tender.kind), tender.coupon_id): tender for tender in fact.tenders}
    entries = []
    for position, original in enumerate(originals):
        sales = after[position] - before[position]
        if original.benefit in (STORED_VALUE, POINTS):
            tender = paid.pop((original.benefit, original.coupon_id), None)
            if tender or sales:
                entries.append(_given_back(fact, position, original, sales, tender, terms_of))
            continue
        if original.benefit in OWN:
            gone = deductions.pop(0)
            if sales or gone.before != gone.after:
                part = replace(original, coupon_id="", campaign_id=gone.label)
                entries.append(
                    _entry(
                        REVERSAL,
                        position,
                        part,
                        _borne_by(gone.bearer),
                        fact.merchant_id,
                        Balance(before[position], gone.before),
                        Balance(after[position], gone.after),
                    )
                )
            continue
        back = named.pop(original.coupon_id, None)
        if back is None and not sales:
            continue
        had, has = _discounts(back)
        terms = terms_of(original.campaign_id, original.terms_revision)
        entries.append(
            _entry(
                REVERSAL,
                position,
                original,
                terms,
                fact.merchant_id,
                _balance(before[position], had, original.paid if back else 0),
                _balance(after[position], has, original.paid if back and not back.returned else 0),
            )
        )
    if named or paid:
        names = ", ".join([*named, *(name for _, name in paid)])
        raise LedgerError(f"{fact.redemption_id} was not redeemed with {names}")
    return entries


def paid_after(paid: int, tender: BackTender) -> int:
    """What of the price of stored value stays used up by what stays tendered, half up.

    All of it where the coupon is refunded or given on by then: nothing can go back to it.
    """
    if not tender.returned:
        return paid
    return (2 * paid * tender.amount_after + tender.amount_before) // (2 * tender.amount_before)


def _given_back(
    fact: Reversed,
    position: int,
    original: Original,
    sales: int,
    tender: BackTender | None,
    terms_of: TermsOf,
) -> Entry:
    before, after, owed = Balance(), Balance(sales), 0
    if tender is not None:
        came = tender.points_before - tender.points_after
        owed = worth(tender.spent - came, tender.per_yuan) - worth(tender.spent, tender.per_yuan)
        stays = paid_after(original.paid, tender)
        before = _balance(0, tender.amount_before, original.paid)
        after = _balance(sales, tender.amount_after, stays)
    terms = _UNPAID
    if original.paid:
        terms = terms_of(original.campaign_id, original.terms_revision)
    return _tendered(REVERSAL, position, original, terms, fact.merchant_id, before, after, owed)


_UNPAID = Terms(((MALL, WHOLE),))


def _tendered(
    kind: str,
    position: int,
    original: Original,
    terms: Terms,
    merchant_id: str,
    before: Balance,
    after: Balance,
    owed: int,
) -> Entry:
    """A tender's entry: its ``discount`` is what is tendered, of that was ``prepaid`` bought.

    ``owed``: by how much points lower what is owed for points, in fen.
    """
    merchant = f"merchant:{merchant_id}"
    sales, amount = after.sales - before.sales, after.discount - before.discount
    points = original.benefit == POINTS
    moved = {
        ("customer.paid", CUSTOMERS): sales,
        ("merchant.sales", merchant): -sales,
    }
    if points:
        moved["points.liability", CUSTOMERS] = owed
        moved["points.expense", MALL] = amount - owed  # of rates that do not divide a fen
        moved["merchant.points", merchant] = -amount
    else:
        prepaid = after.prepaid - before.prepaid
        moved["customer.stored_value", CUSTOMERS] = prepaid
        moved["stored_value.liability", MALL] = amount - prepaid
        moved["merchant.stored_value", merchant] = -amount
        for sign, balance in ((1, after), (-1, before)):
            for posting in _on_what_was_paid(terms, merchant_id, balance):
                place = posting.account, posting.party
                moved[place] = moved.get(place, 0) + sign * posting.amount
    return Entry(
        kind=kind,
        position=position,
        coupon_id=original.coupon_id,
        campaign_id=original.campaign_id,
        sales=sales,
        discount=0,
        prepaid=0,
        mall_bears=0,
        merchant_bears=0,
        others_bear=0,
        commission=moved.get(("merchant.commission", merchant), 0),
        breakage=-moved.get(("merchant.breakage", merchant), 0),
        postings=tuple(Posting(*place, fen) for place, fen in moved.items() if fen),
        stored_value=0 if points else amount,
        points_value=amount if points else 0,
    )


def _discounts(back: BackCoupon | None) -> tuple[int, int]:
    # A coupon that the reversal does not name keeps its discount, so its money does not move.
    if back is None:
        return 0, 0
    return back.discount_before + back.value_before, back.discount_after + back.value_after


def _entry(
    kind: str,
    position: int,
    coupon: Original,
    terms: Terms,
    merchant_id: str,
    before: Balance,
    after: Balance,
) -> Entry:
    moved = balance_postings(terms, merchant_id, after)
    if before != Balance():
        for place, amount in balance_postings(terms, merchant_id, before).items():
            moved[place] -= amount
    sums: dict[str, int] = {}
    for (account, _), amount in moved.items():
        sums[account] = sums.get(account, 0) + amount
    return Entry(
        kind=kind,
        position=position,
        coupon_id=coupon.coupon_id,
        campaign_id=coupon.campaign_id,
        sales=after.sales - before.sales,
        discount=after.discount - before.discount,
        prepaid=after.prepaid - before.prepaid,
        mall_bears=sums.get("mall.subsidy", 0),
        merchant_bears=sums.get("merchant.subsidy", 0),
        others_bear=sums.get("other.subsidy", 0),
        commission=sums["merchant.commission"],
        breakage=-sums.get("merchant.breakage", 0),
        postings=tuple(
            Posting(account, party, amount) for (account, party), amount in moved.items() if amount
        ),
    )
