"""Check-ins: tickets at gates, in and out, and what gates did while they could not ask."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import msgspec

from engine import commands, keys
from engine.acting import Acting, fingerprint_of
from engine.checkin_records import CheckInRecord
from engine.outcomes import Outcome
from engine.records import CouponState
from engine.views import Answer, Wallet

MOST_TICKETS = 50  # of a member that one scan looks at

_record = msgspec.msgpack.Decoder(CheckInRecord).decode
_text = msgspec.msgpack.Decoder(str | None).decode


@dataclass(slots=True, frozen=True)
class CheckIn:
    """One attempt at a gate, let through or refused."""

    id: str
    record: CheckInRecord

    @property
    def outcome(self) -> Outcome:
        """DONE, or why it was refused; of what happened offline: why it would have been."""
        return Outcome(self.record.outcome)

    @property
    def coupon_id(self) -> str:
        """The ticket; "" where a member's code found none."""
        ticket = self.record.ticket
        return keys.make_id("C", self.id[1 : 1 + keys.HANDLE_LENGTH], ticket) if ticket else ""

    @property
    def redemption_id(self) -> str:
        """Of a first entry; "" else."""
        made = self.record.redemption
        return keys.make_id("R", self.id[1 : 1 + keys.HANDLE_LENGTH], made) if made else ""


class CheckIns:
    """Check-ins of one tenant's tickets."""

    def __init__(self, acting: Acting) -> None:
        self._acting = acting

    async def record(
        self,
        *,
        handle: str,
        tickets: Sequence[tuple[str, int, bool]],
        gate: str,
        out: bool,
        nonce: str,
        who: str,
        event_id: str = "",
        staff_id: str = "",
        store_id: str = "",
        member: tuple[int, bool] | None = None,
        scanned: int = 0,
        now: int = 0,
    ) -> Answer[CheckIn]:
        """Record an attempt. ``tickets``: (coupon id, step of its code or 0, stale).

        ``member`` (step, stale): a member's code was shown, and ``tickets`` are theirs for
        ``event_id``, the likeliest first. ``scanned``: ms by the gate's clock, of what happened
        while it could not ask. The value's own outcome tells whether it was let through; the
        answer's is REPEATED where the gate had sent this nonce before.
        """
        acting, kind = self._acting, f"checkin {gate}"
        named = "member" if member else tickets[0][0]
        fingerprint = fingerprint_of(named, out, staff_id)
        step, stale = member or (0, False)

        def build(at: int) -> commands.CheckIn:
            serial, before, window = acting.serials(kind, handle, nonce, at)
            return commands.CheckIn(
                handle=handle,
                now=now,
                who=who,
                serial=serial,
                serial_before=before,
                window=window,
                fingerprint=fingerprint,
                offset=acting.offset(scanned or at),
                tickets=[
                    commands.Presented(name[-keys.SERIAL_LENGTH :], step, int(old))
                    for name, step, old in tickets
                ],
                member_step=step,
                member_stale=int(stale),
                event_id=event_id,
                gate=gate,
                out=int(out),
                staff_id=staff_id,
                store_id=store_id,
                scanned=scanned,
            )

        reply = await acting.keyed("checkin", now, build)
        outcome = Outcome(reply.outcome)
        if outcome > Outcome.REPEATED:
            return Answer(outcome)
        place = keys.make_id("I", handle, str(_text(reply.detail)))
        return Answer(outcome, CheckIn(place, _record(reply.value)))


def tickets_of(wallet: Wallet, event_id: str, *, out: bool) -> list[str]:
    """A member's tickets for an event, those first that most likely let them through.

    In: what is not used yet, the first to end first; out: what was used.
    """

    def rank(serial: str) -> tuple[int, int, str]:
        view = wallet.view(serial)
        redeemed = view.record.state == CouponState.REDEEMED
        usable = redeemed or view.status == "issued"
        return (0 if usable and redeemed == out else 1 if usable else 2, view.valid_until, serial)

    found = [
        serial
        for serial in wallet.coupons
        if (event := wallet.view(serial).event) is not None and event.id == event_id
    ]
    return [wallet.view(serial).id for serial in sorted(found, key=rank)[:MOST_TICKETS]]
