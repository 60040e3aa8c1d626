"""Stays: entries, look-ups, wrong plates, and what shops and the booth give.

A stay is named by its lot and the vendor's session: told again under whatever key, an entry is
answered as before. A correction takes back what the wrong plate's person had set aside and asks
for a new quote; payments tell ``on_correction`` how.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from api import lookups, naming
from api import wire_stays as shapes
from api.problems import Refused
from api.routes import Call, Reply, decode_cursor, encode_cursor, refusal, route
from api.wire import moment
from engine.books import definitions_directory as directory
from engine.books import definitions_parking as books
from engine.definitions import ParkingSettings, parse_time
from engine.errors import InvalidRequest, Unavailable
from engine.outcomes import Outcome
from engine.parking.plates import normalise
from engine.parking.records import StayRecord
from engine.parking.stays import Session

TRIES = 5  # at a stay whose person changes while its plate is corrected


class OnCorrection:
    """What payments do where a plate was wrong; api/parking_payments.py sets them.

    ``release(call, stay)`` releases what the person of the stay as it was has set aside for it;
    True: something of theirs is committed, so the stay stays theirs. ``quote(call, stay)``: what
    the stay as it is now would be given, as POST /v1/parking/payments answers; None: unknown fee
    (api/parking_gate.py, by the lot's tariff).
    """

    release: Callable[[Call, StayRecord], Awaitable[bool]] | None = None
    quote: Callable[[Call, StayRecord], Awaitable[dict[str, Any] | None]] | None = None


on_correction = OnCorrection()


def lot_of(call: Call, named: str | None) -> str:
    """The lot of a request: the key's own where it is bound to one; another's is ``forbidden``."""
    lot_id = call.bound_lot(named)
    if not lot_id:
        raise InvalidRequest("lot_id", "Name the lot.", "请指明停车场。")
    return lot_id


def time_of(field: str, text: str) -> int:
    """Unix ms of a time in a body."""
    try:
        return parse_time(text)
    except ValueError:
        raise InvalidRequest(field, "This is no date and time.", "不是有效的日期时间。") from None


# ---- entries and look-ups --------------------------------------------------------------------


@route(
    "POST",
    "/v1/parking/stays",
    roles={"parking"},
    body=shapes.EntryRequest,
    reply=shapes.StayReply,
    status=201,
    summary="A car entered (optional); the same session again is answered as before.",
    tags=("parking",),
    errors=(Outcome.PLATE_CONFLICT, Outcome.IDEMPOTENCY_KEY_REUSED),
)
async def enter(call: Call) -> Reply:
    body: shapes.EntryRequest = call.body
    session = Session(
        lot_of(call, body.lot_id),
        body.session_id,
        normalise(body.plate) if body.plate is not None else "",
        time_of("entered_at", body.entered_at),
    )
    answer = await call.tenant.engine.parking.enter(
        session, who=call.who(), key=call.idempotency_key, now=call.now
    )
    if answer.value is None:
        return refusal(call, answer.outcome, answer.details)
    reply = shapes.stay_reply(answer.value)
    reply.say = "欢迎光临。" if call.language != "en" else "Welcome."
    return Reply(reply, replayed=answer.outcome is Outcome.REPEATED)


@route(
    "GET",
    "/v1/parking/stays",
    roles={"storefront", "desk", "parking", "user"},
    query=shapes.StayQuery,
    reply=shapes.StayList,
    summary="Stays by plate, member or lot; live=true: whose car has not left.",
    tags=("parking",),
)
async def list_stays(call: Call) -> Reply:
    tenant, query = call.tenant, call.query
    user_id = query.user_id
    if call.key.role == "user":
        user_id = call.own(user_id or call.key.user_id)
    await lookups.caught_up(tenant)
    rows = await books.list_stays(
        tenant.books,
        tenant.id,
        plate=normalise(query.plate) if query.plate is not None else None,
        user_id=user_id,
        lot_id=call.bound_lot(query.lot_id) or None,
        live=query.live,
        before=decode_cursor(query.cursor, tuple[int, str]) if query.cursor else None,
        limit=query.limit + 1,
    )
    shown = rows[: query.limit]
    more = len(rows) > query.limit
    cursor = encode_cursor(shown[-1].entered_ms, shown[-1].id) if more else None
    items = [shapes.stay_row(row) for row in shown]
    return Reply(shapes.StayList(items=items, next_cursor=cursor))


# ---- the wrong plate -------------------------------------------------------------------------


@route(
    "POST",
    "/v1/parking/stays/{lot_id}/{session_id}/plate",
    roles={"parking", "desk"},
    body=shapes.CorrectRequest,
    reply=shapes.CorrectionReply,
    summary="The plate was read wrong: what it held is released, and quoted again.",
    tags=("parking",),
    errors=(Outcome.STAY_CLOSED, Outcome.PLATE_CONFLICT),
)
async def correct(call: Call) -> Reply:
    lot_id, session_id = lot_of(call, call.path["lot_id"]), call.path["session_id"]
    plate = normalise(call.body.corrected, "corrected")
    parking = call.tenant.engine.parking
    for _ in range(TRIES):
        stay = await parking.stay(lot_id, session_id)
        if stay is None:
            raise Refused(Outcome.NOT_FOUND)
        wrong = not stay.closed and stay.plate != plate
        wrong = wrong and not parking.is_corrected(stay, call.idempotency_key, call.clock())
        if wrong:
            await _no_other_stay(call, stay, plate)
        keep = bool(
            wrong
            and stay.owner
            and on_correction.release
            and await on_correction.release(call, stay)
        )
        answer = await parking.correct(
            lot_id,
            session_id,
            plate,
            key=call.idempotency_key,
            who=call.who(),
            owner=stay.owner,
            keep=keep,
            now=call.now,
        )
        if answer.outcome is not Outcome.WALLET_MOVED:
            break
    else:
        raise Unavailable("the stay does not rest")
    if answer.value is None:
        return refusal(call, answer.outcome, answer.details)
    quote = await on_correction.quote(call, answer.value) if on_correction.quote else None
    body = shapes.CorrectionReply(stay=shapes.stay_reply(answer.value), quote=quote)
    return Reply(body, replayed=answer.outcome is Outcome.REPEATED)


async def _no_other_stay(call: Call, stay: StayRecord, plate: str) -> None:
    """``plate_conflict`` where that plate is in another stay whose car has not left."""
    tenant = call.tenant
    await lookups.caught_up(tenant)
    rows = await books.list_stays(tenant.books, tenant.id, plate=plate, live=True, limit=2)
    here = (stay.lot_id, stay.session_id)
    if any((row.lot_id, row.session_id) != here for row in rows):
        raise Refused(Outcome.PLATE_CONFLICT, field="corrected")


# ---- what the booth and shops give -----------------------------------------------------------


@route(
    "POST",
    "/v1/parking/stays/{lot_id}/{session_id}/override",
    roles={"parking", "desk"},
    body=shapes.OverrideRequest,
    reply=shapes.OverrideReply,
    status=201,
    say=True,
    summary="The booth decides: an amount off this stay; recorded, and the last word counts.",
    tags=("parking",),
    errors=(Outcome.STAY_CLOSED,),
)
async def override(call: Call) -> Reply:
    body: shapes.OverrideRequest = call.body
    lot_id, session_id = lot_of(call, call.path["lot_id"]), call.path["session_id"]
    answer = await call.tenant.engine.parking.override(
        lot_id,
        session_id,
        amount=body.amount,
        reason=body.reason,
        staff_id=body.staff_id,
        key=call.idempotency_key,
        who=call.who(staff=body.staff_id),
        now=call.now,
    )
    if answer.value is None:
        return refusal(call, answer.outcome, answer.details)
    # A repeat finds its own, not what was said since.
    made = call.tenant.engine.parking.override_of(answer.value, call.idempotency_key, now=call.now)
    yuan = shapes.yuan_of(made.amount)
    reply = shapes.OverrideReply(
        lot_id=lot_id,
        session_id=session_id,
        amount=made.amount,
        reason=made.reason,
        staff_id=made.staff_id,
        at=moment(made.at),
        say=f"岗亭减免{yuan}元。" if call.language != "en" else f"{yuan} yuan off by the booth.",
    )
    return Reply(reply, replayed=answer.outcome is Outcome.REPEATED)


@route(
    "POST",
    "/v1/parking/validations",
    roles={"terminal", "merchant"},
    body=shapes.ValidationRequest,
    reply=shapes.ValidationReply,
    status=201,
    say=True,
    summary="A shop gives parking to its customer, at its own cost.",
    tags=("parking",),
    errors=(
        Outcome.CODE_INVALID,
        Outcome.CODE_EXPIRED,
        Outcome.CAMPAIGN_FROZEN,
        Outcome.CAMPAIGN_PAUSED,
        Outcome.CAMPAIGN_ENDED,
        Outcome.NOT_STARTED,
        Outcome.NOT_ELIGIBLE,
        Outcome.USER_LIMIT,
        Outcome.BUDGET_EXHAUSTED,
        Outcome.SOLD_OUT,
        Outcome.STORE_LIMIT,
        Outcome.STAY_CLOSED,
    ),
)
async def validate(call: Call) -> Reply:
    body: shapes.ValidationRequest = call.body
    given = [body.plate, body.session_id, body.member_code]
    if sum(one is not None for one in given) != 1:
        raise InvalidRequest(
            "plate",
            "Name one of plate, session_id and member_code.",
            "请提供 plate、session_id、member_code 其中之一。",
        )
    store_id = await _store(call)
    session, plate, user_id = None, "", ""
    if body.session_id is not None:
        session = await _session(call, body.session_id, body.lot_id)
    elif body.plate is not None:
        plate = normalise(body.plate)
    else:
        user_id = await naming.person_of(call, _Shown(body.member_code))
    settings = call.tenant.settings.parking or ParkingSettings()
    answer = await call.tenant.engine.parking.validate(
        campaign_id=body.campaign_id,
        store_id=store_id,
        key=call.idempotency_key,
        who=call.who(),
        session=session,
        plate=plate,
        user_id=user_id,
        per_day=settings.validations_per_day,
        now=call.now,
    )
    if answer.value is None:
        return refusal(call, answer.outcome, answer.details)
    reply = shapes.validation_reply(
        answer.value,
        call.language,
        lot_id=session.lot_id if session else "",
        session_id=session.session_id if session else "",
        plate=plate,
    )
    return Reply(reply, replayed=answer.outcome is Outcome.REPEATED)


class _Shown:
    """A member code in the form that ``naming`` reads."""

    user_id: str | None = None

    def __init__(self, member_code: str | None) -> None:
        self.member_code = member_code


async def _store(call: Call) -> str:
    """The shop that gives: a till's own; a merchant names one of its own."""
    store_id = call.bound_store(call.body.store_id)
    if not store_id:
        raise InvalidRequest("store_id", "Name the store.", "请指明门店。")
    merchant = call.key.merchant_id
    if merchant:
        tenant = call.tenant
        rows = await directory.list_stores(
            tenant.books, tenant.id, only=store_id, merchant_id=merchant, limit=1
        )
        if not rows:
            raise Refused(Outcome.FORBIDDEN, field="store_id")
    return store_id


async def _session(call: Call, session_id: str, lot_id: str | None) -> Session:
    """The stay of that session, in whichever lot it is."""
    if lot_id is not None:
        return Session(lot_id, session_id)
    tenant = call.tenant
    lots = list(await lookups.all_lots(tenant))
    found = await asyncio.gather(*(tenant.engine.parking.stay(lot, session_id) for lot in lots))
    here = [lot for lot, stay in zip(lots, found, strict=True) if stay is not None]
    if not here:
        raise Refused(Outcome.NOT_FOUND, field="session_id")
    if len(here) > 1:
        raise InvalidRequest(
            "lot_id",
            "Several lots have that session: name one.",
            "多个停车场有此会话,请指明停车场。",
        )
    return Session(here[0], session_id)
