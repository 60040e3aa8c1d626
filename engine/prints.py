"""Printed coupons: issued to nobody, each under a handle of its own, until somebody takes it."""

from __future__ import annotations

from engine import commands, keys
from engine.acting import Acting, fingerprint_of
from engine.batching import Reply
from engine.outcomes import Outcome
from engine.typed_codes import place_of
from engine.views import Answer


class Prints:
    """Printed coupons of one tenant."""

    def __init__(self, acting: Acting) -> None:
        self._acting = acting

    async def issue(
        self, *, number: int, campaign_id: str, channel: str, who: str, now: int = 0
    ) -> Answer[str]:
        """Issue the coupon of a print's number, by the rules of a claim; value: its id.

        The number is the key: however often it is asked for, there is one coupon.
        """
        acting = self._acting
        handle, serial = place_of(acting.mall.handle_key, number)
        owner = f"{keys.PRINTED}{number}"

        async def claim() -> Reply:
            return await acting.keyed("claim", now, build)

        def build(at: int) -> commands.Claim:
            return commands.Claim(
                handle=handle,
                now=now,
                who=who,
                user_id=owner,
                campaign_id=campaign_id,
                channel=channel,
                serial=serial,
                serial_before=serial,
                window=keys.window_of(at),
                fingerprint=fingerprint_of("print", campaign_id, channel),
                offset=acting.offset(at),
                extra="",
                source="",
                metadata="",
            )

        reply = await claim()
        if reply.outcome == Outcome.SOLD_OUT and acting.segments.several:
            reply = await acting.segments.again(reply, claim, campaign_id, handle, now=now)
        outcome = Outcome(reply.outcome)
        if outcome > Outcome.REPEATED:
            return Answer(outcome)
        return Answer(outcome, keys.make_id("C", handle, serial))
