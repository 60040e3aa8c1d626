"""The most a campaign can cost, against what its definition bounds."""

from __future__ import annotations

from typing import Any

import pytest

from engine.definitions import checked, parse_time
from engine.definitions.exposure import max_exposure
from engine.definitions.patch import merge

NOW = parse_time("2026-03-02T12:00:00+08:00")
FIVE = {"type": "amount_off", "amount": 500}
FIXED = {"type": "fixed", "end": "2026-03-05T00:00:00+08:00"}


def exposure(**parts: Any) -> int | None:
    body = {
        "id": "c", "name": "c", "kind": "coupon", "benefit": FIVE, "stock": {"total": 100},
        "validity": {"type": "relative", "minutes": 60},
    }  # fmt: skip
    return max_exposure(checked(merge(body, parts)), NOW, "Asia/Shanghai")


@pytest.mark.parametrize(
    ("parts", "most"),
    [
        ({}, 50_000),
        ({"stock": {"total": None}}, None),
        # the budget bounds what nothing else does, and what would be more
        ({"stock": {"total": None, "budget": 700}}, 700),
        ({"stock": {"budget": 700}}, 700),
        ({"stock": {"budget": 10**9}}, 50_000),
        ({"benefit": {"type": "percent_off", "percent_off": 5, "amount": None}}, None),
        # what nobody can be given, or use
        ({"issue": {"per_user": 0}}, 0),
        ({"issue": {"tiers": []}}, 0),
        ({"issue": {"end": "2026-03-02T12:00:00+08:00"}}, 0),
        ({"usage": {"stores": []}}, 0),
        ({"usage": {"per_day": 0}}, 0),
        ({"issue": {"per_user": 1}}, 50_000),
        # 10 a day from the 2nd to the 4th, midnight of the 5th not included
        ({"issue": {"per_day": 10, "end": "2026-03-05T00:00:00+08:00"}}, 15_000),
        ({"issue": {"per_day": 10, "end": "2026-03-05T00:00:01+08:00"}}, 20_000),
        ({"issue": {"per_day": 10}}, 50_000),
        (
            {
                "stock": {"total": None},
                "issue": {
                    "per_minute": 3,
                    "start": "2026-03-02T12:01:00+08:00",
                    "early": [{"tiers": ["gold"], "start": "2026-03-02T12:00:30+08:00"}],
                    "end": "2026-03-02T12:02:00+08:00",
                },
            },
            3000,
        ),
        # uses: two a day, or one a day in each of two stores, while coupons are valid
        ({"usage": {"per_day": 2}, "validity": {**FIXED, "minutes": None}}, 3000),
        (
            {
                "usage": {"per_store_per_day": 1, "stores": ["a", "b"]},
                "validity": {**FIXED, "minutes": None, "start": "2026-03-04T00:00:00+08:00"},
            },
            1000,
        ),
        ({"usage": {"per_store_per_day": 1}, "validity": {**FIXED, "minutes": None}}, 50_000),
    ],
)
def test_the_most_it_can_cost(parts: dict[str, Any], most: int | None) -> None:
    assert exposure(**parts) == most
