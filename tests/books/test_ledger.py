"""Money by the rules of CONTRACT.md section 8: tables first, then properties for any numbers."""

from __future__ import annotations

import collections
import dataclasses

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.books import ledger, prepaid
from engine.books.ledger import Entry, LedgerError, Original, Terms
from engine.facts import BackCoupon, BackTender, FactCoupon, FactTender, Redeemed, Reversed

MALL_ALL = ledger.read_terms({})


def redeemed(payable: int, *coupons: tuple[int, int], merchant: str = "m1") -> Redeemed:
    """A redemption of coupons c0, c1 … given as (discount, value)."""
    discount = sum(d for d, _ in coupons)
    return Redeemed(
        seq=1, at=1000, act="R1", fingerprint="f", who="{}", user_id="u", store_id="s1",
        merchant_id=merchant, terminal_id="", staff_id="", channel="", order_ref="",
        amount=payable + discount, discount=discount, payable=payable, lines=[],
        coupons=[
            FactCoupon(f"c{i}", f"g{i}", 1, "amount_off", value, discount, [])
            for i, (discount, value) in enumerate(coupons)
        ],
        replaces="",
    )  # fmt: skip


def reversed_(
    payable: tuple[int, int], *coupons: tuple[int, int, int, int, int], merchant: str = "m1"
) -> Reversed:
    """A reversal; coupons as (index, discount before, after, value before, after)."""
    return Reversed(
        seq=2, at=2000, act="V1", fingerprint="f", who="{}", redemption_id="R1", redeemed_at=1000,
        user_id="u", store_id="s1", merchant_id=merchant, reversed_at_store="", order_ref="",
        reason="", lines=[],
        coupons=[
            BackCoupon(f"c{i}", f"g{i}", 1, before, after, value_before, value_after, 0)
            for i, before, after, value_before, value_after in coupons
        ],
        gross_before=0, gross_after=0, payable_before=payable[0], payable_after=payable[1],
        whole=0,
    )  # fmt: skip


def originals(fact: Redeemed) -> list[Original]:
    return [
        Original(c.coupon_id, c.campaign_id, c.terms_revision, c.discount + c.value)
        for c in fact.coupons
    ]


def booked(entries: list[Entry]) -> dict[tuple[str, str], int]:
    """Sum by account and party, without what nets to zero."""
    sums: collections.Counter[tuple[str, str]] = collections.Counter()
    for entry in entries:
        for posting in entry.postings:
            sums[posting.account, posting.party] += posting.amount
    return {place: amount for place, amount in sums.items() if amount}


@pytest.mark.parametrize(
    ("amount", "weights", "parts"),
    [
        (100, [50, 50], [50, 50]),
        (101, [50, 50], [51, 50]),  # a tie goes to the first
        (100, [1, 1, 1], [34, 33, 33]),
        (10, [1, 2, 4], [1, 3, 6]),  # remainders 3/7, 6/7, 5/7: the last two get one each
        (7, [0, 1], [0, 7]),
        (7, [0, 0, 0], [7, 0, 0]),
        (0, [3, 4], [0, 0]),
    ],
)
def test_split(amount: int, weights: list[int], parts: list[int]) -> None:
    assert ledger.split(amount, weights) == parts


@pytest.mark.parametrize(
    ("body", "terms"),
    [
        ({}, Terms((("mall", 10_000),))),
        ({"funding": None, "settlement": None}, Terms((("mall", 10_000),))),
        (
            {"funding": {"mall": 50, "merchant": 50}},
            Terms((("mall", 5000), ("redeeming", 5000))),
        ),
        (
            {
                "funding": [
                    {"party": "sponsor:cola", "percent": 33.33},
                    {"party": "mall", "percent": 66.67},
                ],
                "settlement": {"commission_percent": 2.5},
            },
            Terms((("sponsor:cola", 3333), ("mall", 6667)), 250),
        ),
    ],
)
def test_terms(body: dict[str, object], terms: Terms) -> None:
    assert ledger.read_terms(body) == terms


@pytest.mark.parametrize(
    "funding", [{"mall": 50}, {"mall": "much"}, {"mall": 33.333, "merchant": 66.667}, []]
)
def test_malformed_funding_is_refused(funding: object) -> None:
    with pytest.raises(LedgerError):
        ledger.read_terms({"funding": funding})


def test_who_pays_for_one_coupon() -> None:
    terms = ledger.read_terms({"funding": [
        {"party": "mall", "percent": 30},
        {"party": "redeeming", "percent": 20},
        {"party": "merchant:m1", "percent": 10},  # who redeems, named twice
        {"party": "merchant:m2", "percent": 15},
        {"party": "sponsor:cola", "percent": 25},
    ]})  # fmt: skip
    [entry] = ledger.redemption_entries(redeemed(8000, (2000, 0)), lambda *_: terms)
    assert (entry.mall_bears, entry.merchant_bears, entry.others_bear) == (600, 600, 800)
    assert booked([entry]) == {
        ("customer.paid", "customers"): 8000,
        ("merchant.sales", "merchant:m1"): -8000,
        ("mall.subsidy", "mall"): 600,
        ("merchant.subsidy", "merchant:m1"): 600,
        ("other.subsidy", "merchant:m2"): 300,
        ("other.subsidy", "sponsor:cola"): 500,
        ("merchant.discount", "merchant:m1"): -2000,
    }


def test_prepaid_and_commission() -> None:
    terms = ledger.read_terms({"settlement": {"commission_percent": 2.5}})
    books = ledger.balance_postings(terms, "m1", ledger.Balance(0, discount=1000, prepaid=980))
    assert books["customer.prepaid", "customers"] == 980
    assert books["mall.subsidy", "mall"] == 20
    assert books["merchant.commission", "merchant:m1"] == 25  # 24.5, half up
    assert books["mall.commission", "mall"] == -25


def test_an_exchange_is_settled_at_its_value_and_sales_follow_the_discounts() -> None:
    first, second = ledger.redemption_entries(
        redeemed(100, (300, 0), (0, 600)), lambda *_: MALL_ALL
    )
    assert (first.discount, first.sales) == (300, 33)
    assert (second.discount, second.sales) == (600, 67)


def test_a_reversal_moves_the_sales_of_a_coupon_it_does_not_name() -> None:
    fact = redeemed(1000, (100, 0), (100, 0))
    entries = ledger.reversal_entries(
        reversed_((1000, 400), (0, 100, 0, 0, 0)), originals(fact), lambda *_: MALL_ALL
    )
    assert [(e.coupon_id, e.sales, e.discount) for e in entries] == [
        ("c0", -300, -100),
        ("c1", -300, 0),
    ]


@pytest.mark.parametrize("known", [[], [Original("c9", "g9", 1, 5)]])
def test_a_reversal_of_what_the_books_do_not_hold_is_refused(known: list[Original]) -> None:
    with pytest.raises(LedgerError):
        ledger.reversal_entries(reversed_((5, 0), (0, 5, 0, 0, 0)), known, lambda *_: MALL_ALL)


FEN = st.integers(0, 10**9)
PARTIES = ["mall", "redeeming", "merchant:m1", "merchant:m2", "sponsor:s"]


@st.composite
def any_terms(draw: st.DrawFn) -> Terms:
    parties = draw(st.lists(st.sampled_from(PARTIES), min_size=1, max_size=5, unique=True))
    cuts = sorted(draw(st.lists(st.integers(0, 10_000), min_size=len(parties) - 1,
                                max_size=len(parties) - 1)))  # fmt: skip
    shares = [b - a for a, b in zip([0, *cuts], [*cuts, 10_000], strict=True)]
    return Terms(tuple(zip(parties, shares, strict=True)), draw(st.integers(0, 10_000)))


def check(entries: list[Entry]) -> None:
    """What holds for every act (I13 and the identities of the contract)."""
    for entry in entries:
        assert sum(posting.amount for posting in entry.postings) == 0
        assert all(posting.amount for posting in entry.postings)
        bears = entry.mall_bears + entry.merchant_bears + entry.others_bear
        assert bears + entry.prepaid == entry.discount
        places = booked([entry])
        owed = -sum(
            places.get((f"merchant.{account}", "merchant:m1"), 0)
            for account in ("discount", "subsidy", "commission")
        )
        assert owed == entry.mall_bears + entry.others_bear + entry.prepaid - entry.commission


@given(amount=FEN, weights=st.lists(FEN, min_size=1, max_size=12))
def test_parts_add_up_and_differ_from_the_exact_by_less_than_one(
    amount: int, weights: list[int]
) -> None:
    parts = ledger.split(amount, weights)
    assert sum(parts) == amount
    total = sum(weights)
    if total:
        for part, weight in zip(parts, weights, strict=True):
            assert abs(part * total - amount * weight) < total


@given(terms=any_terms(), discount=FEN, data=st.data())
def test_prepaid_is_never_a_subsidy(terms: Terms, discount: int, data: st.DataObject) -> None:
    prepaid = data.draw(st.integers(0, discount))
    books = ledger.balance_postings(terms, "m1", ledger.Balance(0, discount, prepaid))
    assert sum(books.values()) == 0
    subsidy = sum(a for (account, _), a in books.items() if account.endswith(".subsidy"))
    assert subsidy == discount - prepaid


@given(
    data=st.data(),
    payable=FEN,
    coupons=st.lists(st.tuples(FEN, st.just(0)) | st.tuples(st.just(0), FEN), min_size=1,
                     max_size=6),
)  # fmt: skip
def test_any_reversals_to_the_end_net_to_zero(
    data: st.DataObject, payable: int, coupons: list[tuple[int, int]]
) -> None:
    fact = redeemed(payable, *coupons)
    terms = [data.draw(any_terms()) for _ in coupons]

    def terms_of(campaign_id: str, _revision: int) -> Terms:
        return terms[int(campaign_id[1:])]

    entries = ledger.redemption_entries(fact, terms_of)
    check(entries)
    assert sum(entry.sales for entry in entries) == payable
    assert sum(entry.discount for entry in entries) == sum(d + v for d, v in coupons)
    state = [list(coupon) for coupon in coupons]
    for last in [False] * data.draw(st.integers(0, 4)) + [True]:
        payable_after = 0 if last else data.draw(st.integers(0, payable))
        pieces = []
        for i, (discount, value) in enumerate(state):
            if last or data.draw(st.booleans()):
                discount_after = 0 if last else data.draw(st.integers(0, discount))
                value_after = 0 if last else data.draw(st.sampled_from([0, value]))
                pieces.append((i, discount, discount_after, value, value_after))
                state[i] = [discount_after, value_after]
        back = ledger.reversal_entries(
            reversed_((payable, payable_after), *pieces), originals(fact), terms_of
        )
        check(back)
        assert sum(entry.sales for entry in back) == payable_after - payable
        entries += back
        payable = payable_after
    assert booked(entries) == {}


@pytest.mark.parametrize(
    ("discount", "paid", "prepaid", "commission", "excess"),
    [(10_000, 8000, 8000, 200, 0), (5000, 8000, 5000, 125, 3000), (0, 8000, 0, 0, 8000)],
)
def test_what_was_paid_before(
    discount: int, paid: int, prepaid: int, commission: int, excess: int
) -> None:
    """Prepaid is at most the discount; the excess is breakage; commission is of what is prepaid."""
    terms = ledger.read_terms(
        {"funding": {"mall": 50, "merchant": 50}, "settlement": {"commission_percent": 2.5}}
    )
    fact = redeemed(20_000, (discount, 0))
    (entry,) = ledger.redemption_entries(fact, lambda *_: terms, [paid])
    assert (entry.prepaid, entry.commission) == (prepaid, commission)
    assert entry.mall_bears + entry.merchant_bears + entry.prepaid == entry.discount
    books = booked([entry])
    assert books.get(("mall.breakage", "mall"), 0) == -excess
    assert books.get(("customer.breakage", "customers"), 0) == excess
    assert sum(books.values()) == 0
    # The campaign may leave it to the merchant, if there is one (the mall's own event has none).
    theirs = dataclasses.replace(terms, breakage="merchant")
    (entry,) = ledger.redemption_entries(fact, lambda *_: theirs, [paid])
    assert (entry.breakage, entry.prepaid, entry.commission) == (excess, prepaid, commission)
    assert booked([entry]).get(("merchant.breakage", f"merchant:{fact.merchant_id}"), 0) == -excess
    nobody = msgspec.structs.replace(fact, merchant_id="")
    (entry,) = ledger.redemption_entries(nobody, lambda *_: theirs, [paid])
    assert (entry.breakage, booked([entry]).get(("mall.breakage", "mall"), 0)) == (0, -excess)


@given(
    discount=st.integers(0, 10_000), paid=st.integers(0, 10_000),
    cuts=st.lists(st.integers(0, 10_000), max_size=4), returned=st.booleans(),
)  # fmt: skip
def test_what_was_paid_before_comes_back_whole(
    discount: int, paid: int, cuts: list[int], returned: bool
) -> None:
    """Reversals in any pieces leave what one reversal would: nothing, if the coupon came back."""
    fact = redeemed(500, (discount, 0))
    original = Original("c0", "g0", 1, discount, paid=paid)
    stays = sorted((cut for cut in cuts if cut < discount), reverse=True)
    entries = ledger.redemption_entries(fact, lambda *_: MALL_ALL, [paid])
    had = discount
    for has in [*stays, 0]:
        last = has == 0
        back = BackCoupon("c0", "g0", 1, had, has, 0, 0, int(last and returned))
        turn = msgspec.structs.replace(
            reversed_((500 if had == discount else 0, 0)), coupons=[back]
        )
        entries += ledger.reversal_entries(turn, [original], lambda *_: MALL_ALL)
        had = has
        if last:
            break
    books = booked(entries)
    kept = 0 if returned else paid
    expected = {("customer.breakage", "customers"): kept, ("mall.breakage", "mall"): -kept}
    assert books == {place: amount for place, amount in expected.items() if amount}


@given(paid=st.integers(0, 10**11), uses=st.integers(1, 50))
def test_a_price_is_used_up_by_the_last_use(paid: int, uses: int) -> None:
    terms = dataclasses.replace(MALL_ALL, uses=uses)
    parts = [prepaid.used_up(paid, terms, n + 1, 0) - prepaid.used_up(paid, terms, n, 0)
             for n in range(uses)]  # fmt: skip
    assert sum(parts) == paid
    assert parts == ledger.split(paid, [1] * uses)


# ---- what was paid with ------------------------------------------------------------------------


def tendered(payable: int, *paid: FactTender, discount: int = 0) -> Redeemed:
    fact = redeemed(payable, *([(discount, 0)] if discount else []))
    total = payable + discount + sum(tender.amount for tender in paid)
    return msgspec.structs.replace(fact, amount=total, tenders=list(paid))


def card(amount: int) -> FactTender:
    return FactTender(0, "card", "g", 1, amount, 0, 0, amount, 0, [])


SOLD = dataclasses.replace(MALL_ALL, commission=500, value=10_000)


def test_stored_value_that_was_bought_is_owed_less_commission() -> None:
    """90.00 for 100.00: of 40.00 the customer had paid 36.00, which 5 % is on; of 150.00 all."""
    assert prepaid.used_up(9000, SOLD, 0, 4000) == 3600
    (entry,) = ledger.redemption_entries(tendered(0, card(4000)), lambda *_: SOLD, [3600])
    assert (entry.stored_value, entry.prepaid, entry.commission) == (4000, 0, 180)
    assert booked([entry]) == {
        ("customer.stored_value", "customers"): 3600, ("stored_value.liability", "mall"): 400,
        ("merchant.stored_value", "merchant:m1"): -4000,
        ("merchant.commission", "merchant:m1"): 180, ("mall.commission", "mall"): -180,
    }  # fmt: skip
    merchant = dataclasses.replace(SOLD, breakage="merchant", commission=0)
    (dear,) = ledger.redemption_entries(tendered(0, card(1000)), lambda *_: merchant, [1500])
    assert dear.breakage == 500
    assert booked([dear]) == {
        ("customer.stored_value", "customers"): 1000, ("customer.breakage", "customers"): 500,
        ("merchant.stored_value", "merchant:m1"): -1000,
        ("merchant.breakage", "merchant:m1"): -500,
    }  # fmt: skip


@given(
    paid=st.integers(0, 10**11),
    amount=st.integers(1, 10**11),
    cuts=st.lists(st.floats(0, 1), max_size=4),
    gone=st.booleans(),
)
def test_stored_value_given_back_in_any_pieces_nets_to_zero(
    paid: int, amount: int, cuts: list[float], gone: bool
) -> None:
    """Where nobody gets it any more, all that was paid is breakage."""
    entries = ledger.redemption_entries(tendered(0, card(amount)), lambda *_: SOLD, [paid])
    stays, had = paid, amount
    for has in [*sorted((int(amount * cut) for cut in cuts), reverse=True), 0]:
        if has == had:
            continue
        back = BackTender(0, "card", "g", 1, had, has, 0, 0, has, returned=int(not gone))
        fact = msgspec.structs.replace(reversed_((0, 0)), tenders=[back])
        original = Original("card", "g", 1, 0, "stored_value", stays)
        entries += ledger.reversal_entries(fact, [original], lambda *_: SOLD)
        stays, had = ledger.paid_after(stays, back), has
    kept = paid if gone else 0
    assert stays == kept
    expected = {("customer.breakage", "customers"): kept, ("mall.breakage", "mall"): -kept}
    assert booked(entries) == {place: fen for place, fen in expected.items() if fen}


def points(number: int, amount: int, balance: int, per_yuan: int = 100) -> FactTender:
    return FactTender(1, "", "", 0, amount, number, balance, balance, 0, [], per_yuan)


def test_tenders_are_owed_to_the_merchant() -> None:
    """Sales stand with the coupon; a rate of 7 leaves the fen that a point is not worth."""
    fact = tendered(500, card(300), points(2, 28, 1, per_yuan=7), discount=100)
    off, paid, spent = ledger.redemption_entries(fact, lambda *_: MALL_ALL)
    assert [(e.position, e.sales, e.discount) for e in (off, paid, spent)] == [
        (0, 500, 100), (1, 0, 0), (2, 0, 0),
    ]  # fmt: skip
    assert (paid.stored_value, paid.points_value) == (300, 0)
    assert (spent.stored_value, spent.points_value) == (0, 28)
    assert booked([paid]) == {
        ("stored_value.liability", "mall"): 300, ("merchant.stored_value", "merchant:m1"): -300,
    }  # fmt: skip
    # Three points were worth 42 fen, the one that is left 14: they lower what is owed by 28.
    assert booked([spent]) == {
        ("points.liability", "customers"): 28, ("merchant.points", "merchant:m1"): -28,
    }  # fmt: skip


def test_the_liability_of_points_falls_by_what_their_balance_is_worth() -> None:
    """Seven to the yuan: 4 points were worth 57 fen, 2 are worth 28; the other fen is expense."""
    fact = tendered(0, points(2, 28, 2, per_yuan=7))
    assert booked(ledger.redemption_entries(fact, lambda *_: MALL_ALL)) == {
        ("points.liability", "customers"): 29, ("points.expense", "mall"): -1,
        ("merchant.points", "merchant:m1"): -28,
    }  # fmt: skip


def test_tenders_given_back_in_pieces_net_to_zero() -> None:
    """A card alone has the sales; the merchant's columns and all accounts end where they began."""
    fact = tendered(401, card(300), points(200, 200, 0))
    entries = ledger.redemption_entries(fact, lambda *_: MALL_ALL)
    known = [Original("card", "g", 1, 0, "stored_value"), Original("", "", 0, 0, "points")]
    pieces = [((401, 267), (300, 200), (200, 133)), ((267, 0), (200, 0), (133, 0))]
    for payable, of_card, of_points in pieces:
        back = [
            BackTender(0, "card", "g", 1, *of_card, 0, 0, of_card[1]),
            BackTender(1, "", "", 0, *of_points, *of_points, 200 - of_points[1]),
        ]
        fact_back = msgspec.structs.replace(reversed_(payable), tenders=back)
        entries += ledger.reversal_entries(fact_back, known, lambda *_: MALL_ALL)
    assert booked(entries) == {}
    for name in ("sales", "stored_value", "points_value"):
        assert sum(getattr(entry, name) for entry in entries) == 0
    last = BackTender(1, "", "", 0, 1, 0, 1, 0, 1)
    stranger = msgspec.structs.replace(fact_back, tenders=[last])
    with pytest.raises(LedgerError):
        ledger.reversal_entries(stranger, known[:1], lambda *_: MALL_ALL)
