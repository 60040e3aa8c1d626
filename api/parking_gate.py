"""When the gate cannot ask: what it may take off by itself, and what it did meanwhile.

The list is signed (JWS, EdDSA over Ed25519, RFC 8037): a lot pins the key once and can check a list
that it kept, without us. What happened offline is committed as any payment is, later: always
recorded, and what others had used by then is told as ``conflict``.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
from typing import Any, NamedTuple

import jwt
import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from api import lookups
from api import wire_gate as shapes
from api.parking_payments import payment
from api.parking_stays import lot_of, on_correction, time_of
from api.problems import Refused, problem
from api.routes import Call, Reply, route
from api.wire import moment
from api.wire_payments import PaymentReply, PaymentRequest
from api.wire_redemptions import VendorDeduction
from engine.books import definitions_parking as books
from engine.definitions import Lot
from engine.errors import InvalidRequest
from engine.outcomes import Outcome
from engine.parking.plates import normalise
from engine.parking.records import StayRecord
from engine.parking.stays import Session
from engine.parking.tariff import fee

VALID_MS = 10 * 60_000
MOST_STAYS = 1000  # of one list; more than that is told
AT_ONCE = 16
QUOTE_ID = "hexiao:quote"  # of quotes that no lot asked for: nothing is recorded under it
UNKNOWN_FEE = 10_000_000  # more than any stay costs, where the lot's fees are not known here


# ---- the list --------------------------------------------------------------------------------


@route(
    "GET",
    "/v1/parking/lots/{id}/fallback",
    roles={"parking"},
    reply=shapes.FallbackReply,
    summary="What may be taken off each open stay while the gate cannot ask; signed.",
    tags=("parking",),
)
async def fallback(call: Call) -> Reply:
    tenant, lot_id = call.tenant, lot_of(call, call.path["id"])
    lot = await lookups.lot(tenant, lot_id)
    if lot is None:
        raise Refused(Outcome.NOT_FOUND)
    await lookups.caught_up(tenant)
    rows = await books.list_stays(
        tenant.books, tenant.id, lot_id=lot_id, live=True, limit=MOST_STAYS + 1
    )
    issued = call.clock()
    until = issued + VALID_MS
    turn = asyncio.Semaphore(AT_ONCE)

    async def one(row: Any) -> shapes.FallbackItem:
        async with turn:
            return await _most(call, lot, row, until)

    shown = [row for row in rows[:MOST_STAYS] if row.plate]
    items = list(await asyncio.gather(*map(one, shown)))
    items = [item for item in items if item.minutes or item.amount != 0]
    signer = signer_of(tenant.secret, tenant.id)
    claims = {
        "iss": tenant.id,
        "sub": lot_id,
        "iat": issued // 1000,
        "exp": until // 1000,
        "plates": msgspec.to_builtins(items),
    }
    signed = jwt.encode(claims, signer.key, algorithm="EdDSA", headers={"kid": signer.kid})
    return Reply(
        shapes.FallbackReply(
            lot_id=lot_id,
            issued_at=moment(issued),
            valid_until=moment(until),
            items=items,
            complete=len(rows) <= MOST_STAYS,
            key=signer.jwk,
            signed=signed,
        )
    )


async def _most(call: Call, lot: Lot, row: Any, until: int) -> shapes.FallbackItem:
    """The most that may come off a stay that ends by ``until``."""
    total = UNKNOWN_FEE
    if lot.tariff is not None and row.entered_ms:
        total = fee(lot.tariff, row.entered_ms, until, call.tenant.engine.offset(until))
    item = shapes.FallbackItem(plate=row.plate, session_id=row.session_id, minutes=0, amount=0)
    asked = PaymentRequest(
        session_id=row.session_id,
        lot_id=row.lot_id,
        fee_id=QUOTE_ID,
        fee_total=total,
        entered_at=moment(row.entered_ms),
        as_of=moment(until),
    )
    try:
        reply = (await payment(call, asked)).body
    except (Refused, InvalidRequest):
        return item  # nothing may come off what cannot be judged
    if isinstance(reply, PaymentReply):
        item.minutes = sum(one.minutes or 0 for one in reply.deductions)
        item.amount = sum(one.amount for one in reply.deductions)
        if lot.tariff is None and not reply.payable:
            item.amount = None
    return item


class Signer(NamedTuple):
    """What signs the lists of one mall."""

    key: Ed25519PrivateKey
    kid: str
    jwk: dict[str, str]


def signer_of(secret: bytes, tenant: str) -> Signer:
    """The mall's own key, derived from the installation's secret: the same after a restart."""
    seed = hmac.digest(secret, f"hexiao fallback v1|{tenant}".encode(), "sha256")
    key = Ed25519PrivateKey.from_private_bytes(seed)
    raw = key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    kid = hashlib.sha256(raw).hexdigest()[:16]
    x = base64.urlsafe_b64encode(raw).rstrip(b"=").decode()
    return Signer(key, kid, {"kty": "OKP", "crv": "Ed25519", "x": x, "kid": kid, "alg": "EdDSA"})


# ---- the wrong plate, corrected --------------------------------------------------------------


async def _again(call: Call, stay: StayRecord) -> dict[str, Any] | None:
    """A quote for a stay whose plate was corrected: by the lot's tariff, now; None without one."""
    lot = await lookups.lot(call.tenant, stay.lot_id)
    if lot is None or lot.tariff is None or stay.closed or not stay.entered:
        return None
    now = call.clock()
    asked = PaymentRequest(
        session_id=stay.session_id,
        lot_id=stay.lot_id,
        fee_id=QUOTE_ID,
        fee_total=fee(lot.tariff, stay.entered, now, call.tenant.engine.offset(now)),
        entered_at=moment(stay.entered),
    )
    found: dict[str, Any] | None = None
    try:
        reply = (await payment(call, asked)).body
    except (Refused, InvalidRequest):  # the plate is corrected all the same
        return None
    if isinstance(reply, PaymentReply):
        found = msgspec.to_builtins(reply)
    return found


on_correction.quote = _again


# ---- what happened meanwhile -----------------------------------------------------------------


@route(
    "POST",
    "/v1/parking/offline",
    roles={"parking"},
    body=shapes.OfflineRequest,
    reply=shapes.OfflineReply,
    idempotent=False,  # each exit has its fee_id
    max_body=64 << 20,
    summary="Exits while the gate could not ask: always recorded, overlaps told as conflict.",
    tags=("parking",),
)
async def offline(call: Call) -> Reply:
    exits = [await _told(call, one, i) for i, one in enumerate(call.body.exits)]
    # In the order they happened: who left first had the coupon.
    order = sorted(range(len(exits)), key=lambda i: (exits[i].exited, i))
    done: dict[int, shapes.OfflineItem] = {}
    for start in range(0, len(order), AT_ONCE):
        turn = order[start : start + AT_ONCE]
        made = await asyncio.gather(*(_record(call, exits[i]) for i in turn))
        done.update(zip(turn, made, strict=True))
    items = [done[i] for i in range(len(exits))]
    conflicts = sum(item.status == "conflict" for item in items)
    return Reply(shapes.OfflineReply(items=items, recorded=len(items), conflicts=conflicts))


class _Exit(NamedTuple):
    """One exit as it was told; what cannot be read of it refuses all, before any is recorded."""

    told: shapes.OfflineExit
    lot_id: str
    entered: int
    exited: int


async def _told(call: Call, told: shapes.OfflineExit, number: int) -> _Exit:
    lot_id = lot_of(call, told.lot_id)
    if await lookups.lot(call.tenant, lot_id) is None:
        raise Refused(Outcome.NOT_FOUND, field=f"exits[{number}].lot_id")
    entered = time_of(f"exits[{number}].entered_at", told.entered_at)
    return _Exit(told, lot_id, entered, time_of(f"exits[{number}].exited_at", told.exited_at))


async def _record(call: Call, one: _Exit) -> shapes.OfflineItem:
    """One exit: what was taken off by the gate is settled as far as it can be, the stay is over."""
    told = one.told
    item = shapes.OfflineItem(
        session_id=told.session_id,
        fee_id=told.fee_id or told.session_id,
        status="recorded",
        redemption_id=None,
        deducted=told.deducted,
        covered=0,
        short_by=told.deducted,
    )
    plate, refused = "", None
    try:
        plate = normalise(told.plate) if told.plate else ""
    except InvalidRequest as error:  # the car has left: what it was called does not undo that
        refused = _problem(call, error)
    reply, why = await _settle(call, await _as_taken(call, told.payment(plate or None)))
    if why is not None and told.member_code is not None:
        # A code of that time is too old by now: then the stay's own person, or its plate's.
        asked = told.payment(plate or None)
        asked.member_code = None
        reply, _ = await _settle(call, asked)
    if reply is not None:
        item.redemption_id = reply.redemption_id
        item.covered = sum(part.amount for part in reply.deductions)
        item.short_by = max(0, told.deducted - item.covered)
    else:
        refused = why
    session = Session(one.lot_id, told.session_id, plate, one.entered)
    staff = told.staff_id or ""
    await call.tenant.engine.parking.leave(
        session, one.exited, who=call.who(staff=staff), now=call.now
    )
    if refused is not None:
        item.code, item.detail = refused["code"], refused["detail"]
    if item.short_by or refused is not None:
        item.status = "conflict"
    return item


async def _as_taken(call: Call, asked: PaymentRequest) -> PaymentRequest:
    """What the gate took off by itself, where no tariff says what minutes are worth: the rest of it
    was the minutes'."""
    lot = await lookups.lot(call.tenant, asked.lot_id or call.key.lot_id)
    if not asked.fee_total - asked.already_paid or lot is None or lot.tariff is not None:
        return asked
    held, _ = await _settle(call, msgspec.structs.replace(asked, mode="hold"))
    if held is None or held.status != "held":
        return asked
    asked.deductions, left = [], held.payable
    for one in held.deductions:
        amount, left = (one.amount, left) if one.amount or not one.minutes else (left, 0)
        coupon_id = one.coupon_id or None
        asked.deductions.append(VendorDeduction(amount, coupon_id=coupon_id, type=one.type))
    return asked


async def _settle(
    call: Call, asked: PaymentRequest
) -> tuple[PaymentReply | None, dict[str, Any] | None]:
    """The payment's answer, or why there is none."""
    try:
        reply = (await payment(call, asked)).body
    except (Refused, InvalidRequest) as error:
        return None, _problem(call, error)
    if isinstance(reply, PaymentReply):
        return reply, None
    return None, msgspec.json.decode(reply)


def _problem(call: Call, error: Refused | InvalidRequest) -> dict[str, Any]:
    if isinstance(error, Refused):
        return problem(error.outcome, call.language, **error.details)
    chinese = call.language != "en" and error.detail_zh
    return problem(Outcome.INVALID_REQUEST, call.language, detail=chinese or error.detail)
