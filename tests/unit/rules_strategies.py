"""Random wallets and baskets in which things happen: few names, round amounts, tight limits."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from hypothesis import strategies as st

from engine.records import CouponRecord, CouponState, Line, Terms
from engine.rules import Candidate, Room, Scene
from tests.unit.rules_language import OFFSET, ms

NOW = ms("2026-01-05 12:00")
DAY_MS = 86_400_000
LARGEST = 10**11  # definitions.MAX_MONEY

names = st.sampled_from(["a", "b", "c"])
lists = st.none() | st.lists(names, max_size=2)
limits = st.sampled_from([-1, -1, -1, 0, 1, 2, 3])
money = st.one_of(
    st.integers(0, 30),
    st.sampled_from([0, 1, 99, 100, 1000, 9999, 10_000, LARGEST]),
    st.integers(100, 100_000),
    st.integers(1000, 100_000),
)
stores = st.none() | st.lists(st.sampled_from(["s1", "s2"]), max_size=2)


@st.composite
def baskets(draw: st.DrawFn, most: int = 5) -> list[Line]:
    """Lines that together cost at most LARGEST."""
    count = draw(st.integers(0, most))
    amounts = draw(st.lists(money, min_size=count, max_size=count))
    while sum(amounts) > LARGEST:
        amounts[amounts.index(max(amounts))] //= 3
    return [
        Line(str(i), amount, draw(st.integers(1, 4)), draw(names), draw(names))
        for i, amount in enumerate(amounts)
    ]


@st.composite
def benefits(draw: st.DrawFn) -> dict[str, Any]:
    """The fields of Terms that say what a coupon gives."""
    kind = draw(
        st.sampled_from(
            [
                "gift", "fixed_price", "percent_off", "amount_off", "steps", "every", "exchange",
                "admission", "stored_value",
            ]
        )
    )
    positive = money.map(lambda amount: max(1, amount))
    cap = st.just(-1) | money
    match kind:
        case "gift":
            return {"benefit": kind, "sku": draw(names), "amount": draw(cap)}
        case "percent_off":
            points = draw(st.integers(1, 10_000))
            return {"benefit": kind, "basis_points": points, "max_amount": draw(cap)}
        case "exchange":
            return {"benefit": kind, "item": "mug", "value": draw(money)}
        case "admission":
            return {"benefit": kind, "value": draw(money)}
        case "stored_value":
            return {"kind": kind, "benefit": kind, "amount": draw(positive)}
        case "steps":
            least = sorted(draw(st.sets(money, min_size=1, max_size=3)))
            steps = [(m, draw(positive)) for m in least]
            return {"benefit": "amount_off", "steps": steps, "min_spend": least[0]}
        case "every":
            every = draw(positive)
            fields = {"every": every, "amount": draw(positive), "max_amount": draw(cap)}
            return {"benefit": "amount_off", "min_spend": every, **fields}
        case _:
            return {"benefit": kind, "amount": draw(positive)}


@st.composite
def terms(draw: st.DrawFn) -> Terms:
    """Terms as ``compile_terms`` makes them."""
    plain: dict[str, Any] = {
        "kind": "coupon", "amount": -1, "steps": [], "every": 0, "max_amount": -1,
        "basis_points": 0, "sku": "", "item": "", "value": 0,
    }  # fmt: skip
    benefit = draw(benefits())
    least = benefit.pop("min_spend", 0)
    often_none = st.none() | st.none() | st.none() | st.lists(st.integers(1, 7), max_size=6)
    minutes = st.integers(0, 1440)
    spans = st.none() | st.none() | st.lists(st.tuples(minutes, minutes), max_size=2)
    return Terms(
        **{**plain, **benefit},
        min_spend=max(least, draw(st.just(0) | money)),
        min_spend_running=draw(st.booleans()),
        min_quantity=draw(st.sampled_from([0, 0, 0, 1, 3])),
        stores=draw(st.none() | stores),
        channels=draw(st.none() | st.none() | stores),
        weekdays=draw(often_none),
        hours=draw(spans),
        include_categories=draw(st.none() | lists),
        include_skus=draw(st.none() | lists),
        exclude_categories=draw(st.none() | lists),
        exclude_skus=draw(st.none() | lists),
        stacking=draw(st.sampled_from(["common", "common", "common", "always", "exclusive"])),
        group=draw(st.sampled_from(["", "", "g", "h"])),
        group_limit=draw(limits),
        per_redemption=draw(limits),
        order=draw(st.sampled_from([100, 100, 1, -5])),
        base_initial=draw(st.booleans()),
    )


@st.composite
def candidates(draw: st.DrawFn, name: str) -> Candidate:
    """Mostly usable; now and then used, held, expired, stale."""
    issued = NOW - draw(st.integers(0, 3)) * DAY_MS
    rarely = st.integers(0, 19).map(lambda n: n == 19)
    state = draw(st.sampled_from([0, 0, 0, 0, 0, 0, *CouponState]))
    record = CouponRecord(
        campaign_id=draw(st.sampled_from(["x", "y", name])),
        terms_revision=1,
        state=int(state),
        issued=issued,
        valid_from=draw(st.sampled_from([0, 0, 0, DAY_MS])),
        valid_until=draw(st.sampled_from([0, 0, DAY_MS, 5 * DAY_MS, 6 * DAY_MS])),
        fingerprint="f",
        channel="s1",
        step=draw(st.integers(0, 2)),
        held_until=NOW + draw(st.integers(-1, 1)),
    )
    return Candidate(
        name,
        record,
        draw(terms()),
        campaign_status=draw(st.sampled_from(["active", "active", "paused", "ended", "frozen"])),
        step=draw(st.sampled_from([0, 0, 3, 1])),
        stale=draw(rarely),
        own_hold=draw(rarely),
    )


@st.composite
def plain_candidates(draw: st.DrawFn, name: str) -> Candidate:
    """Usable anywhere, any time, with most others: what is judged is the basket."""
    record = CouponRecord(draw(st.sampled_from(["x", name, name])), 1, 0, NOW, 0, 0, "f", "s1")
    own = draw(terms())
    own.stores = own.channels = own.weekdays = own.hours = None
    if draw(st.integers(0, 3)):
        own.include_categories = own.include_skus = own.exclude_skus = None
        own.group, own.per_redemption, own.min_quantity = "", -1, 0
        if own.stacking == "exclusive":
            own.stacking = "always"
        if not own.steps and not own.every:
            own.min_spend = 0
    return Candidate(name, record, own)


@st.composite
def wallets(draw: st.DrawFn, most: int = 6, *, rooms: bool = False) -> list[Candidate]:
    """Coupons of one person, in the order a request names them; in two of three all are plain.

    ``rooms``: of campaigns with budgets and limits, too.
    """
    count = draw(st.integers(0, most))
    kind = plain_candidates if draw(st.integers(0, 2)) else candidates
    mine = [draw(kind(f"c{i:02}")) for i in range(count)]
    if rooms and draw(st.booleans()):
        mine = limited(draw, mine)
    return draw(st.permutations(mine))


def limited(draw: st.DrawFn, mine: list[Candidate]) -> list[Candidate]:
    """The same coupons of campaigns that have a budget, or uses a day; some unlimited."""
    few = st.integers(0, 3)
    rooms = {
        campaign: Room(draw(st.none() | money), draw(few), draw(few))
        for campaign in sorted({one.record.campaign_id for one in mine})
    }
    limit = st.just(-1) | few
    return [
        replace(
            one, room=rooms[one.record.campaign_id], day_limit=draw(limit), store_limit=draw(limit)
        )
        for one in mine
    ]


@st.composite
def scenes(draw: st.DrawFn) -> Scene:
    """A store, a channel and a moment."""
    rarely = st.integers(0, 99).map(lambda n: n == 99)
    later = st.one_of(st.just(0), st.just(0), st.integers(-7 * DAY_MS, 7 * DAY_MS))
    return Scene(
        now=NOW + draw(later),
        offset=OFFSET,
        store_id=draw(st.sampled_from(["s1", "s2"])),
        channel=draw(st.sampled_from(["s1", "s2"])),
        payable_floor=draw(st.sampled_from([0, 0, 1, 500])),
        store_closed=draw(rarely),
        user_frozen=draw(rarely),
        member_stale=draw(rarely),
        member_used=draw(rarely),
    )
