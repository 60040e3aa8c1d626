"""Invitations over HTTP: both sides are rewarded once each, however often it is asked."""

from __future__ import annotations

import asyncio
from typing import Any

from tests.api.server import Answer
from tests.api.test_concurrency import at_once, in_order
from tests.api.test_orders import NOON, Shop, shop

__all__ = ["shop"]

LATER = "2026-03-02T12:30:00+08:00"


async def invite(shop: Shop, campaign: str, inviter: str, **options: Any) -> str:
    body = {"campaign_id": campaign, "inviter": inviter}
    made = await shop.post("/v1/invitations", body, now=NOON, **options)
    assert made.status == 201, made.json
    return str(made.json["code"])


async def accept(shop: Shop, code: str, user: str, now: str = NOON, **options: Any) -> Answer:
    return await shop.post(f"/v1/invitations/{code}/accept", {"user_id": user}, now=now, **options)


async def wallet(shop: Shop, user: str) -> list[str]:
    items = (await shop.get(f"/v1/users/{user}/coupons", now=LATER)).json["items"]
    return sorted(one["campaign_id"] for one in items)


async def until(shop: Shop, code: str, status: str) -> Any:
    """The invitation once its inviter's reward reads so, and its friends' are told."""
    for _ in range(100):
        found = (await shop.get(f"/v1/invitations/{code}")).json
        told = [one["reward"]["status"] for one in found["friends"] if one["met"]]
        if found["reward"]["status"] == status and "waiting" not in told:
            return found
        await asyncio.sleep(0.1)
    raise AssertionError(found)


async def test_friends_who_register_and_who_invites_them(shop: Shop) -> None:
    await shop.sell("tea", "stock 50")
    await shop.sell("cake", "stock 9", invite={
        "condition": "registered", "needs": 2, "reward_friend": "tea"})  # fmt: skip
    claim = {"campaign_id": "cake", "user_id": "ann", "channel": "app"}
    assert (await shop.post("/v1/claims", claim, now=NOON)).code == "channel_not_allowed"
    code = await invite(shop, "cake", "ann")
    assert await invite(shop, "cake", "ann") == code
    assert (await accept(shop, code, "ann")).code == "not_eligible"
    first = await accept(shop, code, "bob", idem="b1")
    assert (first.status, first.json["met"]) == (200, True)
    again = await accept(shop, code, "bob", idem="b1")
    assert (again.json, again.replayed) == (first.json, True)
    many = await at_once(accept(shop, code, "bob") for _ in range(5))
    assert [one.status for one in many] == [200] * 5
    assert await wallet(shop, "bob") == ["tea"]
    assert await wallet(shop, "ann") == []
    # In a circle, and twice by two people: nobody counts for it.
    bobs = await invite(shop, "cake", "bob")
    assert (await accept(shop, bobs, "ann")).code == "not_eligible"
    cats = await invite(shop, "cake", "cat")
    assert (await accept(shop, cats, "bob")).code == "already_exists"
    assert (await accept(shop, bobs, "dan")).status == 200
    assert (await accept(shop, code, "eve")).status == 200
    found = await until(shop, code, "issued")
    assert (found["met"], [one["user_id"] for one in found["friends"]]) == (2, ["bob", "eve"])
    assert await wallet(shop, "ann") == ["cake"]
    assert (await accept(shop, code, "fay")).status == 200
    assert await wallet(shop, "ann") == ["cake"]  # once
    assert (await accept(shop, "none", "fay")).status == 404
    other = {"campaign_id": "cake", "inviter": "gil", "needs": 3}
    assert (await shop.post("/v1/invitations", other)).json["field"] == "needs"
    await in_order(shop.server, shop.tenant)


async def test_a_plain_campaign_is_invited_to_on_terms_of_the_invitation(shop: Shop) -> None:
    await shop.sell("tea", "stock 9 per_user 1")
    terms = {"campaign_id": "tea", "inviter": "ann", "condition": "registered", "needs": 2}
    made = (await shop.post("/v1/invitations", terms, now=NOON, idem="i")).json
    assert (made["condition"], made["needs"], made["reward_friend"]) == ("registered", 2, "tea")
    other = await shop.post("/v1/invitations", {**terms, "needs": 3}, now=NOON)
    assert (other.status, other.json["field"]) == (400, "needs")  # its terms stay
    await shop.patch("/v1/campaigns/tea", {"issue": {"channels": ["app"]}}, now=NOON)
    again = await shop.post("/v1/invitations", terms, now=NOON, idem="i")
    assert (again.status, again.json, again.replayed) == (201, made, True)
    await shop.patch("/v1/campaigns/tea", {"issue": {"channels": None}}, now=NOON)
    for friend in ("bob", "cat"):
        assert await wallet(shop, "ann") == []
        assert (await accept(shop, made["code"], friend)).json["met"] is True
        assert await wallet(shop, friend) == ["tea"]
    assert await wallet(shop, "ann") == ["tea"]
    alone = {"campaign_id": "tea", "inviter": "dan"}
    made = (await shop.post("/v1/invitations", alone, now=NOON)).json
    assert (made["condition"], made["needs"]) == ("registered", 1)
    await shop.sell("dear", issue={"price": 100})
    await shop.sell("app", "channels app")
    for campaign, code in (("dear", "invalid_request"), ("app", "channel_not_allowed")):
        refused = await shop.post("/v1/invitations", {**alone, "campaign_id": campaign}, now=NOON)
        assert refused.code == code
    await in_order(shop.server, shop.tenant)


async def test_a_first_purchase_is_waited_for(shop: Shop) -> None:
    await shop.sell("cake", "stock 9", invite={"condition": "first_purchase"})

    async def buys(user: str, transaction: str) -> None:
        body = {"transaction_id": transaction, "user_id": user, "store_id": "s1", "amount": 900,
                "occurred_at": NOON}  # fmt: skip
        assert (await shop.post("/v1/purchases", body, now=LATER)).status in (200, 201)

    await buys("old", "t0")
    code = await invite(shop, "cake", "ann")
    await in_order(shop.server, shop.tenant)  # the books know of the purchase
    assert (await accept(shop, code, "old")).code == "not_eligible"
    assert (await accept(shop, code, "bob")).json["met"] is False
    assert await wallet(shop, "ann") == []
    await asyncio.gather(buys("bob", "t1"), buys("bob", "t2"))
    found = await until(shop, code, "issued")
    assert [(one["user_id"], one["reward"]["status"]) for one in found["friends"]] == [
        ("bob", "issued")
    ]
    assert (await wallet(shop, "ann"), await wallet(shop, "bob")) == (["cake"], ["cake"])
