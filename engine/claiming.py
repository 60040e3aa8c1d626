"""One claim on its way: what is asked of the cell, and what the cell's reply means.

``begin`` asks, ``known`` reads the reply where it is the last word, as it mostly is; ``settle``
does what else it takes. So whoever serves claims by the ten thousand needs no task for each.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import msgspec

from engine import commands, keys
from engine.acting import fingerprint_of, to_json
from engine.batching import Reply
from engine.outcomes import Outcome
from engine.records import CouponRecord, EventTerms
from engine.tenders import STORED_VALUE
from engine.views import Answer, CouponView

if TYPE_CHECKING:
    from engine.engine import Engine

_pack = msgspec.msgpack.encode
_coupon = msgspec.msgpack.Decoder(CouponRecord).decode
_detail = msgspec.msgpack.Decoder(str | int | None).decode
_kind = msgspec.msgpack.Decoder(tuple[str, str, int, int, EventTerms | None] | None).decode
_OUTCOMES = {outcome.value: outcome for outcome in Outcome}  # a third of what Outcome(n) takes


class Claim:
    """A user claims one coupon of a campaign; ``shed``: Unavailable at once in a flood."""

    __slots__ = (
        "campaign_id",
        "channel",
        "engine",
        "extra",
        "fingerprint",
        "handle",
        "key",
        "metadata",
        "now",
        "serials",
        "shed",
        "source",
        "user_id",
        "who",
    )

    def __init__(
        self,
        engine: Engine,
        *,
        user_id: str,
        campaign_id: str,
        channel: str,
        key: str,
        who: str,
        source: dict[str, Any] | None = None,
        metadata: dict[str, Any] | None = None,
        now: int = 0,
        shed: bool = False,
    ) -> None:
        self.engine = engine
        self.handle = engine.handle_of(user_id)
        self.user_id = user_id
        self.campaign_id = campaign_id
        self.channel = channel
        self.key = key
        self.who = who
        self.source = to_json(source)
        self.metadata = to_json(metadata)
        self.extra = ""
        if source or metadata:
            extra = {"source": source, "metadata": metadata}
            self.extra = to_json({k: v for k, v in extra.items() if v})
        self.fingerprint = fingerprint_of(campaign_id, user_id, channel, self.extra)
        self.now = now
        self.shed = shed
        self.serials = ("", "")  # the one that was asked for, and that of the window before

    def command(self, at: int) -> commands.Claim:
        """What is asked of the cell at such a time."""
        serial, before, window = self.engine.serials("claim", self.handle, self.key, at)
        self.serials = serial, before
        return commands.Claim(
            handle=self.handle,
            now=self.now,
            who=self.who,
            user_id=self.user_id,
            campaign_id=self.campaign_id,
            channel=self.channel,
            serial=serial,
            serial_before=before,
            window=window,
            fingerprint=self.fingerprint,
            offset=self.engine.offset(at),
            extra=self.extra,
            source=self.source,
            metadata=self.metadata,
        )

    def begin(self) -> asyncio.Future[Reply]:
        """Ask; Unavailable where no more may be asked."""
        engine = self.engine
        command = self.command(self.now or engine.clock())
        lane = engine.lane(engine.cell_of(self.handle))
        return lane.submit("claim", _pack(command), shed=self.shed)

    def known(self, reply: Reply) -> Answer[CouponView] | None:
        """The answer, None where the reply is not the last word."""
        if self.now == 0:
            self.engine.server.saw(reply.now)
        outcome = _OUTCOMES[reply.outcome]
        if outcome <= Outcome.REPEATED:
            self.engine.doors.won(self.handle, self.key)
            return Answer(outcome, self._coupon(reply))
        if outcome is Outcome.WINDOW_MOVED or (
            outcome is Outcome.SOLD_OUT and self.engine.segments.several
        ):
            return None
        return self._refusal(reply)

    async def answer(self) -> Answer[CouponView]:
        """All of it."""
        reply = await self.begin()
        return self.known(reply) or await self.settle(reply)

    async def settle(self, reply: Reply) -> Answer[CouponView]:
        """The answer, whatever it takes."""
        if reply.outcome == Outcome.WINDOW_MOVED:  # our clock was a window off
            reply = await self.engine.act("claim", self.command(reply.now))
        if reply.outcome == Outcome.SOLD_OUT:
            reply = await self.engine.segments.again(
                reply, self._ask_again, self.campaign_id, self.handle, now=self.now
            )
        return self.known(reply) or self._refusal(reply)

    async def _ask_again(self) -> Reply:
        return await self.engine.keyed("claim", self.now, self.command)

    def _refusal(self, reply: Reply) -> Answer[CouponView]:
        outcome = _OUTCOMES[reply.outcome]
        if self.now == 0:
            self.engine.doors.refused(self.handle, self.campaign_id, outcome)
        opens = self.engine.opens(outcome, _detail(reply.detail), reply.now)
        return Answer(outcome, details={"retry_at": opens} if opens else {})

    def _coupon(self, reply: Reply) -> CouponView:
        record = _coupon(reply.value)
        # A repeat may have found the coupon of the window before; its issue time tells which.
        serial = self.serials[keys.window_of(record.issued) != keys.window_of(reply.now)]
        coupon_id = f"C{self.handle}{serial}"
        told = _kind(reply.detail)
        if told is None:
            return CouponView(coupon_id, self.user_id, record, reply.now)
        kind, benefit, uses, amount, event = told
        value = amount if benefit == STORED_VALUE else None
        return CouponView(coupon_id, self.user_id, record, reply.now, kind, uses, value, event)
