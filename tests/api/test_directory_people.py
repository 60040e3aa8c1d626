"""What a mall tells of its members: tiers, freezes, audiences, and what follows at once."""

from __future__ import annotations

import secrets

from tests.api.server import Api, ApiServer
from tests.api.test_campaigns import claim, create


async def test_a_tier_is_told_and_opens_what_is_for_it(api: Api) -> None:
    user = f"u{secrets.token_hex(5)}"
    name = await create(api, issue={"tiers": ["gold"]})
    assert (await claim(api, name, user)).code == "not_eligible"
    told = await api.put(
        f"/v1/users/{user}", {"tier": "gold", "tier_until": "2040-01-01T08:00:00+08:00"}
    )
    assert told.json == {
        "user_id": user, "tier": "gold", "tier_until": "2040-01-01T00:00:00.000Z", "frozen": False,
    }  # fmt: skip
    assert (await claim(api, name, user)).status == 201
    # What is absent stays; a tier told without an end has none; null takes it away.
    kept = await api.put(f"/v1/users/{user}", {"frozen": False})
    assert (kept.json["tier"], kept.json["tier_until"]) == ("gold", "2040-01-01T00:00:00.000Z")
    endless = await api.put(f"/v1/users/{user}", {"tier": "gold"})
    assert endless.json["tier_until"] is None
    taken = await api.put(
        f"/v1/users/{user}", {"tier": None}, headers={"Hexiao-Actor": "Han Meimei"}
    )
    assert taken.json["tier"] is None
    audit = (await api.get("/v1/audit", params={"object": f"user:{user}"})).json["items"]
    assert [(row["action"], row["detail"]) for row in audit][::3] == [
        ("user.put", {"tier": None}),
        ("user.put", {"tier": "gold", "tier_until": "2040-01-01T08:00:00+08:00"}),
    ]
    assert audit[0]["actor"] == "Han Meimei"
    assert (await claim(api, name, user)).code == "not_eligible"


async def test_a_frozen_member_claims_nothing(api: Api) -> None:
    user, name = f"u{secrets.token_hex(5)}", await create(api)
    assert (await api.put(f"/v1/users/{user}", {"frozen": True})).json["frozen"] is True
    assert (await claim(api, name, user)).code == "user_frozen"
    await api.put(f"/v1/users/{user}", {"frozen": False})
    assert (await claim(api, name, user)).status == 201


async def test_an_audience_is_who_a_campaign_is_for(api: Api) -> None:
    ann, bob = (f"u{secrets.token_hex(5)}" for _ in range(2))
    audience = f"a{secrets.token_hex(5)}"
    path = f"/v1/audiences/{audience}/members"
    name = await create(api, issue={"audiences": [audience]})
    told = await api.post(path, {"add": [ann, bob]}, idem="add-" + audience)
    assert (told.status, told.json) == (200, {"audience_id": audience, "changed": 2})
    assert (await api.post(path, {"remove": [bob]})).json["changed"] == 1
    assert (await claim(api, name, ann)).status == 201
    assert (await claim(api, name, bob)).code == "not_eligible"
    # The first request again is answered as before, and does not put bob in again.
    again = await api.post(path, {"add": [ann, bob]}, idem="add-" + audience)
    assert (again.json, again.replayed) == (told.json, True)
    assert (await claim(api, name, bob)).code == "not_eligible"
    reused = await api.post(path, {"add": [bob]}, idem="add-" + audience)
    assert reused.code == "idempotency_key_reused"
    audit = await api.get("/v1/audit", params={"object": f"audience:{audience}"})
    assert [row["detail"] for row in audit.json["items"]] == [
        {"add": 0, "remove": 1},
        {"add": 2, "remove": 0},
    ]


async def test_what_cannot_be_told(api: Api) -> None:
    both = await api.post("/v1/audiences/a/members", {"add": ["u"], "remove": ["u"]})
    assert (both.status, both.json["field"]) == (400, "remove")
    many = await api.post("/v1/audiences/a/members", {"add": [f"u{n}" for n in range(10_001)]})
    assert (many.status, many.json["field"]) == (400, "add")
    wrong = await api.put("/v1/users/u1", {"tier_until": "2026-02-30T00:00:00Z"})
    assert (wrong.status, wrong.json["field"]) == (400, "tier_until")


async def test_ten_thousand_at_once(api: Api) -> None:
    audience = f"a{secrets.token_hex(5)}"
    body = {"add": [f"{audience}-{n:05}" + "x" * 40 for n in range(10_000)]}
    told = await api.post(f"/v1/audiences/{audience}/members", body)
    assert told.json["changed"] == 10_000


async def test_only_operators_tell(api: Api, api_server: ApiServer) -> None:
    for role in ("storefront", "desk", "finance"):
        key = api_server.key(role)
        assert (await api.put("/v1/users/u1", {"tier": "gold"}, key=key)).status == 403
        assert (await api.post("/v1/audiences/a/members", {}, key=key)).status == 403
