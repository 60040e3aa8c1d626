"""Compare live state with the books: every coupon, redemption, counter and posting, one by one.

First wait until the writer has drained, then read each cell once, batch by batch, next to what the
books say of the same people. A system in use moves meanwhile: what differs is then looked at again,
and only what differs every time is reported. Nothing is written.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

from engine.books.proofs import proofs
from engine.reconcile.campaigns import check_campaigns, check_stores, known_campaigns
from engine.reconcile.check import Check, Difference, Report
from engine.reconcile.checkins import check_attendances, check_checkins, missing_checkins
from engine.reconcile.gifts import check_gifts, check_open_gifts
from engine.reconcile.live import Kind
from engine.reconcile.orders import check_open_orders, check_orders, missing_orders
from engine.reconcile.parking import (
    check_lots,
    check_pockets,
    check_stays,
    check_vehicles,
    missing_parking,
)
from engine.reconcile.payments import check_payments, missing_payments
from engine.reconcile.points import check_entries, check_purchases, missing_purchases
from engine.reconcile.quotas import check_lapsing, check_quotas, known_quotas
from engine.reconcile.redemptions import check_holds, check_redemptions, missing_redemptions
from engine.reconcile.waiting import check_lines, missing_lines
from engine.reconcile.wallets import check_wallets, missing_people

if TYPE_CHECKING:
    from engine.books.db import Books

__all__ = ["Difference", "Report", "reconcile"]

WAIT_SECONDS = 30.0
_ROUNDS = 5  # how often what differs is looked at again while acts go on
_POLL_SECONDS = 0.05
_PROOFS = ("proofs",)


async def reconcile(
    books: Books, redis: Any, tenant: str, *, wait_seconds: float = WAIT_SECONDS
) -> Report:
    """Check one tenant. ``redis``: a client of redis.asyncio, of one server or of a cluster.

    LookupError when there is no such tenant. Where the books do not catch up within
    ``wait_seconds``, that is what is reported, and live state is not compared with them.
    """
    began = time.monotonic()
    check = await Check.of(books, redis, tenant)
    places = await _drained(check, wait_seconds)
    if places is None:
        await _prove(check)
    else:
        await _compare(check)
        await _look_again(check, places, wait_seconds)
    check.report.seconds = time.monotonic() - began
    return check.report


async def _drained(check: Check, wait_seconds: float) -> list[tuple[int, int]] | None:
    """(epoch, seq) of each cell once the books have them all; None, and differences, if not."""
    end = time.monotonic() + wait_seconds
    while True:
        live = await check.live_places()
        held = await check.books_places()
        if held == live:
            return live
        if time.monotonic() >= end:
            break
        await asyncio.sleep(_POLL_SECONDS)
    for cell, (mine, theirs) in enumerate(zip(live, held, strict=True)):
        if mine != theirs:
            check.differs(
                "facts", f"cell {cell}", f"{mine[0]}-{mine[1]}", f"{theirs[0]}-{theirs[1]}", ()
            )
    return None


async def _compare(check: Check) -> None:
    """All of it, once."""
    for cell in check.cells:
        async for kind, batch in check.live.scan(cell):
            if kind is Kind.WALLET:
                await check_wallets(check, cell, batch)
            elif kind is Kind.REDEMPTION:
                await check_redemptions(check, cell, batch)
            elif kind is Kind.CAMPAIGN:
                await known_campaigns(check, cell, batch)
            elif kind is Kind.ENTRY:
                await check_entries(check, cell, batch)
            elif kind is Kind.PURCHASE:
                await check_purchases(check, cell, batch)
            elif kind is Kind.VEHICLE:
                await check_vehicles(check, cell, batch)
            elif kind is Kind.STAY:
                await check_stays(check, cell, batch)
            elif kind is Kind.POCKET:
                await check_pockets(check, cell, batch)
            elif kind is Kind.ORDER:
                await check_orders(check, cell, batch)
            elif kind is Kind.GIFT:
                await check_gifts(check, cell, batch)
            elif kind is Kind.STAY_USE:
                await check_payments(check, cell, batch)
            elif kind is Kind.CHECKIN:
                await check_checkins(check, cell, batch)
            elif kind is Kind.ATTENDANCE:
                await check_attendances(check, cell, batch)
            elif kind is Kind.QUOTAS:
                await known_quotas(check, cell, batch)
            elif kind in (
                Kind.OPENS, Kind.PENDING, Kind.LAPSING, Kind.TRANSACTION, Kind.TIER_USE,
                Kind.NOTE,
            ):
                # check_holds, check_open_orders and check_lapsing read them; a transaction's
                # owner is its purchase's; what a tier was used for stands in the redemptions
                # that it names; what a key was used for is told to no books
                continue
            elif kind is Kind.LINE:
                await check_lines(check, cell, batch)
            elif kind in (Kind.LINE_ORDER, Kind.HOLDERS, Kind.POOL, Kind.MOVING):
                continue  # check_lines, check_campaigns and check_pools read them
            else:
                for key in batch:
                    check.differs("unknown key", key.decode(errors="replace"), "there", "", ())
        await check_holds(check, cell)
        await check_open_orders(check, cell)
        await check_open_gifts(check, cell)
        await check_lapsing(check, cell)
        await check_stores(check, cell)
        await check_lots(check, cell)
    await check_campaigns(check, None)
    await check_quotas(check)
    await missing_people(check)
    await missing_redemptions(check)
    await missing_orders(check)
    await missing_checkins(check)
    await missing_purchases(check)
    await missing_parking(check)
    await missing_payments(check)
    await missing_lines(check)
    await _prove(check)


async def _prove(check: Check) -> None:
    async for proof in proofs(check.books, check.tenant):
        check.report.checked[f"books: {proof.name}"] = proof.checked
        for broken in proof.broken:
            check.differs(
                broken.what, broken.where, f"must be {broken.expected}", broken.found, _PROOFS
            )


async def _look_again(check: Check, places: list[tuple[int, int]], wait_seconds: float) -> None:
    """What differs while acts go on is looked at again, until it agrees or nothing moves."""
    for _ in range(_ROUNDS):
        if not check.report.differences or await check.live_places() == places:
            return
        check.report.moved = True
        drained = await _drained(check, wait_seconds)
        if drained is None:
            return
        places = drained
        suspects = check.report.take()
        cells = check.cells
        for kind, cell, key in sorted({s for s in suspects if len(s) == 3}):
            if kind == "wallet":
                await check_wallets(check, cells[cell], [key.encode()], again=True)
            elif kind == "redemption":
                await check_redemptions(check, cells[cell], [key.encode()], again=True)
            elif kind == "order":
                await check_orders(check, cells[cell], [key.encode()], again=True)
            elif kind == "gift":
                await check_gifts(check, cells[cell], [key.encode()], again=True)
            elif kind == "points":
                await check_entries(check, cells[cell], [key.encode()], again=True)
            elif kind == "purchase":
                await check_purchases(check, cells[cell], [key.encode()], again=True)
            elif kind == "vehicle":
                await check_vehicles(check, cells[cell], [key.encode()], again=True)
            elif kind == "stay":
                await check_stays(check, cells[cell], [key.encode()], again=True)
            elif kind == "pocket":
                await check_pockets(check, cells[cell], [key.encode()], again=True)
            elif kind == "checkin":
                await check_checkins(check, cells[cell], [key.encode()], again=True)
            elif kind == "attendance":
                await check_attendances(check, cells[cell], [key.encode()])
            elif kind == "stay use":
                await check_payments(check, cells[cell], [key.encode()], again=True)
            elif kind == "line":
                await check_lines(check, cells[cell], [key.encode()])
        if any(s[:1] in (("store",), ("holds",)) for s in suspects):
            for one in cells:
                await check_holds(check, one)
                await check_stores(check, one)
                await check_lots(check, one)
        if ("gifts",) in suspects:
            for one in cells:
                await check_open_gifts(check, one)
        if ("orders",) in suspects:
            for one in cells:
                await check_open_orders(check, one)
        if ("quotas",) in suspects:
            for one in cells:
                await check_lapsing(check, one)
            await check_quotas(check)
        if named := sorted({s[1] for s in suspects if s[:1] == ("campaign",)}):
            await check_campaigns(check, named)
        if _PROOFS in suspects:
            await _prove(check)
