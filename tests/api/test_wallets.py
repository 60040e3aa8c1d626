"""Wallets: what of a person's coupons is shown, in which order."""

from __future__ import annotations

import asyncio
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


async def test_usable_today_comes_first(rehearsed: Counter) -> None:
    """At some time of the rest of today, by validity, weekday and hours; then the next to expire.

    Pages join, and a cursor of another sort is none.
    """
    morning = await rehearsed.coupon("hours 09:00-11:00 minutes 3000", now=NOON)
    tuesday = await rehearsed.coupon("weekdays 2 minutes 3001", now=NOON)
    evening = await rehearsed.coupon("hours 18:00-21:00 minutes 3002", now=NOON)
    always = await rehearsed.coupon("minutes 3003", now=NOON)
    frozen = await rehearsed.campaign("minutes 2999")
    cold = (await rehearsed.claim(frozen, now=NOON)).json["id"]
    await rehearsed.api.patch(f"/v1/campaigns/{frozen}", {"status": "frozen"}, now=NOON)
    order = [evening, always, cold, morning, tuesday]
    assert await ids(rehearsed, "?sort=usable_today", now=NOON) == order
    path = f"/v1/users/{rehearsed.user()}/coupons"
    page = (await rehearsed.api.get(f"{path}?sort=usable_today&limit=2", now=NOON)).json
    cursor = page["next_cursor"]
    assert await ids(rehearsed, f"?sort=usable_today&cursor={cursor}", now=NOON) == order[2:]
    wrong = await rehearsed.api.get(f"{path}?sort=hot&cursor={cursor}", now=NOON)
    assert (wrong.status, wrong.json["field"]) == (400, "cursor")


async def test_hot_comes_first(counter: Counter) -> None:
    """By the campaign's tags as they are now, then by redemptions so far."""
    plain = await counter.coupon("minutes 60")
    loved_campaign = await counter.campaign("minutes 90")
    loved = (await counter.claim(loved_campaign)).json["id"]
    other = (await counter.claim(loved_campaign, "u2")).json["id"]
    tagged_campaign = await counter.campaign("minutes 99")
    tagged = (await counter.claim(tagged_campaign)).json["id"]
    path = f"/v1/campaigns/{tagged_campaign}"
    assert (await counter.api.patch(path, {"tags": ["hot"]})).status == 200
    assert (await counter.redeem(other)).status == 201
    assert await ids(counter, "?sort=hot") == [tagged, loved, plain]


async def test_near_comes_first(counter: Counter) -> None:
    """By the nearest open store of the terms that says where it is; good everywhere: any store."""
    stores = {"a": (31.0, 121.0), "b": (31.1, 121.0), "shut": (31.2, 121.0), "lost": (None, None)}
    name = {key: f"{counter.mark}-{key}" for key in stores}
    for key, (lat, lng) in stores.items():
        body = {"name": key, "merchant_id": "m1", "lat": lat, "lng": lng, "closed": key == "shut"}
        assert (await counter.api.put(f"/v1/stores/{name[key]}", body)).status == 200
    made = {
        key: await counter.coupon(f"stores {','.join(name[one] for one in key.split('+'))}")
        for key in ("a", "b+shut", "lost")
    }
    answer = await counter.api.get(
        f"/v1/users/{counter.user()}/coupons?sort=near&lat=31.2&lng=121.0"
    )
    shown = [(item["id"], item["distance"]) for item in answer.json["items"]]
    assert shown == [(made["b+shut"], 11_120), (made["a"], 22_239), (made["lost"], None)]


async def test_a_summary(rehearsed: Counter) -> None:
    """Usable now, of those what ends within a week, and what redemptions took off."""
    assert (await summary(rehearsed))["usable"] == 0  # nobody yet
    await rehearsed.coupon("minutes 60", now=NOON)
    await rehearsed.coupon("minutes 10080", now=NOON)
    await rehearsed.coupon("minutes 10081", now=NOON)
    await rehearsed.coupon("minutes 600 delay 60", now=NOON)
    used = await rehearsed.coupon("off 700", now=NOON)
    back = await rehearsed.coupon("off 900", now=NOON)
    assert (await rehearsed.redeem(used, now=NOON)).status == 201
    done = (await rehearsed.redeem(back, now=NOON)).json
    path = f"/v1/redemptions/{done['id']}/reversals"
    assert (await rehearsed.api.post(path, {"reason": "returned"}, now=NOON)).status == 201
    for _ in range(100):
        found = await summary(rehearsed, now=NOON)
        if found["saved"] == 700:
            break
        await asyncio.sleep(0.05)
    del found["complete_until"]  # of a clock that is ours
    assert found == {
        "user_id": rehearsed.user(), "usable": 4, "expiring": 3, "points": 0, "points_value": 0,
        "saved": 700,
    }  # fmt: skip


async def summary(counter: Counter, **options: Any) -> dict[str, Any]:
    answer = await counter.api.get(f"/v1/users/{counter.user()}/summary", **options)
    assert answer.status == 200, answer.json
    return dict(answer.json)


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("status=lost", "status"),
        ("usable_on=tomorrow", "usable_on"),
        ("sort=cold", "sort"),
        ("sort=near&lat=31.2", "lng"),
        ("sort=near&lat=91&lng=121.5", "lat"),
        ("sort=near&lat=nan&lng=121.5", "lat"),
        ("lat=91", "lat"),
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


async def test_a_form_left_empty(counter: Counter) -> None:
    """What is empty is not asked for; where one stands may be said with any order."""
    mine = await counter.coupon()
    empty = "status=&store_id=&channel=&usable_on=&category=&scene=&cursor=&limit="
    assert await ids(counter, f"?{empty}&sort=expiring&lat=&lng=") == [mine]
    assert await ids(counter, "?sort=hot&lat=31.2&lng=121.5") == [mine]
    soon = await counter.coupon("minutes 60")
    assert await ids(counter, "?sort=expiring&lat=31.2&lng=121.5") == [soon, mine]
    assert await ids(counter, "?status=transferred") == []
