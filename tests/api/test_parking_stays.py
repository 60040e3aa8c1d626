"""Lots, vehicles and stays over HTTP; what shops and the booth give."""

from __future__ import annotations

import asyncio
import secrets
from typing import Any

import pytest

from tests.api.counter import Counter

MINUTES = {"type": "parking_minutes", "minutes": 60}
TARIFF = {"free_minutes": 15, "unit_minutes": 60, "unit_fee": 500, "cap_per_day": 4000}
ENTERED = "2026-03-02T12:00:00+08:00"


def plate() -> str:
    """A plate that no other test has."""
    return "沪A" + "".join(secrets.choice("ABCDEFGHJKLMNPQRSTUVWXYZ0123456789") for _ in range(5))


class Lot:
    """A lot of this test's own, and its system's key."""

    def __init__(self, counter: Counter, name: str) -> None:
        self.api, self.id = counter.api, name
        self.key = counter.server.key("parking", tenant=counter.tenant, lot_id=name)

    async def enter(self, session: str, car: str | None = None, **more: Any) -> Any:
        body = {"session_id": session, "entered_at": ENTERED} | ({"plate": car} if car else {})
        return await self.api.post("/v1/parking/stays", body | more, key=self.key)

    async def act(self, session: str, verb: str, body: dict[str, Any], **options: Any) -> Any:
        path = f"/v1/parking/stays/{self.id}/{session}/{verb}"
        return await self.api.post(path, body, **({"key": self.key} | options))


@pytest.fixture
async def lot(counter: Counter) -> Lot:
    name = f"lot-{counter.mark}"
    made = await counter.api.put(
        f"/v1/lots/{name}", {"name": "P1", "merchant_id": "m1", "tariff": TARIFF}
    )
    assert made.status == 200, made.json
    return Lot(counter, name)


async def parking(counter: Counter, **parts: Any) -> str:
    return await counter.campaign(**({"kind": "parking", "benefit": MINUTES} | parts))


async def test_a_lot_is_put_whole(counter: Counter, lot: Lot) -> None:
    api = counter.api
    shown = await api.get(f"/v1/lots/{lot.id}", key=lot.key)
    assert shown.json["tariff"]["free_deducted"] is True
    assert (shown.json["grace_minutes"], shown.json["revision"]) == (None, 1)
    assert [one["id"] for one in (await api.get("/v1/lots", key=lot.key)).json["items"]] == [lot.id]
    body = {"name": "P1", "merchant_id": "m1", "grace_minutes": 20}
    assert (await api.put(f"/v1/lots/{lot.id}", body)).json["revision"] == 2
    assert (await api.put(f"/v1/lots/{lot.id}", body)).json["revision"] == 2
    assert (await api.get("/v1/lots/nowhere")).status == 404
    for wrong, field in (
        ({"name": "P", "merchant_id": "nobody"}, "merchant_id"),
        ({"name": "P", "merchant_id": "m1", "tariff": {"unit_fee": 1}}, "tariff.unit_minutes"),
        ({"name": "P", "merchant_id": "m1", "grace_minutes": -1}, "grace_minutes"),
    ):
        refused = await api.put(f"/v1/lots/{lot.id}", wrong)
        assert (refused.status, refused.json["field"]) == (400, field)


async def test_whose_car_it_is(counter: Counter) -> None:
    api, car = counter.api, plate()
    ann, bob, eve = (counter.user(name) for name in ("ann", "bob", "eve"))
    app = counter.server.key("storefront", tenant=counter.tenant)
    written = f" {car[:2]}·{car[2:].lower()} "
    made = await api.put(f"/v1/vehicles/{written}", {"user_ids": [ann, bob]}, key=app)
    assert made.json == {"plate": car, "user_ids": [ann, bob]}
    assert (await api.get(f"/v1/vehicles/{car}", key=app)).json == made.json
    cars = (await api.get(f"/v1/users/{bob}/vehicles", key=app)).json
    assert cars == {"items": [made.json], "next_cursor": None}
    taken = await api.put(f"/v1/vehicles/{car}", {"user_ids": [eve]}, key=app)
    assert (taken.status, taken.code) == (409, "plate_taken")
    shared = await api.put(f"/v1/vehicles/{car}", {"user_ids": [bob, eve]}, key=app)
    assert shared.json["user_ids"] == [bob, eve]
    assert (await api.get(f"/v1/users/{ann}/vehicles")).json["items"] == []
    assert (await api.put(f"/v1/vehicles/{car}", {"user_ids": [ann]})).status == 200
    assert (await api.delete(f"/v1/vehicles/{car}", key=app)).status == 200
    for path, method in ((f"/v1/vehicles/{car}", api.get), (f"/v1/vehicles/{car}", api.delete)):
        assert (await method(path)).status == 404
    assert (await api.get(f"/v1/users/{ann}/vehicles")).json["items"] == []
    for wrong, body, field in (
        ("京I12345", {"user_ids": [ann]}, "plate"),
        (car, {"user_ids": []}, "user_ids"),
        (car, {"user_ids": [ann, ann]}, "user_ids"),
        (car, {"user_ids": [ann] * 11}, "user_ids"),
    ):
        refused = await api.put(f"/v1/vehicles/{wrong}", body)
        assert (refused.status, refused.json["field"]) == (400, field)


async def test_an_entrys_key_is_of_one_session(counter: Counter, lot: Lot) -> None:
    missing = await counter.api.ask("POST", "/v1/parking/stays", {}, key=lot.key)
    assert (missing.status, missing.code) == (400, "idempotency_key_required")

    async def enter(session: str, car: str, idem: str, **more: Any) -> str:
        body = {"session_id": session, "entered_at": ENTERED, "plate": car} | more
        answer = await counter.api.post("/v1/parking/stays", body, idem=idem)
        return str(answer.code or f"{answer.status}{' again' if answer.replayed else ''}")

    here, car, other = {"lot_id": lot.id}, plate(), plate()
    assert await enter("1", car, "k1", lot_id="nowhere") == "not_found"
    assert await enter("1", car, "k1", **here) == "201"
    for key in ("k1", "k2"):  # told again under another key, it is the same session
        assert await enter("1", car, key, **here) == "201 again"
        assert await enter("2", other, key, **here) == "idempotency_key_reused"
    assert await enter("1", other, "k1", **here) == "idempotency_key_reused"
    assert await enter("1", other, "k3", **here) == "plate_conflict"
    assert await enter("2", other, "k3", **here) == "201"  # what was refused used it for nothing


async def test_a_stay_from_entry_on(counter: Counter, lot: Lot) -> None:
    api, car, user = counter.api, plate(), counter.user()
    first, second = await asyncio.gather(lot.enter("s-1", car), lot.enter("s-1", car))
    assert {first.status, second.status} == {201}
    assert first.json == second.json
    assert {first.replayed, second.replayed} == {True, False}
    assert (first.json["plate"], first.json["live"]) == (car, True)
    assert first.json["entered_at"] == "2026-03-02T04:00:00.000Z"
    assert (await lot.enter("s-1", plate())).code == "plate_conflict"
    assert (await lot.enter("s-1")).replayed
    assert (await lot.enter("s-2", lot_id="elsewhere")).status == 403
    assert (await lot.enter("s-2", "无牌车")).json["field"] == "plate"
    await api.put(f"/v1/vehicles/{car}", {"user_ids": [user]})
    for query in (f"plate={car}", f"user_id={user}&live=true", f"lot_id={lot.id}"):
        found = (await api.get(f"/v1/parking/stays?{query}")).json["items"]
        assert [one["session_id"] for one in found] == ["s-1"], query
    # A session whose plate the camera missed learns it from the next notice.
    assert (await lot.enter("s-3")).json["plate"] is None
    assert (await lot.enter("s-3", plate())).json["plate"] is not None
    nowhere = {"session_id": "s-9", "entered_at": ENTERED, "lot_id": "nowhere"}
    assert (await api.post("/v1/parking/stays", nowhere)).status == 404


async def test_a_plate_that_was_read_wrong(counter: Counter, lot: Lot) -> None:
    wrong, right, other = plate(), plate(), plate()
    await lot.enter("s-1", wrong)
    await lot.enter("s-2", other)
    fixed = await lot.act("s-1", "plate", {"corrected": right}, idem="c1")
    assert (fixed.status, fixed.json["stay"]["plate"]) == (200, right)
    again = await lot.act("s-1", "plate", {"corrected": right}, idem="c1")
    assert again.replayed
    assert again.json["stay"] == fixed.json["stay"]
    reused = await lot.act("s-1", "plate", {"corrected": wrong}, idem="c1")
    assert reused.status == 422
    assert (await lot.act("s-1", "plate", {"corrected": other})).code == "plate_conflict"
    assert (await lot.act("s-9", "plate", {"corrected": right})).status == 404
    assert (await lot.act("s-1", "plate", {"corrected": "x"})).json["field"] == "corrected"
    assert (await lot.enter("s-1", wrong)).replayed  # the entry is told again as it was read


async def test_the_booth_decides(counter: Counter, lot: Lot) -> None:
    await lot.enter("s-1", plate())
    body = {"amount": 800, "reason": "lift broken", "staff_id": "08"}
    made = await lot.act("s-1", "override", body, idem="o1")
    assert (made.status, made.json["amount"], made.json["staff_id"]) == (201, 800, "08")
    assert made.json["say"] == "8 yuan off by the booth."
    assert (await lot.act("s-1", "override", body, idem="o1")).replayed
    reused = await lot.act("s-1", "override", body | {"amount": 900}, idem="o1")
    assert reused.status == 422
    missing = await lot.act("s-1", "override", {"amount": 1, "reason": "x"})
    assert (missing.status, missing.json["field"]) == (400, "staff_id")
    foreign = counter.server.key("parking", tenant=counter.tenant, lot_id="other")
    assert (await lot.act("s-1", "override", body, key=foreign)).status == 403


async def test_a_shop_gives_parking(counter: Counter, lot: Lot) -> None:
    api, car = counter.api, plate()
    campaign = await parking(counter, stock={"total": 3})
    till = counter.till("s2")
    await lot.enter("s-1", car)

    async def give(idem: str | None = None, **to: Any) -> Any:
        body = {"campaign_id": campaign, **to}
        return await api.post("/v1/parking/validations", body, key=till, idem=idem)

    given = await give("v1", session_id="s-1", lot_id=lot.id)
    assert (given.status, given.json["minutes"], given.json["free"]) == (201, 60, False)
    assert given.json["bearer"].startswith("merchant:")
    assert given.json["say"] == "60 minutes of parking given."
    again = await give("v1", session_id="s-1", lot_id=lot.id)
    assert again.replayed
    assert again.json == given.json
    by_plate = await asyncio.gather(*(give(f"p{n}", plate=car) for n in range(4)))
    assert sorted(one.status for one in by_plate) == [201, 201, 409, 409]
    assert {one.code for one in by_plate if one.status == 409} == {"sold_out"}
    live = (await api.get(f"/v1/campaigns/{campaign}")).json["live"]
    assert (live["issued"], live["left"]) == (3, 0)
    both = await give(plate=car, session_id="s-1")
    assert (both.status, both.json["field"]) == (400, "plate")
    assert (await give(session_id="nowhere")).status == 404
    elsewhere = {"campaign_id": campaign, "plate": car, "store_id": "s1"}
    assert (await api.post("/v1/parking/validations", elsewhere, key=till)).status == 403
    campaign = await counter.campaign()
    assert (await give(plate=car)).code == "not_eligible"
    campaign = await parking(counter, issue={"per_user": 1})
    user = counter.user()
    await api.put(f"/v1/users/{user}", {"tier": "gold"})
    code = await counter.member_code()
    assert (await give(member_code=code)).status == 201
    assert (await give(member_code=code)).code == "user_limit"
    await api.put(f"/v1/users/{user}", {"frozen": True})
    assert (await give(member_code=code)).code == "user_frozen"


async def test_a_store_gives_so_many_a_day(counter: Counter) -> None:
    _, operator = counter.server.new_mall()
    async with type(counter.api)(counter.server.url, operator) as api:
        mall = await Counter.open(counter.server, api)
        assert (
            await api.patch("/v1/settings", {"parking": {"validations_per_day": 2}})
        ).status == 200
        campaign = await parking(mall)
        body = {"campaign_id": campaign, "store_id": "s1"}
        answers = await asyncio.gather(
            *(api.post("/v1/parking/validations", body | {"plate": plate()}) for _ in range(5))
        )
        assert sorted(one.status for one in answers) == [201, 201, 409, 409, 409]
        assert {one.code for one in answers if one.status == 409} == {"store_limit"}
        other = await api.post(
            "/v1/parking/validations", body | {"store_id": "s2", "plate": plate()}
        )
        assert other.status == 201


async def test_a_store_gives_so_many_of_a_campaign(counter: Counter) -> None:
    """The campaign's own ``per_store_per_day`` holds, for each store and campaign by itself."""

    async def give(campaign: str, store: str) -> str:
        body = {"campaign_id": campaign, "store_id": store, "plate": plate()}
        return str((await counter.api.post("/v1/parking/validations", body)).code)

    one, other = [await parking(counter, usage={"per_store_per_day": 1}) for _ in range(2)]
    assert [await give(one, "s1") for _ in range(2)] == ["", "store_limit"]
    assert [await give(one, "s2"), await give(other, "s1")] == ["", ""]


async def test_the_booth_decides_of_a_stay_that_nobody_told_of(lot: Lot) -> None:
    """Entries are optional and a quote is no record."""
    body = {"amount": 300, "reason": "lift broken", "staff_id": "08"}
    made = await lot.act("s-new", "override", body, idem="o1")
    assert (made.status, made.json["amount"]) == (201, 300)
    assert (await lot.act("s-new", "override", body, idem="o1")).json == made.json
    pay = {"lot_id": lot.id, "session_id": "s-new", "entered_at": ENTERED, "as_of": ENTERED}
    paid = await lot.api.post(
        "/v1/parking/payments",
        pay | {"fee_total": 500, "choose": "best", "use": ["free"], "mode": "commit"},
        key=lot.key,
    )
    assert [one["type"] for one in paid.json["deductions"]] == ["manual"]
    assert paid.json["payable"] == 200
    # Whoever knows when it was entered tells; that is not the moment of the override.
    told = [(await lot.enter(one, plate())).json["entered_at"] for one in ("s-new", "s-other")]
    assert told[0] == told[1]
