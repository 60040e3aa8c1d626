"""JSON ↔ acts for lots, vehicles, stays, and what shops and the booth give: shapes, no I/O."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from msgspec import Meta

from api.routes import Id, Page
from api.wire import Reason, Reply, Request, Scanned, Text64, moment, moment_or_none
from engine.definitions import MAX_MONEY, Lot, Time
from engine.parking.plates import LONGEST
from engine.parking.records import StayRecord
from engine.parking.stays import Validation
from engine.views import owner

Plate = Annotated[
    str,
    Meta(min_length=1, max_length=LONGEST, description="As written; answered in one spelling."),
]
Fen = Annotated[int, Meta(ge=0, le=MAX_MONEY, description="Minor units (fen).")]
Users = Annotated[list[Id], Meta(min_length=1, max_length=10)]


# ---- lots ------------------------------------------------------------------------------------


class LotReply(Lot, frozen=True, kw_only=True):
    """A car park."""

    id: str
    revision: int


class LotList(msgspec.Struct, kw_only=True):
    """Lots by id."""

    items: list[LotReply]
    next_cursor: str | None


class LotQuery(Page):
    """``merchant_id``: only this operator's."""

    merchant_id: Id | None = None


# ---- vehicles --------------------------------------------------------------------------------


class VehicleRequest(Request):
    """Whose car it is; the first one is asked first for coupons."""

    user_ids: Users


class VehicleReply(Reply):
    """A car."""

    plate: str
    user_ids: list[str]


class VehicleList(Reply):
    """A person's cars, by plate."""

    items: list[VehicleReply]
    next_cursor: str | None


# ---- stays -----------------------------------------------------------------------------------


class EntryRequest(Request):
    """A car entered. The same lot and session again changes nothing."""

    session_id: Id
    entered_at: Time
    lot_id: Id | None = None  # a key of a lot need not name it
    plate: Plate | None = None


class CorrectionReply(Reply):
    """What a wrong plate led to: the stay as it is now, and its quote, where one can be made."""

    stay: StayReply
    quote: dict[str, Any] | None


class StayReply(Reply):
    """One session in one lot. ``live``: the car has not left, as far as was told."""

    lot_id: str
    session_id: str
    plate: str | None
    user_id: str | None  # the person first recorded for it
    entered_at: str | None  # null: nobody has told
    recorded_at: str
    closed_at: str | None
    exited_at: str | None
    live: bool
    say: str | msgspec.UnsetType = msgspec.UNSET


class StayList(Reply):
    """Stays, the latest entry first."""

    items: list[StayReply]
    next_cursor: str | None


class StayQuery(Page):
    """``live=true``: only those whose car has not left."""

    plate: Plate | None = None
    user_id: Id | None = None
    lot_id: Id | None = None
    live: bool = False


class CorrectRequest(Request):
    """The plate as it is."""

    corrected: Plate


class OverrideRequest(Request):
    """What the booth takes off this stay, and why."""

    amount: Fen
    reason: Reason
    staff_id: Annotated[Text64, Meta(min_length=1)]


class OverrideReply(Reply):
    """Recorded; the last override of a stay counts."""

    lot_id: str
    session_id: str
    amount: int
    reason: str
    staff_id: str
    at: str
    say: str


class ValidationRequest(Request):
    """A shop gives parking: to one of a stay, a plate, a member.

    ``lot_id`` is needed with ``session_id`` only where several lots have that session.
    """

    campaign_id: Id
    store_id: Id | None = None  # a till need not name its store
    plate: Plate | None = None
    session_id: Id | None = None
    lot_id: Id | None = None
    member_code: Scanned | None = None


class ValidationReply(Reply):
    """What was given: minutes, or at most ``amount`` off (null beside no minutes: all of it)."""

    id: str
    campaign_id: str
    store_id: str
    bearer: str
    minutes: int | None
    amount: int | None
    free: bool
    lot_id: str | None
    session_id: str | None
    plate: str | None
    valid_from: str
    valid_until: str | None
    at: str
    say: str


def stay_reply(stay: StayRecord) -> StayReply:
    """A stay as Redis has it."""
    return StayReply(
        lot_id=stay.lot_id,
        session_id=stay.session_id,
        plate=stay.plate or None,
        user_id=owner(stay.user_id),
        entered_at=moment(stay.entered) if stay.entered else None,
        recorded_at=moment(stay.recorded),
        closed_at=moment_or_none(stay.closed),
        exited_at=moment_or_none(stay.exited),
        live=not stay.closed,
    )


def stay_row(row: Any) -> StayReply:
    """A stay as the books have it."""
    return stay_reply(
        StayRecord(
            row.lot_id,
            row.session_id,
            row.plate,
            row.entered_ms,
            row.recorded_ms,
            row.closed_ms,
            row.exited_ms,
            row.user_id,
        )
    )


def validation_reply(
    given: Validation, language: str, *, lot_id: str, session_id: str, plate: str
) -> ValidationReply:
    """A validation as it is shown, with a sentence for the person at the till."""
    record = given.record
    free = record.amount < 0
    return ValidationReply(
        id=given.id,
        campaign_id=record.campaign_id,
        store_id=record.store_id,
        bearer=f"merchant:{record.merchant_id}",
        minutes=record.minutes or None,
        amount=record.amount if record.amount > 0 else None,
        free=free,
        lot_id=lot_id or None,
        session_id=session_id or None,
        plate=plate or None,
        valid_from=moment(record.valid_from),
        valid_until=moment_or_none(record.valid_until),
        at=moment(record.at),
        say=_given(record.minutes, record.amount, language),
    )


def _given(minutes: int, amount: int, language: str) -> str:
    chinese = language != "en"
    if minutes:
        return f"已赠送停车{minutes}分钟。" if chinese else f"{minutes} minutes of parking given."
    if amount < 0:
        return "已赠送免费停车。" if chinese else "Free parking given."
    yuan = yuan_of(amount)
    return f"已赠送停车费{yuan}元。" if chinese else f"{yuan} yuan off parking given."


def yuan_of(fen: int) -> str:
    """``8`` or ``8.50``."""
    return f"{fen // 100}" if fen % 100 == 0 else f"{fen // 100}.{fen % 100:02d}"
