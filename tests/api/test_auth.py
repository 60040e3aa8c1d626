"""Who may do what: every route × every role × a second mall; keys, tokens, revocation."""

from __future__ import annotations

import asyncio
import base64
import json
import re
import secrets
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from api.app import all_routes
from api.routes import ROLES, Route
from tests.api.server import Api, ApiServer, in_a_thread

SECRET = "0123456789abcdef0123456789abcdef"
SELF = "x-1"  # the user, store, merchant, lot and event of the keys below, and every id in a path
BINDINGS = {
    "terminal": {"store_id": SELF},
    "gate": {"event_id": SELF},
    "parking": {"lot_id": SELF},
    "merchant": {"merchant_id": SELF},
}
ROUTES = [route for route in all_routes() if not route.public]


def token(
    user_id: str, *, kid: str = "main", key: Any = SECRET, alg: str = "HS256", **claims: Any
) -> str:
    """An end user's JWT."""
    return jwt.encode({"sub": user_id, **claims}, key, algorithm=alg, headers={"kid": kid})


@dataclass
class Mall:
    """A tenant of its own with a key for each role."""

    id: str
    keys: dict[str, str]


def furnish(server: ApiServer, tenant: str, operator: str) -> Mall:
    """Keys of every role, and end users' tokens signed with SECRET."""
    keys = {
        role: server.key(role, tenant=tenant, **BINDINGS.get(role, {}))
        for role in ROLES
        if role not in ("operator", "user")
    }
    return Mall(tenant, {**keys, "operator": operator, "user": token(SELF)})


@pytest.fixture(scope="module")
def mall(api_server: ApiServer) -> Mall:
    """A new mall."""
    return furnish(api_server, *api_server.new_mall())


@pytest.fixture
async def caller(api_server: ApiServer, mall: Mall) -> AsyncIterator[Api]:
    """The operator of the new mall; end users' tokens are known from here on."""
    async with Api(api_server.url, mall.keys["operator"]) as api:
        await trust_tokens(api)
        yield api


async def trust_tokens(api: Api, **more: dict[str, str]) -> None:
    """Put keys of end users' tokens into the settings and wait until they are known."""
    keys = {"main": {"alg": "HS256", "key": SECRET}, **more}
    assert (await api.patch("/v1/settings", {"jwt_keys": keys})).status == 200
    for _ in range(60):
        answer = await api.get(f"/v1/users/{SELF}/coupons", key=token(SELF))
        if answer.status != 401:
            return
        await asyncio.sleep(0.05)
    raise AssertionError("tokens are not known")


def path_of(route: Route) -> str:
    """A path of the route; its ids name nothing, or the caller."""
    return re.sub(r"\{\w+\}", SELF, route.path)


async def ask(api: Api, route: Route, key: str) -> int:
    body: Any = None if route.body is None else {}
    idem = secrets.token_hex(8) if route.idempotent else None
    return (await api.ask(route.method, path_of(route), body, key=key, idem=idem)).status


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: f"{route.method}{route.path}")
async def test_every_route_by_every_role(caller: Api, mall: Mall, route: Route) -> None:
    """Whoever the table does not name is refused before anything else is looked at."""
    for key in (
        "",
        "nobody",
        "hx_k1_nobody",
        mall.keys["operator"][:-1],
        token(SELF, key="x" * 32),
    ):
        assert await ask(caller, route, key) == 401
    for role, key in mall.keys.items():
        status = await ask(caller, route, key)
        assert status not in (401, 500, 503), role
        assert (status == 403) is (role not in route.roles), role


# ---- a second mall ---------------------------------------------------------------------------


async def fill(api: Api, mark: str) -> dict[str, str]:
    """A merchant, store, campaign, key, coupon, redemption, all named after ``mark``."""
    ids = {name: f"{mark}-{name}" for name in ("merchants", "stores", "campaigns", "users")}
    campaign = {
        "id": ids["campaigns"],
        "name": mark,
        "kind": "coupon",
        "stock": {"total": 9},
        "benefit": {"type": "amount_off", "amount": 100},
        "validity": {"type": "relative", "minutes": 60},
    }
    store = {"name": mark, "merchant_id": ids["merchants"]}
    done = [
        await api.put(f"/v1/merchants/{ids['merchants']}", {"name": mark}),
        await api.put(f"/v1/stores/{ids['stores']}", store),
        await api.post("/v1/campaigns", campaign),
        await api.post("/v1/keys", {"role": "finance", "label": mark}),
    ]
    claim = {"campaign_id": ids["campaigns"], "user_id": ids["users"], "channel": "app"}
    done += [await api.post("/v1/claims", claim) for _ in range(2)]
    ids["keys"], ids["coupons"], ids["spare"] = (one.json["id"] for one in done[3:])
    redemption = {
        "coupons": [{"id": ids["coupons"]}],
        "store_id": ids["stores"],
        "channel": "cashier",
        "basket": {"amount": 1000},
        "order_ref": mark,
    }
    done.append(await api.post("/v1/redemptions", redemption))
    ids["redemptions"] = done[-1].json["id"]
    assert [one.status for one in done] == [200, 200, 201, 201, 201, 201, 201]
    return ids


@pytest.fixture(scope="module")
def filled(api_server: ApiServer, mall: Mall) -> dict[str, str]:
    """What the first mall has."""

    async def work() -> dict[str, str]:
        async with Api(api_server.url, mall.keys["operator"]) as api:
            return await fill(api, f"zebra{secrets.token_hex(3)}")

    ids: dict[str, str] = in_a_thread(work())
    return ids


@pytest.fixture(scope="module")
def other(api_server: ApiServer) -> Mall:
    """A second mall on the same server."""
    return furnish(api_server, *api_server.new_mall())


BY_ID = [
    route
    for route in ROUTES
    if (m := re.match(r"/v1/(\w+)/\{id\}", route.path))
    and m[1] in ("merchants", "stores", "campaigns", "keys", "coupons", "redemptions")
    and route.method != "PUT"
]
BODIES = {
    "/void": {"reason": "r"},
    "/reversals": {"reason": "r"},
    "/recall": {"reason": "r"},
    "/stock": {"add": 5},
    "/take": {"user_id": "zoe"},
    "/prints": {"count": 1},
    "/waitlist": {"user_id": "zoe"},
    "/refund": {"reason": "r", "refund_ref": "b1"},
}


@pytest.mark.parametrize("route", BY_ID, ids=lambda route: f"{route.method}{route.path}")
async def test_ids_of_another_mall_name_nothing(
    api_server: ApiServer, filled: dict[str, str], other: Mall, route: Route
) -> None:
    """404, with the words of something that never was."""
    kind = route.path.split("/")[2]
    body = (
        None
        if route.body is None
        else next((body for end, body in BODIES.items() if route.path.endswith(end)), {})
    )
    async with Api(api_server.url, other.keys["operator"]) as api:
        answers = []
        for name in (filled[kind], _like(filled[kind])):
            path = route.path.replace("{id}", name)
            idem = secrets.token_hex(8) if route.idempotent else None
            sent: dict[str, Any] = {"body": body}
            if route.path.endswith("/pool"):
                sent = {"data": b"a1", "headers": {"Content-Type": "text/csv"}}
            answers.append(await api.ask(route.method, path, **sent, idem=idem))
    assert [answer.status for answer in answers] == [404, 404], answers[0].json
    assert answers[0].json == answers[1].json


def _like(name: str) -> str:
    """An id of the same kind that exists nowhere."""
    return name[:-1] + ("0" if name[-1] != "0" else "1")


async def test_lists_show_nothing_of_another_mall(
    api_server: ApiServer, filled: dict[str, str], other: Mall
) -> None:
    """Whatever a route shows without being told an id."""
    mark = filled["merchants"].partition("-")[0].encode()
    queries = {"/v1/redemptions": {"order_ref": mark.decode()}}
    async with Api(api_server.url, other.keys["operator"]) as api:
        for route in ROUTES:
            if route.method == "GET" and "{" not in route.path:
                answer = await api.get(route.path, params=queries.get(route.path))
                assert answer.status in (200, 400), (route.path, answer.content)
                assert mark not in answer.content, route.path
        user = filled["users"]
        wallet = await api.get(f"/v1/users/{user}/coupons")
        assert wallet.json["items"] == []


async def test_codes_of_another_mall_are_forged(
    api_server: ApiServer, mall: Mall, filled: dict[str, str], other: Mall
) -> None:
    """And a person of the same name is another person."""
    async with Api(api_server.url, mall.keys["operator"]) as api:
        code = (await api.get(f"/v1/coupons/{filled['spare']}/code")).json["code"]
        member = (await api.get(f"/v1/users/{filled['users']}/code")).json["code"]
        for key, ok in ((mall.keys["terminal"], True), (other.keys["terminal"], False)):
            answer = await api.post("/v1/codes/verify", {"codes": [code, member]}, key=key)
            assert [item["ok"] for item in answer.json["items"]] == [ok, ok]


async def test_the_same_ids_in_two_malls(api_server: ApiServer, other: Mall, mall: Mall) -> None:
    """Neither sees, counts or changes the other's."""
    for owner, name in ((mall, "one"), (other, "two")):
        async with Api(api_server.url, owner.keys["operator"]) as api:
            assert (await api.put("/v1/merchants/same", {"name": name})).json["revision"] == 1
    async with Api(api_server.url, mall.keys["operator"]) as api:
        assert (await api.get("/v1/merchants/same")).json["name"] == "one"


# ---- end users ---------------------------------------------------------------------------------


async def test_end_users_act_for_themselves_only(
    api_server: ApiServer, caller: Api, filled: dict[str, str]
) -> None:
    """Own wallet, claims, codes; another's is forbidden where named, not there where an id is."""
    me, you = f"me-{secrets.token_hex(4)}", filled["users"]
    async with Api(api_server.url, token(me)) as api:
        claim = {"campaign_id": filled["campaigns"], "channel": "app"}
        mine = await api.post("/v1/claims", {**claim, "user_id": me})
        assert mine.status == 201
        coupon = mine.json["id"]
        allowed = [
            await api.get(f"/v1/coupons/{coupon}"),
            await api.get(f"/v1/coupons/{coupon}/code"),
            await api.get(f"/v1/users/{me}/coupons"),
            await api.get(f"/v1/users/{me}/code"),
        ]
        assert [answer.status for answer in allowed] == [200] * 4
        member = (await caller.get(f"/v1/users/{you}/code")).json["code"]
        quote = {"store_id": filled["stores"], "channel": "app", "basket": {"amount": 1000}}
        refused = [
            await api.post("/v1/claims", {**claim, "user_id": you}),
            await api.post("/v1/offers", {"campaign_ids": [filled["campaigns"]], "user_id": you}),
            await api.get(f"/v1/users/{you}/coupons"),
            await api.get(f"/v1/users/{you}/code"),
            await api.post("/v1/claims", {**claim, "member_code": member}),
            await api.post("/v1/quotes", {**quote, "coupons": [{"id": filled["spare"]}]}),
            await api.get(f"/v1/coupons/{filled['spare']}"),
            await api.get(f"/v1/coupons/{filled['spare']}/code"),
            await api.get(f"/v1/redemptions/{filled['redemptions']}"),
            await api.post(f"/v1/coupons/{coupon}/void", {"reason": "mine"}),
        ]
        statuses = [answer.status for answer in refused]
        assert statuses[:4] == [403] * 4
        assert set(statuses[4:9]) <= {403, 404, 409}, [answer.json for answer in refused[4:9]]
        assert statuses[9] == 403


def pair() -> tuple[str, str]:
    """An Ed25519 key pair as PEM: (private, public)."""
    private = Ed25519PrivateKey.generate()
    form = serialization.Encoding.PEM
    public = serialization.PublicFormat.SubjectPublicKeyInfo
    kept = private.private_bytes(
        form, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return kept.decode(), private.public_key().public_bytes(form, public).decode()


async def test_tokens(caller: Api, api_server: ApiServer, other: Mall) -> None:
    """What a token must be; every other one is 401."""
    private, public = pair()
    await trust_tokens(caller, ed={"alg": "EdDSA", "key": public})
    now = time.time()

    async def status(text: str, user: str = "u-7") -> int:
        return (await caller.get(f"/v1/users/{user}/coupons", key=text)).status

    for _ in range(40):  # another worker's or poll's half second
        if await status(token("u-7", kid="ed", key=private, alg="EdDSA")) == 200:
            break
        await asyncio.sleep(0.05)
    good = [
        token("u-7"),
        token("u-7", exp=now + 60, iat=now, nbf=now - 5, aud="mini-program"),
        token("u-7", kid="ed", key=private, alg="EdDSA"),
    ]
    assert [await status(text) for text in good] == [200] * 3

    def unsigned(alg: str) -> str:
        parts = ({"alg": alg, "kid": "main"}, {"sub": "u-7"})
        return (
            ".".join(
                base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode()
                for part in parts
            )
            + "."
        )

    bad = [
        token("u-7", exp=now - 1),
        token("u-7", nbf=now + 60),
        token("u-7", kid="unknown"),
        token("u-7", key="x" * 32),
        token("u-7", alg="HS512", key=SECRET * 2),
        token("u-7", kid="ed", key=SECRET),
        unsigned("none"),
        unsigned("HS256"),
        token("a b"),
        token("x" * 65),
        token(""),
        jwt.encode({"user": "u-7"}, SECRET, algorithm="HS256", headers={"kid": "main"}),
        jwt.encode({"sub": "u-7"}, SECRET, algorithm="HS256"),
        good[0][:-2],
        good[0] + "x",
        "a.b.c",
        "..",
        "é.é.é",
    ]
    assert [await status(text) for text in bad] == [401] * len(bad)

    short = token("u-7", exp=int(time.time()) + 1)
    assert await status(short) == 200
    await asyncio.sleep(2.1)
    assert await status(short) == 401
    # The mall is the one whose settings know the key; the other does not know it at all.
    async with Api(api_server.url, other.keys["operator"]) as api:
        answer = await api.get("/v1/settings")
        assert "main" not in answer.json["jwt_keys"]


async def test_tokens_of_two_malls_with_one_key_are_nobodys(
    caller: Api, api_server: ApiServer
) -> None:
    """They can't be told apart, so they open neither."""
    _, operator = api_server.new_mall()
    twin = {"alg": "HS256", "key": secrets.token_hex(32)}
    await trust_tokens(caller, twin=twin)
    async with Api(api_server.url, operator) as api:
        await trust_tokens_of_another(api, twin)
        text = token(SELF, kid="twin", key=twin["key"])
        for _ in range(60):
            if (await api.get(f"/v1/users/{SELF}/coupons", key=text)).status == 401:
                return
            await asyncio.sleep(0.05)
    raise AssertionError("a token opened one of two malls")


async def trust_tokens_of_another(api: Api, twin: dict[str, str]) -> None:
    """A second mall that says it has the same key."""
    assert (await api.patch("/v1/settings", {"jwt_keys": {"twin": twin}})).status == 200


# ---- keys --------------------------------------------------------------------------------------


async def test_a_new_key_is_good_at_once(api: Api, api_server: ApiServer) -> None:
    """Without waiting for anybody to notice."""
    for _ in range(3):
        key = api_server.key("finance")
        assert (await api.get("/v1/merchants", key=key)).status == 200


async def test_a_new_key_s_first_requests_may_come_all_at_once(
    api: Api, api_server: ApiServer
) -> None:
    """More of them than look-ups in the books a second: they share one."""
    key = api_server.key("storefront")
    answers = await asyncio.gather(*(api.get("/v1/nothing", key=key) for _ in range(64)))
    assert {answer.status for answer in answers} == {404}


async def test_a_revoked_key_is_refused_within_a_second(api: Api, api_server: ApiServer) -> None:
    """However often it was used before."""
    key = api_server.key("finance")
    assert (await api.get("/v1/merchants", key=key)).status == 200
    api_server.revoke(key)
    await asyncio.sleep(1.0)
    assert (await api.get("/v1/merchants", key=key)).status == 401


async def test_guessing_costs_no_look_ups(api: Api, api_server: ApiServer) -> None:
    """A storm of wrong keys changes nothing for the right ones."""
    wrong = [f"hx_k{n}_{secrets.token_hex(8)}" for n in range(200)]
    answers = await asyncio.gather(*(api.get("/v1/merchants", key=key) for key in wrong))
    assert {answer.status for answer in answers} == {401}
    assert (await api.get("/v1/merchants")).status == 200
    await asyncio.sleep(1)  # a key of the next test is new as well, and this second is used up


@pytest.mark.parametrize(
    "header", ["", "Bearer", "Bearer ", "Basic {key}", "Token {key}", "{key}", "Bearer {key} x"]
)
async def test_other_authorization_headers(api: Api, api_server: ApiServer, header: str) -> None:
    """401 and what to send instead."""
    sent = {"Authorization": header.replace("{key}", api_server.operator_key)}
    answer = await api.get("/v1/merchants", headers=sent)
    assert (answer.status, answer.code) == (401, "unauthenticated")
    assert answer.headers["WWW-Authenticate"] == "Bearer"


async def test_the_scheme_in_any_case(api: Api, api_server: ApiServer) -> None:
    """RFC 9110: schemes are case-insensitive."""
    for scheme in ("bearer", "BEARER"):
        sent = {"Authorization": f"{scheme} {api_server.operator_key}"}
        assert (await api.get("/v1/merchants", headers=sent)).status == 200
