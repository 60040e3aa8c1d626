"""Codes of third parties against the books: what was loaded waits in a cell or went out, once."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

import msgspec
from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from engine import keys
from engine.books.schema import pool_batches, pool_codes
from engine.reconcile.check import Again, Check

_totals = msgspec.msgpack.Decoder(list[int]).decode

_AT_ONCE = 1000  # codes asked for at once
_PAGE = 5000  # codes read at once


async def check_pools(check: Check, ids: Sequence[str]) -> None:
    """Compare what the cells hold for these campaigns with what the books have loaded."""
    for campaign_id in ids:
        again = ("campaign", campaign_id)
        waiting = await _read(check, campaign_id, again)
        async with check.books.connect() as conn:
            loaded, given = await _booked(check, conn, campaign_id)
        if len(waiting) != loaded - given:
            check.differs("codes", campaign_id, len(waiting), f"{loaded} - {given} issued", again)
        await _compare(check, campaign_id, sorted(waiting), again)
        check.report.count("codes", loaded)


async def _read(check: Check, campaign_id: str, again: Again) -> set[str]:
    """The codes that wait in the cells; told where a counter is not what its list holds."""
    waiting: set[str] = set()
    for cell in check.cells:
        where = f"{campaign_id} cell {cell.number}"
        listed: list[bytes] = []
        while True:  # from the end: those that go out meanwhile move none of the others
            last = -1 - len(listed)
            key = keys.pool_key(cell.tag, campaign_id)
            (some,) = await check.live.many([("LRANGE", key, last - _PAGE + 1, last)])
            listed += some
            if len(some) < _PAGE:
                break
        hash_key = keys.campaign_key(cell.tag, campaign_id)
        ((counted,),) = await check.live.many([("HMGET", hash_key, "codes")])
        if int(counted or 0) != len(listed):
            check.differs("codes", where, counted, f"{len(listed)} listed", again)
        here = {code.decode() for code in listed}
        if len(here) < len(listed) or not here.isdisjoint(waiting):
            check.differs("codes", where, "a code twice", "", again)
        waiting |= here
    return waiting | await _moving(check, campaign_id)


async def _moving(check: Check, campaign_id: str) -> set[str]:
    """Codes that one cell has sent and another has not received: the last ones of their lists."""
    totals = []
    for cell in check.cells:
        asked = ("HMGET", keys.campaign_key(cell.tag, campaign_id), "sent", "received")
        ((sent, received),) = await check.live.many([asked])
        totals.append((_totals(sent or b"\x90"), _totals(received or b"\x90")))
    codes: set[str] = set()
    for sender, (sent, _) in enumerate(totals):
        for to, number in enumerate(sent):
            there = totals[to][1]
            moving = number - (there[sender] if sender < len(there) else 0)
            if moving > 0:
                key = keys.moving_key(check.cells[sender].tag, to, campaign_id)
                (listed,) = await check.live.many([("LRANGE", key, -moving, -1)])
                codes |= {code.decode() for code in listed}
    return codes


async def _booked(check: Check, conn: AsyncConnection, campaign_id: str) -> tuple[int, int]:
    """How many codes the cells should have had, and how many went out with coupons."""
    b, c = pool_batches.c, pool_codes.c
    loaded = select(func.sum(b.count)).where(
        b.tenant == check.tenant, b.campaign_id == campaign_id, b.pushed == 1
    )
    given = select(func.count()).where(
        c.tenant == check.tenant, c.campaign_id == campaign_id, c.coupon_id != ""
    )
    return int(await conn.scalar(loaded) or 0), await conn.scalar(given) or 0


async def _compare(check: Check, campaign_id: str, waiting: list[str], again: Again) -> None:
    """Each code that waits is one of the campaign's, and no coupon has it."""
    c = pool_codes.c
    for start in range(0, len(waiting), _AT_ONCE):
        some = waiting[start : start + _AT_ONCE]
        query = select(c.code).where(
            c.tenant == check.tenant, c.campaign_id == campaign_id, c.coupon_id == ""
        )
        async with check.books.connect() as conn:
            free = set(await conn.scalars(query.where(c.code.in_(some))))
        for code in some:
            if code not in free:
                check.differs("code", f"{campaign_id} {code}", "waiting", "none, or issued", again)


async def check_codes(
    check: Check, conn: AsyncConnection, extras: Mapping[str, tuple[str, Again]]
) -> None:
    """The codes that coupons carry are those that the books know them with; extras by coupon."""
    live = {
        coupon_id: (code, again)
        for coupon_id, (extra, again) in extras.items()
        if (code := json.loads(extra).get("external_code"))
    }
    c, names = pool_codes.c, list(live)
    for start in range(0, len(names), _AT_ONCE):
        query = select(c.coupon_id, c.code).where(
            c.tenant == check.tenant,
            c.coupon_id != "",
            c.coupon_id.in_(names[start : start + _AT_ONCE]),
        )
        for coupon_id, code in await conn.execute(query):
            told, again = live.pop(coupon_id)
            if told != code:
                check.differs("code", coupon_id, told, code, again)
    for coupon_id, (told, again) in live.items():
        check.differs("code", coupon_id, told, "", again)
