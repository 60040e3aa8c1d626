"""The log of refused tries is bounded."""

from __future__ import annotations

import pytest

from engine.books import attempts
from engine.books.attempts import KEPT_MS, Attempt
from tests.books.mall import Mall, march


async def test_the_oldest_are_struck_off(mall: Mall, monkeypatch: pytest.MonkeyPatch) -> None:
    """By age, and by number; what is left is the newest."""
    monkeypatch.setattr(attempts, "MAX_KEPT", 5)

    def tried(n: int, at: int) -> Attempt:
        return Attempt(mall.id, f"{at:015d}-x{n}", at, "redeem", "min_spend", "C1", 1, "s1", "t1",
                       "", "", "", "terminal", "till", "")  # fmt: skip

    async def left() -> list[str]:
        return [one.id[-2:] for one in await attempts.of_coupon(mall.books, mall.id, "C1", None, 9)]

    await attempts.add(mall.books, [tried(n, march(n)) for n in range(1, 8)])
    await attempts.trim(mall.books, 0)
    assert await left() == ["x7", "x6", "x5", "x4", "x3"]
    await attempts.trim(mall.books, march(5) + KEPT_MS)
    assert await left() == ["x7", "x6", "x5"]
