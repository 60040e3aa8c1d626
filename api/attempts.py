"""Refused tries of one coupon, for whoever answers a complaint; the report is in ``reports``."""

from __future__ import annotations

import msgspec

from api.problems import Refused
from api.routes import Call, Page, Reply, decode_cursor, encode_cursor, route
from api.wire import moment
from engine.books import attempts
from engine.books.attempts import Attempt
from engine.outcomes import Outcome, sentence

_CODES = {outcome.code: outcome for outcome in Outcome}


class AttemptItem(msgspec.Struct, omit_defaults=True, kw_only=True):
    """One refused try: what was tried where, and why it was refused."""

    type: str  # redeem | hold | park | checkin | scan | verify
    at: str
    code: str
    detail: str
    short_by: int = 0
    store_id: str = ""
    terminal_id: str = ""
    staff_id: str = ""
    channel: str = ""
    order_ref: str = ""
    who: dict[str, str] = {}


class AttemptList(msgspec.Struct, kw_only=True):
    """The newest first; kept for half a year, the newest 200,000 of a mall.

    Where several API processes serve, tries of the last second may still be missing.
    """

    items: list[AttemptItem]
    next_cursor: str | None


@route(
    "GET",
    "/v1/coupons/{id}/attempts",
    roles={"storefront", "desk", "user"},
    query=Page,
    reply=AttemptList,
    summary="Refused tries on a coupon at tills, the newest first.",
    tags=("storefront",),
)
async def of_coupon(call: Call) -> Reply:
    query: Page = call.query
    coupon_id, tenant = call.path["id"], call.tenant
    if await tenant.engine.coupon(coupon_id, now=call.now) is None:
        raise Refused(Outcome.NOT_FOUND)
    await call.gate.refusals.write()  # what this process has seen is in the list
    before = decode_cursor(query.cursor, tuple[str])[0] if query.cursor else None
    found = await attempts.of_coupon(tenant.books, tenant.id, coupon_id, before, query.limit + 1)
    page = found[: query.limit]
    cursor = encode_cursor(page[-1].id) if len(found) > len(page) else None
    # An end user is not told which clerk it was.
    items = [_item(one, call.language, named=call.key.role != "user") for one in page]
    return Reply(AttemptList(items=items, next_cursor=cursor))


def _item(one: Attempt, language: str, *, named: bool) -> AttemptItem:
    outcome = _CODES.get(one.code)
    item = AttemptItem(
        type=one.verb,
        at=moment(one.at_ms),
        code=one.code,
        detail=sentence(outcome, language, short_by=one.short_by) if outcome else "",
        short_by=one.short_by,
        store_id=one.store_id,
        channel=one.channel,
        order_ref=one.order_ref,
    )
    if named:
        item.terminal_id, item.staff_id = one.terminal_id, one.staff_id
        item.who = {"label": one.label, "role": one.role, "request": one.request_id}
    return item
