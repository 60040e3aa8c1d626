"""The best offer: the search of 12 coupons over 10 lines, and all of a quote over 20 coupons.

`make bench ARGS="-k best"` prints the times of both twins. The aims: the search at most 1 ms of
CPU compiled, with the rules' part of a quote over 20 coupons at most 5 ms. Times are not checked.
"""

import importlib
from typing import Any

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from engine import best as best_of
from engine.arithmetic import Basket
from engine.best import best
from engine.records import Line
from engine.rules import Scene, alone
from tests.unit.rules_language import OFFSET, coupon, ms

compiled: Any = pytest.importorskip("engine.fastpath._best_c", reason="nothing compiled to time")
pure: Any = importlib.import_module("engine.fastpath._best_py")
TWINS = pytest.mark.parametrize("twin", [compiled, pure], ids=["compiled", "pure"])
SCENE = Scene(ms("2026-01-05 12:00"), OFFSET, "s1", "cashier")
LINES = [Line(str(n), 3217 + 211 * n, 1 + n % 3, "ab"[n % 2], "xyz"[n % 3]) for n in range(10)]
ALIKE = [
    "percent_off percent_off=7.5",
    "amount_off amount=777 min_spend=3000 min_spend_base=running",
    "amount_off every=5000 amount=333 min_spend_base=running",
    "fixed_price amount=2999 include.categories=z",
    "percent_off percent_off=12 include.categories=x,y",
    "gift sku=a amount=900",
]
# All may stand together, but for what each leaves to the next.
FREELY = [f"{words} campaign=k{n}" for n, words in enumerate(ALIKE * 2)]
# The more they are in each other's way, the less the bounds say.
AT_ODDS = [
    f"{words} campaign=k{n} group=g{n % 3} group_limit=2" for n, words in enumerate(ALIKE * 2)
]


@TWINS
@pytest.mark.parametrize("words", [FREELY, AT_ODDS], ids=["freely", "at odds"])
def test_best_of_12_over_10_lines(benchmark: BenchmarkFixture, twin: Any, words: list[str]) -> None:
    wallet = [coupon(f"c{n:02}", line, SCENE.now) for n, line in enumerate(words)]
    usable = alone(wallet, LINES, SCENE)
    offers = best_of._offers(usable, Basket(LINES, 0))
    assert len(offers) == 12
    lines = [(line.amount, line.quantity) for line in LINES]
    found = benchmark(twin.search, lines, 0, offers, [-1] * 12)
    assert found == pure.search(lines, 0, offers, [-1] * 12)


def test_best_of_a_wallet_of_20(benchmark: BenchmarkFixture) -> None:
    """All the rules do for a quote: what each would do, the search, why not the others."""
    words = [*FREELY, *AT_ODDS[:8]]
    wallet = [coupon(f"c{n:02}", line, SCENE.now) for n, line in enumerate(words)]
    choice = benchmark(best, wallet, LINES, SCENE)
    assert choice.ids
