"""The engine: one async method a verb. Acts are decided in Lua, in batches (batching.py).

``who`` is JSON that goes into the fact untouched; ``now`` is 0 (the server's clock decides) or,
on a rehearsal server, Unix ms. Refusals are values (``Answer.outcome``); ``Unavailable`` means
that nobody knows, or that the cell is fenced: ask again with the same key.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import msgspec

from engine import commands, keys
from engine.acting import Acting, Mall, fingerprint_of
from engine.batching import Fence, Observer, Reply, as_text
from engine.checkins import CheckIns
from engine.claiming import Claim
from engine.doors import Doors
from engine.fastpath import serial_of
from engine.gifts import Gifts
from engine.orders import Orders
from engine.outcomes import Outcome
from engine.parking.payments import Payments
from engine.parking.stays import Parking
from engine.points import Points
from engine.prints import Prints
from engine.records import (
    CouponRecord,
    Line,
    RedemptionRecord,
    SkippedCoupon,
    UserRecord,
)
from engine.rules import Skipped
from engine.server import Server
from engine.snapshots import Snapshots
from engine.views import Answer, CouponView, Live, Offer, QuotaLeft, Redemption, Reversal, Wallet
from engine.waiting import Waiting

_coupon = msgspec.msgpack.Decoder(CouponRecord).decode
_redemption = msgspec.msgpack.Decoder(RedemptionRecord).decode
_user = msgspec.msgpack.Decoder(UserRecord).decode
_skipped = msgspec.msgpack.Decoder(list[SkippedCoupon] | None).decode
_detail = msgspec.msgpack.Decoder(str | int | None).decode
_AT_ONCE = 1000  # members of an audience that are told in one go


class Engine(Acting):
    """All acts of one tenant, from one process."""

    def __init__(
        self, mall: Mall, server: Server, fence: Fence, observe: Observer | None = None
    ) -> None:
        super().__init__(mall, server, fence, observe)
        self.doors = Doors(self)
        self._snapshots = Snapshots(self, server)
        self.points = Points(self)
        self.orders = Orders(self)
        self.gifts = Gifts(self)
        self.checkins = CheckIns(self)
        self.prints = Prints(self)
        self.waiting = Waiting(self, self.orders)
        self.parking = Parking(self)
        self.payments = Payments(self)

    async def drain(self) -> None:
        """Wait until nothing is queued or in flight."""
        await self.doors.drain()
        await self.waiting.drain()
        await super().drain()

    # ---- giving out --------------------------------------------------------------------------

    def refused_here(
        self, user_id: str, campaign_id: str, channel: str, key: str
    ) -> Answer[CouponView] | None:
        """The refusal of a claim that this process can tell by itself (doors.py); None = ask."""
        if not self.doors.any_shut:
            return None
        return self.doors.refusal(self.handle_of(user_id), campaign_id, channel, key)

    async def claim(
        self,
        *,
        user_id: str,
        campaign_id: str,
        channel: str,
        key: str,
        who: str,
        source: dict[str, Any] | None = None,
        metadata: dict[str, Any] | None = None,
        now: int = 0,
    ) -> Answer[CouponView]:
        """Claim one coupon of a campaign for a user."""
        return await Claim(
            self, user_id=user_id, campaign_id=campaign_id, channel=channel, key=key, who=who,
            source=source, metadata=metadata, now=now,
        ).answer()  # fmt: skip

    async def offers(
        self, *, user_id: str, campaign_ids: Sequence[str], channel: str | None = None, now: int = 0
    ) -> tuple[int, list[Offer | None]]:
        """(server time, one a campaign in the order asked; None = no such campaign)."""
        return await self._snapshots.offers(user_id, campaign_ids, channel, now)

    # ---- taking back -------------------------------------------------------------------------

    async def redeem(
        self,
        *,
        handle: str,
        coupons: Sequence[tuple[str, int, bool]],
        store_id: str,
        key: str,
        who: str,
        amount: int,
        lines: Sequence[Line],
        member_step: int = 0,
        member_stale: bool = False,
        terminal_id: str = "",
        staff_id: str = "",
        channel: str = "",
        order_ref: str = "",
        hold_seconds: int = 0,
        best_effort: bool = False,
        asked: str = "",
        expected: tuple[int, int] | None = None,
        points: int = 0,
        skipped: Sequence[Skipped] = (),
        now: int = 0,
    ) -> Answer[Redemption]:
        """Redeem or hold coupons. ``coupons``: (coupon id, step of its code or 0, stale).

        ``asked``: what was asked for where the coupons were searched, not named; it stands for
        them under the key, and ``expected`` is what they must take off and then pay, else
        WALLET_MOVED; ``skipped``: what the search left in the wallet, kept with the record.
        ``points``: to pay with after all coupons, -1 = as many as are useful.
        """
        presented = [
            commands.Presented(coupon_id[-keys.SERIAL_LENGTH :], step, int(stale))
            for coupon_id, step, stale in coupons
        ]
        basket = [(line.id, line.amount, line.quantity, line.sku, line.category) for line in lines]
        named = asked or sorted(item.serial for item in presented)
        told = (store_id, terminal_id, staff_id, channel, order_ref, amount, basket, hold_seconds)
        fingerprint = fingerprint_of(named, *told, best_effort, *([points] if points else []))
        left = [(s.id[-keys.SERIAL_LENGTH :], s.outcome.value, s.short_by) for s in skipped]
        used: list[str] = []

        def build(at: int) -> commands.Redeem:
            serial, before, window = self.serials("redeem", handle, key, at)
            used[:] = [serial]
            return commands.Redeem(
                handle=handle,
                now=now,
                who=who,
                serial=serial,
                serial_before=before,
                window=window,
                fingerprint=fingerprint,
                offset=self.offset(at),
                coupons=presented,
                member_step=member_step,
                member_stale=int(member_stale),
                store_id=store_id,
                terminal_id=terminal_id,
                staff_id=staff_id,
                channel=channel,
                order_ref=order_ref,
                amount=amount,
                lines=as_text(msgspec.msgpack.encode(basket)),
                hold_seconds=hold_seconds,
                all_or_nothing=int(not best_effort),
                expected=-1 if expected is None else expected[0],
                expected_tendered=0 if expected is None else expected[1],
                points=points,
                skipped=left,
            )

        reply = await self.keyed("redeem", now, build)
        outcome = Outcome(reply.outcome)
        if outcome <= Outcome.REPEATED:  # a repeat tells which window it was found in
            serial = str(_detail(reply.detail) or used[0])
            return Answer(outcome, self._redemption(handle, serial, reply))
        return Answer(outcome, details=_redeem_details(handle, outcome, reply))

    def _redemption(self, handle: str, serial: str, reply: Reply) -> Redemption:
        return Redemption(f"R{handle}{serial}", handle, _redemption(reply.value), reply.now)

    async def commit(
        self,
        *,
        redemption_id: str,
        key: str,
        who: str,
        store_id: str = "",
        amount: int | None = None,
        now: int = 0,
    ) -> Answer[Redemption]:
        """Commit a hold. ``store_id``: the caller's own ("" = none); another's is FORBIDDEN.

        ``amount``: what was tendered at last (stored value and points), at most what was held;
        the rest returns. None = all that was held.
        """
        place = keys.split_id("R", redemption_id)
        if place is None:
            return Answer(Outcome.NOT_FOUND)
        finish = self._finish("commit", redemption_id, key, who, store_id, now, amount)
        command = commands.Commit(**finish, amount=-1 if amount is None else amount)
        return await self._finished("commit", command)

    async def release(
        self, *, redemption_id: str, key: str, who: str, store_id: str = "", now: int = 0
    ) -> Answer[Redemption]:
        """Release a hold. ``store_id``: the caller's own ("" = none); another's is FORBIDDEN."""
        place = keys.split_id("R", redemption_id)
        if place is None:
            return Answer(Outcome.NOT_FOUND)
        finish = self._finish("release", redemption_id, key, who, store_id, now)
        return await self._finished("release", commands.Finish(**finish))

    def _finish(
        self, verb: str, redemption_id: str, key: str, who: str, store_id: str, now: int, *more: Any
    ) -> dict[str, Any]:
        handle, serial = keys.split_id("R", redemption_id) or ("", "")
        said = [part for part in more if part is not None]
        return {
            "handle": handle,
            "now": now,
            "who": who,
            "redemption": serial,
            "key": serial_of(self.mall.handle_key, verb, handle, key, 0),
            "fingerprint": fingerprint_of(verb, redemption_id, *said),
            "store_id": store_id,
        }

    async def _finished(self, verb: str, command: commands.Finish) -> Answer[Redemption]:
        reply = await self.act(verb, command)
        outcome = Outcome(reply.outcome)
        if outcome > Outcome.REPEATED:
            field = _detail(reply.detail)
            return Answer(outcome, details={"field": field} if field else {})
        return Answer(outcome, self._redemption(command.handle, command.redemption, reply))

    async def reverse(
        self,
        *,
        redemption_id: str,
        key: str,
        who: str,
        reason: str,
        lines: Sequence[tuple[str, int]] | None = None,
        restore: bool = True,
        store_id: str = "",
        now: int = 0,
    ) -> Answer[Reversal]:
        """Reverse a redemption: ``lines`` (line id, gross returned), None = all that is left."""
        place = keys.split_id("R", redemption_id)
        if place is None:
            return Answer(Outcome.NOT_FOUND)
        handle, redemption = place
        wanted = None if lines is None else list(lines)
        fingerprint = fingerprint_of(redemption_id, reason, wanted, restore)

        def build(at: int) -> commands.Reverse:
            kind = f"reverse {redemption}"
            serial, before, window = self.serials(kind, handle, key, at)
            return commands.Reverse(
                handle=handle,
                now=now,
                who=who,
                redemption=redemption,
                serial=serial,
                serial_before=before,
                window=window,
                fingerprint=fingerprint,
                reason=reason,
                lines=wanted,
                restore=int(restore),
                store_id=store_id,
            )

        reply = await self.keyed("reverse", now, build)
        outcome = Outcome(reply.outcome)
        detail = _detail(reply.detail)
        if outcome > Outcome.REPEATED:
            return Answer(outcome, details={"field": f"lines[{detail}]"} if detail else {})
        whole = self._redemption(handle, redemption, reply)
        record = next(r for r in whole.record.reversals if r.serial == detail)
        return Answer(outcome, Reversal(keys.make_id("V", handle, str(detail)), record, whole))

    async def void(
        self, *, coupon_id: str, key: str, who: str, reason: str, now: int = 0
    ) -> Answer[CouponView]:
        """Withdraw a coupon that is not used."""
        place = keys.split_id("C", coupon_id)
        if place is None:
            return Answer(Outcome.NOT_FOUND)
        handle, serial = place
        reply = await self.act(
            "void",
            commands.Void(
                handle=handle,
                now=now,
                who=who,
                serial=serial,
                key=serial_of(self.mall.handle_key, "void", handle, key, 0),
                fingerprint=fingerprint_of(coupon_id, reason),
                reason=reason,
            ),
        )
        outcome = Outcome(reply.outcome)
        if outcome > Outcome.REPEATED:
            return Answer(outcome)
        record = _coupon(reply.value)
        wallet = await self._snapshots.wallet(handle, [serial], now)
        view = wallet.view(serial)
        return Answer(outcome, msgspec.structs.replace(view, record=record, now=reply.now))

    async def lapse(self, *, redemption_id: str, who: str, now: int = 0) -> Outcome:
        """Tell the books that a hold's time has passed (the sweeper)."""
        handle, serial = keys.split_id("R", redemption_id) or ("", "")
        command = commands.Lapse(handle=handle, now=now, who=who, redemption=serial)
        return Outcome((await self.act("lapse", command)).outcome)

    # ---- people ------------------------------------------------------------------------------

    async def set_profile(
        self,
        *,
        user_id: str,
        who: str,
        tier: str | None = None,
        tier_until: int | None = None,
        frozen: bool | None = None,
        now: int = 0,
    ) -> Answer[UserRecord]:
        """Tell a user's tier (until, ms, 0 = no end) and freeze; None leaves as is."""
        command = commands.Profile(
            handle=self.handle_of(user_id),
            now=now,
            who=who,
            user_id=user_id,
            tier=tier,
            tier_until=tier_until,
            frozen=None if frozen is None else int(frozen),
        )
        reply = await self.act("profile", command)
        return Answer(Outcome(reply.outcome), _user(reply.value))

    async def set_members(
        self, *, audience_id: str, add: Sequence[str], remove: Sequence[str], who: str, now: int = 0
    ) -> Answer[int]:
        """Put users into an audience and take users out; value: how many changed."""
        wanted = [(user, 1) for user in add] + [(user, 0) for user in remove]
        changed = 0
        for start in range(0, len(wanted), _AT_ONCE):
            acts = [
                self.act(
                    "member",
                    commands.Member(
                        handle=self.handle_of(user_id),
                        now=now,
                        who=who,
                        user_id=user_id,
                        audience_id=audience_id,
                        present=present,
                    ),
                )
                for user_id, present in wanted[start : start + _AT_ONCE]
            ]
            changed += sum(reply.outcome == Outcome.DONE for reply in await asyncio.gather(*acts))
        return Answer(Outcome.DONE, changed)

    # ---- reading -----------------------------------------------------------------------------

    async def wallet(self, handle: str, *, store_id: str = "", now: int = 0) -> Wallet:
        """All coupons of a person; empty when unknown. ``store_id``: where today's uses count."""
        return await self._snapshots.wallet(handle, None, now, store_id)

    async def some_coupons(
        self, handle: str, serials: Sequence[str], *, store_id: str = "", now: int = 0
    ) -> Wallet:
        """The wallet with just these coupons, those of them that exist."""
        return await self._snapshots.wallet(handle, serials, now, store_id)

    async def has_claimed(self, handle: str, key: str, *, now: int = 0) -> bool:
        """Whether a claim of this person stands under this Idempotency-Key."""
        serial, before, _ = self.serials("claim", handle, key, now or self.clock())
        return bool((await self.some_coupons(handle, [serial, before], now=now)).coupons)

    async def coupon(self, coupon_id: str, *, store_id: str = "", now: int = 0) -> Wallet | None:
        """A wallet snapshot with just that coupon; None when there is none."""
        place = keys.split_id("C", coupon_id)
        if place is None:
            return None
        found = await self._snapshots.wallet(place[0], [place[1]], now, store_id)
        return found if found.coupons else None

    async def redemption(self, redemption_id: str, *, now: int = 0) -> Redemption | None:
        """A redemption as it is now; None when Redis does not hold it (the books may)."""
        return await self._snapshots.redemption(redemption_id, now)

    async def live(self, campaign_id: str) -> Live | None:
        """Counters over all cells; touches Redis at most once a second a campaign."""
        return await self._snapshots.live(campaign_id)

    async def quotas(self, event_id: str) -> tuple[QuotaLeft, ...]:
        """What the quotas of an event have left, orders that have lapsed not counted."""
        return await self._snapshots.quotas(event_id)

    def forget_live(self, campaign_id: str) -> None:
        """The next ``live`` counts anew, with what this process has just changed."""
        self._snapshots.forget_live(campaign_id)


def _coupon_id(handle: str, serial: str) -> str | None:
    """None for what is no coupon: the points of a redemption."""
    return keys.make_id("C", handle, serial) if serial else None


def _redeem_details(handle: str, outcome: Outcome, reply: Reply) -> dict[str, Any]:
    """What helps with a refused redemption: all that failed, the first of them by name."""
    if outcome == Outcome.NOT_FOUND:
        missing = str(_detail(reply.detail) or "")
        if missing == "store_id":
            return {"field": "store_id"}
        return {"coupon_id": keys.make_id("C", handle, missing)}
    failed = _skipped(reply.value) or []
    if not failed:
        return {}
    details: dict[str, Any] = {
        "coupon_id": _coupon_id(handle, failed[0].serial),
        "failed": [
            {
                "coupon_id": _coupon_id(handle, item.serial),
                "outcome": Outcome(item.outcome),
                "short_by": item.short_by,
            }
            for item in failed
        ],
    }
    if failed[0].short_by:
        details["short_by"] = failed[0].short_by
    return details
