"""Vehicles, stays, and what shops and the booth give them: the verbs of the parking directory.

A plate and a stay have handles and cells of their own: ids that no user can have (a user id has no
``/``). Payments live in the person's cell; they ask here whose a stay is (``own``: the first one
recorded stays), what was given to it (``validations``) and say when it is over (``leave``).
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

import msgspec

from engine import commands, keys
from engine.acting import Acting, fingerprint_of
from engine.notes import note
from engine.outcomes import Outcome
from engine.parking.records import OverrideRecord, StayRecord, ValidationRecord, VehicleRecord
from engine.views import Answer

_vehicle = msgspec.msgpack.Decoder(VehicleRecord).decode
_stay = msgspec.msgpack.Decoder(StayRecord).decode
_validation = msgspec.msgpack.Decoder(ValidationRecord).decode
_validations = msgspec.msgpack.Decoder(list[ValidationRecord]).decode
_detail = msgspec.msgpack.Decoder(str | int | None).decode


@dataclass(slots=True, frozen=True)
class Session:
    """What names a stay, and what is known of it when it is told of."""

    lot_id: str
    session_id: str
    plate: str = ""
    entered: int = 0


@dataclass(slots=True, frozen=True)
class Validation:
    """Parking that a shop gave; ``id`` is K + the pocket's handle + serial."""

    id: str
    record: ValidationRecord


class Parking:
    """Vehicles and stays of one tenant."""

    def __init__(self, acting: Acting) -> None:
        self._acting = acting

    def plate_handle(self, plate: str) -> str:
        """The handle that stands for a plate."""
        return self._acting.handle_of(f"plate/{plate}")

    def stay_handle(self, lot_id: str, session_id: str) -> str:
        """The handle that stands for a stay."""
        return self._acting.handle_of(f"stay/{lot_id}/{session_id}")

    # ---- vehicles ----------------------------------------------------------------------------

    async def vehicle(self, plate: str) -> VehicleRecord | None:
        """Whose car a plate is; None: nobody has said."""
        handle = self.plate_handle(plate)
        packed = await self._acting.read_key(keys.vehicle_key(self._acting.tag_of(handle), handle))
        return None if packed is None else _vehicle(packed)

    async def set_vehicle(
        self, plate: str, user_ids: Sequence[str], *, who: str, anyones: bool, now: int = 0
    ) -> Answer[VehicleRecord]:
        """Say whose car a plate is ([] = nobody's any more).

        PLATE_TAKEN where it belongs to others of whom none stays, unless ``anyones``.
        """
        command = commands.Vehicle(
            handle=self.plate_handle(plate),
            now=now,
            who=who,
            plate=plate,
            user_ids=list(user_ids),
            anyones=int(anyones),
        )
        reply = await self._acting.act("vehicle", command)
        outcome = Outcome(reply.outcome)
        return Answer(outcome, _vehicle(reply.value) if outcome <= Outcome.REPEATED else None)

    # ---- stays -------------------------------------------------------------------------------

    async def stay(self, lot_id: str, session_id: str) -> StayRecord | None:
        """A stay as it is now; None when nothing was told of it."""
        handle = self.stay_handle(lot_id, session_id)
        packed = await self._acting.read_key(keys.stay_key(self._acting.tag_of(handle), handle))
        return None if packed is None else _stay(packed)

    async def enter(
        self, session: Session, *, who: str, key: str = "", now: int = 0
    ) -> Answer[StayRecord]:
        """A car entered. PLATE_CONFLICT where the session was told with another plate.

        A ``key`` is of one session of its lot (IDEMPOTENCY_KEY_REUSED); "" = not a caller's act.
        """
        if not key:
            return await self._attend("entered", session, who, now)
        acting, use = self._acting, self.stay_handle(session.lot_id, session.session_id)
        handle = acting.handle_of(f"entry/{session.lot_id}/{key}")  # no person: of the lot
        other = await note(acting, "entry", handle, key, use, now)
        while other not in ("", use):
            if await acting.read_key(keys.stay_key(acting.tag_of(other), other)) is not None:
                return Answer(Outcome.IDEMPOTENCY_KEY_REUSED)
            other = await note(acting, "entry", handle, key, use, now, free_of=other)
        answer = await self._attend("entered", session, who, now)
        if answer.ok:
            return answer
        if other == use and answer.outcome is Outcome.PLATE_CONFLICT:  # entered, another plate
            return Answer(Outcome.IDEMPOTENCY_KEY_REUSED)
        await note(acting, "entry", handle, key, use, now, refused=True)
        return answer

    async def own(
        self, session: Session, user_id: str, *, who: str, handle: str = "", now: int = 0
    ) -> Answer[StayRecord]:
        """The stay finds its person, unless it has one: look at the record for whose it is.

        ``handle``: of the person; by default the user's.
        """
        owner = handle or self._acting.handle_of(user_id)
        return await self._attend("owned", session, who, now, user_id=user_id, owner=owner)

    async def leave(
        self, session: Session, exited: int, *, who: str, now: int = 0
    ) -> Answer[StayRecord]:
        """The car left; one that nobody saw enter is recorded with its exit."""
        return await self._attend("left", session, who, now, exited=exited)

    async def _attend(
        self,
        what: str,
        session: Session,
        who: str,
        now: int,
        *,
        user_id: str = "",
        owner: str = "",
        exited: int = 0,
    ) -> Answer[StayRecord]:
        command = commands.Attend(
            handle=self.stay_handle(session.lot_id, session.session_id),
            now=now,
            who=who,
            what=what,
            lot_id=session.lot_id,
            session_id=session.session_id,
            plate=session.plate,
            entered=session.entered,
            exited=exited,
            user_id=user_id,
            owner=owner,
        )
        reply = await self._acting.act("attend", command)
        outcome = Outcome(reply.outcome)
        if outcome is Outcome.NOT_FOUND:
            return Answer(outcome, details={"field": "lot_id"})
        return Answer(outcome, _stay(reply.value) if outcome <= Outcome.REPEATED else None)

    async def correct(
        self,
        lot_id: str,
        session_id: str,
        plate: str,
        *,
        key: str,
        who: str,
        owner: str = "",
        keep: bool = False,
        now: int = 0,
    ) -> Answer[StayRecord]:
        """Correct the plate of an open stay; it loses its person unless ``keep``.

        ``owner``: the handle of the person whose holds were released; WALLET_MOVED where the stay
        has another one by now.
        """
        return await self._amend(
            "plate", lot_id, session_id, key, who, now, plate=plate, owner=owner, keep=int(keep)
        )

    def is_corrected(self, stay: StayRecord, key: str, now: int) -> bool:
        """Whether a correction of the stay stands under this Idempotency-Key."""
        handle = self.stay_handle(stay.lot_id, stay.session_id)
        known = self._acting.serials("plate", handle, key, now)[:2]
        return any(one.serial in known for one in stay.corrections)

    async def override(
        self,
        lot_id: str,
        session_id: str,
        *,
        amount: int,
        reason: str,
        staff_id: str,
        key: str,
        who: str,
        now: int = 0,
    ) -> Answer[StayRecord]:
        """The booth takes ``amount`` off an open stay by hand; the last override counts.

        A stay that nobody told of (entries are optional) begins with it; when it was entered is
        for who knows to tell.
        """

        async def amend() -> Answer[StayRecord]:
            return await self._amend(
                "override", lot_id, session_id, key, who, now, amount=amount, reason=reason,
                staff_id=staff_id,
            )  # fmt: skip

        answer = await amend()
        if answer.outcome is Outcome.NOT_FOUND:
            await self.enter(Session(lot_id, session_id), who=who, now=now)
            answer = await amend()
        return answer

    async def _amend(
        self,
        what: str,
        lot_id: str,
        session_id: str,
        key: str,
        who: str,
        now: int,
        *,
        plate: str = "",
        owner: str = "",
        keep: int = 0,
        amount: int = 0,
        reason: str = "",
        staff_id: str = "",
    ) -> Answer[StayRecord]:
        handle = self.stay_handle(lot_id, session_id)
        fingerprint = fingerprint_of(what, plate, amount, reason, staff_id)

        def build(at: int) -> commands.Amend:
            serial, before, window = self._acting.serials(what, handle, key, at)
            return commands.Amend(
                handle=handle,
                now=now,
                who=who,
                what=what,
                serial=serial,
                serial_before=before,
                window=window,
                fingerprint=fingerprint,
                plate=plate,
                owner=owner,
                keep=keep,
                amount=amount,
                reason=reason,
                staff_id=staff_id,
            )

        reply = await self._acting.keyed("amend", now, build)
        outcome = Outcome(reply.outcome)
        return Answer(outcome, _stay(reply.value) if outcome <= Outcome.REPEATED else None)

    # ---- what shops give ---------------------------------------------------------------------

    async def validate(
        self,
        *,
        campaign_id: str,
        store_id: str,
        key: str,
        who: str,
        session: Session | None = None,
        plate: str = "",
        user_id: str = "",
        per_day: int | None = None,
        now: int = 0,
    ) -> Answer[Validation]:
        """A shop gives parking to one of: an open stay, a plate, a person.

        ``per_day``: the most that a store may give a local day. Refused by the campaign's own
        rules of giving out, NOT_ELIGIBLE where it is no parking campaign, STORE_LIMIT,
        STAY_CLOSED.
        """
        acting = self._acting
        if session is not None:
            handle = self.stay_handle(session.lot_id, session.session_id)
        else:
            handle = self.plate_handle(plate) if plate else acting.handle_of(user_id)
        session_or_none = session or Session("", "")
        fingerprint = fingerprint_of(campaign_id, store_id, handle)
        used: list[str] = []

        def build(at: int) -> commands.Validate:
            serial, before, window = acting.serials("validate", handle, key, at)
            used[:] = serial, before
            return commands.Validate(
                handle=handle,
                now=now,
                who=who,
                serial=serial,
                serial_before=before,
                window=window,
                fingerprint=fingerprint,
                offset=acting.offset(at),
                stay=int(session is not None),
                lot_id=session_or_none.lot_id,
                session_id=session_or_none.session_id,
                plate=plate,
                user_id=user_id,
                campaign_id=campaign_id,
                store_id=store_id,
                per_day=-1 if per_day is None else per_day,
            )

        reply = await acting.keyed("validate", now, build)
        if reply.outcome == Outcome.SOLD_OUT and acting.segments.several:
            reply = await acting.segments.again(
                reply, lambda: acting.keyed("validate", now, build), campaign_id, handle, now=now
            )
        outcome = Outcome(reply.outcome)
        if outcome <= Outcome.REPEATED:
            record = _validation(reply.value)
            return Answer(outcome, Validation(keys.make_id("K", handle, record.serial), record))
        detail = _detail(reply.detail)
        if isinstance(detail, str):
            return Answer(outcome, details={"field": detail})
        opens = acting.opens(outcome, detail, reply.now)
        return Answer(outcome, details={"retry_at": opens} if opens else {})

    async def validations(
        self,
        lot_id: str,
        session_id: str,
        *,
        plate: str = "",
        handle: str = "",
        take: bool = False,
        now: int = 0,
    ) -> list[Validation]:
        """What shops gave to a stay, to its plate and to its person (``handle``), oldest first.

        ``take``: from now on these are this stay's and no other's; a quote only looks. Which of
        them a payment of the stay has used already is the payment's to know.
        """
        stay = self.stay_handle(lot_id, session_id)
        pockets = [stay]
        if plate:
            pockets.append(self.plate_handle(plate))
        if handle:
            pockets.append(handle)
        asked = [commands.Pocket(handle=one, now=now, stay=stay, take=int(take)) for one in pockets]
        replies = await asyncio.gather(*(self._acting.act("pocket", c) for c in asked))
        found = [
            Validation(keys.make_id("K", pocket, record.serial), record)
            for pocket, reply in zip(pockets, replies, strict=True)
            for record in _validations(reply.value)
        ]
        return sorted(found, key=lambda one: (one.record.at, one.id))

    async def has_given(self, handle: str, key: str, *, now: int = 0) -> bool:
        """Whether the person's validation under this Idempotency-Key stands."""
        acting = self._acting
        known = acting.serials("validate", handle, key, now or acting.clock())[:2]
        packed = await acting.read_key(keys.pocket_key(acting.tag_of(handle), handle))
        return packed is not None and any(one.serial in known for one in _validations(packed))

    def override_of(self, stay: StayRecord, key: str, *, now: int = 0) -> OverrideRecord:
        """What the booth said of the stay under this Idempotency-Key."""
        acting = self._acting
        handle = self.stay_handle(stay.lot_id, stay.session_id)
        known = acting.serials("override", handle, key, now or acting.clock())[:2]
        return next(one for one in stay.overrides if one.serial in known)
