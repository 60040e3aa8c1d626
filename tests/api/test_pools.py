"""Codes of third parties over HTTP: uploaded once, each carried by one coupon."""

from __future__ import annotations

import io
import secrets
from collections.abc import Sequence

from engine.pool_files import read_csv
from tests.api.counter import Counter
from tests.api.server import Answer, Api
from tests.api.test_concurrency import at_once, in_order, outcomes
from tests.api.test_orders import DAY, NOON, Shop, shop

__all__ = ["shop"]

CSV, NDJSON = "text/csv", "application/x-ndjson"


async def upload(
    api: Api, campaign: str, lines: Sequence[str], key: str = "", kind: str = CSV, end: str = "\n"
) -> Answer:
    return await api.ask(
        "POST",
        f"/v1/campaigns/{campaign}/pool",
        data="".join(line + end for line in lines).encode(),
        headers={"Content-Type": kind},
        idem=key or secrets.token_hex(8),
    )


async def test_codes_are_there_once_they_are_told(counter: Counter) -> None:
    """Whoever was turned away a moment ago: nobody is told that it is sold out any more."""
    campaign = await counter.campaign(stock={"total": 5, "pool": True})
    assert (await counter.claim(campaign, "early")).code == "sold_out"
    for n in range(3):
        assert (await counter.claim(campaign, f"e{n}")).code == "sold_out"
        assert (await upload(counter.api, campaign, [f"K{n}"])).status == 200
        came = await counter.claim(campaign, f"u{n}")
        assert (came.status, came.json.get("external_code")) == (201, f"K{n}")


async def test_each_claim_takes_one_code_with_it(shop: Shop) -> None:
    await shop.sell("film", "stock 9")
    claim = {"campaign_id": "film", "user_id": "ann", "channel": "app"}
    plain = await shop.post("/v1/claims", claim, now=NOON)
    assert "external_code" not in plain.json
    file = ['\ufeff"name","Code"', "x,A/1", "x,B2", "", 'x,"A/1"', "x,no good", "x"]
    told = await upload(shop, "film", file, "up", end="\r\n")
    assert (told.status, told.json) == (200, {
        "campaign_id": "film", "lines": 5, "accepted": 2,
        "duplicates": [{"line": 5, "code": "A/1"}], "duplicates_total": 1,
        "invalid": [
            {"line": 6, "detail": "A code is 1 to 255 visible ASCII characters without blanks."},
            {"line": 7, "detail": "There is no code."},
        ], "invalid_total": 2,
    })  # fmt: skip
    again = await upload(shop, "film", file, "up", end="\r\n")
    assert (again.json, again.replayed) == (told.json, True)
    assert (await upload(shop, "film", file[:2], "up")).code == "idempotency_key_reused"
    more = await upload(shop, "film", ['"B2"', '{"code": "C3", "note": 1}', '{"code": 4}', "["],
                        kind=NDJSON)  # fmt: skip
    assert (more.json["accepted"], more.json["duplicates"]) == (1, [{"line": 1, "code": "B2"}])
    assert [one["line"] for one in more.json["invalid"]] == [3, 4]
    assert (await shop.live("film"))["left"] == 3

    first = await shop.post("/v1/claims", {**claim, "metadata": {"n": 1}}, idem="k", now=NOON)
    assert (first.json["external_code"], first.json["metadata"]) == ("A/1", {"n": 1})
    assert (await shop.post("/v1/claims", {**claim, "metadata": {"n": 1}}, idem="k", now=NOON)
            ).json == first.json  # fmt: skip
    path = f"/v1/coupons/{first.json['id']}"
    assert (await shop.get(path)).json["external_code"] == "A/1"
    assert (await shop.get(path + "/code")).json["external_code"] == "A/1"
    # An order sets codes aside without naming them; what lapsed has room again at once.
    order = await shop.order(("film", 2), user="bob", hold_seconds=60)
    assert (await shop.post("/v1/claims", claim, now=NOON)).code == "sold_out"
    paid = await shop.pay(order, 0)
    assert [one["external_code"] for one in paid.json["coupons"]] == ["B2", "C3"]
    # A code that went out never comes back: neither by a refund nor by a withdrawal.
    back = {"reason": "no", "refund_ref": "r1"}
    refund = await shop.post(f"/v1/coupons/{paid.json['coupons'][0]['id']}/refund", back, now=NOON)
    assert refund.status in (200, 201), refund.json
    await shop.post(path + "/void", {"reason": "no"}, now=NOON)
    assert (await shop.post("/v1/claims", claim, now=NOON)).code == "sold_out"
    assert (await shop.get("/v1/campaigns/film/pool")).status == 200
    assert (await upload(shop, "film", ["B2", "D4"])).json["accepted"] == 1
    last = await shop.post("/v1/claims", claim, now=DAY + "12:05:00+08:00")
    assert last.json["external_code"] == "D4"
    await in_order(shop.server, shop.tenant)


def test_a_heading_is_found_however_a_file_begins() -> None:
    files = '\ufeff"code"\n"A1"', "\ufeff\r\n\ncode\r\nA1", '\ufeff"A1"', "external_code\nA1"
    for text in files:
        assert [one.code for one in read_csv(io.BytesIO(text.encode()))] == ["A1"], text


async def test_what_is_no_file_of_codes_is_refused(shop: Shop) -> None:
    await shop.sell("film", "stock 9")
    await shop.sell("park", kind="parking")
    assert (await upload(shop, "none", ["A"])).status == 404
    assert (await upload(shop, "park", ["A"])).json["field"] == "id"
    assert (await upload(shop, "film", ["A"], kind="application/json")).status == 415
    assert (await upload(shop, "film", ["no code", ""])).json["invalid_total"] == 1
    claim = {"campaign_id": "film", "user_id": "ann", "channel": "app"}
    assert (await shop.post("/v1/claims", claim, now=NOON)).status == 201  # as before
    body = {"id": "p2", "name": "p", "kind": "pass", "benefit": {"type": "exchange", "item": "x"},
            "stock": {"pool": True}, "usage": {"uses": 2},
            "validity": {"type": "fixed"}}  # fmt: skip
    assert (await shop.post("/v1/campaigns", body)).json["field"] == "stock.pool"
    # So from the start: nobody gets one without a code.
    await shop.sell("waits", stock={"pool": True, "total": None})
    claim = {"campaign_id": "waits", "user_id": "ann", "channel": "app"}
    assert (await shop.post("/v1/claims", claim, now=NOON)).code == "sold_out"
    storefront = shop.server.key("storefront", tenant=shop.tenant)
    asked = await shop.ask(
        "POST", "/v1/campaigns/film/pool", data=b"A", key=storefront, idem="k",
        headers={"Content-Type": CSV},
    )  # fmt: skip
    assert asked.status == 403


async def test_many_at_once_never_share_a_code(counter: Counter) -> None:
    campaign = await counter.campaign("stock 100")
    codes = [f"T-{n:03}" for n in range(30)]
    uploads = await at_once(upload(counter.api, campaign, codes, "one") for _ in range(3))
    assert {(one.status, one.json["accepted"]) for one in uploads} == {(200, 30)}
    answers = await at_once(counter.claim(campaign, f"u{n}", idem="k") for n in range(100))
    assert outcomes(answers) == {"201": 30, "sold_out": 70}
    given = [one.json["external_code"] for one in answers if one.status == 201]
    assert sorted(given) == codes
    await in_order(counter.server, counter.server.tenant)
