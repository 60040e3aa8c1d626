"""Payments of a stay: what a person's coupons, tier, receipts and points, shops and the booth take
off its fee. ``engine/lua/park.lua`` decides; this names what it needs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec

from engine import commands, keys
from engine.acting import Acting, fingerprint_of
from engine.batching import Reply
from engine.fastpath import serial_of
from engine.outcomes import Outcome
from engine.parking.records import StayPayment, StayUse
from engine.records import RedemptionRecord, RedemptionState, SkippedCoupon
from engine.views import Answer

MODES = {"quote": 0, "hold": 1, "commit": 2}
TRIES = 5  # of a fee_id whose holds end while we ask

_record = msgspec.msgpack.Decoder(RedemptionRecord).decode
_skipped = msgspec.msgpack.Decoder(list[SkippedCoupon] | None).decode
_detail = msgspec.msgpack.Decoder(str | int | None).decode


class _Told(msgspec.Struct, array_like=True):
    payment: StayPayment
    minutes: int
    coupons: int


_told = msgspec.msgpack.Decoder(_Told).decode
_use = msgspec.msgpack.Decoder(StayUse).decode


@dataclass(slots=True, frozen=True)
class Payer:
    """Whose stay it is: a person, or nobody (``user_id`` "", the stay's own handle)."""

    handle: str
    user_id: str = ""


@dataclass(slots=True, frozen=True)
class Bill:
    """What the lot asks for one stay."""

    lot_id: str
    session_id: str
    fee_id: str
    merchant_id: str  # the lot's operator
    fee_total: int
    already_paid: int
    as_of: int
    leave_ms: int  # how long the car may stay once it is paid for
    worth: Sequence[tuple[int, int]] | None = None  # engine.parking.tariff; None: no tariff
    channel: str = ""
    staff_id: str = ""

    @property
    def order_ref(self) -> str:
        """What the books know the payment by: the session, and the fee where it is another id."""
        if self.fee_id == self.session_id:
            return self.session_id
        return f"{self.session_id}/{self.fee_id}"


@dataclass(slots=True, frozen=True)
class Help:
    """What takes money off besides the coupons that are named; -1 = unlimited.

    ``given``: (type merchant | manual, id, minutes, fen (-1 = all), bearer, campaign id).
    """

    given: Sequence[tuple[str, str, int, int, str, str]] = ()
    tiers: Sequence[tuple[str, int, int, int]] = ()  # tier, minutes, fen, stays a day
    spend: Sequence[tuple[int, int, int]] = ()  # least sum of receipts, minutes, fen
    bearer: str = "mall"
    receipts: Sequence[tuple[str, str]] = ()  # transaction id, serial of the purchase
    caps: tuple[int, int, int, int] = (-1, -1, -1, -1)
    points: bool = False
    before: tuple[int, int, int] = (0, 0, 0)  # minutes, fen, coupons of the stay as nobody's


@dataclass(slots=True, frozen=True)
class Shown:
    """The coupons that are named or were searched: (coupon id, step of its code, stale)."""

    coupons: Sequence[tuple[str, int, bool]] = ()
    member_step: int = 0
    member_stale: bool = False
    searched: bool = False
    expected: int = -1  # of searched ones: the fen they take off
    all_or_nothing: bool = False


@dataclass(slots=True, frozen=True)
class Payment:
    """A payment as it stands, or as it would; ``redemption_id`` "" = nothing was recorded."""

    handle: str
    record: RedemptionRecord
    payment: StayPayment
    minutes_before: int
    coupons_before: int
    now: int
    deductions_by: dict[str, str] = field(default_factory=dict)

    @property
    def redemption_id(self) -> str:
        serial = self.payment.serial
        return keys.make_id("R", self.handle, serial) if serial else ""


class Payments:
    """Payments of one tenant's stays."""

    def __init__(self, acting: Acting) -> None:
        self._acting = acting

    def use_serial(self, handle: str, lot_id: str, session_id: str) -> str:
        """The serial that stands for a stay in a person's cell."""
        return serial_of(self._acting.mall.handle_key, "stay", handle, f"{lot_id}/{session_id}", 0)

    async def use(self, handle: str, lot_id: str, session_id: str) -> StayUse | None:
        """How somebody has paid for a stay so far; None: not at all."""
        acting = self._acting
        serial = self.use_serial(handle, lot_id, session_id)
        packed = await acting.read_key(keys.stay_use_key(acting.tag_of(handle), handle, serial))
        return None if packed is None else _use(packed)

    async def of_nobody(
        self, handle: str, bill: Bill, *, now: int = 0
    ) -> tuple[tuple[int, int, int], set[str]]:
        """(minutes, fen, coupons) that a stay had before anybody was known, and what it used.

        ``handle``: the stay's own.
        """
        use = await self.use(handle, bill.lot_id, bill.session_id)
        minutes = fen = 0
        used: set[str] = set()
        for payment in use.payments if use else ():
            record = await self._redemption(handle, payment.serial)
            moment = now or self._acting.clock()
            held = record.state == RedemptionState.HELD and moment < record.until
            if held or record.state == RedemptionState.REDEEMED:
                used.update(d.id for d in record.deductions)
            if record.state == RedemptionState.REDEEMED:
                minutes += sum(d.minutes for d in record.deductions)
                fen += sum(d.amount - d.back for d in record.deductions)
        return (minutes, fen, 0), used

    async def give_back(
        self, handle: str, lot_id: str, session_id: str, *, who: str, now: int = 0
    ) -> bool:
        """Release what is held for a stay by somebody; True where something of it was committed."""
        use = await self.use(handle, lot_id, session_id)
        stands = False
        for payment in use.payments if use else ():
            command = commands.Finish(
                handle=handle,
                now=now,
                who=who,
                redemption=payment.serial,
                key=serial_of(self._acting.mall.handle_key, "give_back", handle, payment.serial, 0),
                fingerprint=fingerprint_of("give_back", payment.serial),
                store_id="",
            )
            reply = await self._acting.act("release", command)
            stands = stands or reply.outcome == Outcome.ALREADY_REDEEMED
        return stands

    async def _redemption(self, handle: str, serial: str) -> RedemptionRecord:
        acting = self._acting
        packed = await acting.read_key(keys.redemption_key(acting.tag_of(handle), handle, serial))
        if packed is None:
            raise LookupError(f"no redemption {serial} of a payment")
        return _record(packed)

    async def pay(
        self,
        mode: str,
        payer: Payer,
        bill: Bill,
        given: Help,
        shown: Shown,
        *,
        who: str,
        hold_seconds: int = 0,
        vendor: Sequence[tuple[str, int]] | None = None,
        now: int = 0,
    ) -> Answer[Payment]:
        """Quote, hold or commit. WALLET_MOVED: what was searched is not what there is.

        ``vendor``: the vendor's own amounts for what a hold set aside, by type or coupon id.
        """
        acting, attempt = self._acting, 0
        handle = payer.handle
        for _ in range(TRIES):
            reply = await acting.act(
                "park",
                self._command(mode, payer, bill, given, shown, who, hold_seconds, vendor, attempt,
                              now),
            )  # fmt: skip
            outcome = Outcome(reply.outcome)
            detail = _detail(reply.detail) if outcome > Outcome.REPEATED else None
            if outcome is not Outcome.WALLET_MOVED or detail == attempt or detail is None:
                break
            attempt = int(detail)
        if outcome > Outcome.REPEATED:
            return Answer(outcome, details=_details(handle, outcome, reply))
        told = _told(reply.detail)
        payment = Payment(
            handle, _record(reply.value), told.payment, told.minutes, told.coupons, reply.now
        )
        return Answer(outcome, payment)

    def _command(
        self,
        mode: str,
        payer: Payer,
        bill: Bill,
        given: Help,
        shown: Shown,
        who: str,
        hold_seconds: int,
        vendor: Sequence[tuple[str, int]] | None,
        attempt: int,
        now: int,
    ) -> commands.Park:
        acting, handle = self._acting, payer.handle
        act = f"{bill.lot_id}/{bill.session_id}/{bill.fee_id}/{attempt}"
        return commands.Park(
            handle=handle,
            now=now,
            who=who,
            mode=MODES[mode],
            user_id=payer.user_id,
            use=self.use_serial(handle, bill.lot_id, bill.session_id),
            serial=serial_of(acting.mall.handle_key, "park", handle, act, 0),
            attempt=attempt,
            fingerprint=fingerprint_of(bill.lot_id, bill.session_id, bill.fee_id),
            offset=acting.offset(now or acting.clock()),
            lot_id=bill.lot_id,
            merchant_id=bill.merchant_id,
            session_id=bill.session_id,
            fee_id=bill.fee_id,
            order_ref=bill.order_ref,
            staff_id=bill.staff_id,
            channel=bill.channel,
            fee_total=bill.fee_total,
            already_paid=bill.already_paid,
            as_of=bill.as_of,
            leave_ms=bill.leave_ms,
            hold_seconds=hold_seconds,
            worth=None if bill.worth is None else list(bill.worth),
            coupons=[
                commands.Presented(coupon_id[-keys.SERIAL_LENGTH :], step, int(stale))
                for coupon_id, step, stale in shown.coupons
            ],
            member_step=shown.member_step,
            member_stale=int(shown.member_stale),
            all_or_nothing=int(shown.all_or_nothing),
            searched=int(shown.searched),
            expected=shown.expected,
            given=list(given.given),
            tiers=list(given.tiers),
            spend=list(given.spend),
            bearer=given.bearer,
            receipts=list(given.receipts),
            caps=given.caps,
            points=-1 if given.points else 0,
            before=given.before,
            vendor=None if vendor is None else [_by_serial(*one) for one in vendor],
        )


def _by_serial(name: str, fen: int) -> tuple[str, int]:
    """A coupon by its serial, anything else by its type."""
    place = keys.split_id("C", name)
    return (place[1] if place else name), fen


def _details(handle: str, outcome: Outcome, reply: Reply) -> dict[str, Any]:
    """What helps with a refusal."""
    failed = _skipped(reply.value) or []
    detail = _detail(reply.detail)
    details: dict[str, Any] = {}
    if failed:
        details["coupon_id"] = keys.make_id("C", handle, failed[0].serial)
        details["failed"] = [
            {
                "coupon_id": keys.make_id("C", handle, item.serial),
                "outcome": Outcome(item.outcome),
                "short_by": item.short_by,
            }
            for item in failed
        ]
        if failed[0].short_by:
            details["short_by"] = failed[0].short_by
    elif isinstance(detail, str) and outcome is Outcome.RECEIPT_USED:
        details["transaction_id"] = detail
    elif isinstance(detail, str) and detail:
        serial = len(detail) == keys.SERIAL_LENGTH
        if serial:
            details["coupon_id"] = keys.make_id("C", handle, detail)
        else:
            details["field"] = detail
    return details
