"""Wallets: what of a person's coupons is shown, in which order."""

from __future__ import annotations

from typing import Any

import pytest

from tests.api.counter import Counter

NOON = "2026-03-02T12:00:00+08:00"  # a Monday


async def ids(counter: Counter, query: str = "", **options: Any) -> list[str]:
    answer = await counter.api.get(f"/v1/users/{counter.user()}/coupons{query}", **options)
    assert answer.status == 200, answer.json
    return [item["id"] for item in answer.json["items"]]


async def test_the_next_to_expire_comes_first(counter: Counter) -> None:
    """And what never ends comes last; pages join without a gap."""
    forever = await counter.coupon(validity={"type": "fixed"})
    late = await counter.coupon("minutes 120")
    soon = await counter.coupon("minutes 60")
    assert await ids(counter) == [soon, late, forever]
    seen: list[str] = []
    cursor = ""
    while True:
        answer = await counter.api.get(
            f"/v1/users/{counter.user()}/coupons?limit=1{cursor}",
            key=counter.server.key("storefront"),
        )
        seen += [item["id"] for item in answer.json["items"]]
        if answer.json["next_cursor"] is None:
            break
        cursor = f"&cursor={answer.json['next_cursor']}"
    assert seen == [soon, late, forever]


async def test_an_empty_wallet(counter: Counter) -> None:
    """A person nobody knows has no coupons; that is no error."""
    answer = await counter.api.get(f"/v1/users/{counter.user('nobody')}/coupons")
    assert (answer.status, answer.json) == (200, {"items": [], "next_cursor": None})


async def test_by_status(rehearsed: Counter) -> None:
    """The status is as of now: the clock's."""
    issued = await rehearsed.api.post("/v1/claims", await _claim(rehearsed, "minutes 60"), now=NOON)
    expired = issued.json["id"]
    later = "2026-03-02T13:00:00+08:00"
    ours = [
        (await rehearsed.api.post("/v1/claims", await _claim(rehearsed, ""), now=NOON)).json["id"]
        for _ in range(3)
    ]
    done = await rehearsed.redeem(ours[0], now=NOON)
    assert done.status == 201, done.json
    assert (await rehearsed.redeem(ours[1], mode="hold", now=NOON)).status == 201
    assert await ids(rehearsed, "?status=issued", now=later) == sorted(ours[1:])
    assert await ids(rehearsed, "?status=held", now=NOON) == [ours[1]]
    assert await ids(rehearsed, "?status=expired", now=later) == [expired]
    assert set(await ids(rehearsed, "?status=redeemed,expired", now=later)) == {ours[0], expired}


async def _claim(counter: Counter, words: str) -> dict[str, str]:
    return {
        "campaign_id": await counter.campaign(words),
        "user_id": counter.user(),
        "channel": "app",
    }


async def test_by_place_and_subject(counter: Counter) -> None:
    """Store and channel by the terms, category and scene by the campaign."""
    s1 = await counter.coupon("stores s1 minutes 60", category="dining", scene="store")
    everywhere = await counter.coupon("minutes 70", category="dining", scene="parking")
    online = await counter.coupon("at_channels mini minutes 80", category="fun")
    assert await ids(counter, "?store_id=s1") == [s1, everywhere, online]
    assert await ids(counter, "?store_id=s2") == [everywhere, online]
    assert await ids(counter, "?channel=cashier") == [s1, everywhere]
    assert await ids(counter, "?category=dining") == [s1, everywhere]
    assert await ids(counter, "?category=dining&scene=parking&store_id=s2") == [everywhere]
    answer = await counter.api.get(f"/v1/users/{counter.user()}/coupons?expand=terms&limit=1")
    assert {rule["code"] for rule in answer.json["items"][0]["rules"]} >= {"amount_off", "stores"}


async def test_usable_on(rehearsed: Counter) -> None:
    """A local date, or a moment: validity, weekdays and hours are asked; the basket is not."""
    made = {}
    for name, words in {
        "weekend": "weekdays 6,7",
        "evening": "hours 18:00-21:00",
        "night": "hours 22:00-02:00 weekdays 1",
        "hour": "minutes 60",
        "later": "delay 1440",
    }.items():
        body = await _claim(rehearsed, words)
        claimed = await rehearsed.api.post("/v1/claims", body, now=NOON)
        made[claimed.json["id"]] = name

    async def usable(text: str) -> set[str]:
        found = await ids(rehearsed, f"?usable_on={text.replace('+', '%2B')}", now=NOON)
        return {made[coupon] for coupon in found}

    assert await usable("2026-03-02") == {"evening", "night", "hour"}
    assert await usable("2026-03-03") == {"evening", "night", "later"}  # night: until two
    assert await usable("2026-03-07") == {"weekend", "evening", "later"}
    assert await usable("2026-03-02T12:30:00+08:00") == {"hour"}
    assert await usable("2026-03-02T18:00:00+08:00") == {"evening"}
    assert await usable("2026-03-03T01:59:00+08:00") == {"night"}
    assert await usable("2026-03-04T01:59:00+08:00") == {"later"}


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("status=lost", "status"),
        ("usable_on=tomorrow", "usable_on"),
        ("sort=hot", "sort"),
        ("sort=near&lat=31.2&lng=121.5", "sort"),
        ("lat=31.2", "lat"),
        ("cursor=x", "cursor"),
        ("limit=0", "limit"),
        ("limit=201", "limit"),
        ("expand=all", "expand"),
        ("colour=red", "colour"),
    ],
)
async def test_a_wrong_query_is_named(counter: Counter, query: str, field: str) -> None:
    """400, also for what is not built yet; never silence."""
    answer = await counter.api.get(f"/v1/users/{counter.user()}/coupons?{query}")
    assert (answer.status, answer.json["field"]) == (400, field)
