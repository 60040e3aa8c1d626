"""Parking fees and the coupons for them, drawn at random: round amounts, short tables, limits."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from engine.arithmetic import Fee
from engine.records import CouponRecord, Line, Terms
from engine.rules import Candidate, Scene
from tests.unit.rules_language import OFFSET
from tests.unit.rules_strategies import DAY_MS, NOW

amounts = st.sampled_from([1, 100, 300, 500, 800, 1000, 2500])
minutes = st.sampled_from([1, 10, 15, 30, 45, 60, 120])


@st.composite
def parking_terms(draw: st.DrawFn) -> Terms:
    """Half of them minutes; now and then a coupon that is not for parking."""
    benefit = draw(
        st.sampled_from(
            ["parking_minutes", "parking_minutes", "parking_minutes", "parking_free",
             "amount_off", "percent_off", "fixed_price", "gift"]
        )
    )  # fmt: skip
    fields: dict[str, Any] = {
        "kind": "parking", "benefit": benefit, "amount": draw(amounts), "steps": [], "every": 0,
        "max_amount": -1, "basis_points": 0, "sku": "", "item": "", "value": 0,
    }  # fmt: skip
    if benefit == "parking_minutes":
        fields["amount"] = draw(minutes)
    elif benefit == "parking_free":
        fields["amount"] = draw(st.sampled_from([-1, 0, 500, 1500]))
    elif benefit == "percent_off":
        fields["basis_points"] = draw(st.sampled_from([500, 1250, 5000, 10_000]))
    named: list[str] | None = None
    if benefit in ("gift", "amount_off", "percent_off", "fixed_price") and draw(st.booleans()):
        fields["kind"] = "coupon"
        named = draw(st.sampled_from([None, ["parking"], ["dining", "parking"], ["dining"]]))
    return Terms(
        **fields,
        min_spend=draw(st.sampled_from([0, 0, 0, 500, 2000])),
        min_spend_running=draw(st.booleans()),
        min_quantity=0,
        stores=draw(st.sampled_from([None, None, None, ["lot-1"], ["s1"]])),
        channels=None,
        weekdays=None,
        hours=None,
        include_categories=named,
        include_skus=None,
        exclude_categories=draw(st.sampled_from([None, None, None, None, ["parking"]])),
        exclude_skus=None,
        stacking=draw(st.sampled_from(["common", "common", "common", "always", "exclusive"])),
        group=draw(st.sampled_from(["", "", "g"])),
        group_limit=draw(st.sampled_from([-1, -1, 1, 2])),
        per_redemption=draw(st.sampled_from([-1, -1, 1, 2])),
        order=draw(st.sampled_from([100, 100, 1])),
        base_initial=draw(st.booleans()),
    )


@st.composite
def parking_wallets(draw: st.DrawFn, most: int = 6) -> list[Candidate]:
    """Coupons of one person that are not yet used."""
    wallet = []
    for n in range(draw(st.integers(0, most))):
        campaign = draw(st.sampled_from(["x", f"c{n}", f"c{n}"]))
        record = CouponRecord(
            campaign, n + 1, 0, NOW, 0, draw(st.sampled_from([0, 0, DAY_MS, 2 * DAY_MS])), "f", ""
        )
        wallet.append(Candidate(f"000000000{n:02}", record, draw(parking_terms())))
    return draw(st.permutations(wallet))


@st.composite
def parking_fees(draw: st.DrawFn, *, told: bool = False) -> tuple[list[Line], Scene]:
    """What is to pay, and the scene with the fee in it. ``told``: the tariff always is."""
    steps = draw(st.sets(st.integers(1, 300), max_size=8))
    table, sum_ = [], 0
    for step in sorted(steps):
        sum_ += draw(st.sampled_from([1, 100, 200, 500]))
        table.append((step, sum_))
    due = draw(st.sampled_from([0, 1, 500, 1200, 3000, 8000]))
    taken = draw(st.sampled_from([0, 0, 0, 20, 90]))
    worth = table if told or draw(st.integers(0, 5)) else None
    off = draw(st.integers(0, min(due, 300))) if taken and worth is not None else 0
    fee = Fee(
        worth,
        taken,
        off,
        draw(st.sampled_from([None, None, None, taken, 60 + taken, 200])),
        draw(st.sampled_from([12, 12, 12, 0, 1, 2])),
        draw(st.sampled_from([0, 0, 300, 1000])),
    )
    scene = Scene(
        NOW, OFFSET, "lot-1", "", payable_floor=draw(st.sampled_from([0, 0, 1, 700])), fee=fee
    )
    return [Line("1", due, 1, "", "parking")], scene
