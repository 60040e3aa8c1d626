"""Stays and what they are given, on three cells: whose they are, what was given, books and all."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from engine.books import definitions_parking
from engine.definitions import Lot
from engine.outcomes import Outcome
from engine.parking.stays import Session
from tests.engine.harness import ANN, WHO, Running, open_mall, reconciled
from tests.unit.rules_language import campaign

MINUTES = {"type": "parking_minutes", "minutes": 60}
HERE = Session("P1", "s-1", "沪A12345", 1_700_000_000_000)


@pytest.fixture
async def mall(redis_url: str, tenant: str, books_file: Path) -> AsyncIterator[Running]:
    """Three cells on the session's server."""
    async with open_mall(tenant, redis_url, books_file, cells=3) as running:
        yield running


async def _lot(mall: Running, name: str = "P1") -> None:
    await mall.store("s1")
    lot = Lot(name=name, merchant_id="m1")
    await definitions_parking.put_lot(mall.books, mall.id, ANN, name, lot)
    await mall.control.publish_lot(name)


async def test_a_stay_stays_with_the_first_person(mall: Running, redis_url: str) -> None:
    await _lot(mall)
    parking = mall.engine.parking
    who = [f"u{n}" for n in range(8)]
    answers = await asyncio.gather(*(parking.own(HERE, user, who=WHO) for user in who))
    first = next(one.value for one in answers if one.outcome is Outcome.DONE)
    assert first is not None
    assert {one.value.user_id for one in answers if one.value} == {first.user_id}
    assert first.owner == mall.engine.handle_of(first.user_id)
    moved = await parking.correct("P1", "s-1", "沪A99999", key="k", who=WHO, owner="")
    assert moved.outcome is Outcome.WALLET_MOVED
    fixed = await parking.correct("P1", "s-1", "沪A99999", key="k", who=WHO, owner=first.owner)
    assert fixed.value
    assert (fixed.value.plate, fixed.value.user_id, fixed.value.owner) == ("沪A99999", "", "")
    assert parking.is_corrected(fixed.value, "k", mall.engine.clock())
    left, again = [await parking.leave(HERE, 1_700_000_600_000, who=WHO) for _ in range(2)]
    assert (left.outcome, again.outcome) == (Outcome.DONE, Outcome.REPEATED)
    assert left.value == again.value == await parking.stay("P1", "s-1")
    closed = await parking.override(
        "P1", "s-1", amount=1, reason="r", staff_id="8", key="o", who=WHO
    )
    assert closed.outcome is Outcome.STAY_CLOSED
    nowhere = await parking.enter(Session("P9", "s-1"), who=WHO)
    assert nowhere.outcome is Outcome.NOT_FOUND
    await reconciled(mall.books, redis_url, mall.id)


async def test_what_is_given_is_taken_by_one_stay(mall: Running, redis_url: str) -> None:
    await _lot(mall)
    await mall.publish(campaign("parking_minutes", id="c", kind="parking", benefit=MINUTES))
    parking, plate = mall.engine.parking, HERE.plate
    await parking.enter(HERE, who=WHO)
    places: list[dict[str, Any]] = [{"session": HERE}, {"plate": plate}, {"user_id": "u1"}]
    given = [
        await parking.validate(campaign_id="c", store_id="s1", key=f"k{n}", who=WHO, **to)
        for n, to in enumerate(places)
    ]
    assert [one.outcome for one in given] == [Outcome.DONE] * 3
    everything = {one.value.id for one in given if one.value}
    handle = mall.engine.handle_of("u1")
    told: dict[str, Any] = {"plate": plate, "handle": handle}
    seen = await parking.validations("P1", "s-1", **told)
    assert {one.id for one in seen} == everything
    takers = [parking.validations("P1", s, take=True, **told) for s in ("s-1", "s-2", "s-3")]
    found = [{one.id for one in taken} for taken in await asyncio.gather(*takers)]
    assert set.union(*found) == everything
    assert sum(map(len, found)) == 3  # each of them by one stay
    again = await parking.validations("P1", "s-1", take=True, **told)
    assert {one.id for one in again} == found[0]
    await mall.patch("c", {"status": "frozen"})
    assert await parking.validations("P1", "s-1", **told) == []
    await mall.patch("c", {"status": "active"})
    assert len(await parking.validations("P1", "s-1", **told)) == len(found[0])
    await reconciled(mall.books, redis_url, mall.id)
