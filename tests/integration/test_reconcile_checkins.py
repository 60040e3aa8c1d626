"""Check-ins: any order of scans is settled once and told as a model says; damage is named."""

from __future__ import annotations

import random
from typing import Any

import msgspec

from engine import keys
from engine.books import schema
from engine.checkin_records import AttendanceRecord, CheckInRecord, Passing
from engine.checkins import CheckIn
from engine.outcomes import Outcome
from engine.records import pack
from tests.books.mall import Mall, march
from tests.integration.test_reconcile import checked, named, sql

HOUR = 3_600_000
EVENT = {"id": "ball", "starts_at": "2026-03-02T19:00:00+08:00",
         "ends_at": "2026-03-03T02:00:00+08:00"}  # fmt: skip


async def sell(mall: Mall, name: str, reentry: bool) -> None:
    await mall.campaign(name, {"type": "admission", "value": 3000}, kind="ticket",
                        event={**EVENT, "id": name, "reentry": reentry},
                        usage={"stores": ["s1"]})  # fmt: skip


async def scan(
    mall: Mall, ticket: str, now: int, out: bool, gate: str, nonce: str, scanned: int = 0
) -> CheckIn:
    answer = await mall.engine.checkins.record(
        handle=ticket[1:17], tickets=[(ticket, 0, False)], gate=gate, out=out, nonce=nonce,
        who="{}", scanned=scanned, now=now,
    )  # fmt: skip
    assert answer.value, answer
    return answer.value


def expected(passed: list[tuple[int, bool]], at: int, out: bool, reentry: bool) -> Outcome:
    """What one more passing is, by all that went through: slowly, and only from the words."""
    before = [way for when, way in sorted(passed, key=lambda one: one[0]) if when <= at]
    after = [way for when, way in sorted(passed, key=lambda one: one[0]) if when > at]
    inside = bool(before) and not before[-1]
    if out:
        return Outcome.DONE if inside else Outcome.NOT_IN
    if inside or (not reentry and not all(before + after)) or (after and not after[0]):
        return Outcome.ALREADY_IN
    return Outcome.DONE


async def test_scans_in_any_order_are_told_as_a_model_says(mall: Mall) -> None:
    chance = random.Random(7)
    for reentry in (False, True):
        name = f"ball{reentry}"
        await sell(mall, name, reentry)
        for person in range(4):
            ticket = await mall.claim(f"u{person}", name, march(1))
            passed: list[tuple[int, bool]] = []
            now, redemptions = march(2) + 8 * HOUR, 0
            told: list[tuple[Any, CheckIn]] = []
            for number in range(12):
                now += chance.randrange(1, 9) * 60_000
                out, offline = chance.random() < 0.4, chance.random() < 0.5
                at = now - chance.randrange(0, 60) * 60_000 - number if offline else now
                asked = (out, f"g{chance.randrange(3)}", f"{name}{number}", at if offline else 0)
                made = await scan(mall, ticket, now, *asked)
                assert made.outcome is expected(passed, at, out, reentry), (passed, at, out)
                if offline or made.outcome is Outcome.DONE:
                    passed.append((at, out))
                redemptions += bool(made.redemption_id)
                told.append((asked, made))
            assert redemptions <= 1
            assert redemptions == 1 or all(way for _, way in passed)
            for asked, made in told:
                assert await scan(mall, ticket, now + HOUR, *asked) == made
            key = keys.attendance_key(mall.engine.tag_of(ticket[1:17]), ticket[1:17], ticket[17:])
            seen = msgspec.msgpack.decode(await mall.redis.get(key), type=AttendanceRecord)
            assert sorted(passed) == sorted((p.at, bool(p.out)) for p in seen.passings)
            assert seen.entries == sum(not out for _, out in passed)
    await mall.drain()
    report = await checked(mall)
    assert report.ok, report.differences
    assert report.checked["check-ins"] == 2 * 4 * 12


async def test_differences_of_check_ins_are_named(mall: Mall) -> None:
    await sell(mall, "ball", False)
    ticket = await mall.claim("u1", "ball", march(1))
    first = await scan(mall, ticket, march(2) + 8 * HOUR, False, "g1", "n1")
    second = await scan(mall, ticket, march(2) + 9 * HOUR, False, "g2", "n2")
    assert (first.outcome, second.outcome) == (Outcome.DONE, Outcome.ALREADY_IN)
    await mall.drain()
    assert (await checked(mall)).ok
    tag, handle = mall.engine.tag_of(ticket[1:17]), ticket[1:17]
    scanned = keys.checkin_key(tag, handle, second.id[17:])
    came = keys.attendance_key(tag, handle, ticket[17:])
    record = msgspec.msgpack.decode(await mall.redis.get(scanned), type=CheckInRecord)
    seen = msgspec.msgpack.decode(await mall.redis.get(came), type=AttendanceRecord)
    other = msgspec.structs.replace(record, outcome=0)
    more = msgspec.structs.replace(seen, passings=[*seen.passings, Passing(1, 1, "g9", "0" * 11)])
    for key, value, what in ((scanned, other, "check-in"), (came, more, "attendance")):
        before = await mall.redis.get(key)
        await mall.redis.set(key, pack(value))
        assert named(await checked(mall)) == {what}
        await mall.redis.set(key, before)
    await mall.redis.delete(scanned)
    assert named(await checked(mall)) == {"check-in"}
    await mall.redis.set(scanned, pack(record))
    ids = {"second": second.id}
    undo = await sql(schema.checkins, "id=second", {"gate": "g7"})(mall, ids)
    assert named(await checked(mall)) == {"check-in"}
    await undo()
    assert (await checked(mall)).ok
