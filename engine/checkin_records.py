"""Check-ins as they lie in Redis (MessagePack arrays; field order is the format; cf. records)."""

from __future__ import annotations

import msgspec


class CheckInRecord(msgspec.Struct, array_like=True):
    """Key ``c:<handle><serial>``: one attempt at a gate; the record is the receipt.

    Its serial comes from the gate and the nonce of the scan. Times in ms.
    """

    outcome: int  # DONE, or why it was refused; of what happened offline: why it would have been
    at: int
    fingerprint: str
    user_id: str
    ticket: str  # serial of the coupon; "" where a member's code found none
    campaign_id: str
    event_id: str  # the gate's, or the ticket's where the gate is for any event
    gate: str
    out: int  # 0 in, 1 out
    offline: int  # 1: it happened while the gate could not ask
    scanned: int  # of what happened offline: when, by the gate's clock; else ``at``
    staff_id: str
    redemption: str  # serial of the redemption of a first entry that stands, "" else
    entries: int  # how often the ticket has let somebody in, this one included
    other_gate: str  # that let the ticket in before (or after), where that is the reason
    other_at: int
    opens: int  # of too early and too late: when entry opens or has closed; 0 else


class Passing(msgspec.Struct, array_like=True):
    """Somebody went through a gate."""

    at: int
    out: int
    gate: str
    serial: str  # of the check-in


class AttendanceRecord(msgspec.Struct, array_like=True):
    """Key ``j:<handle><serial>``: who came and went with a ticket, by time.

    It says nothing any more once the redemption of the first entry was reversed.
    """

    redemption: str  # serial of the redemption of the first entry; "" = none stands
    entries: int
    passings: list[Passing]  # the latest
