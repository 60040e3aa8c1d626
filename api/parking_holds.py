"""Parking payments that are acted on as redemptions: whose lot it is, and a hold's commit."""

from __future__ import annotations

from typing import TYPE_CHECKING

from api.problems import Refused
from engine.outcomes import Outcome
from engine.parking.payments import Bill, Help, Payer, Shown
from engine.records import RedemptionState
from engine.views import Answer, Redemption

if TYPE_CHECKING:
    from api.routes import Call
    from api.wire_redemptions import VendorDeduction


async def bound(call: Call, redemption_id: str) -> Redemption | None:
    """The redemption where it is a parking payment; a lot's key reaches those of its lot only."""
    if call.key.store_id:
        return None
    found = await call.tenant.engine.redemption(redemption_id, now=call.now)
    if call.key.role == "parking":
        if found is None:
            raise Refused(Outcome.NOT_FOUND)
        if found.record.lot_id != call.key.lot_id:
            raise Refused(Outcome.FORBIDDEN)
    return found if found is not None and found.record.lot_id else None


async def commit(
    call: Call, found: Redemption, deductions: list[VendorDeduction] | None
) -> Answer[Redemption] | None:
    """Commit a hold with what the vendor says its minutes are worth; sent again, as before.

    None: it is no open hold, nor was it committed.
    """
    record = found.record
    held = record.state == RedemptionState.HELD and found.now < record.until
    if not held and record.state != RedemptionState.REDEEMED:
        return None
    payments = call.tenant.engine.payments
    session_id, _, fee_id = record.order_ref.partition("/")
    use = await payments.use(found.handle, record.lot_id, session_id)
    payments_of = use.payments if use else []
    payment = next((one for one in payments_of if one.serial == found.id[-11:]), None)
    if payment is None:
        return None
    bill = Bill(
        lot_id=record.lot_id,
        session_id=session_id,
        fee_id=fee_id or session_id,
        merchant_id=record.merchant_id,
        fee_total=payment.fee_total,
        already_paid=payment.already_paid,
        as_of=found.now,
        leave_ms=max(0, payment.leave_by - record.at),
        channel=record.channel,
    )
    done = await payments.pay(
        "commit",
        Payer(found.handle, record.user_id),
        bill,
        Help(),
        Shown(),
        who=call.who(),
        vendor=None
        if deductions is None
        else [(one.coupon_id or one.type or "", one.amount) for one in deductions],
        now=call.now,
    )
    if done.value is None:
        return Answer(done.outcome, details=done.details)
    value = Redemption(done.value.redemption_id, found.handle, done.value.record, done.value.now)
    return Answer(done.outcome, value)
