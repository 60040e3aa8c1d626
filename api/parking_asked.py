"""What a parking payment stands on: the lot, the stay, whose it is, what takes money off."""

from __future__ import annotations

from dataclasses import dataclass

from api import lookups, naming
from api import wire_payments as shapes
from api.naming import Member
from api.problems import Refused
from api.routes import Call
from api.wire_redemptions import RedemptionRequest
from engine.definitions import Lot, ParkingSettings, parse_time
from engine.errors import InvalidRequest
from engine.keys import PRINTED
from engine.outcomes import Outcome
from engine.parking import tariff as tariffs
from engine.parking.payments import Bill, Help, Payer
from engine.parking.plates import normalise
from engine.parking.records import StayRecord
from engine.parking.stays import Session

MINUTE_MS = 60_000
MOST_UNITS = 5000  # of a tariff that one stay is reckoned by
ESTIMATE_ROWS = 200  # of the table by which minutes are chosen where no tariff is known


@dataclass(slots=True)
class Asked:
    """A request with all that was looked up for it."""

    call: Call
    body: shapes.PaymentRequest
    bill: Bill
    given: Help
    payer: Payer
    stay: StayRecord | None
    member: Member | None
    estimate: list[tuple[int, int]]

    @property
    def mode(self) -> str:
        """What is done first. Where the vendor says what was taken off, or else nobody knows what
        minutes are worth, that is a hold for the commit to settle: none is used up for nothing."""
        body = self.body
        settled = body.mode == "commit" and (self.bill.worth is None or body.deductions is not None)
        return "hold" if settled else body.mode


def time_of(name: str, text: str | None) -> int | None:
    if text is None:
        return None
    try:
        return parse_time(text)
    except ValueError:
        raise InvalidRequest(name, "It must be an RFC 3339 time.", "时间格式不正确。") from None


async def look_up(call: Call, body: shapes.PaymentRequest) -> Asked:
    engine = call.tenant.engine
    lot_id = call.bound_lot(body.lot_id)
    if not lot_id:
        raise InvalidRequest("lot_id", "Name the lot.", "请指明停车场。")
    lot = await lookups.lot(call.tenant, lot_id)
    if lot is None:
        raise Refused(Outcome.NOT_FOUND, field="lot_id")
    member = None if body.member_code is None else naming.member_of(call, body.member_code)
    stay = await engine.parking.stay(lot_id, body.session_id)
    named = normalise(body.plate) if body.plate else ""
    plate = stay.plate if stay and stay.plate else named
    now = call.clock()
    as_of = time_of("as_of", body.as_of) or now
    entered = stay.entered if stay and stay.entered else time_of("entered_at", body.entered_at) or 0
    session = Session(lot_id, body.session_id, plate, entered)
    settings = call.tenant.settings.parking or ParkingSettings()
    grace = lot.grace_minutes
    bill = Bill(
        lot_id=lot_id,
        session_id=body.session_id,
        fee_id=body.fee_id or body.session_id,
        merchant_id=lot.merchant_id,
        fee_total=body.fee_total,
        already_paid=body.already_paid,
        as_of=min(as_of, now),
        leave_ms=(settings.grace_minutes if grace is None else grace) * MINUTE_MS,
        worth=_worth(call, body, lot, entered, as_of),
        channel=body.channel or "",
        staff_id=body.staff_id or "",
    )
    payer, stay = await _payer(call, body, session, stay, member, bill)
    return Asked(
        call=call,
        body=body,
        bill=bill,
        given=await _help(call, body, bill, session, stay, payer, settings),
        payer=payer,
        stay=stay,
        member=member,
        estimate=_estimate(body.fee_total, tariffs.minutes_of(entered, as_of) if entered else 0),
    )


def _worth(
    call: Call, body: shapes.PaymentRequest, lot: Lot, entered: int, as_of: int
) -> list[tuple[int, int]] | None:
    """What minutes take off by the tariff told, else the lot's; None = neither is known.

    Nor is it where a stay has more units than anybody parks for: the vendor says, the gate opens.
    """
    tariff = body.tariff or lot.tariff
    if tariff is None:
        return None
    if not entered:
        raise InvalidRequest(
            "entered_at", "Needed to know what minutes are worth.", "计算减免时长需要入场时间。"
        )
    if tariffs.minutes_of(entered, as_of) > MOST_UNITS * tariff.unit_minutes:
        return None
    offset = call.tenant.engine.offset(entered)
    return tariffs.worth(tariff, entered, as_of, offset)


def _estimate(fee: int, minutes: int) -> list[tuple[int, int]]:
    """By which minutes are chosen where no tariff is known: each as dear as any other."""
    minutes = minutes or 1440
    step = -(-minutes // ESTIMATE_ROWS)
    most = max(fee, minutes)
    return [(m, most * m // minutes) for m in range(step, minutes + step, step)]


async def _payer(
    call: Call,
    body: shapes.PaymentRequest,
    session: Session,
    stay: StayRecord | None,
    member: Member | None,
    bill: Bill,
) -> tuple[Payer, StayRecord | None]:
    """Whose stay it is; a hold or a commit records it, and whoever was recorded first stays."""
    engine = call.tenant.engine
    if stay is not None and stay.owner:
        if call.key.role == "user" and stay.user_id != call.key.user_id:
            raise Refused(Outcome.FORBIDDEN)
        return Payer(stay.owner, stay.user_id), stay
    nobody = Payer(engine.parking.stay_handle(session.lot_id, session.session_id))
    if await _paid_as_nobodys(call, nobody, bill):
        return nobody, stay
    user_id = await _person(call, body, session, member)
    if not user_id:
        return nobody, stay
    payer = Payer(engine.handle_of(user_id), user_id)
    if body.mode != "quote" and not (stay and stay.closed):
        owned = await engine.parking.own(
            session, user_id, who=who(call, body), handle=payer.handle, now=call.now
        )
        if owned.value is not None:
            stay = owned.value
            payer = Payer(stay.owner, stay.user_id)
    return payer, stay


async def _person(
    call: Call, body: shapes.PaymentRequest, session: Session, member: Member | None
) -> str:
    engine = call.tenant.engine
    user_id = body.user_id or call.key.user_id
    if member is not None:
        if user_id and engine.handle_of(user_id) != member.handle:
            raise Refused(Outcome.DIFFERENT_OWNERS)
        if not user_id:
            wallet = await engine.some_coupons(member.handle, [], now=call.now)
            if wallet.user is None:
                raise Refused(Outcome.NOT_FOUND, field="member_code")
            user_id = wallet.user.user_id
        call.own(user_id)
    if not user_id and body.coupons:
        user_id = await _printed(call, body)
    if not user_id and session.plate:
        vehicle = await engine.parking.vehicle(session.plate)
        user_id = vehicle.user_ids[0] if vehicle and vehicle.user_ids else ""
    return user_id or ""


async def _printed(call: Call, body: shapes.PaymentRequest) -> str:
    """A printed coupon stands alone: it pays as at a till, as if it were a person of its own."""
    named = naming.coupons_of(call, RedemptionRequest(coupons=body.coupons), strict=False)
    if not named.handle:
        return ""
    wallet = await call.tenant.engine.some_coupons(named.handle, [], now=call.now)
    user_id = wallet.user.user_id if wallet.user else ""
    return user_id if user_id.startswith(PRINTED) else ""


async def _paid_as_nobodys(call: Call, nobody: Payer, bill: Bill) -> bool:
    """Whether this fee was paid before anybody was known: then it stays so."""
    use = await call.tenant.engine.payments.use(nobody.handle, bill.lot_id, bill.session_id)
    return use is not None and any(one.fee_id == bill.fee_id for one in use.payments)


async def _help(
    call: Call,
    body: shapes.PaymentRequest,
    bill: Bill,
    session: Session,
    stay: StayRecord | None,
    payer: Payer,
    settings: ParkingSettings,
) -> Help:
    """What takes money off besides coupons."""
    engine = call.tenant.engine
    before, used = (0, 0, 0), set[str]()
    if payer.user_id:
        before, used = await engine.payments.of_nobody(
            engine.parking.stay_handle(session.lot_id, session.session_id), bill, now=call.now
        )
    validations = await engine.parking.validations(
        session.lot_id,
        session.session_id,
        plate=session.plate,
        handle=payer.handle if payer.user_id else "",
        take=body.mode != "quote",
        now=call.now,
    )
    given = [
        ("merchant", one.id, one.record.minutes, one.record.amount,
         f"merchant:{one.record.merchant_id}", one.record.campaign_id)
        for one in validations
        if one.id not in used
    ]  # fmt: skip
    if stay is not None and stay.overrides:
        last = stay.overrides[-1]
        given.append(("manual", f"O{last.serial}", 0, last.amount, "redeeming", ""))
    caps = settings.caps

    def limit(number: int | None) -> int:
        return -1 if number is None else number

    points = engine.points
    return Help(
        given=[one for one in given if one[1] not in used],
        tiers=[
            (name, rule.minutes or 0, rule.amount or 0, limit(rule.per_day))
            for name, rule in settings.tiers.items()
        ],
        spend=[(rule.min, rule.minutes or 0, rule.amount or 0) for rule in settings.spend],
        bearer=settings.bearer,
        receipts=[
            (name, points.purchase_serial(payer.handle, name))
            for name in dict.fromkeys(body.transactions or ())
        ],
        caps=(limit(caps.coupons), limit(caps.minutes), limit(caps.amount), limit(caps.points)),
        points="points" in body.use and bool(payer.user_id),
        before=before,
    )


def who(call: Call, body: shapes.PaymentRequest | shapes.ExitRequest) -> str:
    """Who asks, as the fact keeps it."""
    return call.who(staff=body.staff_id or "")
