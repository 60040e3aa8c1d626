"""Gates: tickets in and out. Every attempt is an act of its own and recorded, refused or not.

The nonce of a scan is its key: a gate that sends it again gets the first answer, a refusal too.
A forged code ends before Redis and is kept among the refused tries (``attempts``).
"""

from __future__ import annotations

import asyncio
import hashlib
from datetime import datetime
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

from api import wire_checkins as shapes
from api.naming import Member, member_of
from api.problems import Refused
from api.routes import Call, Reply, refusal, route
from api.wire import moment
from engine.books import attempts
from engine.books.attempts import Attempt
from engine.checkins import CheckIn, tickets_of
from engine.codes import Scan
from engine.definitions import parse_time
from engine.errors import InvalidRequest
from engine.fastpath import INVALID, MEMBER, SIGNED_LENGTH, STALE
from engine.outcomes import Outcome, sentence
from engine.views import Answer

AT_ONCE = 64
REFUSALS = (
    Outcome.CODE_INVALID,
    Outcome.CODE_EXPIRED,
    Outcome.WRONG_EVENT,
    Outcome.NOT_PAID,
    Outcome.CAMPAIGN_FROZEN,
    Outcome.USER_FROZEN,
    Outcome.ALREADY_IN,
    Outcome.NOT_IN,
    Outcome.ALREADY_REDEEMED,
    Outcome.HELD,
    Outcome.CODE_USED,
    Outcome.VOIDED,
    Outcome.REFUNDED,
    Outcome.TRANSFERRED,
    Outcome.EXPIRED,
    Outcome.NOT_YET_VALID,
    Outcome.STORE_NOT_ALLOWED,
    Outcome.OUTSIDE_HOURS,
    Outcome.TOO_EARLY,
    Outcome.TOO_LATE,
)
_SAYINGS = {
    False: ("Welcome, come in.", "欢迎,请入场。"),
    True: ("Goodbye.", "已登记离场。"),
}


class _Asked(NamedTuple):
    """What a code names: a wallet, the tickets in question, and the member who shows them."""

    handle: str
    tickets: list[tuple[str, int, bool]]
    member: Member | None = None


def event_of(call: Call, named: str | None) -> str:
    """The event of this act: the key's own, else the one named; "" = any. Another: forbidden."""
    own = call.key.event_id
    if own and named and own != named:
        raise Refused(Outcome.FORBIDDEN)
    return own or named or ""


@route(
    "POST",
    "/v1/checkins",
    roles={"gate", "terminal"},
    body=shapes.CheckInRequest,
    reply=shapes.CheckInReply,
    status=201,
    idempotent=False,  # each scan has its nonce
    say=True,
    attempts="checkin",
    summary="A ticket at a gate, in or out; every attempt is recorded, refused ones with why.",
    tags=("gates",),
    errors=REFUSALS,
)
async def check_in(call: Call) -> Reply:
    body: shapes.CheckInRequest = call.body
    event_id = event_of(call, body.event)
    scan = call.tenant.codes.read(body.code, call.clock())
    if scan.status == INVALID:
        raise Refused(Outcome.CODE_INVALID)
    if scan.form == MEMBER:
        asked = await _of_member(call, body.code, event_id, out=body.direction == "out")
    else:
        asked = _of_ticket(scan)
    answer = await _record(call, body, asked, event_id)
    if answer.value is None:
        return refusal(call, answer.outcome)
    made, replayed = answer.value, answer.outcome is Outcome.REPEATED
    if made.outcome is not Outcome.DONE:
        reply = refusal(call, made.outcome, _why(call, made))
        reply.replayed = replayed
        return reply
    record = made.record
    shown = shapes.CheckInReply(
        id=made.id,
        ok=True,
        direction=body.direction,
        coupon_id=made.coupon_id,
        campaign_id=record.campaign_id,
        event=record.event_id,
        gate=record.gate,
        at=moment(record.scanned),
        entries=record.entries,
        redemption_id=made.redemption_id or None,
        say=_SAYINGS[bool(record.out)][call.language != "en"],
    )
    return Reply(shown, replayed=replayed)


def _of_ticket(scan: Scan) -> _Asked:
    assert scan.coupon_id is not None
    return _Asked(scan.handle, [(scan.coupon_id, scan.step, scan.status == STALE)])


async def _of_member(call: Call, code: str, event_id: str, *, out: bool) -> _Asked:
    """The tickets that a member has for this event."""
    if not event_id:
        raise InvalidRequest("event", "Name the event.", "请指明活动。")
    member = member_of(call, code)
    wallet = await call.tenant.engine.wallet(member.handle, now=call.now)
    named = tickets_of(wallet, event_id, out=out)
    return _Asked(member.handle, [(one, 0, False) for one in named], member)


async def _record(
    call: Call,
    told: shapes.CheckInRequest | shapes.OfflineScan,
    asked: _Asked,
    event_id: str,
    scanned: int = 0,
) -> Answer[CheckIn]:
    member = asked.member
    return await call.tenant.engine.checkins.record(
        handle=asked.handle,
        tickets=asked.tickets,
        gate=told.gate,
        out=told.direction == "out",
        nonce=told.nonce,
        who=call.who(staff=told.staff_id or "", terminal=told.gate),
        event_id=event_id,
        staff_id=told.staff_id or "",
        store_id=call.key.store_id,
        member=None if member is None else (member.step, member.stale),
        scanned=scanned,
        now=call.now,
    )


def _why(call: Call, made: CheckIn) -> dict[str, Any]:
    """What helps with a refusal."""
    record = made.record
    details: dict[str, Any] = {
        "detail": _told(call, made),
        "checkin_id": made.id,
        "coupon_id": made.coupon_id or None,
        "event": record.event_id or None,
        "gate": record.gate,
        "at": moment(record.scanned),
    }
    if record.other_gate:
        details |= {"other_gate": record.other_gate, "other_at": moment(record.other_at)}
    if record.opens:
        early = made.outcome is Outcome.TOO_EARLY
        details["retry_at" if early else "until"] = record.opens
    return details


def _told(call: Call, made: CheckIn) -> str | None:
    """The sentence for whoever stands at the gate, where it can say more than the outcome's own."""
    record, zh = made.record, call.language != "en"

    def clock(at: int) -> str:
        zone = ZoneInfo(call.tenant.timezone)
        local, now = (datetime.fromtimestamp(ms / 1000, zone) for ms in (at, record.scanned))
        return f"{local:%H:%M}" if local.date() == now.date() else f"{local:%Y-%m-%d %H:%M}"

    if made.outcome is Outcome.ALREADY_IN and record.other_gate:
        came, where = clock(record.other_at), record.other_gate
        return f"该票已于 {came} 在 {where} 入场。" if zh else f"It was used at {where}, {came}."
    if made.outcome is Outcome.TOO_EARLY:
        opens = clock(record.opens)
        return f"{opens} 开始入场。" if zh else f"Entry opens at {opens}."
    if made.outcome is Outcome.TOO_LATE:
        closed = clock(record.opens)
        return f"已于 {closed} 停止入场。" if zh else f"Entry closed at {closed}."
    return None


# ---- what gates did alone ----------------------------------------------------------------------


@route(
    "POST",
    "/v1/checkins/offline",
    roles={"gate", "terminal"},
    body=shapes.OfflineScansRequest,
    reply=shapes.OfflineScansReply,
    idempotent=False,  # each scan has its nonce
    max_body=64 << 20,
    summary="Scans that gates took alone: always recorded, doubles told as conflict.",
    tags=("gates",),
)
async def offline(call: Call) -> Reply:
    scans: list[shapes.OfflineScan] = call.body.scans
    now = call.clock()
    times = [_time(number, one, now) for number, one in enumerate(scans)]
    events = [event_of(call, one.event) for one in scans]
    asked = await _read(call, scans, times)
    # A ticket's scans in the order they happened, so that who was first is told as first.
    groups: dict[str, list[int]] = {}
    for number in sorted(range(len(scans)), key=lambda n: (times[n], n)):
        one = asked[number]
        groups.setdefault(one.handle if one else f"-{number}", []).append(number)
    done: dict[int, shapes.OfflineScanItem] = {}
    turn = asyncio.Semaphore(AT_ONCE)

    async def group(numbers: list[int]) -> None:
        async with turn:
            for n in numbers:
                done[n] = await _offline(call, scans[n], asked[n], events[n], times[n])

    await asyncio.gather(*(group(numbers) for numbers in groups.values()))
    await _keep_strangers(call, scans, asked, times)
    items = [done[n] for n in range(len(scans))]
    conflicts = sum(item.status == "conflict" for item in items)
    return Reply(shapes.OfflineScansReply(items=items, recorded=len(items), conflicts=conflicts))


def _time(number: int, told: shapes.OfflineScan, now: int) -> int:
    """When it happened; no gate's clock is ahead of ours."""
    try:
        return min(max(1, parse_time(told.scanned_at)), now)
    except ValueError:
        field = f"scans[{number}].scanned_at"
        raise InvalidRequest(field, "It must be an RFC 3339 time.", "时间格式不正确。") from None


async def _read(
    call: Call, scans: list[shapes.OfflineScan], times: list[int]
) -> list[_Asked | None]:
    """What each code named at its time; None: no ticket of ours."""
    codes = call.tenant.codes

    def read() -> list[Scan]:
        return [codes.read(one.code, at) for one, at in zip(scans, times, strict=True)]

    long = any(len(one.code) >= SIGNED_LENGTH for one in scans)
    found = await asyncio.to_thread(read) if long else read()
    return [None if scan.coupon_id is None else _of_ticket(scan) for scan in found]


async def _offline(
    call: Call, told: shapes.OfflineScan, asked: _Asked | None, event_id: str, scanned: int
) -> shapes.OfflineScanItem:
    item = shapes.OfflineScanItem(
        nonce=told.nonce,
        gate=told.gate,
        status="recorded",
        id=None,
        coupon_id=asked.tickets[0][0] if asked else None,
        event=event_id or None,
        direction=told.direction,
        scanned_at=moment(scanned),
        redemption_id=None,
    )
    outcome = Outcome.CODE_INVALID
    if asked is not None:
        answer = await _record(call, told, asked, event_id, scanned)
        outcome, made = answer.outcome, answer.value
        if made is not None:
            record, outcome = made.record, made.outcome
            item.id, item.event = made.id, record.event_id or None
            item.scanned_at = moment(record.scanned)  # as it was first told
            item.redemption_id = made.redemption_id or None
            if record.other_gate:
                item.gates, item.other_at = [record.other_gate, told.gate], moment(record.other_at)
    if outcome is not Outcome.DONE:
        item.status = "conflict"
        item.code, item.detail = outcome.code, sentence(outcome, call.language)
    return item


async def _keep_strangers(
    call: Call, scans: list[shapes.OfflineScan], asked: list[_Asked | None], times: list[int]
) -> None:
    """Codes that are none of ours are in no cell: they are kept among the refused tries, once."""
    rows = [
        Attempt(
            tenant=call.tenant.id,
            id=f"{at:015d}-o{_digest(told)}",
            at_ms=at,
            verb="checkin",
            code=Outcome.CODE_INVALID.code,
            coupon_id="",
            short_by=0,
            store_id=call.key.store_id,
            terminal_id=told.gate,
            staff_id=told.staff_id or "",
            channel="",
            order_ref="",
            role=call.key.role,
            label=call.key.label,
            request_id=call.request_id,
        )
        for told, one, at in zip(scans, asked, times, strict=True)
        if one is None
    ]
    await attempts.add(call.tenant.books, rows)


def _digest(told: shapes.OfflineScan) -> str:
    return hashlib.sha256(f"{told.gate}\x1f{told.nonce}".encode()).hexdigest()[:24]
