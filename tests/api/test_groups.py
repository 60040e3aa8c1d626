"""Groups over HTTP: exactly so many, in time, or everybody's place is free again."""

from __future__ import annotations

from typing import Any

import pytest

from tests.api.counter import Counter
from tests.api.server import Answer
from tests.api.test_concurrency import at_once, in_order, outcomes
from tests.api.test_orders import DAY, NOON, Shop, shop

__all__ = ["shop"]

GROUP = {"size": 3, "minutes": 30}
OVER = DAY + "12:30:00+08:00"
LATER = DAY + "12:01:00+08:00"


async def begin(shop: Shop, campaign: str, user: str, now: str = NOON, **options: Any) -> Answer:
    body = {"campaign_id": campaign, "user_id": user, "size": 3}
    return await shop.post("/v1/groups", body, now=now, **options)


async def join(shop: Shop, group: Answer, user: str, now: str = NOON, **options: Any) -> Answer:
    path = f"/v1/groups/{group.json['id']}/join"
    return await shop.post(path, {"user_id": user}, now=now, **options)


async def states(shop: Shop, group: Answer, now: str = NOON) -> tuple[str, dict[str, str]]:
    found = (await shop.get(f"/v1/groups/{group.json['id']}", now=now)).json
    return found["status"], {one["user_id"]: one["status"] for one in found["members"]}


async def test_three_make_a_group_and_each_has_one(shop: Shop) -> None:
    await shop.sell("set", "stock 4 per_user 1", group=GROUP)
    claim = {"campaign_id": "set", "user_id": "ann", "channel": "app"}
    assert (await shop.post("/v1/claims", claim, now=NOON)).code == "channel_not_allowed"
    assert (await shop.order(("set", 1))).code == "channel_not_allowed"
    asked = {"user_id": "ann", "campaign_ids": ["set"]}
    (offer,) = (await shop.post("/v1/offers", asked, now=NOON)).json["items"]
    assert (offer["claimable"], offer["code"]) == (False, "channel_not_allowed")
    made = await begin(shop, "set", "ann", idem="g")
    assert (made.status, made.json["status"], made.json["joined"]) == (201, "forming", 1)
    assert made.json["expires_at"] == "2026-03-02T04:30:00.000Z"
    again = await begin(shop, "set", "ann", idem="g")
    assert (again.json, again.replayed) == (made.json, True)
    wrong = {"campaign_id": "set", "user_id": "ann", "size": 4}
    assert (await shop.post("/v1/groups", wrong)).json["field"] == "size"
    assert (await begin(shop, "set", "ann")).code == "user_limit"  # one at a time
    cancel = await shop.post(f"/v1/orders/{made.json['order_id']}/cancel", {}, now=NOON)
    assert cancel.code == "held"
    early = await shop.pay(made_order(made), 0)
    assert (early.code, early.json["to_return"]["amount"]) == ("not_started", 0)
    assert (await join(shop, made, "bob")).json["joined"] == 2
    assert (await states(shop, made))[1] == {"ann": "held", "bob": "held"}
    last = await join(shop, made, "cat", idem="c")
    assert (last.json["status"], last.json["joined"]) == ("formed", 3)
    assert (await join(shop, made, "cat", idem="c")).replayed
    assert await states(shop, made) == ("formed", dict.fromkeys(("ann", "bob", "cat"), "issued"))
    for user in ("ann", "bob", "cat"):
        wallet = (await shop.get(f"/v1/users/{user}/coupons", now=NOON)).json["items"]
        assert [one["campaign_id"] for one in wallet] == ["set"]
    assert (await join(shop, made, "dan")).code == "sold_out"
    live = await shop.live("set")
    assert (live["left"], live["set_aside"], live["issued"]) == (1, 0, 3)
    await in_order(shop.server, shop.tenant)


def made_order(group: Answer) -> Answer:
    """Its caller's order, as ``pay`` takes it."""
    return Answer(201, {}, b"", {"id": group.json["order_id"]})


async def test_a_price_is_paid_once_it_has_formed_or_nobody_pays(shop: Shop) -> None:
    await shop.sell("meal", "stock 5 per_user 9", issue={"price": 900}, group=GROUP)
    late = await begin(shop, "meal", "ann")
    await join(shop, late, "bob")
    assert (await join(shop, late, "cat", OVER)).code == "order_expired"
    assert await states(shop, late, OVER) == ("released", {"ann": "released", "bob": "released"})
    assert (await shop.live("meal"))["left"] == 5
    members = [await begin(shop, "meal", "ann", OVER)]
    members += [await join(shop, members[0], user, OVER) for user in ("bob", "cat")]
    assert await states(shop, members[0], OVER) == (
        "formed", {"ann": "ready", "bob": "ready", "cat": "ready"})  # fmt: skip
    before, after = DAY + "12:44:59+08:00", DAY + "12:45:00+08:00"
    paid = await shop.pay(made_order(members[0]), 900, now=before)
    assert (paid.status, len(paid.json["coupons"])) == (200, 1)
    read = await shop.get(f"/v1/orders/{members[1].json['order_id']}", now=after)
    assert read.json["status"] == "expired"
    await in_order(shop.server, shop.tenant)


@pytest.mark.slow
async def test_seats_of_a_group_are_held_as_long_as_it_may_pay(shop: Shop) -> None:
    times = {"starts_at": DAY + "20:00:00+08:00", "ends_at": DAY + "22:00:00+08:00"}
    event = {"id": "show", **times, "quotas": [{"id": "hall", "total": 3}]}
    for name, price, more in (("seat", 900, {"group": GROUP}), ("single", 999, {})):
        body = {"id": name, "name": name, "kind": "ticket", "stock": {"total": 9}, "event": event,
                "benefit": {"type": "admission", "value": 0}, "issue": {"price": price},
                "validity": {"type": "fixed"}, **more}  # fmt: skip
        assert (await shop.post("/v1/campaigns", body)).status == 201
    made = await begin(shop, "seat", "ann")
    await join(shop, made, "bob")
    assert (await join(shop, made, "cat")).json["status"] == "formed"
    before, after = DAY + "12:14:59+08:00", DAY + "12:15:00+08:00"
    assert (await shop.order(("single", 1), user="dan", now=before)).code == "sold_out"
    assert (await shop.pay(made_order(made), 900, now=before)).status == 200
    assert (await shop.order(("single", 3), user="dan", now=after)).code == "sold_out"
    assert (await shop.order(("single", 2), user="dan", now=after)).status == 201
    await in_order(shop.server, shop.tenant)


async def test_many_join_at_once_and_three_are_in(counter: Counter) -> None:
    campaign = await counter.campaign("stock 50", group=GROUP)
    first = {"campaign_id": campaign, "user_id": counter.user("u0")}
    made = (await counter.api.post("/v1/groups", first)).json
    path = f"/v1/groups/{made['id']}/join"
    answers = await at_once(
        counter.api.post(path, {"user_id": counter.user(f"u{n % 8}")}) for n in range(1, 17)
    )
    assert set(outcomes(answers)) == {"200", "sold_out"}
    found = (await counter.api.get(f"/v1/groups/{made['id']}")).json
    assert (found["status"], found["joined"], len(found["members"])) == ("formed", 3, 3)
    assert {one["status"] for one in found["members"]} == {"issued"}
    await in_order(counter.server, counter.server.tenant)


async def test_a_plain_campaign_has_groups_of_a_size_of_their_own(shop: Shop) -> None:
    """In a day, beside whoever claims alone."""
    await shop.sell("tea", "stock 3 per_user 1")
    body = {"campaign_id": "tea", "user_id": "ann"}
    assert (await shop.post("/v1/groups", body, now=NOON)).json["field"] == "size"
    made = await shop.post("/v1/groups", {**body, "size": 2}, now=NOON)
    assert (made.status, made.json["expires_at"]) == (201, "2026-03-03T04:00:00.000Z")
    claim = {"campaign_id": "tea", "channel": "app"}
    own = await shop.post("/v1/claims", {**claim, "user_id": "ann"}, now=NOON)
    assert own.code == "user_limit"  # the place counts
    assert (await shop.post("/v1/claims", {**claim, "user_id": "dan"}, now=NOON)).status == 201
    assert (await join(shop, made, "bob")).json["status"] == "formed"
    assert (await states(shop, made))[1] == {"ann": "issued", "bob": "issued"}
    assert (await begin(shop, "tea", "eve")).code == "sold_out"
    await in_order(shop.server, shop.tenant)


async def test_a_member_shows_their_code(shop: Shop) -> None:
    """It stands for the user id, and a retry with a fresh one is the same request."""
    await shop.sell("set", "stock 4", group={"size": 2, "minutes": 30})
    await shop.sell("tea", "stock 4", invite={"condition": "registered", "needs": 1})
    codes: dict[str, list[str]] = {"ann": [], "bob": []}
    for user, shown in codes.items():
        await shop.put(f"/v1/users/{user}", {"tier": "gold"}, now=NOON)
        for now in (NOON, LATER):
            shown.append((await shop.get(f"/v1/users/{user}/code", now=now)).json["code"])
    path, body = "/v1/groups", {"campaign_id": "set"}
    made = await shop.post(path, body | {"member_code": codes["ann"][0]}, now=NOON, idem="g")
    assert made.status == 201, made.json
    again = await shop.post(path, body | {"member_code": codes["ann"][1]}, now=LATER, idem="g")
    assert (again.replayed, again.json) == (True, made.json)
    path = f"/v1/groups/{made.json['id']}/join"
    joined = await shop.post(path, {"member_code": codes["bob"][0]}, now=NOON)
    assert (joined.json["status"], joined.json["joined"]) == ("formed", 2)
    asked = {"campaign_id": "tea", "inviter": "ann"}
    code = (await shop.post("/v1/invitations", asked, now=NOON)).json["code"]
    path = f"/v1/invitations/{code}/accept"
    taken = await shop.post(path, {"member_code": codes["bob"][0]}, now=NOON)
    assert (taken.status, taken.json["met"]) == (200, True)
    nobody = await shop.post(path, {}, now=NOON)
    assert (nobody.status, nobody.json["field"]) == (400, "user_id")
