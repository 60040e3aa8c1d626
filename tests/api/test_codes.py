"""Codes over HTTP: text and pictures, rotating and static, verified without asking Redis."""

from __future__ import annotations

import io
import re

import numpy
import zxingcpp
from PIL import Image

from tests.api.counter import Counter

NOON = "2026-03-02T12:00:10Z"


async def test_a_rotating_code(rehearsed: Counter) -> None:
    """A new one every 30 s; this one and the one before are good."""
    coupon = await rehearsed.coupon()
    path = f"/v1/coupons/{coupon}/code"
    shown = (await rehearsed.api.get(path, now=NOON)).json
    assert re.fullmatch("[0-9A-Z]{1,64}", shown["code"])
    assert shown["refresh_at"] == "2026-03-02T12:00:30.000Z"
    assert shown["expires_at"] == "2026-03-02T12:01:00.000Z"
    same = await rehearsed.api.get(path, now="2026-03-02T12:00:29.999Z")
    assert same.json["code"] == shown["code"]
    following = await rehearsed.api.get(path, now="2026-03-02T12:00:30Z")
    assert following.json["code"] != shown["code"]

    async def verified(now: str) -> object:
        body = {"codes": [shown["code"]]}
        answer = await rehearsed.api.post("/v1/codes/verify", body, now=now)
        return answer.json["items"][0].get("reason", "ok")

    assert await verified("2026-03-02T12:00:59.999Z") == "ok"
    assert await verified("2026-03-02T12:01:00Z") == "code_expired"


async def test_a_static_code(rehearsed: Counter) -> None:
    """The same always, good until the coupon ends."""
    body = {
        "campaign_id": await rehearsed.campaign("minutes 60"),
        "user_id": rehearsed.user(),
        "channel": "app",
    }
    coupon = (await rehearsed.api.post("/v1/claims", body, now=NOON)).json
    path = f"/v1/coupons/{coupon['id']}/code?form=static"
    shown = (await rehearsed.api.get(path, now=NOON)).json
    assert shown["expires_at"] == coupon["valid_until"]
    assert shown["refresh_at"] is None
    late = "2026-03-02T12:59:00Z"
    assert (await rehearsed.api.get(path, now=late)).json == shown
    done = await rehearsed.redeem({"code": shown["code"]}, now=late)
    assert done.status == 201, done.json
    twice = await rehearsed.redeem({"code": shown["code"]}, now=late)
    assert twice.code == "already_redeemed"


async def test_pictures_say_what_the_text_says(counter: Counter) -> None:
    """SVG and PNG by Accept; a scanner reads the code itself."""
    coupon = await counter.coupon()
    for path in (
        f"/v1/coupons/{coupon}/code?form=static",
        f"/v1/users/{counter.user()}/code",
    ):
        text = await counter.api.get(path)
        png = await counter.api.get(path, headers={"Accept": "image/png"})
        svg = await counter.api.get(path, headers={"Accept": "image/svg+xml"})
        assert png.headers["Content-Type"] == "image/png"
        assert svg.headers["Content-Type"] == "image/svg+xml"
        assert svg.content.startswith(b"<")
        assert b"<svg" in svg.content
        assert text.headers["Cache-Control"] == "no-store"
        picture = Image.open(io.BytesIO(png.content)).convert("L")
        found = zxingcpp.read_barcodes(numpy.asarray(picture))
        read = [one.text for one in found]
        verified = await counter.api.post("/v1/codes/verify", {"codes": read})
        assert [item["ok"] for item in verified.json["items"]] == [True]
        if "static" in path:
            assert read == [text.json["code"]]


async def test_verify_answers_in_the_order_sent(counter: Counter) -> None:
    """Coupons and members, as a scanner behind an input method may spell them, and junk."""
    coupon = await counter.coupon()
    code, member = await counter.code(coupon), await counter.member_code()
    wide = "".join(chr(ord(char) + 0xFEE0) for char in code)
    spelled = [f" {code.lower()}\r\n", wide, f"{code[:20]} {code[20:]}", member]
    junk = ["", "x", code[:-1], code + "0", "O" + code[1:], "中文", "\ud83d\ude00" * 500]
    till = counter.till()
    answer = await counter.api.post("/v1/codes/verify", {"codes": spelled + junk}, key=till)
    assert answer.status == 200, answer.json
    items = answer.json["items"]
    rotating = {"ok": True, "type": "coupon", "form": "rotating", "coupon_id": coupon}
    assert items[:3] == [rotating] * 3
    assert items[3] == {"ok": True, "type": "member"}
    assert items[4:] == [{"ok": False, "reason": "code_invalid"}] * len(junk)
    many = await counter.api.post("/v1/codes/verify", {"codes": [code] * 1000}, key=till)
    assert all(item["ok"] for item in many.json["items"])
    more = await counter.api.post("/v1/codes/verify", {"codes": [code] * 1001}, key=till)
    assert more.code == "invalid_request"


async def test_a_foreign_code_is_no_code(counter: Counter) -> None:
    """Another mall on the same server, with the same secret: its codes mean nothing here."""
    code = await counter.code(await counter.coupon())
    _, key = counter.server.new_mall()
    answer = await counter.api.post("/v1/codes/verify", {"codes": [code]}, key=key)
    assert answer.json["items"] == [{"ok": False, "reason": "code_invalid"}]


async def test_scans_are_resolved(counter: Counter) -> None:
    """What it is, its state, what can be done with it here, and a sentence."""
    here = await counter.coupon("stores s1 min_spend 10000 at_channels cashier")
    there = await counter.coupon("stores s2")
    till = counter.till("s1")

    async def scan(code: str, **more: object) -> dict[str, object]:
        answer = await counter.api.post("/v1/scans/resolve", {"code": code} | more, key=till)
        assert answer.status == 200, answer.json
        return dict(answer.json)

    good = await scan(await counter.code(here))
    assert (good["type"], good["usable"], good["can"]) == (
        "coupon",
        True,
        ["quote", "redeem", "hold"],
    )
    assert good["say"]
    assert good["coupon"]["id"] == here  # type: ignore[index]
    assert good["coupon"]["rules"]  # type: ignore[index]
    bad = await scan(await counter.code(there))
    assert (bad["usable"], bad["can"], bad["code"]) == (False, [], "store_not_allowed")
    app = await scan(await counter.code(here), channel="app")
    assert app["code"] == "channel_not_allowed"
    member = await scan(await counter.member_code())
    assert (member["type"], member["usable"]) == ("member", True)
    assert [one["id"] for one in member["coupons"]] == [here]  # type: ignore[attr-defined]
    assert (await counter.redeem({"code": await counter.code(here)}, key=till)).status == 201
    used = await scan(await counter.code(here))
    assert (used["usable"], used["code"]) == (False, "already_redeemed")
    new = await scan(await counter.member_code("new"))
    assert (new["user_id"], new["usable"], new["coupons"]) == (counter.user("new"), False, [])
    answer = await counter.api.post("/v1/scans/resolve", {"code": "junk"}, key=till)
    assert answer.code == "code_invalid"
    assert answer.json["say"]
    other = {"code": await counter.code(here), "store_id": "s2"}
    assert (await counter.api.post("/v1/scans/resolve", other, key=till)).code == "forbidden"
