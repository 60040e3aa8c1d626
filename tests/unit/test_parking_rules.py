"""Coupons on a parking fee: the best set against all permitted ones; the twins of the search."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings

from engine import best as best_of
from engine.arithmetic import Basket, Fee
from engine.best import best
from engine.outcomes import Outcome
from engine.records import Line
from engine.rules import Candidate, Scene, alone, judge
from tests.unit.parking_strategies import parking_fees, parking_wallets
from tests.unit.rules_language import coupon
from tests.unit.test_best import HERE, LONG, key, many, pure


def by_force(wallet: list[Candidate], lines: list[Line], scene: Scene) -> list[Candidate]:
    """The best of all sets in which each takes something off and none is refused."""
    sets = []
    for size in range(len(wallet) + 1):
        for chosen in combinations(wallet, size):
            judgement = judge(chosen, lines, scene)
            if not judgement.skipped and all(used.discount for used in judgement.applied):
                off = lines[0].amount - sum(judgement.running)
                sets.append((key(list(chosen), off), list(chosen)))
    return min(sets, key=lambda item: item[0])[1]


@settings(many, max_examples=50_000 if LONG else 200)
@given(wallet=parking_wallets(7 if LONG else 5), fee=parking_fees(told=True))
def test_no_permitted_set_takes_more_off_a_fee(
    wallet: list[Candidate], fee: tuple[list[Line], Scene]
) -> None:
    lines, scene = fee
    want = by_force(wallet, lines, scene)
    choice = best(wallet, lines, scene)
    assert choice.exact
    assert sorted(choice.ids) == sorted(c.id for c in want)
    assert choice.judgement.applied == judge(want, lines, scene).applied


@settings(many, max_examples=20_000 if LONG else 150)
@given(wallet=parking_wallets(12), fee=parking_fees(told=True))
def test_the_twins_choose_alike(
    compiled: Any, wallet: list[Candidate], fee: tuple[list[Line], Scene]
) -> None:
    lines, scene = fee
    basket = Basket(lines, scene.payable_floor, scene.fee)
    basket.settle_amounts()
    usable = [
        (c, effect)
        for c, effect in alone(wallet, lines, scene)
        if c.terms.benefit in best_of.KINDS and (effect.discount or best_of._later(c, effect))
    ]
    if usable and scene.fee:
        offers = best_of._offers(usable, basket)
        table = basket.worth_table()
        for budget in (-1, 500):
            problem = (
                list(zip(basket.running, basket.paying, strict=True)), scene.payable_floor, offers,
                [budget] * 13, table, scene.fee.taken, scene.fee.most_coupons,
            )  # fmt: skip
            assert compiled.search(*problem) == pure.search(*problem)


@pytest.fixture(scope="session")
def compiled() -> Any:
    """The compiled twin, where it is built."""
    return pytest.importorskip("engine.fastpath._best_c", reason="nothing compiled here")


FEE_LINE = [Line("1", 2000, 1, "", "parking")]


def test_minutes_go_before_amounts_whatever_takes_them() -> None:
    """The booth's 15 yuan wait until the hour is taken off: of 20 yuan that leaves them 10."""
    fee = Fee([(60, 1000)], amounts=1500)
    wallet = [_coupon("a", "parking_minutes", 60), _coupon("b", "amount_off", 500)]
    judgement = judge(wallet, FEE_LINE, replace(HERE, fee=fee))
    assert [(used.id, used.discount) for used in judgement.applied] == [("a", 1000)]
    assert [(skip.id, skip.outcome) for skip in judgement.skipped] == [("b", Outcome.NO_EFFECT)]
    assert judgement.running == [0]
    # Either coupon takes off what the booth's word leaves, so the best offer is one of them.
    assert best(wallet, FEE_LINE, replace(HERE, fee=fee)).ids == ["a"]


def test_parking_coupons_are_for_parking_alone() -> None:
    """At a till they are for nothing; a till's coupons reach a fee only by naming it."""
    parking = _coupon("a", "parking_minutes", 60)
    dining = _coupon("b", "amount_off", 500, kind="coupon")
    both = _coupon("c", "amount_off", 300, kind="coupon", include=["dining", "parking"])
    till = judge([parking, dining, both], FEE_LINE, HERE)
    assert [(used.id, used.discount) for used in till.applied] == [("b", 500), ("c", 300)]
    assert [(skip.id, skip.outcome) for skip in till.skipped] == [("a", Outcome.NO_ELIGIBLE_ITEMS)]
    gate = judge([parking, dining, both], FEE_LINE, replace(HERE, fee=Fee([(60, 1000)])))
    assert [(used.id, used.discount) for used in gate.applied] == [("a", 1000), ("c", 300)]
    assert [(skip.id, skip.outcome) for skip in gate.skipped] == [("b", Outcome.NO_ELIGIBLE_ITEMS)]


def test_without_a_tariff_minutes_are_given_and_worth_nothing_yet() -> None:
    fee = Fee(None, taken=30, most_minutes=60)
    wallet = [_coupon("a", "parking_minutes", 60), _coupon("b", "parking_minutes", 60)]
    judgement = judge(wallet, FEE_LINE, replace(HERE, fee=fee))
    assert [(used.id, used.discount) for used in judgement.applied] == [("a", 0)]
    assert [(skip.id, skip.outcome) for skip in judgement.skipped] == [("b", Outcome.NO_EFFECT)]


def _coupon(
    name: str, benefit: str, amount: int, kind: str = "parking", include: list[str] | None = None
) -> Candidate:
    plain = coupon(name, "amount_off amount=1", HERE.now)
    terms = msgspec.structs.replace(
        plain.terms, kind=kind, benefit=benefit, amount=amount, include_categories=include
    )
    return replace(plain, terms=terms)
