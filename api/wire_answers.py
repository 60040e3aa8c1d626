"""Records → answers of quotes, redemptions, holds, reversals and scans, and what a screen says.

A first answer is rebuilt from the record, however late it is asked for again.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from api.wire import CouponReply, moment
from api.wire_redemptions import (
    Applied,
    LineDiscount,
    QuoteReply,
    RedemptionReply,
    RedemptionRequest,
    ResolveReply,
    ReversalReply,
    ReversedCoupon,
    ReversedLine,
    Skipped,
    Status,
    TenderReply,
)
from engine.arithmetic import stands_alone
from engine.outcomes import Outcome, sentence
from engine.records import (
    AppliedCoupon,
    Line,
    RedemptionState,
    Tender,
    TenderKind,
)
from engine.views import Redemption, Reversal, owner

MAX_COUPONS_SHOWN = 200


def applied(handle: str, coupons: Sequence[AppliedCoupon], lines: Sequence[Line]) -> list[Applied]:
    """Coupons of a redemption in order of application."""
    items = []
    for used in coupons:
        item = Applied(
            coupon_id="C" + handle + used.serial,
            campaign_id=used.campaign_id,
            discount=used.discount,
            lines=[LineDiscount(id=lines[s.line].id, discount=s.discount) for s in used.lines],
            uses_left=used.uses_left,
        )
        if used.benefit == "exchange":
            item.item = used.item
        if stands_alone(used.benefit):
            item.value = used.value
        items.append(item)
    return items


def tenders(handle: str, paid: Sequence[Tender], *, as_held: bool = False) -> list[TenderReply]:
    """What was paid with, in order; ``as_held``: as its hold set it aside, committed since."""
    items = []
    for tender in paid:
        then = as_held and (tender.held, tender.held_points, tender.held_balance)
        amount, points, balance = then or (tender.amount, tender.points, tender.balance)
        if tender.serial:
            coupon_id = "C" + handle + tender.serial
            items.append(
                TenderReply("stored_value", amount, coupon_id, tender.campaign_id, balance=balance)
            )
        else:
            items.append(TenderReply("points", amount, points=points, balance=balance))
    return items


def skipped(coupon_id: str | None, outcome: Outcome, short_by: int, language: str) -> Skipped:
    """One coupon not used; ``short_by`` in fen, or units for ``min_quantity``; 0 = says nothing."""
    item = Skipped(
        coupon_id=coupon_id,
        code=outcome.code,
        detail=sentence(outcome, language, short_by=short_by),
    )
    if short_by:
        item.short_by = short_by
    return item


def quoted(
    body: RedemptionRequest,
    handle: str,
    used: Sequence[AppliedCoupon],
    paid: Sequence[Tender],
    lines: Sequence[Line],
    not_used: list[Skipped],
    *,
    store_id: str,
    at: int,
    language: str,
) -> QuoteReply:
    """What a redemption of ``used``, paid with ``paid``, would answer at ``at`` (ms)."""
    amount = sum(line.amount for line in lines)
    discount = sum(coupon.discount for coupon in used)
    given = say_given(used, language)
    tendered = sum(tender.amount for tender in paid)
    money = say_money(discount, tendered, amount - discount - tendered, given, language)
    say = f"可优惠:{money}。" if _zh(language) else f"It would be: {money}."
    say = say if used or paid or not not_used else ""
    return QuoteReply(
        amount=amount,
        discount=discount,
        tendered=tendered,
        payable=amount - discount - tendered,
        applied=applied(handle, used, lines),
        tenders=tenders(handle, paid),
        skipped=not_used,
        store_id=store_id or None,
        channel=body.channel,
        order_ref=body.order_ref,
        at=moment(at),
        say=(say + say_skipped(not_used, language)).strip(),
    )


def scanned(
    kind: Literal["coupon", "member"],
    outcome: Outcome,
    user_id: str,
    language: str,
    *,
    coupon: CouponReply | None = None,
    coupons: list[CouponReply] | None = None,
) -> ResolveReply:
    """What a scan is; ``outcome`` DONE = it can be used here, with a basket that fits."""
    usable = outcome is Outcome.DONE and (coupons is None or bool(coupons))
    reply = ResolveReply(
        type=kind,
        usable=usable,
        can=["quote", "redeem", "hold"] if usable else [],
        say=_say_scanned(outcome, coupons, language),
        user_id=owner(user_id),
    )
    if outcome is not Outcome.DONE:
        reply.code = outcome.code
    if coupon is not None:
        reply.coupon = coupon
    if coupons is not None:
        reply.coupons = coupons
    return reply


def _say_scanned(outcome: Outcome, coupons: Sequence[CouponReply] | None, language: str) -> str:
    if outcome is not Outcome.DONE:
        return sentence(outcome, language)
    if coupons is None:
        return "该券可在此使用。" if _zh(language) else "It can be used here."
    count = len(coupons)
    if _zh(language):
        return f"该会员有 {count} 张券可在此使用。"
    return f"This member has {count} {'coupon' if count == 1 else 'coupons'} to use here."


def redeemed(found: Redemption, invalid: list[Skipped], language: str) -> RedemptionReply:
    """A redemption or hold as it was first answered; ``invalid``: codes that named no coupon."""
    held = found.record.until > 0
    reply = _redemption(found, "held" if held else "redeemed", found.record.at, language)
    if held and found.record.committed:  # the answer to the hold, before its commit
        _tell_tenders(reply, tenders(found.handle, found.record.tenders, as_held=True))
    reply.skipped += invalid
    if held:
        reply.until = moment(found.record.until)
    reply.say = _say_redeemed(found, reply, held, reply.skipped, language)
    return reply


def committed(found: Redemption, language: str) -> RedemptionReply:
    """A hold as its commit first answered."""
    reply = _redemption(found, "redeemed", found.record.committed, language)
    reply.say = _say_redeemed(found, reply, False, [], language)
    return reply


def released(found: Redemption, language: str) -> RedemptionReply:
    """A hold as its release first answered."""
    at = next((a.at for a in found.record.acts if a.verb == "release"), found.record.at)
    reply = _redemption(found, "released", at, language)
    reply.say = (
        "已释放,券可继续使用。" if _zh(language) else "Released; the coupons are free again."
    )
    return reply


def looked_up(found: Redemption, language: str) -> RedemptionReply:
    """A redemption as it is now, with its reversals."""
    record = found.record
    reply = _redemption(found, _status(found), record.committed or record.at, language)
    if reply.status == "held":
        reply.until = moment(record.until)
    reply.user_id, reply.merchant_id = owner(record.user_id), record.merchant_id
    reply.terminal_id, reply.staff_id = record.terminal_id or None, record.staff_id or None
    reply.reversals = [
        reversal(Reversal("V" + found.handle + entry.serial, entry, found), {}, None)
        for entry in record.reversals
    ]
    reply.discount_back = sum(entry.discount_back for entry in reply.reversals)
    reply.tendered_back = sum(entry.tendered_back for entry in reply.reversals)
    reply.refunded = sum(entry.refund for entry in reply.reversals)
    return reply


def reversal(
    entry: Reversal, returned_until: dict[str, int], language: str | None
) -> ReversalReply:
    """A reversal as it was first answered.

    ``returned_until``: until when the coupons that went back are valid, by serial (ms, 0 = no
    end); a coupon that is not in it is told without its status. ``language`` None: no ``say``.
    """
    record, handle = entry.redemption.record, entry.redemption.handle
    to_tenders = entry.record.line_tenders or [0] * len(entry.record.lines)
    lines = [
        ReversedLine(record.lines[index].id, gross, back, paid, gross - back - paid)
        for (index, gross, back), paid in zip(entry.record.lines, to_tenders, strict=True)
    ]
    gross, back = sum(line.gross for line in lines), sum(line.discount_back for line in lines)
    tendered = sum(line.tendered_back for line in lines)
    reply = ReversalReply(
        id=entry.id,
        redemption_id=entry.redemption.id,
        status="reversed" if _whole_after(entry) else "redeemed",
        gross=gross,
        discount_back=back,
        tendered_back=tendered,
        refund=gross - back - tendered,
        points_back=sum(points for _, _, _, points in entry.record.tenders),
        tenders=[
            TenderReply("points", fen, points=points)
            if kind == TenderKind.POINTS
            else TenderReply("stored_value", fen, "C" + handle + serial)
            for kind, serial, fen, points in entry.record.tenders
        ],
        lines=lines,
        coupons=[
            _reversed_coupon(entry, coupon, returned_until)
            for coupon in entry.record.coupons
        ],
        reason=entry.record.reason,
        at=moment(entry.record.at),
    )
    if language is not None:
        reply.say = _say_reversed(reply, language)
    return reply


def _reversed_coupon(
    entry: Reversal, coupon: tuple[str, int, int], returned_until: dict[str, int]
) -> ReversedCoupon:
    serial, back, returned = coupon
    item = ReversedCoupon(
        coupon_id="C" + entry.redemption.handle + serial,
        discount_back=back,
        returned=bool(returned),
    )
    if not returned:
        # What became of the rest of a pass is not told here: it may be withdrawn, or not used up.
        uses = {used.serial: used.uses for used in entry.redemption.record.coupons}
        if uses.get(serial, 1) == 1:
            item.status = "redeemed"
    elif serial in returned_until:
        until = returned_until[serial]
        item.status = "expired" if until and entry.record.at >= until else "issued"
    return item


def _whole_after(entry: Reversal) -> bool:
    """Whether nothing of the basket was left after this reversal and those before it."""
    record = entry.redemption.record
    left = [line.amount for line in record.lines]
    for earlier in record.reversals:
        for index, gross, _ in earlier.lines:
            left[index] -= gross
        if earlier.serial == entry.record.serial:
            break
    return not any(left)


def _status(found: Redemption) -> Status:
    record = found.record
    if record.state == RedemptionState.HELD:
        return "held" if found.now < record.until else "lapsed"
    names: dict[int, Status] = {
        RedemptionState.REDEEMED: "redeemed",
        RedemptionState.RELEASED: "released",
        RedemptionState.LAPSED: "lapsed",
        RedemptionState.REVERSED: "reversed",
    }
    return names[record.state]


def _redemption(found: Redemption, status: Status, at: int, language: str) -> RedemptionReply:
    record, handle = found.record, found.handle
    reply = RedemptionReply(
        id=found.id,
        status=status,
        amount=record.amount,
        discount=record.discount,
        tendered=sum(tender.amount for tender in record.tenders),
        payable=record.amount - record.discount - sum(t.amount for t in record.tenders),
        applied=applied(handle, record.coupons, record.lines),
        tenders=tenders(handle, record.tenders),
        skipped=[
            skipped(
                "C" + handle + item.serial if item.serial else None,
                Outcome(item.outcome),
                item.short_by,
                language,
            )
            for item in record.skipped
        ],
        store_id=record.store_id,
        channel=record.channel or None,
        order_ref=record.order_ref or None,
        at=moment(at),
    )
    if record.lot_id:
        reply.lot_id = record.lot_id
        operator = f"merchant:{record.merchant_id}"
        reply.deductions = [
            {
                "type": one.type,
                **({"minutes": one.minutes} if one.minutes else {}),
                "amount": one.amount,
                "bearer": operator if one.bearer == "redeeming" else one.bearer,
            }
            for one in record.deductions
            if one.type not in ("coupon", "points")
        ]
    return reply


def _tell_tenders(reply: RedemptionReply, paid: list[TenderReply]) -> None:
    reply.tenders = paid
    reply.tendered = sum(tender.amount for tender in paid)
    reply.payable = reply.amount - reply.discount - reply.tendered


# ---- what the screen says --------------------------------------------------------------------


def _zh(language: str) -> bool:
    return language.startswith("zh")


def yuan(fen: int) -> str:
    """Money as a screen shows it: two decimals."""
    return f"{fen // 100}.{fen % 100:02d}"


def say_given(used: Sequence[AppliedCoupon], language: str) -> list[str]:
    """What there is to do for coupons that take nothing off: exchanges and admissions."""
    zh = _zh(language)
    items = [one.item for one in used if one.benefit == "exchange"]
    said = [f"兑换 {item}" if zh else f"hand over {item}" for item in items]
    count = sum(one.benefit == "admission" for one in used)
    if count:
        said.append(f"可入场 {count} 人次" if zh else f"let {count} in")
    return said


def say_money(
    discount: int, tendered: int, payable: int, given: Sequence[str], language: str
) -> str:
    """``20.00 off, 50.00 paid by card or points, 168.00 to pay``, after what is given."""
    zh = _zh(language)
    parts = [*given]
    if discount or tendered or payable or not parts:
        parts.append(f"优惠 {yuan(discount)} 元" if zh else f"{yuan(discount)} off")
        if tendered:
            paid = yuan(tendered)
            parts.append(f"储值或积分抵 {paid} 元" if zh else f"{paid} paid by card or points")
        parts.append(f"应付 {yuan(payable)} 元" if zh else f"{yuan(payable)} to pay")
    return ("," if zh else ", ").join(parts)


def say_skipped(items: Sequence[Skipped], language: str) -> str:
    """A sentence on what was not used, "" when all was."""
    if not items:
        return ""
    if _zh(language):
        return f"{len(items)} 张券未使用:{items[0].detail}"
    one = len(items) == 1
    return f" {len(items)} {'coupon' if one else 'coupons'} not used: {items[0].detail}"


def _say_redeemed(
    found: Redemption,
    reply: RedemptionReply,
    held: bool,
    not_used: Sequence[Skipped],
    language: str,
) -> str:
    record = found.record
    given = say_given(record.coupons, language)
    money = say_money(record.discount, reply.tendered, reply.payable, given, language)
    rest = say_skipped(not_used, language)
    if not held:
        return (f"核销成功:{money}。" if _zh(language) else f"Redeemed: {money}.") + rest
    seconds = (record.until - record.at) // 1000
    if _zh(language):
        return f"已占用 {seconds} 秒:{money}。" + rest
    return f"Set aside for {seconds} seconds: {money}." + rest


def _say_reversed(reply: ReversalReply, language: str) -> str:
    returned = sum(one.returned and one.status != "expired" for one in reply.coupons)
    if _zh(language):
        text = f"已撤销:退款 {yuan(reply.refund)} 元。"
        if reply.tendered_back:
            text += f"{yuan(reply.tendered_back)} 元退回储值或积分。"
        return text + (f"{returned} 张券已退回。" if returned else "")
    text = f"Reversed: {yuan(reply.refund)} to refund."
    if reply.tendered_back:
        text += f" {yuan(reply.tendered_back)} went back to card or points."
    if returned:
        text += f" {returned} {'coupon is' if returned == 1 else 'coupons are'} back."
    return text
