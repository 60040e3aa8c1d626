"""Parking payments as they are answered: bearers, labels, and the sentence for the driver."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, cast
from zoneinfo import ZoneInfo

from msgspec import UNSET

from api import lookups
from api.wire import moment
from api.wire_answers import yuan
from api.wire_payments import DeductionReply, PaymentReply
from api.wire_redemptions import DeductionType
from engine.definitions import Campaign, name_in
from engine.records import Deduction, RedemptionState

if TYPE_CHECKING:
    from api.routes import Call
    from api.wire_redemptions import Skipped
    from engine.parking.payments import Payment

LABELS: dict[str, tuple[str, str]] = {
    "coupon": ("Coupon", "停车券"),
    "tier": ("Member benefit", "会员权益"),
    "spend": ("For your purchases", "消费减免"),
    "points": ("Points", "积分抵扣"),
    "merchant": ("From a shop", "商户赠送"),
    "manual": ("By the booth", "人工减免"),
}


def payable_of(found: Payment, fee_total: int, already_paid: int) -> int:
    """What is left to pay of a fee after the deductions that a payment has."""
    off = found.record.discount + sum(tender.amount for tender in found.record.tenders)
    return max(0, fee_total - already_paid - found.payment.already_deducted - off)


async def answered(
    call: Call,
    found: Payment,
    *,
    session_id: str,
    quoted: tuple[int, int] | None = None,
    skipped: list[Skipped] | None = None,
) -> PaymentReply:
    """A payment as it stands; ``quoted``: (fee_total, already_paid) that a quote asks about."""
    record, payment = found.record, found.payment
    fee_total, already_paid = quoted or (payment.fee_total, payment.already_paid)
    payable = payable_of(found, fee_total, already_paid)
    deductions = await _deductions(call, found)
    reply = PaymentReply(
        session_id=session_id,
        fee_id=payment.fee_id,
        lot_id=record.lot_id,
        redemption_id=found.redemption_id or None,
        status="quoted",
        fee_total=fee_total,
        deductions=deductions,
        already_deducted=payment.already_deducted,
        already_paid=already_paid,
        payable=payable,
        leave_by=moment(payment.leave_by),
        skipped=skipped or [],
        say=_say(call, found, deductions, payable),
    )
    if found.redemption_id and quoted is None:
        if record.state == RedemptionState.HELD:
            reply.status, reply.until = "held", moment(record.until)
        else:
            reply.status = "reversed" if record.state == RedemptionState.REVERSED else "redeemed"
    elif quoted is not None:
        reply.redemption_id = None
    return reply


async def _deductions(call: Call, found: Payment) -> list[DeductionReply]:
    record = found.record
    campaigns = {used.serial: (used.campaign_id, used.terms_revision) for used in record.coupons}
    bodies = await lookups.bodies(call.tenant, campaigns.values())
    names = {name: body for (name, _), body in bodies.items()}
    replies = []
    for d in record.deductions:
        campaign = bodies.get(campaigns[d.id]) if d.id in campaigns else names.get(d.label)
        reply = DeductionReply(
            type=cast("DeductionType", d.type),
            amount=d.amount,
            bearer=_bearer(d, campaign, record.merchant_id),
            label=_label(d, campaign, call.language),
        )
        if d.type == "coupon":
            reply.coupon_id = f"C{found.handle}{d.id}"
        if d.minutes:
            reply.minutes = d.minutes
        replies.append(reply)
    return replies


def _bearer(d: Deduction, campaign: Campaign | None, merchant_id: str) -> str:
    """The party that owes it to the lot's operator; parties that share it, joined by ``+``."""
    if d.bearer:
        return f"merchant:{merchant_id}" if d.bearer == "redeeming" else d.bearer
    if campaign is None:
        return "mall"
    funding = campaign.funding
    shares = funding if isinstance(funding, dict) else {one.party: one.percent for one in funding}
    own = f"merchant:{merchant_id}"
    parties = [party for party, percent in shares.items() if percent]
    return "+".join(own if party in ("merchant", "redeeming") else party for party in parties)


def _label(d: Deduction, campaign: Campaign | None, language: str) -> str:
    english, chinese = LABELS[d.type]
    zh = language.startswith("zh")
    if campaign is not None:
        return name_in(campaign.name, language)
    if d.type == "tier":
        return f"{d.id} {chinese}" if zh else f"{english} ({d.id})"
    return chinese if zh else english


def _say(call: Call, found: Payment, deductions: list[DeductionReply], payable: int) -> str:
    """One sentence that a driver understands."""
    zh = call.language.startswith("zh")
    zone = ZoneInfo(call.tenant.timezone)
    leave = datetime.fromtimestamp(found.payment.leave_by / 1000, zone).strftime("%H:%M")
    off = sum(one.amount for one in deductions)
    minutes = sum(one.minutes for one in deductions if one.minutes is not UNSET and not one.amount)
    parts = []
    if off:
        parts.append(f"减免{_short(off)}元" if zh else f"{_short(off)} yuan off")
    if minutes and found.payment.untold:
        parts.append(f"减免{minutes}分钟" if zh else f"{minutes} minutes off")
    if payable:
        parts.append(f"应付{_short(payable)}元" if zh else f"{_short(payable)} yuan to pay")
    else:
        parts.append("无需付费" if zh else "nothing to pay")
    if zh:
        return ",".join(parts) + f",请在{leave}前离场"
    text = ", ".join(parts)
    return f"{text[0].upper()}{text[1:]}; please leave by {leave}."


def _short(fen: int) -> str:
    """``8`` or ``8.50``."""
    return str(fen // 100) if fen % 100 == 0 else yuan(fen)
