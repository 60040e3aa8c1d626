"""When the gate cannot ask: the signed list, and the exits told later."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import jwt
import pytest

from tests.api.counter import Counter
from tests.api.test_parking_stays import MINUTES, Lot, parking, plate

ENTERED = (datetime.now(UTC) - timedelta(minutes=150)).isoformat(timespec="seconds")
NOW = datetime.now(UTC).isoformat(timespec="seconds")


@pytest.fixture
async def lot(counter: Counter) -> Lot:
    """Five yuan an hour; a member with one coupon for an hour has two cars inside."""
    name = f"gate-{counter.mark}"
    tariff = {"unit_minutes": 60, "unit_fee": 500}
    await counter.api.put(f"/v1/lots/{name}", {"name": "P", "merchant_id": "m1", "tariff": tariff})
    found = Lot(counter, name)
    campaign = await parking(counter, benefit=MINUTES)
    assert (await counter.claim(campaign)).status == 201
    return found


async def two_cars(counter: Counter, lot: Lot) -> list[str]:
    cars = [plate(), plate()]
    for number, car in enumerate(cars):
        await counter.api.put(f"/v1/vehicles/{car}", {"user_ids": [counter.user()]})
        assert (await lot.enter(f"s-{number}", car, entered_at=ENTERED)).status == 201
    return cars


async def test_the_list_says_what_may_be_taken_off(counter: Counter, lot: Lot) -> None:
    cars = await two_cars(counter, lot)
    await lot.enter("s-9", plate(), entered_at=ENTERED)  # nobody's: nothing to take off
    path = f"/v1/parking/lots/{lot.id}/fallback"
    answer = await counter.api.get(path, key=lot.key)
    assert answer.status == 200, answer.json
    shown = answer.json
    assert {
        one["plate"]: (one["minutes"], one["amount"]) for one in shown["items"]
    } == dict.fromkeys(cars, (60, 500))
    assert shown["complete"] is True
    key = jwt.PyJWK.from_json(json.dumps(shown["key"]))
    claims = jwt.decode(shown["signed"], key.key, algorithms=["EdDSA"])
    assert claims["plates"] == shown["items"]
    assert (claims["sub"], claims["exp"] - claims["iat"]) == (lot.id, 600)
    with pytest.raises(jwt.InvalidSignatureError):
        jwt.decode(shown["signed"][:-4] + "AAAA", key.key, algorithms=["EdDSA"])
    foreign = counter.server.key("parking", tenant=counter.tenant, lot_id="other")
    assert (await counter.api.get(path, key=foreign)).status == 403
    assert (await counter.api.get("/v1/parking/lots/nowhere/fallback")).status == 404


async def test_what_happened_offline_is_recorded(counter: Counter, lot: Lot) -> None:
    api = counter.api
    cars = await two_cars(counter, lot)

    def left(number: int, car: str | None, **more: Any) -> dict[str, Any]:
        exit_ = {"session_id": f"s-{number}", "plate": car, "entered_at": ENTERED,
                 "exited_at": NOW, "fee": 1500, "deducted": 500}  # fmt: skip
        return exit_ | more

    body = {"exits": [left(0, cars[0]), left(1, cars[1]), left(2, "no plate", deducted=0)]}
    told = await api.post("/v1/parking/offline", body, key=lot.key)
    assert told.status == 200, told.json
    assert (told.json["recorded"], told.json["conflicts"]) == (3, 2)
    items = told.json["items"]
    assert [one["session_id"] for one in items] == ["s-0", "s-1", "s-2"]
    covered = sorted((one["status"], one["covered"], one["short_by"]) for one in items[:2])
    assert covered == [("conflict", 0, 500), ("recorded", 500, 0)]  # one coupon for two cars
    assert (items[2]["status"], items[2]["code"]) == ("conflict", "invalid_request")
    again = await api.post("/v1/parking/offline", body, key=lot.key)
    assert again.json == told.json
    stays = (await api.get(f"/v1/parking/stays?lot_id={lot.id}")).json["items"]
    assert {one["session_id"]: one["live"] for one in stays} == dict.fromkeys(
        ("s-0", "s-1", "s-2"), False
    )
    wrong = {"exits": [left(5, None), left(6, None, exited_at="2026-02-31T00:00:00Z")]}
    refused = await api.post("/v1/parking/offline", wrong, key=lot.key)
    assert (refused.status, refused.json["field"]) == (400, "exits[1].exited_at")
    stale = left(7, cars[0], member_code="x", deducted=0)
    told = await api.post("/v1/parking/offline", {"exits": [stale]}, key=lot.key)
    assert (told.json["conflicts"], told.json["items"][0]["redemption_id"] is None) == (0, False)
    # Where no tariff says what minutes are worth, they were worth what the gate took off.
    await api.put(f"/v1/lots/{lot.id}", {"name": "P", "merchant_id": "m1"})
    assert (await counter.claim(await parking(counter, benefit=MINUTES))).status == 201
    untold = {"exits": [left(8, cars[0], deducted=900), left(9, cars[0], deducted=10)]}
    told = await api.post("/v1/parking/offline", untold, key=lot.key)
    assert sum(one["covered"] for one in told.json["items"]) in (900, 10), told.json
    assert told.json["conflicts"] == 1
    empty = await api.post("/v1/parking/offline", {"exits": []}, key=lot.key)
    assert (empty.status, empty.json["field"]) == (400, "exits")


async def test_a_corrected_plate_is_quoted_again(counter: Counter, lot: Lot) -> None:
    car, wrong = plate(), plate()
    await counter.api.put(f"/v1/vehicles/{car}", {"user_ids": [counter.user()]})
    await lot.enter("s-1", wrong, entered_at=ENTERED)
    fixed = await lot.act("s-1", "plate", {"corrected": car})
    quote = fixed.json["quote"]
    assert (quote["fee_total"], quote["payable"], quote["redemption_id"]) == (1500, 1000, None)
    assert [(one["type"], one["minutes"]) for one in quote["deductions"]] == [("coupon", 60)]
