"""Coupons that are given on: gifts, and printed coupons that somebody takes.

Two cells: the receiver's is asked whether they may have it (``gift_ask``; it counts from then on),
the giver's lets it go to the first (``gift_send``), the receiver's takes it in or forgets it
(``gift_receive``). Each is safe to repeat, and who was let go stands on the coupon, so whatever was
cut off is finished by the same key, or by the sweeper.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import msgspec
import orjson

from engine import commands, keys
from engine.acting import Acting, fingerprint_of, to_json
from engine.batching import Reply
from engine.gift_records import GiftRecord, GiftState, Take
from engine.outcomes import Outcome
from engine.records import CouponRecord, UserRecord
from engine.views import Answer

_gift = msgspec.msgpack.Decoder(GiftRecord).decode
_coupon = msgspec.msgpack.Decoder(CouponRecord).decode
_user = msgspec.msgpack.Decoder(UserRecord).decode
_takes = msgspec.msgpack.Decoder(list[Take]).decode
_text = msgspec.msgpack.Decoder(str | None).decode


@dataclass(slots=True, frozen=True)
class Gift:
    """A gift with its place and the moment it was read."""

    id: str
    record: GiftRecord
    now: int

    @property
    def coupon_id(self) -> str:
        """The coupon that is given, in the giver's wallet."""
        return keys.make_id("C", self.id[1 : 1 + keys.HANDLE_LENGTH], self.record.coupon)

    @property
    def status(self) -> str:
        """open | accepted | taken_back | declined | expired | withdrawn, by the clock."""
        if self.record.state == GiftState.OPEN:
            return "open" if self.now < self.record.until else "expired"
        if self.record.state == GiftState.LAPSED:
            return "expired"
        return GiftState(self.record.state).name.lower()


class Gifts:
    """Gifts of one tenant's people."""

    def __init__(self, acting: Acting) -> None:
        self._acting = acting

    async def offer(
        self, *, coupon_id: str, seconds: int, key: str, who: str, now: int = 0
    ) -> Answer[Gift]:
        """Offer a coupon for so long, at most until it ends."""
        place = keys.split_id("C", coupon_id)
        if place is None:
            return Answer(Outcome.NOT_FOUND)
        handle, coupon = place
        acting = self._acting

        def build(at: int) -> commands.Gift:
            serial, before, window = acting.serials("gift", handle, key, at)
            return commands.Gift(
                handle=handle,
                now=now,
                who=who,
                coupon=coupon,
                serial=serial,
                serial_before=before,
                window=window,
                fingerprint=fingerprint_of("gift", coupon_id, seconds),
                seconds=seconds,
            )

        reply = await acting.keyed("gift", now, build)
        if reply.outcome > Outcome.REPEATED:
            return Answer(Outcome(reply.outcome))
        return self._answer(keys.make_id("G", handle, str(_text(reply.detail))), reply)

    async def end(self, *, gift_id: str, how: GiftState, who: str, now: int = 0) -> Answer[Gift]:
        """Take a gift back, decline it, or (the sweeper) tell that its time has passed."""
        place = keys.split_id("G", gift_id)
        if place is None:
            return Answer(Outcome.NOT_FOUND)
        handle, serial = place
        command = commands.Endgift(handle=handle, now=now, who=who, gift=serial, state=how)
        reply = await self._acting.act("gift_end", command)
        if reply.outcome > Outcome.REPEATED:
            return Answer(Outcome(reply.outcome))
        return self._answer(gift_id, reply)

    def _answer(self, gift_id: str, reply: Reply) -> Answer[Gift]:
        gift = Gift(gift_id, _gift(reply.value), reply.now)
        return Answer(Outcome(reply.outcome), gift)

    async def read(self, gift_id: str, *, now: int = 0) -> Gift | None:
        """A gift as of now; None when there is none."""
        place = keys.split_id("G", gift_id)
        if place is None:
            return None
        acting = self._acting
        packed = await acting.read_key(keys.gift_key(acting.tag_of(place[0]), *place))
        return Gift(gift_id, _gift(packed), now or acting.clock()) if packed else None

    # ---- giving on ---------------------------------------------------------------------------

    async def accept(
        self, *, gift_id: str, user_id: str, key: str, who: str, now: int = 0
    ) -> Answer[str]:
        """Accept a gift; value: the id of the receiver's coupon."""
        gift = await self.read(gift_id, now=now)
        if gift is None:
            return Answer(Outcome.NOT_FOUND)
        serial = gift_id[-keys.SERIAL_LENGTH :]
        return await self._take(gift.coupon_id, serial, user_id, key, who, now)

    async def take(
        self, *, coupon_id: str, user_id: str, key: str, who: str, now: int = 0
    ) -> Answer[str]:
        """Bring a printed coupon into a wallet; value: its id there."""
        return await self._take(coupon_id, "", user_id, key, who, now)

    async def has_asked(self, handle: str, key: str, *, now: int = 0) -> bool:
        """Whether what this person accepted or took under this Idempotency-Key has come."""
        acting = self._acting
        serials = acting.serials("accept", handle, key, now or acting.clock())[:2]
        return any(await self._acting.read_wallet(handle, *(f"C{serial}" for serial in serials)))

    async def _take(
        self, source: str, gift: str, user_id: str, key: str, who: str, now: int
    ) -> Answer[str]:
        place = keys.split_id("C", source)
        acting, handle = self._acting, self._acting.handle_of(user_id)
        if place is None:
            return Answer(Outcome.NOT_FOUND)
        if place[0] == handle:
            return Answer(Outcome.NOT_TRANSFERABLE)  # they have it already
        given, _ = await self._acting.read_wallet(place[0], "C" + place[1], "u")
        if given is None:
            return Answer(Outcome.NOT_FOUND)
        campaign_id = _coupon(given).campaign_id
        fingerprint = fingerprint_of("accept", source, gift, user_id)

        def build(at: int) -> commands.Ask:
            serial, before, window = acting.serials("accept", handle, key, at)
            return commands.Ask(
                handle=handle,
                now=now,
                who=who,
                user_id=user_id,
                serial=serial,
                serial_before=before,
                window=window,
                fingerprint=fingerprint,
                offset=acting.offset(at),
                campaign_id=campaign_id,
                source=source,
                gift=gift,
            )

        reply = await acting.keyed("gift_ask", now, build)
        outcome = Outcome(reply.outcome)
        if outcome > Outcome.REPEATED:
            return Answer(outcome)
        serial = str(_text(reply.detail))
        coupon_id = keys.make_id("C", handle, serial)
        if outcome is Outcome.REPEATED:
            return Answer(outcome, coupon_id)
        offset = acting.offset(reply.now)
        take = Take(serial, source, gift, campaign_id, reply.now, offset, fingerprint, who)
        sent = await self._finish(handle, user_id, take, now)
        return Answer(sent, coupon_id) if sent <= Outcome.REPEATED else Answer(sent)

    async def bring(self, coupon_id: str, *, now: int = 0) -> str:
        """The id that a coupon which was given on has now; it is there when this returns."""
        handle, serial = keys.split_id("C", coupon_id) or ("", "")
        packed, *_ = await self._acting.read_wallet(handle, f"C{serial}")
        went_to = _coupon(packed).given_to if packed else ""
        await self.finish(went_to[1:], now=now)
        return went_to

    async def finish(self, name: str, *, now: int = 0) -> None:
        """Bring what is on its way to its end (the sweeper); ``name``: handle and serial."""
        handle, serial = name[: keys.HANDLE_LENGTH], name[keys.HANDLE_LENGTH :]
        packed, user = await self._acting.read_wallet(handle, "t", "u")
        for take in _takes(packed) if packed else []:
            if take.serial == serial and user:
                await self._finish(handle, _user(user).user_id, take, now)

    async def _finish(self, handle: str, user_id: str, take: Take, now: int) -> Outcome:
        """Ask the giver's cell who gets it, and tell the receiver's."""
        giver, coupon = keys.split_id("C", take.source) or ("", "")
        send = commands.Send(
            handle=giver,
            now=now,
            who=take.who,
            coupon=coupon,
            gift=take.gift,
            to_user=user_id,
            to_coupon=keys.make_id("C", handle, take.serial),
        )
        reply = await self._acting.act("gift_send", send)
        outcome = Outcome(reply.outcome)
        record = _coupon(reply.value) if outcome <= Outcome.REPEATED else None
        await self._acting.act("gift_receive", _receive(handle, user_id, take, record, now))
        return Outcome.DONE if record else outcome


def _receive(
    handle: str, user_id: str, take: Take, given: CouponRecord | None, now: int
) -> commands.Receive:
    """``given``: the giver's coupon; None: it does not come."""
    extra: dict[str, Any] = orjson.loads(given.extra) if given and given.extra else {}
    return commands.Receive(
        handle=handle,
        now=now,
        who=take.who,
        user_id=user_id,
        serial=take.serial,
        won=int(given is not None),
        source=take.source,
        campaign_id=take.campaign_id,
        fingerprint=take.fingerprint,
        offset=take.offset,
        terms_revision=given.terms_revision if given else 0,
        valid_from=given.issued + given.valid_from if given else 0,
        valid_until=given.issued + given.valid_until if given and given.valid_until else 0,
        channel=given.channel if given else "",
        extra=given.extra if given else "",
        told_source=to_json(extra.get("source")),
        told_metadata=to_json(extra.get("metadata")),
        paid=given.paid if given else 0,
        used=given.used if given else 0,
        spent=given.spent if given else 0,
    )
