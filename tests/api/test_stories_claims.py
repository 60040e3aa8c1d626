"""Claims as stories: limits, windows, who may, and the same key again."""

from __future__ import annotations

import pytest

from tests.api.server import Api
from tests.api.story import Story

STORIES = {
    "stock runs out": """
        campaign spring  stock 1  per_user 1
        u1 claims spring as k1    -> claimed c1
        u1 claims spring as k1    -> claimed c1 again     # the same answer
        u1 claims spring as k2    -> user_limit           # judged before the stock
        u2 claims spring as k1    -> sold_out             # a key is scoped by the person
    """,
    "a key stands for one request": """
        campaign spring  stock 5
        campaign summer  stock 5
        u1 claims spring as k1           -> claimed c1
        u1 claims summer as k1           -> idempotency_key_reused
        u1 claims spring as k1 via web   -> idempotency_key_reused
        u1 claims spring as k2           -> claimed c2
    """,
    "a refusal leaves nothing behind": """
        campaign spring  per_user 1
        campaign: spring paused
        u1 claims spring as k1    -> campaign_paused
        campaign: spring active
        u1 claims spring as k1    -> claimed c1
        campaign: spring frozen
        u1 claims spring as k1    -> claimed c1 again     # the receipt comes first
        u1 claims spring as k2    -> campaign_frozen
        campaign: spring ended
        u1 claims spring as k2    -> campaign_ended
    """,
    "none means none, absent means no limit": """
        campaign none  stock 0
        u1 claims none as k1      -> sold_out
        campaign nobody  per_user 0
        u1 claims nobody as k2    -> user_limit
        campaign free
        u1 claims free as k3      -> claimed c1
        u1 claims free as k4      -> claimed c2
        u1 claims free as k5      -> claimed c3
    """,
    "a window opens and closes": """
        campaign noon  start 2026-03-02T12:00:00+08:00  end 2026-03-02T13:00:00+08:00
        at 2026-03-02T11:59:59.999+08:00
        u1 claims noon as k1      -> not_started
        at 2026-03-02T12:00:00+08:00
        u1 claims noon as k1      -> claimed c1
        at 2026-03-02T12:59:59.999+08:00
        u1 claims noon as k2      -> claimed c2
        at 2026-03-02T13:00:00+08:00
        u1 claims noon as k3      -> campaign_ended
        u1 claims noon as k1      -> claimed c1 again
    """,
    "gold comes early": """
        campaign noon  start 2026-03-02T12:00:00+08:00  early gold@2026-03-02T11:00:00+08:00
        u1 is of gold
        at 2026-03-02T11:00:00+08:00
        u2 claims noon as k1      -> not_started
        u1 claims noon as k1      -> claimed c1
    """,
    "for some only": """
        campaign golden  tiers gold,silver
        campaign mailed  audience spring-mail
        campaign inshop  channels store_scan
        u1 claims golden as k1    -> not_eligible
        u1 is of silver
        u1 claims golden as k1    -> claimed c1
        u1 claims mailed as k2    -> not_eligible
        u1 is in spring-mail
        u1 claims mailed as k2    -> claimed c2
        u1 claims inshop as k3    -> channel_not_allowed
        u1 claims inshop as k4 via store_scan -> claimed c3
    """,
    "a frozen member gets nothing": """
        campaign spring
        u1 is frozen
        u1 claims spring as k1    -> user_frozen
        u1 is thawed
        u1 claims spring as k1    -> claimed c1
    """,
    "days, weeks and months are local": """
        campaign daily  per_user_per_day 1
        campaign weekly  per_user_per_week 1
        campaign monthly  per_user_per_month 1
        at 2026-03-29T23:59:59+08:00                      # Sunday
        u1 claims daily as d1     -> claimed c1
        u1 claims daily as d2     -> user_day_limit
        u1 claims weekly as w1    -> claimed c2
        u1 claims weekly as w2    -> user_week_limit
        u1 claims monthly as m1   -> claimed c3
        at 2026-03-30T00:00:00+08:00                      # Monday, still the 29th in UTC
        u1 claims daily as d2     -> claimed c4
        u1 claims weekly as w2    -> claimed c5
        u1 claims monthly as m2   -> user_month_limit
        at 2026-04-01T00:00:00+08:00
        u1 claims monthly as m2   -> claimed c6
    """,
    "expiry is decided by the clock": """
        campaign short  minutes 60
        campaign later  delay 60  minutes 60  until 2026-03-02T13:30:00+08:00
        u1 claims short as k1     -> claimed c1
        u1 claims later as k2     -> claimed c2
        redeem c2 on 23800 as k3  -> not_yet_valid c2
        at 2026-03-02T12:59:59.999+08:00
        c1                        -> issued
        at 2026-03-02T13:00:00+08:00
        c1                        -> expired
        redeem c1 on 23800 as k4  -> expired c1
        c2                        -> issued
        at 2026-03-02T13:30:00+08:00
        c2                        -> expired
    """,
    "void": """
        campaign spring  per_user 1
        u1 claims spring as k1    -> claimed c1
        void c1 as k2             -> voided c1
        void c1 as k2             -> voided c1 again
        void c1 as k3             -> voided
        u1 claims spring as k1    -> claimed c1 again     # as first answered
        u1 claims spring as k4    -> user_limit           # withdrawn is not given back
        redeem c1 on 23800 as k5  -> voided c1
    """,
}


@pytest.mark.parametrize("story", STORIES.values(), ids=STORIES)
async def test_claims(rehearsal: Api, story: str) -> None:
    """Each line's answer is what the story says."""
    await Story(rehearsal, clock=True).tell(story)
