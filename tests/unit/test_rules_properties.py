"""What holds for every wallet on every basket, and for every way to give goods back."""

from __future__ import annotations

from random import Random

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from engine.arithmetic import back, split
from engine.outcomes import Outcome
from engine.records import AppliedCoupon, Line, LineShare, Tender
from engine.rules import Candidate, Judgement, Scene, judge, reverse
from tests.unit.rules_language import give_back
from tests.unit.rules_strategies import LARGEST, baskets, money, plain_candidates, scenes, wallets


def records_of(judgement: Judgement) -> list[AppliedCoupon]:
    """As a redemption keeps them; fresh shares, for a reversal writes to them."""
    return [
        AppliedCoupon(c.id, c.id, 1, "", c.value, c.discount,
                      [LineShare(s.line, s.discount) for s in c.shares], 0)
        for c in judgement.applied
    ]  # fmt: skip


@given(money, st.lists(money, max_size=8))
def test_a_split_sums_exactly_and_is_fair(amount: int, weights: list[int]) -> None:
    shares, total = split(amount, weights), sum(weights)
    if total == 0:
        assert not any(shares)
        return
    assert sum(shares) == amount
    for share, weight in zip(shares, weights, strict=True):
        assert abs(share * total - amount * weight) < total  # within one fen of the exact part
        if amount <= total:
            assert 0 <= share <= weight


@given(wallets(), baskets(), scenes())
def test_lines_sum_exactly_and_stay_above_zero_and_the_floor(
    wallet: list[Candidate], lines: list[Line], scene: Scene
) -> None:
    judgement = judge(wallet, lines, scene)
    left = [line.amount for line in lines]
    for coupon in judgement.applied:
        assert coupon.discount == sum(share.discount for share in coupon.shares)
        for share in coupon.shares:
            assert share.discount > 0
            left[share.line] -= share.discount
        assert min(left, default=0) >= 0
    if judgement.discount:
        assert sum(left) >= scene.payable_floor
    for paid in judgement.tenders:
        assert paid.amount == sum(share.discount for share in paid.shares) > 0
        assert paid.balance >= 0
        for share in paid.shares:
            left[share.line] -= share.discount
        assert min(left) >= 0
    assert left == judgement.running
    told = len(judgement.applied) + len(judgement.skipped) + len(judgement.tenders)
    assert told == len(wallet)


@given(wallets(), baskets(), scenes(), st.randoms())
def test_the_order_of_the_request_does_not_matter(
    wallet: list[Candidate], lines: list[Line], scene: Scene, random: Random
) -> None:
    shuffled = random.sample(wallet, len(wallet))
    assert judge(shuffled, lines, scene) == judge(wallet, lines, scene)


@given(wallets(), baskets(), scenes())
def test_a_refused_coupon_counts_as_not_sent(
    wallet: list[Candidate], lines: list[Line], scene: Scene
) -> None:
    judgement = judge(wallet, lines, scene)
    refused = {skip.id for skip in judgement.skipped}
    rest = [candidate for candidate in wallet if candidate.id not in refused]
    assert judge(rest, lines, scene) == Judgement(
        judgement.applied, [], judgement.running, judgement.tenders
    )


@given(plain_candidates("a"), baskets(), scenes())
def test_what_is_short_is_what_is_missing(
    candidate: Candidate, lines: list[Line], scene: Scene
) -> None:
    """Spending just that much more on the first eligible line, the refusal is gone."""
    for skip in judge([candidate], lines, scene).skipped:
        if skip.outcome is Outcome.MIN_SPEND:
            first = next(
                i for i, line in enumerate(lines)
                if not judge_refuses_line(candidate, line, scene)
            )  # fmt: skip
            more = msgspec.convert(msgspec.to_builtins(lines), list[Line])
            more[first].amount += skip.short_by
            again = judge([candidate], more, scene).skipped
            assert Outcome.MIN_SPEND not in {s.outcome for s in again}


def judge_refuses_line(candidate: Candidate, line: Line, scene: Scene) -> bool:
    skipped = judge([candidate], [line], scene).skipped
    return bool(skipped) and skipped[0].outcome is Outcome.NO_ELIGIBLE_ITEMS


@given(wallets(), baskets(), scenes(), st.data())
def test_all_pieces_of_a_return_sum_to_the_whole(
    wallet: list[Candidate], lines: list[Line], scene: Scene, data: st.DataObject
) -> None:
    judgement = judge(wallet, lines, scene)
    coupons = records_of(judgement)
    tenders = [
        Tender(0, t.id, t.amount, lines=[LineShare(s.line, s.discount) for s in t.shares])
        for t in judgement.tenders
    ]
    gross = refund = 0
    home: list[str] = []
    for _ in range(data.draw(st.integers(0, 4))):
        goods = [
            (i, data.draw(st.integers(0, line.amount - line.returned)))
            for i, line in enumerate(lines)
        ]
        came = give_back(lines, coupons, goods, tenders)
        if isinstance(came, Outcome):
            assert came is Outcome.NOTHING_TO_REVERSE
            continue
        gross, refund, home = gross + came[0], refund + came[0] - came[1], home + came[2]
        assert came[0] >= came[1] + sum(fen for fen, _ in came[3])  # no refund is below zero
        for line, left in zip(lines, judgement.running, strict=True):
            assert 0 <= line.returned <= line.amount
            assert left >= 0
    came = give_back(lines, coupons, None, tenders)
    assert not isinstance(came, Outcome)
    gross, refund, home = gross + came[0], refund + came[0] - came[1], home + came[2]
    amount = sum(line.amount for line in lines)
    assert gross == amount
    assert refund == amount - judgement.discount  # what was paid
    assert sorted(home) == sorted(c.id for c in judgement.applied)  # each is back, each once
    assert all(share.back == share.discount for c in coupons for share in c.lines)
    assert all(tender.back == tender.amount for tender in tenders)


@given(money, st.integers(1, LARGEST), st.data())
def test_what_went_back_only_grows(share: int, gross: int, data: st.DataObject) -> None:
    share = min(share, gross)
    first = data.draw(st.integers(0, gross))
    then = data.draw(st.integers(first, gross))
    assert 0 <= back(share, first, gross) <= back(share, then, gross) <= share
    assert then - first >= back(share, then, gross) - back(share, first, gross)
    assert back(share, gross, gross) == share


def test_a_return_refuses_more_than_is_there() -> None:
    lines = [Line("1", 1000, 1, "", "", returned=400)]
    assert reverse(lines, [], [(0, 601)]) is Outcome.MORE_THAN_REDEEMED
    assert reverse(lines, [], [(0, 300), (0, 301)]) is Outcome.MORE_THAN_REDEEMED
    assert reverse(lines, [], [(0, 0)]) is Outcome.NOTHING_TO_REVERSE
    assert reverse(lines, [], []) is Outcome.NOTHING_TO_REVERSE
