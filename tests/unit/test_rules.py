"""The rules one by one: a case a line, the answer last (tests/unit/rules_language.py reads it)."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from engine.outcomes import Outcome
from engine.rules import Skipped, calendar, judge
from tests.unit.rules_language import OFFSET, Example, coupon, lines_of, ms, run

# One coupon on one basket: (floor |) basket | coupon a -> what it takes, or why not
ONE_COUPON = """
# amount_off
10000 | amount_off amount=2000 min_spend=10000                     -> takes 2000
9999 | amount_off amount=2000 min_spend=10000                      -> min_spend, short by 1
1000 | amount_off amount=2000                                      -> takes 1000
0 | amount_off amount=2000                                         -> no_effect
floor 1000 | 1000 | amount_off amount=1                            -> no_effect
floor 1000 | 1500 | amount_off amount=2000                         -> takes 500
floor 1000 | 900 | amount_off amount=2000                          -> no_effect
# steps
9999 | amount_off steps=10000:1000,20000:3000                      -> min_spend, short by 1
10000 | amount_off steps=10000:1000,20000:3000                     -> takes 1000
19999 | amount_off steps=10000:1000,20000:3000                     -> takes 1000
20000 | amount_off steps=10000:1000,20000:3000                     -> takes 3000
50 | amount_off steps=200:10 min_spend=100                         -> min_spend, short by 150
50 | amount_off steps=0:10                                         -> takes 10
# every
9999 | amount_off every=10000 amount=2000                          -> min_spend, short by 1
19999 | amount_off every=10000 amount=2000                         -> takes 2000
20000 | amount_off every=10000 amount=2000                         -> takes 4000
90000 | amount_off every=10000 amount=2000 max_amount=5000         -> takes 5000
100000000000 | amount_off every=1 amount=100000000000              -> takes 100000000000
# percent_off: half up, once, then the cap
4 | percent_off percent_off=12.5                                   -> takes 1
3 | percent_off percent_off=12.5                                   -> no_effect
10000 | percent_off percent_off=0.01                               -> takes 1
4999 | percent_off percent_off=0.01                                -> no_effect
5000 | percent_off percent_off=0.01                                -> takes 1
9900 | percent_off percent_off=33.33 max_amount=3000               -> takes 3000
9900 | percent_off percent_off=100                                 -> takes 9900
9900 | percent_off percent_off=50 max_amount=0                     -> no_effect
floor 1 | 9900 | percent_off percent_off=100                       -> takes 9899
# fixed_price
9900 | fixed_price amount=990                                      -> takes 8910
9900 | fixed_price amount=0                                        -> takes 9900
990 | fixed_price amount=990                                       -> no_effect
# gift
t tea d x3 1000 | gift sku=tea                                     -> takes 333
t tea d x3 1000 | gift sku=tea amount=200                          -> takes 200
t tea d x3 1000 | gift sku=tea amount=0                            -> no_effect
t tea d x3 2 | gift sku=tea                                        -> no_effect
t tea d x3 1000 | gift sku=cola                                    -> no_eligible_items
t tea d x3 1000 | gift sku=tea exclude.skus=tea                    -> no_eligible_items
t tea d x1 1000, u tea d x1 1000 | gift sku=tea                    -> takes 1000 (t: 1000)
t tea d x1 1000, u tea d x2 1000 | gift sku=tea                    -> takes 500 (u: 500)
t tea d x1 500, n noodles d x1 9500 | gift sku=tea min_spend=1000  -> min_spend, short by 500
# exchange
9900 | exchange item=mug value=2900                                -> is exchanged, worth 2900
9900 | exchange item=mug                                           -> is exchanged, worth 0
9900 | exchange item=mug min_spend=10000                           -> min_spend, short by 100
9900 | exchange item=mug include.skus=mug                          -> is exchanged, worth 0
# which lines
9900 | amount_off amount=1 include.skus=                           -> no_eligible_items
9900 | amount_off amount=1 exclude.skus=                           -> takes 1
t tea d x1 9900 | amount_off amount=1 include.categories= include.skus=tea -> takes 1
t tea d x1 9900 | amount_off amount=1 include.categories=d exclude.categories=d -> no_eligible_items
t tea d x2 9900 | amount_off amount=1 min_quantity=2               -> takes 1
t tea d x2 9900 | amount_off amount=1 min_quantity=3               -> min_quantity, short by 1
t tea d x2 9900 | amount_off amount=1 min_quantity=0               -> takes 1
"""

# The ladder of states: each row adds a reason before the one above it, and the new one is given.
LADDER = """
hours=00:00-01:00                                    -> outside_hours
channels=app                                         -> channel_not_allowed
stores=s2                                            -> store_not_allowed
from=2026-01-05T12:01                                -> not_yet_valid
until=2026-01-05T12:00                               -> expired
state=voided                                         -> voided
step=7 presented=7                                   -> code_used
state=held                                           -> held
state=redeemed                                       -> already_redeemed
status=frozen                                        -> campaign_frozen
stale                                                -> code_expired
"""

# Where and when: scene | words -> open or the refusal
WHERE = """
stores=s1,s2                                         -> ok
stores=                                              -> store_not_allowed
channels=cashier                                     -> ok
channels=                                            -> channel_not_allowed
at 2026-01-05 09:59 | hours=10:00-22:00              -> outside_hours
at 2026-01-05 10:00 | hours=10:00-22:00              -> ok
at 2026-01-05 21:59 | hours=10:00-22:00              -> ok
at 2026-01-05 22:00 | hours=10:00-22:00              -> outside_hours
at 2026-01-05 23:59 | hours=22:00-24:00              -> ok
at 2026-01-06 00:00 | hours=22:00-24:00              -> outside_hours
at 2026-01-05 23:59 | hours=22:00-00:00              -> ok
at 2026-01-06 00:00 | hours=22:00-00:00              -> outside_hours
at 2026-01-05 12:00 | hours=00:00-24:00              -> ok
at 2026-01-05 12:00 | hours=                         -> outside_hours
at 2026-01-05 12:00 | hours=08:00-09:00,11:00-13:00  -> ok
# Monday is 1, and the weekday of a night is that of its evening
at 2026-01-05 00:00 | weekdays=1                     -> ok
at 2026-01-04 23:59 | weekdays=1                     -> outside_hours
at 2026-01-05 23:59 | weekdays=1                     -> ok
at 2026-01-06 00:00 | weekdays=1                     -> outside_hours
at 2026-01-11 12:00 | weekdays=7                     -> ok
at 2026-01-05 12:00 | weekdays=                      -> outside_hours
at 2026-01-05 01:00 | weekdays=7 hours=22:00-02:00   -> ok
at 2026-01-05 01:00 | weekdays=1 hours=22:00-02:00   -> outside_hours
at 2026-01-05 23:00 | weekdays=1 hours=22:00-02:00   -> ok
at 2026-01-05 02:00 | weekdays=7 hours=22:00-02:00   -> outside_hours
# start-inclusive, end-exclusive, by the clock
from=2026-01-05T12:00                                -> ok
until=2026-01-05T12:01                               -> ok
at 2026-01-05 12:01 | until=2026-01-05T12:01         -> expired
# a picture is spent by the step it showed and every one before; an id shows none
step=7 presented=8                                   -> ok
step=7 presented=6                                   -> code_used
step=7                                               -> ok
status=paused                                        -> ok
status=ended                                         -> ok
user frozen | class=common                           -> user_frozen
"""

# Several coupons on a basket of 10000, each amount_off 100 unless it says otherwise.
TOGETHER = """
class=exclusive ; class=exclusive          -> a takes 100 | b: stacking_conflict
class=exclusive ; class=always             -> a takes 100 | b takes 100
class=always ; class=exclusive             -> a takes 100 | b takes 100
class=exclusive ; class=common             -> a takes 100 | b: stacking_conflict
class=common ; class=exclusive             -> a takes 100 | b: stacking_conflict
class=common ; class=common                -> a takes 100 | b takes 100
class=always ; class=always                -> a takes 100 | b takes 100
# order of application: order, then the earliest end, then the id
order=2 ; order=1                          -> b takes 100 | a takes 100
order=-1 ; order=-2                        -> b takes 100 | a takes 100
class=common ; until=2026-02-01            -> b takes 100 | a takes 100
until=2026-02-02 ; until=2026-02-01        -> b takes 100 | a takes 100
order=1 ; until=2026-02-01                 -> a takes 100 | b takes 100
# a refused one counts as not sent, whatever its class
class=exclusive stores=s2 ; class=common   -> b takes 100 | a: store_not_allowed
class=exclusive min_spend=10001 order=1 ; class=common -> b takes 100 | a: min_spend, short by 1
# groups: the smallest limit named counts, whoever names it
group=g group_limit=1 ; group=g            -> a takes 100 | b: group_limit
group=g ; group=g group_limit=1            -> a takes 100 | b: group_limit
group=g group_limit=1 ; group=h group_limit=1 -> a takes 100 | b takes 100
group=g group_limit=0 ; class=common       -> b takes 100 | a: group_limit
group=g ; group=g                          -> a takes 100 | b takes 100
# per_redemption: of one campaign; null is unlimited, 0 is none
campaign=x ; campaign=x                    -> a takes 100 | b: campaign_limit
campaign=x per_redemption=2 ; campaign=x   -> a takes 100 | b: campaign_limit
campaign=x per_redemption=2 ; campaign=x per_redemption=2 -> a takes 100 | b takes 100
campaign=x per_redemption=null ; campaign=x per_redemption=null -> a takes 100 | b takes 100
per_redemption=0 ; class=common            -> b takes 100 | a: campaign_limit
# conflict before group before campaign before no effect
group=g group_limit=1 ; group=g class=exclusive -> a takes 100 | b: stacking_conflict
campaign=x group=g group_limit=1 ; campaign=x group=g -> a takes 100 | b: group_limit
"""


def rows(table: str) -> list[tuple[str, str]]:
    """(given, expected) of each row."""
    pairs = [row.rpartition("->") for row in table.splitlines() if row and row[0] != "#"]
    return [(given.strip(), expected.strip()) for given, _, expected in pairs]


def lines_with(words: str, plain: str) -> str:
    """``at …`` and the like as lines of an example, the rest about coupon a."""
    *scene, about = words.split("|")
    return "\n".join([*scene, f"coupon a amount_off amount=100 {about}", plain])


@pytest.mark.parametrize(("given", "expected"), rows(ONE_COUPON))
def test_one_coupon(given: str, expected: str) -> None:
    *floor, basket, words = given.split("|")
    answers, _ = run("\n".join([*floor, f"basket {basket}", f"coupon a {words}"]))
    assert re.sub(r"^a:? ", "", answers[0]) == expected


@pytest.mark.parametrize("count", range(1, len(rows(LADDER)) + 1))
def test_first_reason_wins(count: int) -> None:
    reasons = rows(LADDER)[:count]
    state = [words for words, _ in reasons if words.startswith("state=")][-1:]
    words = [words for words, _ in reasons if not words.startswith("state=")] + state
    example = Example()
    example.tell("basket 0")  # and no effect: the last of all
    example.tell("coupon a amount_off amount=100 " + " ".join(words))
    assert example.answers()[0] == f"a: {reasons[-1][1]}"


@pytest.mark.parametrize(("given", "expected"), rows(WHERE))
def test_where_and_when(given: str, expected: str) -> None:
    answers, _ = run(lines_with(given, "basket 10000"))
    assert answers[0] == ("a takes 100" if expected == "ok" else f"a: {expected}")


@pytest.mark.parametrize(("given", "expected"), rows(TOGETHER))
def test_together(given: str, expected: str) -> None:
    coupons = [f"coupon {name} amount_off amount=100 {words}"
               for name, words in zip("ab", given.split(";"), strict=True)]  # fmt: skip
    for order in (coupons, coupons[::-1]):  # the order of the request does not matter
        answers, _ = run("\n".join([*order, "basket 10000"]))
        assert answers[:-1] == [part.strip() for part in expected.split("|")]


def test_twelve_coupons_in_all() -> None:
    example = Example()
    example.tell("basket 10000")
    for n in range(12):
        example.tell(f"coupon c{n:02} amount_off amount=100")
    example.tell("coupon x1 exchange item=mug")
    assert example.answers()[-2:] == ["x1: too_many_coupons", "pay 8800"]


def test_a_hold_ends_by_the_clock_and_makes_way_for_its_successor() -> None:
    scene, lines = Example().scene, lines_of("10000")
    held = coupon("a", "amount_off amount=100 state=held", scene.now)
    assert judge([held], lines, scene).skipped == [Skipped("a", Outcome.HELD)]
    later = replace(scene, now=held.record.held_until)
    assert judge([held], lines, later).discount == 100
    assert judge([replace(held, own_hold=True)], lines, scene).discount == 100


def test_what_holds_for_the_whole_act_holds_for_each_coupon() -> None:
    scene, lines = Example().scene, lines_of("10000")
    one = coupon("a", "amount_off amount=100", scene.now)
    for fault, outcome in (
        (replace(scene, member_stale=True), Outcome.CODE_EXPIRED),
        (replace(scene, user_frozen=True), Outcome.USER_FROZEN),
        (replace(scene, member_used=True), Outcome.CODE_USED),
        (replace(scene, store_closed=True), Outcome.STORE_NOT_ALLOWED),
    ):
        assert judge([one], lines, fault).skipped == [Skipped("a", outcome)]


@pytest.mark.parametrize(("local", "day", "week", "month"), [
    ("1970-01-02", 1, 0, 1970 * 12),
    ("1970-01-04 23:59", 3, 0, 1970 * 12),          # a Sunday
    ("1970-01-05", 4, 1, 1970 * 12),                # a Monday: a new week
    ("2024-02-29 23:59", 19782, 2826, 2024 * 12 + 1),
    ("2024-03-01", 19783, 2826, 2024 * 12 + 2),
    ("2025-12-31 23:59", 20453, 2922, 2025 * 12 + 11),
    ("2026-01-01", 20454, 2922, 2026 * 12),         # a new month and year, the same week
])  # fmt: skip
def test_calendar_is_local(local: str, day: int, week: int, month: int) -> None:
    assert calendar(ms(local), OFFSET) == (day, week, month)
