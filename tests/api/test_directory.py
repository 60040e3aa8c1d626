"""Merchants, stores and keys over HTTP: who is there, who may do what, who sees whom."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.api.server import Api, ApiServer
from tests.api.test_campaigns import claim, create

MALLS: dict[str, str] = {}  # one a server, because a new one takes half a second


@pytest.fixture
async def mall(api_server: ApiServer) -> AsyncIterator[Api]:
    """An operator of a mall of these tests' own, with two merchants and three stores."""
    if api_server.url not in MALLS:
        _, MALLS[api_server.url] = api_server.new_mall()
    async with Api(api_server.url, MALLS[api_server.url]) as caller:
        for merchant in ("m1", "m2"):
            await caller.put(f"/v1/merchants/{merchant}", {"name": {"en": merchant.upper()}})
        for store, merchant in (("s1", "m1"), ("s2", "m1"), ("s3", "m2")):
            made = await caller.put(f"/v1/stores/{store}", {"name": store, "merchant_id": merchant})
            assert made.status == 200, made.json
        yield caller


async def key_for(mall: Api, role: str, **bindings: str) -> str:
    made = await mall.post("/v1/keys", {"role": role, "label": f"a {role}", **bindings})
    assert made.status == 201, made.json
    return str(made.json["key"])


def ids(answer: Any) -> list[str]:
    return [one["id"] for one in answer.json["items"]]


# ---- merchants and stores --------------------------------------------------------------------


async def test_a_store_is_put_whole(mall: Api) -> None:
    body = {"name": "Noodles", "merchant_id": "m1", "floor": "B1", "lat": 31.2, "lng": 121.5,
            "hours": [["10:00", "22:00"]], "tags": ["food"], "closed": False}  # fmt: skip
    before = (await mall.get("/v1/stores/s1")).json["revision"]
    made = await mall.put("/v1/stores/s1", body)
    assert made.json == {"id": "s1", **body, "revision": before + 1}
    assert (await mall.put("/v1/stores/s1", body)).json == made.json
    assert (await mall.get("/v1/stores/s1")).json == made.json
    short = await mall.put("/v1/stores/s1", {"name": "Noodles", "merchant_id": "m1"})
    assert (short.json["floor"], short.json["revision"]) == (None, before + 2)


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"name": "S", "merchant_id": "nobody"}, "merchant_id"),
        ({"name": "S"}, "merchant_id"),
        ({"name": "", "merchant_id": "m1"}, "name"),
        ({"name": "S", "merchant_id": "m1", "hours": [["10:00", "10:00"]]}, "hours[0]"),
        ({"name": "S", "merchant_id": "m1", "lat": 91}, "lat"),
        ({"name": "S", "merchant_id": "m1", "colour": "red"}, "colour"),
    ],
)
async def test_what_a_store_cannot_be(api: Api, body: dict[str, Any], field: str) -> None:
    await api.put("/v1/merchants/m1", {"name": "M"})
    answer = await api.put("/v1/stores/s9", body)
    assert (answer.status, answer.json["field"]) == (400, field)


async def test_the_merchant_of_an_act_is_the_one_of_its_moment(mall: Api) -> None:
    name = await create(mall)
    taken = {}
    for merchant in ("m1", "m2"):
        await mall.put("/v1/stores/s1", {"name": "s1", "merchant_id": merchant})
        coupon = (await claim(mall, name)).json["id"]
        body = {"coupons": [{"id": coupon}], "store_id": "s1", "basket": {"amount": 5000}}
        taken[(await mall.post("/v1/redemptions", body)).json["id"]] = merchant
    booked: dict[str, str] = {}
    for _ in range(200):  # the writer brings them to the books
        rows = (await mall.get("/v1/books/postings")).json["items"]
        booked = {row["redemption_id"]: row["merchant_id"] for row in rows}
        if taken.items() <= booked.items():
            break
        await asyncio.sleep(0.05)
    assert taken.items() <= booked.items()


async def test_lists_go_on_where_they_stopped(mall: Api) -> None:
    first = await mall.get("/v1/stores", params={"limit": 2})
    assert ids(first) == ["s1", "s2"]
    rest = await mall.get("/v1/stores", params={"limit": 2, "cursor": first.json["next_cursor"]})
    assert (ids(rest), rest.json["next_cursor"]) == (["s3"], None)
    assert ids(await mall.get("/v1/stores", params={"merchant_id": "m1"})) == ["s1", "s2"]
    assert ids(await mall.get("/v1/merchants")) == ["m1", "m2"]
    assert (await mall.get("/v1/merchants/m2")).json["name"] == {"en": "M2"}
    assert (await mall.get("/v1/merchants/m9")).code == "not_found"
    assert (await mall.get("/v1/stores/s9")).code == "not_found"


async def test_who_sees_which_stores(mall: Api) -> None:
    """A merchant its own, a terminal the one it stands in, a storefront all."""
    merchant = await key_for(mall, "merchant", merchant_id="m1")
    terminal = await key_for(mall, "terminal", store_id="s3")
    storefront = await key_for(mall, "storefront")
    assert ids(await mall.get("/v1/stores", key=merchant)) == ["s1", "s2"]
    assert ids(await mall.get("/v1/stores", key=terminal)) == ["s3"]
    assert ids(await mall.get("/v1/stores", key=storefront)) == ["s1", "s2", "s3"]
    assert ids(await mall.get("/v1/merchants", key=merchant)) == ["m1"]
    assert (await mall.get("/v1/merchants/m1", key=merchant)).status == 200
    assert (await mall.get("/v1/merchants/m2", key=merchant)).status == 404
    assert (await mall.get("/v1/stores/s1", key=merchant)).status == 200
    assert (await mall.get("/v1/stores/s3", key=merchant)).status == 404
    assert (await mall.get("/v1/stores/s1", key=terminal)).status == 404
    other = await mall.get("/v1/stores", key=merchant, params={"merchant_id": "m2"})
    assert other.status == 403
    assert (await mall.get("/v1/merchants", key=storefront)).status == 403


async def test_another_mall_has_nothing_of_it(mall: Api, api: Api) -> None:
    name = await create(mall)
    assert (await api.get(f"/v1/campaigns/{name}")).code == "not_found"
    assert (await api.patch(f"/v1/campaigns/{name}", {})).code == "not_found"
    assert (await claim(api, name)).code == "not_found"
    await mall.put("/v1/merchants/m1", {"name": "m1"})
    await mall.put("/v1/stores/only-here", {"name": "s", "merchant_id": "m1"})
    assert (await api.get("/v1/stores/only-here")).code == "not_found"
    keys = (await mall.get("/v1/keys")).json["items"]
    assert (await api.delete(f"/v1/keys/{keys[0]['id']}")).code == "not_found"
    assert (await create(api, name=name)) == name  # ids are each mall's own


# ---- keys ------------------------------------------------------------------------------------


async def test_a_key_is_shown_once_and_works_at_once(mall: Api) -> None:
    body = {"role": "finance", "label": "books"}
    made = await mall.post("/v1/keys", body, idem="key-1")
    assert made.status == 201
    assert (await mall.get("/v1/audit", key=made.json["key"])).status == 200
    again = await mall.post("/v1/keys", body, idem="key-1")
    assert (again.content, again.replayed) == (made.content, True)
    another = await mall.post("/v1/keys", body, idem="key-2")
    assert another.json["key"] != made.json["key"]

    whole = ids(await mall.get("/v1/keys"))
    assert whole.index(made.json["id"]) < whole.index(another.json["id"])
    first = await mall.get("/v1/keys", params={"limit": len(whole) - 1})
    rest = await mall.get("/v1/keys", params={"cursor": first.json["next_cursor"]})
    assert (ids(first), ids(rest)) == (whole[:-1], whole[-1:])
    secret = made.json["key"].split("_", 2)[2].encode()
    for where in ("/v1/keys", "/v1/audit"):
        assert secret not in (await mall.get(where)).content


async def test_a_revoked_key_opens_nothing_any_more(mall: Api) -> None:
    made = (await mall.post("/v1/keys", {"role": "storefront", "label": "app"})).json
    assert (await mall.get("/v1/stores", key=made["key"])).status == 200
    gone = await mall.delete(f"/v1/keys/{made['id']}")
    assert gone.status == 200
    assert gone.json["revoked_at"] is not None
    assert (await mall.get("/v1/stores", key=made["key"])).status == 401
    assert (await mall.delete(f"/v1/keys/{made['id']}")).json == gone.json
    assert (await mall.delete("/v1/keys/nothing")).code == "not_found"


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"role": "king", "label": "x"}, "role"),
        ({"role": "desk"}, "label"),
        ({"role": "desk", "label": ""}, "label"),
        ({"role": "terminal", "label": "x"}, "store_id"),
        ({"role": "terminal", "label": "x", "store_id": "s9"}, "store_id"),
        ({"role": "merchant", "label": "x"}, "merchant_id"),
        ({"role": "merchant", "label": "x", "merchant_id": "m9"}, "merchant_id"),
        ({"role": "parking", "label": "x"}, "lot_id"),
        ({"role": "desk", "label": "x", "store_id": "s1"}, "store_id"),
    ],
)
async def test_what_a_key_cannot_be(api: Api, body: dict[str, Any], field: str) -> None:
    answer = await api.post("/v1/keys", body)
    assert (answer.status, answer.json["field"]) == (400, field)
