"""Closing a till: what it took on a day, and its own list against the books."""

from __future__ import annotations

import asyncio
from dataclasses import asdict
from datetime import UTC, date, datetime

from api import lookups, wire
from api import wire_closing as shapes
from api.problems import Refused
from api.routes import MIB, Call, Reply, route
from engine.books import counter, settlement
from engine.errors import InvalidRequest
from engine.outcomes import Outcome

# A till asks right after its last sale: the books are a moment behind, and waited for.
PATIENCE_SECONDS, LOOK_SECONDS = 2.0, 0.05


async def _caught_up(call: Call, end: int) -> int:
    """The moment up to which the books are complete (ms), once that is ``end`` or this call's."""
    tenant, loop = call.tenant, asyncio.get_running_loop()
    until = loop.time() + PATIENCE_SECONDS
    wanted = 0
    while True:
        at = await settlement.reach(
            tenant.books, tenant.engine.server, tenant.id, rehearsal=tenant.rehearsal, now=call.now
        )
        wanted = wanted or min(end, at.clock)
        if at.complete >= wanted or loop.time() > until:
            return at.complete
        await asyncio.sleep(LOOK_SECONDS)


def _day(call: Call, text: str | None) -> date:
    if text is None:
        now = call.clock()
        local = (now + call.tenant.engine.offset(now)) / 1000
        return datetime.fromtimestamp(local, UTC).date()
    try:
        day = date.fromisoformat(text)
    except ValueError:
        day = date.min
    if not 1970 < day.year < 9999:
        raise InvalidRequest("business_day", "A date: 2026-01-31.", "日期格式:2026-01-31。")
    return day


@route(
    "GET",
    "/v1/terminals/{id}/totals",
    roles={"terminal", "desk", "finance"},
    query=shapes.TotalsQuery,
    reply=shapes.TerminalTotals,
    summary="What a terminal redeemed and reversed on a local day: counts and sums.",
    tags=("till",),
)
async def terminal_totals(call: Call) -> Reply:
    query: shapes.TotalsQuery = call.query
    store_id = call.bound_store(query.store_id) or None
    day = _day(call, query.business_day)
    start, end = counter.local_day(day, call.tenant.timezone)
    complete = await _caught_up(call, end)
    sums = await counter.terminal_totals(
        call.tenant.books, call.tenant.id, call.path["id"], store_id, start, end
    )
    reply = shapes.TerminalTotals(
        terminal_id=call.path["id"],
        store_id=store_id,
        business_day=day.isoformat(),
        complete_until=wire.moment_or_none(complete),
        **sums,
    )
    return Reply(reply)


@route(
    "POST",
    "/v1/reconciliations",
    roles={"terminal", "desk", "finance"},
    body=shapes.ReconciliationRequest,
    reply=shapes.ReconciliationReply,
    idempotent=False,
    max_body=64 * MIB,
    summary="A till's own list of a day against the books; nothing is written.",
    tags=("till",),
)
async def reconcile(call: Call) -> Reply:
    body: shapes.ReconciliationRequest = call.body
    store_id = call.bound_store(body.store_id)
    if not store_id:
        raise InvalidRequest("store_id", "Name the store.", "请指明门店。")
    day = _day(call, body.business_day)
    lines = []
    for n, line in enumerate(body.lines):
        if not line.order_ref and not line.redemption_id:
            raise InvalidRequest(
                f"lines[{n}]", "Name the order or the redemption.", "请填写订单号或核销号。"
            )
        lines.append(
            counter.TillLine(line.order_ref or "", line.redemption_id or "", line.discount)
        )
    if await lookups.store(call.tenant, store_id) is None:
        raise Refused(Outcome.NOT_FOUND, field="store_id")
    start, end = counter.local_day(day, call.tenant.timezone)
    complete = await _caught_up(call, end)
    ours = await counter.redeemed_on(
        call.tenant.books, call.tenant.id, store_id, body.terminal_id, start, end
    )
    found = asdict(counter.compare(ours, lines))
    reply = {
        "store_id": store_id,
        "terminal_id": body.terminal_id,
        "business_day": day.isoformat(),
        **found,
        "counts": {name: len(items) for name, items in found.items()},
        "complete_until": wire.moment_or_none(complete),
    }
    return Reply(reply)
