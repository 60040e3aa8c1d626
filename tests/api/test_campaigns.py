"""Campaigns over HTTP: created, read, patched, their stock moved, and what the counter sees."""

from __future__ import annotations

import asyncio
import secrets
from typing import Any

import pytest

from tests.api.conftest import OwnServer
from tests.api.counter import Counter
from tests.api.server import Answer, Api, ApiServer

# The example of the contract, section 2, with its dots filled in.
EXAMPLE: dict[str, Any] = {
    "id": "noodle-20",
    "name": {"zh-CN": "满100减20", "en": "20 off 100"},
    "kind": "coupon", "category": "dining", "scene": "store", "tags": ["hot"], "metadata": {},
    "benefit": {"type": "amount_off", "amount": 2000},
    "stock": {"total": 1000, "budget": None},
    "issue": {
        "start": "2030-01-01T00:00:00+08:00", "end": "2031-01-01T00:00:00+08:00",
        "per_user": 2, "per_user_per_day": 1, "per_user_per_week": None,
        "per_user_per_month": None, "per_minute": None, "per_day": None,
        "channels": None, "tiers": None, "audiences": None,
        "early": [{"tiers": ["gold"], "start": "2029-12-31T00:00:00+08:00"}],
        "price": 0, "points_price": 0,
    },
    "validity": {"type": "relative", "delay_minutes": 0, "minutes": 10080, "until": None},
    "usage": {
        "min_spend": 10000, "min_spend_base": "initial", "min_quantity": None,
        "stores": ["s1", "s2"], "channels": ["cashier", "store_scan"],
        "weekdays": [1, 2, 3, 4, 5, 6, 7], "hours": [["10:00", "22:00"]],
        "include": {"categories": ["dining"], "skus": None},
        "exclude": {"categories": None, "skus": ["gift-card"]},
        "uses": 1, "per_day": None, "per_store_per_day": None,
    },
    "stacking": {"class": "common", "group": "dining", "group_limit": 1, "per_redemption": 1,
                 "order": 100, "base": "running"},
    "funding": {"mall": 50, "merchant": 50},
    "settlement": {"commission_percent": 0, "breakage": "mall"},
    "refund": {"allowed": True, "expired_auto": False}, "transferable": True,
}  # fmt: skip


def campaign(name: str = "", **more: Any) -> dict[str, Any]:
    """A small campaign with an id that no other test has."""
    return {
        "id": name or f"c{secrets.token_hex(5)}",
        "name": "ten off",
        "kind": "coupon",
        "benefit": {"type": "amount_off", "amount": 1000},
        "stock": {"total": 10},
        "validity": {"type": "relative", "minutes": 60},
        **more,
    }


async def create(api: Api, **more: Any) -> str:
    made = await api.post("/v1/campaigns", campaign(**more))
    assert made.status == 201, made.json
    return str(made.json["id"])


async def claim(api: Api, campaign_id: str, user_id: str = "") -> Answer:
    user = user_id or f"u{secrets.token_hex(5)}"
    body = {"campaign_id": campaign_id, "user_id": user, "channel": "app"}
    return await api.post("/v1/claims", body)


async def stock(api: Api, campaign_id: str, add: int, **options: Any) -> Answer:
    return await api.post(f"/v1/campaigns/{campaign_id}/stock", {"add": add}, **options)


async def settled_live(api: Api, campaign_id: str) -> dict[str, Any]:
    """The counters, once the second for which they may be old has passed."""
    await asyncio.sleep(1.05)
    live: dict[str, Any] = (await api.get(f"/v1/campaigns/{campaign_id}")).json["live"]
    return live


# ---- creating and reading --------------------------------------------------------------------


async def test_the_contracts_example(api: Api) -> None:
    """It is accepted as it stands, comes back whole, with every default, in UTC."""
    body = EXAMPLE | {"id": f"noodle-{secrets.token_hex(4)}"}
    made = await api.post("/v1/campaigns", body)
    assert made.status == 201, made.json
    assert made.headers["ETag"] == '"1"'
    shown = made.json
    assert shown["issue"]["start"] == "2029-12-31T16:00:00.000Z"
    more = ("issue", "benefit", "stock")  # they have fields with defaults beside those named
    untouched = {name: body[name] for name in body if name not in more}
    assert {name: shown[name] for name in untouched} == untouched
    for name in ("benefit", "stock"):
        assert body[name].items() <= shown[name].items()
    assert (shown["revision"], shown["status"], shown["event"]) == (1, "active", None)
    assert shown["live"] == {
        "left": 1000, "set_aside": 0, "issued": 0, "redeemed": 0, "budget_left": None,
        "as_of": shown["created_at"],
    }  # fmt: skip
    read = await api.get(f"/v1/campaigns/{body['id']}")
    assert {**read.json, "live": None} == {**shown, "live": None}
    assert read.json["live"]["left"] == 1000


async def test_the_same_request_again(api: Api) -> None:
    body = campaign()
    first = await api.post("/v1/campaigns", body, idem="r1-" + body["id"])
    await claim(api, body["id"])
    again = await api.post("/v1/campaigns", body, idem="r1-" + body["id"])
    assert (again.status, again.json, again.replayed) == (201, first.json, True)
    assert not first.replayed
    other = await api.post("/v1/campaigns", campaign(), idem="r1-" + body["id"])
    assert (other.status, other.code) == (422, "idempotency_key_reused")
    taken = await api.post("/v1/campaigns", body | {"name": "other"})
    assert (taken.status, taken.code, taken.json["field"]) == (409, "already_exists", "id")


async def test_copies_at_once(api: Api) -> None:
    """Five copies of one request: one effect, equal answers."""
    body = campaign()
    answers = await asyncio.gather(
        *[api.post("/v1/campaigns", body, idem="five-" + body["id"]) for _ in range(5)]
    )
    assert {answer.status for answer in answers} == {201}
    assert len({answer.content for answer in answers}) == 1
    assert sorted(answer.replayed for answer in answers) == [False, True, True, True, True]


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"benefit": {"type": "parking_minutes", "minutes": 60}}, "benefit.type"),
        ({"usage": {"uses": 2}}, "usage.uses"),
        ({"status": "sketch"}, "status"),
        ({"stock": {"total": -1}}, "stock.total"),
        ({"colour": "red"}, "colour"),
        ({"id": "no spaces"}, "id"),
        ({"funding": {"mall": 60}}, "funding"),
    ],
)
async def test_what_cannot_be(api: Api, change: dict[str, Any], field: str) -> None:
    """Wrong or unbuilt: 400 that names the field, never silence."""
    answer = await api.post("/v1/campaigns", campaign() | change)
    assert (answer.status, answer.code, answer.json["field"]) == (400, "invalid_request", field)


async def test_all_that_is_wrong_at_once_and_in_chinese(api: Api) -> None:
    body = campaign(usage={"hours": [["10:00", "10:00"]]}, funding={"mall": 60})
    answer = await api.post("/v1/campaigns", body, headers={"Accept-Language": "zh-CN"})
    assert [one["field"] for one in answer.json["errors"]] == ["usage.hours[0]", "funding"]
    assert "起止时间相同" in answer.json["detail"]


async def test_a_list_goes_on_where_it_stopped(api_server: ApiServer) -> None:
    _, key = api_server.new_mall()
    async with Api(api_server.url, key) as api:
        for name in ("a", "b", "c"):
            await create(api, name=name)
        await api.patch("/v1/campaigns/b", {"status": "ended"})
        first = await api.get("/v1/campaigns", params={"limit": 2})
        assert [one["id"] for one in first.json["items"]] == ["a", "b"]
        cursor = first.json["next_cursor"]
        rest = await api.get("/v1/campaigns", params={"limit": 2, "cursor": cursor})
        assert [one["id"] for one in rest.json["items"]] == ["c"]
        assert rest.json["next_cursor"] is None
        ended = await api.get("/v1/campaigns", params={"status": "ended"})
        assert [one["id"] for one in ended.json["items"]] == ["b"]
        broken = await api.get("/v1/campaigns", params={"cursor": "x"})
        assert (broken.status, broken.json["field"]) == (400, "cursor")


# ---- dry run ---------------------------------------------------------------------------------

UNKNOWN_STORE = "store:nowhere is named, but there is no such thing yet."


@pytest.mark.parametrize(
    ("change", "exposure"),
    [
        ({}, 10_000),
        ({"stock": {"total": None}}, None),
        ({"stock": {"total": 0}}, 0),
        ({"benefit": {"type": "amount_off", "steps": [{"min": 1, "amount": 5},
                                                      {"min": 9, "amount": 3}]}}, 50),
        ({"benefit": {"type": "amount_off", "every": 100, "amount": 10}}, None),
        ({"benefit": {"type": "amount_off", "every": 100, "amount": 10, "max_amount": 70}}, 700),
        ({"benefit": {"type": "percent_off", "percent_off": 12.5}}, None),
        ({"benefit": {"type": "percent_off", "percent_off": 12.5, "max_amount": 200}}, 2000),
        ({"benefit": {"type": "fixed_price", "amount": 990}}, None),
        ({"benefit": {"type": "gift", "sku": "cup", "amount": 500}}, 5000),
        ({"benefit": {"type": "exchange", "item": "cup", "value": 700}}, 7000),
    ],
)  # fmt: skip
async def test_a_dry_run_says_what_it_can_cost(
    api: Api, change: dict[str, Any], exposure: int | None
) -> None:
    body = campaign() | change
    answer = await api.ask("POST", "/v1/campaigns", body, params={"dry_run": "true"})
    assert answer.status == 200, answer.json
    assert answer.json["max_exposure"] == exposure
    assert (await api.get(f"/v1/campaigns/{body['id']}")).status == 404


async def test_a_dry_run_warns(api: Api) -> None:
    """Of what looks odd; it needs no Idempotency-Key, and an id that is taken stays taken."""
    body = campaign(
        usage={"stores": ["nowhere"]}, validity={"type": "fixed"}, issue={"channels": []}
    )
    answer = await api.ask("POST", "/v1/campaigns", body, params={"dry_run": "true"})
    assert answer.json["warnings"] == [
        "min_spend is not above the amount: a basket may cost nothing.",
        "One member may claim as many as there are.",
        "Its coupons never expire.",
        "issue.channels is empty, which means none.",
        UNKNOWN_STORE,
    ]
    body = campaign(
        stock={"total": 100, "budget": 50_000},
        issue={"audiences": ["nobody"], "per_user": 1, "end": "2099-01-02T00:00:00Z"},
        validity={"type": "fixed", "end": "2099-01-01T00:00:00Z"},
        usage={"min_spend": 9999},
    )
    answer = await api.ask("POST", "/v1/campaigns", body, params={"dry_run": "true"})
    short = "The budget is enough for 50 uses at their most; others will be refused once it is"
    assert answer.json["warnings"] == [
        f"{short} spent, though their coupons were given out.",
        "Claiming goes on until issue.end in name only: the coupons expire before it.",
        "audience:nobody is named, but there is no such thing yet.",
    ]
    taken = campaign(await create(api))
    again = await api.ask("POST", "/v1/campaigns", taken, params={"dry_run": "true"})
    assert again.code == "already_exists"
    without_key = await api.ask("POST", "/v1/campaigns", campaign())
    assert without_key.code == "idempotency_key_required"


async def test_a_draft(counter: Counter) -> None:
    """Only operators see it, nobody can claim it; active publishes it, and then it stays public."""
    name = await counter.campaign(status="draft")
    others = counter.server.key("storefront")
    await counter.server.until_known(others)
    assert (await counter.claim(name)).code == "not_started"
    body = {"user_id": counter.user(), "campaign_ids": [name]}
    (offer,) = (await counter.api.post("/v1/offers", body)).json["items"]
    assert (offer["claimable"], offer["code"], offer["opens_at"]) == (False, "not_started", None)
    path = f"/v1/campaigns/{name}"
    assert (await counter.api.get(path)).json["status"] == "draft"
    assert (await counter.api.get(path, key=others)).status == 404
    for key, seen in ((None, 1), (others, 0)):
        found = await counter.api.get("/v1/campaigns?status=draft&limit=200", key=key)
        assert sum(one["id"] == name for one in found.json["items"]) == seen
    assert (await counter.api.patch(path, {"status": "active"})).status == 200
    assert (await counter.claim(name)).status == 201
    assert (await counter.api.get(path, key=others)).json["status"] == "active"
    again = await counter.api.patch(path, {"status": "draft"})
    assert (again.status, again.json["field"]) == (400, "status")


# ---- changing --------------------------------------------------------------------------------


async def test_a_patch_acts_at_once_and_keeps_what_was_issued(api: Api) -> None:
    """status and issue act at once; terms only on what is issued from then on."""
    name = await create(api)
    path = f"/v1/campaigns/{name}"
    old = await claim(api, name)
    patch = {"benefit": {"amount": 3000}}
    changed = await api.patch(path, patch, headers={"If-Match": '"1"'})
    assert (changed.status, changed.json["revision"]) == (200, 2)
    assert changed.headers["ETag"] == '"2"'
    new = await claim(api, name)
    assert (old.json["terms_revision"], new.json["terms_revision"]) == (1, 2)

    late = await api.patch(path, patch, headers={"If-Match": "1"})
    assert (late.status, late.code, late.json["revision"]) == (409, "revision_changed", 2)
    same = await api.patch(path, patch)
    assert same.json["revision"] == 2

    for status, code in [("paused", "campaign_paused"), ("frozen", "campaign_frozen"),
                         ("ended", "campaign_ended"), ("active", "")]:  # fmt: skip
        assert (await api.patch(path, {"status": status})).status == 200
        assert (await claim(api, name)).code == code
    live = await settled_live(api, name)
    assert (live["left"], live["issued"]) == (7, 3)  # an edit never resets a counter


@pytest.mark.parametrize(
    ("patch", "field"),
    [
        ({"id": "other"}, "id"),
        ({"stock": {"total": 20}}, "stock"),
        ({"usage": {"uses": 3}}, "usage.uses"),
        ({"colour": "red"}, "colour"),
        ({"benefit": None}, "benefit"),
    ],
)
async def test_what_a_patch_cannot_do(api: Api, patch: dict[str, Any], field: str) -> None:
    name = await create(api)
    answer = await api.patch(f"/v1/campaigns/{name}", patch)
    assert (answer.status, answer.json["field"]) == (400, field)
    assert (await api.get(f"/v1/campaigns/{name}")).json["revision"] == 1


async def test_patching_what_is_not_there(api: Api) -> None:
    assert (await api.patch("/v1/campaigns/none", {})).code == "not_found"
    name = await create(api)
    wrong = await api.patch(f"/v1/campaigns/{name}", {}, headers={"If-Match": "abc"})
    assert (wrong.status, wrong.json["field"]) == (400, "If-Match")
    array = await api.patch(f"/v1/campaigns/{name}", [1])
    assert array.code == "invalid_request"


# ---- stock -----------------------------------------------------------------------------------


async def test_stock_is_added_once_a_key(api: Api) -> None:
    name = await create(api, stock={"total": 1})
    assert (await claim(api, name)).status == 201
    assert (await claim(api, name)).code == "sold_out"
    added = await stock(api, name, 2, idem="a-" + name)
    assert (added.status, added.json["stock"]["total"], added.json["revision"]) == (200, 3, 1)
    shown = (await api.get(f"/v1/campaigns/{name}")).json["live"]
    assert (added.json["live"]["left"], shown["left"], shown["issued"]) == (2, 2, 1)
    again = await stock(api, name, 2, idem="a-" + name)
    assert (again.json, again.replayed) == (added.json, True)
    other = await stock(api, name, 3, idem="a-" + name)
    assert other.code == "idempotency_key_reused"
    assert [(await claim(api, name)).status for _ in range(3)] == [201, 201, 409]


async def test_stock_is_taken_away_only_where_it_is_left(api: Api) -> None:
    name = await create(api)
    for _ in range(4):
        await claim(api, name)
    refused = await stock(api, name, -7)
    assert (refused.status, refused.code, refused.json["field"]) == (400, "invalid_request", "add")
    lowered = await stock(api, name, -6, idem="b-" + name)
    assert lowered.json["stock"]["total"] == 4
    assert (await stock(api, name, -6, idem="b-" + name)).replayed
    assert (await claim(api, name)).code == "sold_out"
    live = await settled_live(api, name)
    assert (live["left"], live["issued"]) == (0, 4)
    assert (await stock(api, name, -1)).code == "invalid_request"
    assert (await stock(api, name, 1)).json["stock"]["total"] == 5
    assert (await claim(api, name)).status == 201


async def test_stock_that_cannot_move(api: Api) -> None:
    unlimited = await create(api, stock={"total": None})
    assert (await stock(api, unlimited, 5)).json["field"] == "add"
    assert (await stock(api, "none", 5)).code == "not_found"
    assert (await stock(api, "none", -5)).code == "not_found"
    name = await create(api)
    budget = await api.post(f"/v1/campaigns/{name}/stock", {"add": 0, "add_budget": 100})
    assert budget.json["field"] == "add_budget"
    assert (await stock(api, name, 10**9)).json["field"] == "add"


@pytest.mark.servers("valkey")
@pytest.mark.databases("sqlite")
@pytest.mark.slow
async def test_stock_over_several_cells(own_server: OwnServer) -> None:
    """Taken away in copies at once while others claim; then all of it goes out."""
    server = own_server(HEXIAO_CELLS="3")
    async with Api(server.url, server.operator_key) as api:
        name = await create(api, stock={"total": 100})
        shown = (await api.get(f"/v1/campaigns/{name}")).json
        assert shown["warnings"] == []
        path = f"/v1/campaigns/{name}/stock"
        removals = [api.post(path, {"add": -10}, idem=f"r{n // 3}") for n in range(9)]
        additions = [api.post(path, {"add": 5}, idem=f"a{n}") for n in range(3)]
        claims = [claim(api, name, f"u{n}") for n in range(60)]
        answers = await asyncio.gather(*removals, *additions, *claims)
        assert {answer.status for answer in answers[:12]} == {200}
        for n in range(3):  # copies of one request, one answer
            assert len({answer.content for answer in answers[3 * n : 3 * n + 3]}) == 1
        issued = sum(answer.status == 201 for answer in answers[12:])
        live = await settled_live(api, name)
        total = (await api.get(f"/v1/campaigns/{name}")).json["stock"]["total"]
        assert total == 100 - 30 + 15
        assert (live["issued"], live["left"]) == (issued, total - issued)
        rest = [claim(api, name, f"v{n}") for n in range(200)]
        more = sum(answer.status == 201 for answer in await asyncio.gather(*rest))
        assert issued + more == total
