"""End users with a token of their own: what they may do with coupons, for themselves only."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator

import pytest

from tests.api.counter import Counter
from tests.api.server import Api, ApiServer
from tests.api.test_auth import token as signed

KID = secrets.token_hex(8)  # of this mall alone: other malls' tests sign with keys of their own
SECRET = secrets.token_hex(32)


def token(user_id: str) -> str:
    """The token of an end user of this mall."""
    return signed(user_id, kid=KID, key=SECRET)


@pytest.fixture(scope="module")
def new_mall(api_server: ApiServer) -> tuple[str, str]:
    """A mall for these tests alone."""
    return api_server.new_mall()


@pytest.fixture
async def mall(api_server: ApiServer, new_mall: tuple[str, str]) -> AsyncIterator[Counter]:
    """It knows our tokens."""
    tenant, key = new_mall
    async with Api(api_server.url, key) as api:
        counter = await Counter.open(api_server, api, tenant)
        keys = {"jwt_keys": {KID: {"alg": "HS256", "key": SECRET}}}
        assert (await api.patch("/v1/settings", keys)).status == 200
        await _known(counter)
        yield counter


async def _known(mall: Counter) -> None:
    """Settings are known to every process within a second."""
    for _ in range(200):
        answer = await mall.api.get(f"/v1/users/{mall.user()}/code", key=token(mall.user()))
        if answer.status == 200:
            return
        await asyncio.sleep(0.05)
    raise AssertionError("tokens are not known")


async def test_they_claim_and_look_for_themselves(mall: Counter) -> None:
    """The token says who; naming oneself is allowed, naming another is not."""
    campaign = await mall.campaign()
    me = token(mall.user())
    body = {"campaign_id": campaign, "channel": "app"}
    claimed = await mall.api.post("/v1/claims", body, key=me)
    assert (claimed.status, claimed.json["user_id"]) == (201, mall.user())
    named = body | {"user_id": mall.user()}
    assert (await mall.api.post("/v1/claims", named, key=me)).status == 201
    other = body | {"user_id": mall.user("u2")}
    assert (await mall.api.post("/v1/claims", other, key=me)).code == "forbidden"
    page = {"campaign_ids": [campaign]}
    offers = await mall.api.post("/v1/offers", page, key=me)
    assert offers.json["items"][0]["mine"] == 2
    coupon = claimed.json["id"]
    for path in (f"/v1/coupons/{coupon}", f"/v1/coupons/{coupon}/code"):
        assert (await mall.api.get(path, key=me)).status == 200
        assert (await mall.api.get(path, key=token(mall.user("u2")))).code == "not_found"
    for path in ("code", "coupons"):
        assert (await mall.api.get(f"/v1/users/{mall.user()}/{path}", key=me)).status == 200
        them = await mall.api.get(f"/v1/users/{mall.user('u2')}/{path}", key=me)
        assert them.code == "forbidden"


async def test_they_quote_what_is_theirs(mall: Counter) -> None:
    """And never redeem, void or verify."""
    mine, theirs = await mall.coupon(), await mall.coupon(user="u2")
    me = token(mall.user())
    assert (await mall.quote(mine, key=me)).json["discount"] == 2000
    for ref in (theirs, {"code": await mall.code(theirs)}):
        assert (await mall.quote(ref, key=me)).code == "different_owners"
    assert (await mall.redeem(mine, key=me)).code == "forbidden"
    void = await mall.api.post(f"/v1/coupons/{mine}/void", {"reason": "x"}, key=me)
    assert void.code == "forbidden"
    verify = await mall.api.post("/v1/codes/verify", {"codes": ["x"]}, key=me)
    assert verify.code == "forbidden"


async def test_they_read_their_redemptions_and_history(mall: Counter) -> None:
    """Nobody else's; and they are not told which clerk it was."""
    coupon = await mall.coupon()
    done = await mall.redeem(coupon, staff_id="08")
    path = f"/v1/redemptions/{done.json['id']}"
    me = token(mall.user())
    assert (await mall.api.get(path, key=me)).json["status"] == "redeemed"
    assert (await mall.api.get(path, key=token(mall.user("u2")))).code == "not_found"
    assert (await mall.api.get("/v1/redemptions", key=me)).code == "forbidden"
    history = await mall.api.get(f"/v1/coupons/{coupon}/history", key=me)
    assert history.status == 200
    assert all(item["who"] == {} for item in history.json["items"])


async def test_they_tell_of_themselves_only(mall: Counter) -> None:
    """Events of others in the same batch refuse the whole."""
    event = {"type": "click", "channel": "app", "occurred_at": "2026-03-01T00:00:00Z"}
    mine, others = event | {"user_id": mall.user()}, event | {"user_id": mall.user() + "x"}
    me = token(mall.user())
    told = await mall.api.post("/v1/track", {"events": [mine]}, key=me)
    assert (told.status, told.json) == (200, {"accepted": 1, "repeated": 0})
    assert (await mall.api.post("/v1/track", {"events": [mine, others]}, key=me)).status == 403


async def test_they_see_their_own_cars_and_stays(mall: Counter) -> None:
    """A shared car shows no other member; another's stays and all writing are out of reach."""
    api, name, car = mall.api, f"lot-{mall.mark}", f"沪A{secrets.randbelow(100_000):05d}"
    await api.put(f"/v1/lots/{name}", {"name": "P", "merchant_id": "m1"})
    users = [mall.user("u1"), mall.user("u2")]
    await api.put(f"/v1/vehicles/{car}", {"user_ids": users})
    entry = {"session_id": "s", "lot_id": name, "plate": car, "entered_at": "2026-03-02T12:00:00Z"}
    assert (await api.post("/v1/parking/stays", entry)).status == 201
    me, other = token(users[1]), token(mall.user("u3"))
    cars = (await api.get(f"/v1/users/{users[1]}/vehicles", key=me)).json["items"]
    assert cars == [{"plate": car, "user_ids": [users[1]]}]
    assert (await api.get(f"/v1/users/{users[0]}/vehicles", key=me)).status == 403
    mine = (await api.get("/v1/parking/stays?live=true", key=me)).json["items"]
    assert [one["session_id"] for one in mine] == ["s"]
    assert (await api.get(f"/v1/parking/stays?plate={car}", key=other)).json["items"] == []
    assert (await api.get(f"/v1/parking/stays?user_id={users[0]}", key=me)).status == 403
    for method, path, body in (
        (api.put, f"/v1/vehicles/{car}", {"user_ids": [users[1]]}),
        (api.post, "/v1/parking/stays", entry),
        (api.post, f"/v1/parking/stays/{name}/s/plate", {"corrected": car}),
        (api.post, "/v1/parking/validations", {"campaign_id": "c", "plate": car}),
    ):
        assert (await method(path, body, key=me)).status == 403
    assert (await api.get(f"/v1/vehicles/{car}", key=me)).status == 403


async def test_they_give_and_take_their_own(mall: Counter) -> None:
    """Who has the code may look, accept for themselves and decline; only the giver takes back."""
    campaign = await mall.campaign(transferable=True)
    me, friend = token(mall.user()), token(mall.user() + "f")
    body = {"campaign_id": campaign, "channel": "app"}
    coupon = (await mall.api.post("/v1/claims", body, key=me)).json["id"]
    path = f"/v1/coupons/{coupon}/gifts"
    assert (await mall.api.post(path, {}, key=friend)).status == 404
    made = await mall.api.post(path, {}, key=me)
    assert (made.status, made.json["coupon_id"]) == (201, coupon)
    gift = f"/v1/gifts/{made.json['gift_code']}"
    shown = await mall.api.get(gift, key=friend)
    assert (shown.json["status"], "coupon_id" in shown.json, "user_id" in shown.json) == (
        "open", False, False
    )  # fmt: skip
    assert (await mall.api.delete(gift, key=friend)).status == 404
    other = {"user_id": mall.user() + "g"}
    assert (await mall.api.post(f"{gift}/accept", other, key=friend)).status == 403
    got = await mall.api.post(f"{gift}/accept", {}, key=friend)
    assert (got.status, got.json["user_id"]) == (201, mall.user() + "f")
    assert "received_as" not in (await mall.api.get(gift, key=friend)).json
    # A printed coupon is named by what is printed on it, not by an id from somewhere.
    made = await mall.api.post(f"/v1/campaigns/{campaign}/prints", {"count": 1})
    batch = f"/v1/prints/{made.json['id']}"
    for _ in range(200):
        if (await mall.api.get(batch)).json["status"] == "done":
            break
        await asyncio.sleep(0.02)
    line = (await mall.api.get(f"{batch}/codes.csv")).content.decode().splitlines()[1].split(",")
    assert (await mall.api.post(f"/v1/coupons/{line[1]}/take", {}, key=me)).status == 404
    taken = await mall.api.post(f"/v1/coupons/{line[2]}/take", {}, key=me)
    assert (taken.status, taken.json["came_from"]) == (201, line[1])
