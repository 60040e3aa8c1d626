"""Redemptions, holds and reversals as stories."""

from __future__ import annotations

import pytest

from tests.api.server import Api
from tests.api.story import Story

REDEMPTIONS = {
    "once, and the same key again": """
        campaign spring  min_spend 10000
        u1 claims spring as k1                -> claimed c1
        redeem c1 on 9999 as k2               -> min_spend c1 short 1
        redeem c1 on 23800 as k2              -> redeemed r1 off 2000 pay 21800
        redeem c1 on 23800 as k2              -> redeemed r1 off 2000 pay 21800 again
        redeem c1 on 23801 as k2              -> idempotency_key_reused
        redeem c1 on 23800 as k3              -> already_redeemed c1
        c1                                    -> redeemed
    """,
    "where, when and through what": """
        campaign mon  stores s1  at_channels cashier  weekdays 1  hours 10:00-14:00
        u1 claims mon as k1                   -> claimed c1
        redeem c1 on 5000 as k2 in s2         -> store_not_allowed c1
        redeem c1 on 5000 as k2 via gate      -> channel_not_allowed c1
        at 2026-03-02T09:59:59+08:00
        u2 claims mon as k1                   -> claimed c2
        redeem c2 on 5000 as k2               -> outside_hours c2
        at 2026-03-03T12:00:00+08:00
        redeem c1 on 5000 as k2               -> outside_hours c1
        at 2026-03-02T13:59:59+08:00
        redeem c1 on 5000 as k2               -> redeemed r1 off 2000 pay 3000
        redeem c2 on 5000 as k2 in nowhere    -> not_found
    """,
    "one refusal refuses the whole": """
        campaign a  off 1000  min_spend 10000  order 1
        campaign b  off 50
        u1 claims a as k1                     -> claimed c1
        u1 claims b as k2                     -> claimed c2
        redeem c1 c2 on 5000 as k3            -> min_spend c1 short 5000
        c2                                    -> issued
        redeem c1 c2 on 60 as k4 best_effort -> redeemed r1 off 50 pay 10 without c1 min_spend
        redeem c1 c2 on 60 as k4 best_effort -> redeemed r1 off 50 pay 10 without c1 min_spend again
        redeem c1 c2 on 5000 as k5 best_effort  -> min_spend c1 short 5000, already_redeemed c2
    """,
    "a frozen campaign and a frozen member": """
        campaign spring
        u1 claims spring as k1                -> claimed c1
        u1 is frozen
        redeem c1 on 5000 as k2               -> user_frozen c1
        u1 is thawed
        campaign: spring frozen
        redeem c1 on 5000 as k2               -> campaign_frozen c1
        campaign: spring paused
        redeem c1 on 5000 as k2               -> redeemed r1 off 2000 pay 3000
    """,
    "stacking": """
        campaign alone  class exclusive  off 300
        campaign plain  off 200
        campaign staff  class always  off 100
        u1 claims alone as k1                 -> claimed c1
        u1 claims plain as k2                 -> claimed c2
        u1 claims staff as k3                 -> claimed c3
        at 2026-03-02T12:00:01+08:00                      # ends a second later: applied later
        u1 claims plain as k4                 -> claimed c4
        redeem c2 c4 on 5000 as k5            -> campaign_limit c4
        redeem c1 c3 on 5000 as k6            -> redeemed r1 off 400 pay 4600
    """,
    "two people are two redemptions": """
        campaign spring
        u1 claims spring as k1                -> claimed c1
        u2 claims spring as k1                -> claimed c2
        redeem c1 c2 on 5000 as k2            -> different_owners
        redeem c1 on 5000 as k2 for table-7   -> redeemed r1 off 2000 pay 3000
        redeem c2 on 5000 as k2 for table-7   -> redeemed r2 off 2000 pay 3000
    """,
    "an exchange needs no basket": """
        campaign coffee  exchange coffee:1500
        campaign spring
        u1 claims coffee as k1                -> claimed c1
        u1 claims spring as k2                -> claimed c2
        redeem c2 on nothing as k3            -> no_eligible_items c2
        redeem c1 on nothing as k3            -> redeemed r1 off 0 pay 0
        reverse r1 as k4                      -> reversed v1 gross 0 back 0 refund 0 c1
        r1                                    -> reversed
        c1                                    -> issued
    """,
}

HOLDS = {
    "hold and commit": """
        campaign spring
        u1 claims spring as k1                -> claimed c1
        hold c1 on 5000 as k2                 -> held r1 off 2000 pay 3000
        c1                                    -> held
        redeem c1 on 5000 as k3               -> held c1
        commit r1 as k4                       -> redeemed r1 off 2000 pay 3000
        commit r1 as k4                       -> redeemed r1 off 2000 pay 3000 again
        commit r1 as k5                       -> already_redeemed
        hold c1 on 5000 as k2                 -> held r1 off 2000 pay 3000 again
        release r1 as k6                      -> already_redeemed
        c1                                    -> redeemed
    """,
    "hold and release": """
        campaign spring
        u1 claims spring as k1                -> claimed c1
        hold c1 on 5000 as k2                 -> held r1 off 2000 pay 3000
        reverse r1 as k3                      -> nothing_to_reverse
        release r1 as k3                      -> released r1
        release r1 as k3                      -> released r1 again
        release r1 as k4                      -> hold_released
        commit r1 as k5                       -> hold_released
        c1                                    -> issued
        hold c1 on 5000 as k2                 -> held r1 off 2000 pay 3000 again
        c1                                    -> issued
    """,
    "a hold lapses by the clock": """
        campaign spring
        u1 claims spring as k1                -> claimed c1
        hold c1 on 5000 as k2 seconds 60      -> held r1 off 2000 pay 3000
        at 2026-03-02T12:00:59.999+08:00
        r1                                    -> held
        redeem c1 on 5000 as k3               -> held c1
        at 2026-03-02T12:01:00+08:00
        r1                                    -> lapsed
        c1                                    -> issued
        commit r1 as k4                       -> hold_expired
        redeem c1 on 5000 as k3               -> redeemed r2 off 2000 pay 3000
        release r1 as k5                      -> hold_expired
    """,
    "a new hold of the same order takes the place of the old": """
        campaign spring
        u1 claims spring as k1                -> claimed c1
        u1 claims spring as k2                -> claimed c2
        hold c1 on 5000 as k3 for POS-1       -> held r1 off 2000 pay 3000
        hold c1 on 6000 as k4 for POS-2       -> held c1
        hold c1 on 6000 as k5 for POS-1       -> held r2 off 2000 pay 4000
        r1                                    -> released
        hold c2 on 6000 as k6 for POS-1       -> held r3 off 2000 pay 4000
        c1                                    -> issued
        commit r2 as k7                       -> hold_released
        commit r3 as k7                       -> redeemed r3 off 2000 pay 4000
    """,
    "frozen meanwhile, a hold may still commit": """
        campaign spring
        u1 claims spring as k1                -> claimed c1
        hold c1 on 5000 as k2                 -> held r1 off 2000 pay 3000
        campaign: spring frozen
        commit r1 as k3                       -> redeemed r1 off 2000 pay 3000
    """,
}

REVERSALS = {
    "whole": """
        campaign spring
        u1 claims spring as k1                -> claimed c1
        redeem c1 on 5000 as k2               -> redeemed r1 off 2000 pay 3000
        reverse r1 as k3                      -> reversed v1 gross 5000 back 2000 refund 3000 c1
        reverse r1 as k3 -> reversed v1 gross 5000 back 2000 refund 3000 c1 again
        reverse r1 as k4                      -> already_reversed
        redeem c1 on 5000 as k2               -> redeemed r1 off 2000 pay 3000 again
        c1                                    -> issued
        redeem c1 on 5000 as k5               -> redeemed r2 off 2000 pay 3000
        reverse r1 as k3 -> reversed v1 gross 5000 back 2000 refund 3000 c1 again
        c1                                    -> redeemed
    """,
    "by line, in pieces that sum to the whole": """
        campaign spring  off 1000
        u1 claims spring as k1                -> claimed c1
        redeem c1 on a:3333,b:6667 as k2      -> redeemed r1 off 1000 pay 9000
        reverse r1 a:1111 as k3               -> reversed v1 gross 1111 back 111 refund 1000
        reverse r1 a:2223 as k4               -> more_than_redeemed
        reverse r1 a:0 as k4                  -> nothing_to_reverse
        reverse r1 x:1 as k4                  -> invalid_request
        reverse r1 a:2222 b:1 as k5           -> reversed v2 gross 2223 back 222 refund 2001
        c1                                    -> redeemed
        r1                                    -> redeemed
        reverse r1 as k6                      -> reversed v3 gross 6666 back 667 refund 5999 c1
        reverse r1 a:1111 as k3               -> reversed v1 gross 1111 back 111 refund 1000 again
        reverse r1 a:1110 as k3               -> idempotency_key_reused
        r1                                    -> reversed
    """,
    "a coupon returns when nothing of it stays redeemed": """
        campaign food  off 500  category food  order 1
        campaign any  off 500
        u1 claims food as k1                  -> claimed c1
        u1 claims any as k2                   -> claimed c2
        redeem c1 c2 on a:2000:food,b:2000 as k3  -> redeemed r1 off 1000 pay 3000
        reverse r1 a:2000 as k4               -> reversed v1 gross 2000 back 714 refund 1286 c1
        c2                                    -> redeemed
        reverse r1 as k5                      -> reversed v2 gross 2000 back 286 refund 1714 c2
    """,
    "kept back, or expired meanwhile": """
        campaign spring  minutes 60
        u1 claims spring as k1                -> claimed c1
        u1 claims spring as k2                -> claimed c2
        redeem c1 on 5000 as k3               -> redeemed r1 off 2000 pay 3000
        redeem c2 on 5000 as k4               -> redeemed r2 off 2000 pay 3000
        reverse r1 as k5 keep                 -> reversed v1 gross 5000 back 2000 refund 3000
        c1                                    -> redeemed
        at 2026-03-02T13:00:00+08:00
        reverse r2 as k6 -> reversed v2 gross 5000 back 2000 refund 3000 c2 expired
        c2                                    -> expired
    """,
}

STORIES = REDEMPTIONS | HOLDS | REVERSALS


@pytest.mark.parametrize("story", STORIES.values(), ids=STORIES)
async def test_counter(rehearsal: Api, story: str) -> None:
    """Each line's answer is what the story says."""
    await Story(rehearsal, clock=True).tell(story)
