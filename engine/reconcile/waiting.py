"""Waiting lines against the books: who waits, in which order, and that the cells know of it."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
from sqlalchemy import select

from engine import keys
from engine.books.schema import waitlist
from engine.fastpath import handle_of
from engine.reconcile.check import Check
from engine.reconcile.live import BATCH, Cell, pairs
from engine.waiting_records import Waiter, WaiterState

_STATES = {
    WaiterState.WAITING: "waiting",
    WaiterState.OFFERED: "offered",
    WaiterState.SKIPPED: "skipped",
    WaiterState.LEFT: "left",
    WaiterState.ENDED: "ended",
}
_CLOSES_SECONDS = 0.6
_waiter = msgspec.msgpack.Decoder(Waiter).decode


async def check_lines(check: Check, cell: Cell, line_keys: list[bytes]) -> None:
    """Each line of a cell: entries as the books have them, the waiting ones in their order."""
    for key in line_keys:
        campaign = key.decode().removeprefix(keys.line_key(cell.tag, ""))
        await _check_line(check, cell, campaign)


async def _check_line(check: Check, cell: Cell, campaign: str) -> None:
    again = ("line", cell.number, keys.line_key(cell.tag, campaign))
    listed: list[str] = []
    for last_try in (False, False, True):
        found = await check.live.many(
            [
                ("HMGET", keys.line_key(cell.tag, campaign), "version"),
                ("ZRANGE", keys.line_order_key(cell.tag, campaign), 0, -1, "WITHSCORES"),
            ]
        )
        versions = list(found[0])
        for one in check.cells:
            key = keys.campaign_key(one.tag, campaign)
            versions += (await check.live.many([("HMGET", key, "waiting")]))[0]
        listed = [name.decode() for name, _ in pairs(found[1])]
        if {int(version or 0) % 2 == 1 for version in versions} == {bool(listed)}:
            break
        if last_try:
            told = [int(version or 0) for version in versions]
            check.differs("waiting mark", campaign, f"{told}, {len(listed)} wait", "", again)
        else:
            await asyncio.sleep(_CLOSES_SECONDS)  # the line may be about to open or to close
    c = waitlist.c
    query = select(waitlist).where(c.tenant == check.tenant, c.campaign_id == campaign)
    async with check.books.connect() as conn:
        rows = (await conn.execute(query.order_by(c.joined_ms, c.place, c.id))).all()
    last = {handle_of(check.handle_key, row.user_id): row for row in rows}
    for row in rows:  # of somebody who joined more than once, the last time counts
        handle = handle_of(check.handle_key, row.user_id)
        if row.version >= last[handle].version:
            last[handle] = row
    waiting = sorted(
        (row for row in last.values() if row.state == "waiting"),
        key=lambda row: (-row.priority, row.place),
    )
    expected = [handle_of(check.handle_key, row.user_id) for row in waiting]
    if listed != expected:
        check.differs("waiting order", campaign, len(listed), len(expected), again)
    await _check_entries(check, cell, campaign, last, again)
    check.report.count("places in waiting lines", len(last))


async def _check_entries(
    check: Check, cell: Cell, campaign: str, last: dict[str, Any], again: tuple[Any, ...]
) -> None:
    names = sorted(last)
    for start in range(0, len(names), BATCH):
        some = names[start : start + BATCH]
        (found,) = await check.live.many(
            [("HMGET", keys.line_key(cell.tag, campaign), *(f"e{name}" for name in some))]
        )
        for name, packed in zip(some, found, strict=True):
            row = last[name]
            told = (
                row.id, row.state, row.party, row.priority, row.place, row.order_id, row.until_ms,
                row.why,
            )  # fmt: skip
            live: tuple[object, ...] = ()
            if packed:
                one = _waiter(packed)
                live = (
                    "W" + name + one.joined.serial, _STATES[WaiterState(one.state)], one.party,
                    one.priority, one.place, f"O{name}{one.order}" if one.order else "", one.until,
                    one.why,
                )  # fmt: skip
            if live != told:
                check.differs("place in line", f"{campaign} {row.user_id}", live, told, again)


async def missing_lines(check: Check) -> None:
    """Name lines that the books have and Redis has not."""
    query = select(waitlist.c.campaign_id).where(waitlist.c.tenant == check.tenant).distinct()
    async with check.books.connect() as conn:
        names = [str(name) for name in await conn.scalars(query)]
    named = {}
    for name in names:
        cell = check.cell_of(handle_of(check.handle_key, f"waitlist/{name}"))
        named[name] = cell, keys.line_key(cell.tag, name)
    await check.missing("waiting line", named)
