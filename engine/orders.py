"""Orders: set aside, paid, cancelled or lapsed; and refunds of what was bought."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
from redis.exceptions import RedisError

from engine import commands, keys
from engine.acting import Acting, fingerprint_of, to_json
from engine.batching import Reply
from engine.errors import Unavailable
from engine.fastpath import serial_of
from engine.order_records import OpenOrder, OrderRecord, OrderState, RefundRecord
from engine.outcomes import Outcome
from engine.records import CouponRecord
from engine.segments import QUOTA
from engine.views import Answer

MOST = 100  # coupons of one order
OFFER_SECONDS = 900  # that an offer of a waiting line lasts
LINE_CHANNEL = "waitlist"  # of an order that a waiting line made
ENGINE = '{"key":"","label":"engine","role":"engine"}'  # who made it

Freed = Callable[[str, list[str], int], Awaitable[None]]
"""Told where something came free: the person's handle, campaigns, the act's ``now``."""

_order = msgspec.msgpack.Decoder(OrderRecord).decode
_coupon = msgspec.msgpack.Decoder(CouponRecord).decode
_open = msgspec.msgpack.Decoder(list[OpenOrder]).decode
_text = msgspec.msgpack.Decoder(str | None).decode
_number = msgspec.msgpack.Decoder(int | None).decode


@dataclass(slots=True, frozen=True)
class Order:
    """An order with its place and the moment it was read."""

    id: str
    record: OrderRecord
    now: int

    @property
    def place(self) -> tuple[str, str]:
        """(handle, serial)."""
        return self.id[1 : 1 + keys.HANDLE_LENGTH], self.id[1 + keys.HANDLE_LENGTH :]

    @property
    def status(self) -> str:
        """pending | paid | cancelled | expired, by the clock."""
        state = self.record.state
        if state == OrderState.PAID:
            return "paid"
        if state == OrderState.CANCELLED:
            return "cancelled"
        open_ = state == OrderState.PENDING and self.now < self.record.until
        return "pending" if open_ else "expired"


@dataclass(slots=True, frozen=True)
class Refund:
    """Money of a coupon that goes back, as of ``now``."""

    coupon_id: str
    record: RefundRecord
    now: int


class Orders:
    """Orders and refunds of one tenant's people."""

    def __init__(self, acting: Acting) -> None:
        self._acting = acting
        self.freed: Freed | None = None  # told of what came free: the waiting lines

    async def place(
        self,
        *,
        user_id: str,
        items: Sequence[tuple[str, int]],
        channel: str,
        key: str,
        who: str,
        hold_seconds: int = 900,
        source: dict[str, Any] | None = None,
        waits: bool = False,
        now: int = 0,
    ) -> Answer[Order]:
        """Set ``items`` (campaign, quantity; each campaign once) aside until they are paid.

        All or nothing; a refusal names the first campaign that can't be had (``campaign_id``).
        ``waits``: for its group to form (``ready``); neither paid nor cancelled until then.
        """
        acting = self._acting
        handle, told = acting.handle_of(user_id), to_json(source)
        wanted = list(items)
        lasts = 0 if waits else hold_seconds  # as long as its group may take
        fingerprint = fingerprint_of(user_id, wanted, lasts, channel, told)

        def build(at: int) -> commands.Reserve:
            serial, before, window = acting.serials("order", handle, key, at)
            return commands.Reserve(
                handle=handle,
                now=now,
                who=who,
                user_id=user_id,
                serial=serial,
                serial_before=before,
                window=window,
                fingerprint=fingerprint,
                offset=acting.offset(at),
                items=wanted,
                hold_seconds=hold_seconds,
                channel=channel,
                source=told,
                waits=int(waits),
            )

        reply = await acting.keyed("order", now, build)
        for _ in items:  # each campaign may have its stock elsewhere
            if reply.outcome != Outcome.SOLD_OUT or not acting.segments.several:
                break
            if not await self._gather(wanted, acting.cell_of(handle), now):
                break
            name = str(_text(reply.detail))
            reply = await acting.segments.again(
                reply, lambda: acting.keyed("order", now, build), name, handle,
                dict(wanted)[name], now,
            )
        outcome = Outcome(reply.outcome)
        if outcome > Outcome.REPEATED:
            campaign, opens = _text(reply.detail), _number(reply.value)
            if outcome is Outcome.POINTS_INSUFFICIENT:
                return Answer(outcome, details={"short_by": opens})
            details: dict[str, Any] = {"campaign_id": campaign} if campaign else {}
            opens = acting.opens(outcome, opens, reply.now)
            return Answer(outcome, details=details | ({"retry_at": opens} if opens else {}))
        order_id = keys.make_id("O", handle, str(_text(reply.detail)))
        return Answer(outcome, Order(order_id, _order(reply.value), reply.now))

    async def offer(
        self, *, user_id: str, campaign_id: str, party: int, name: str, head: bool, now: int = 0
    ) -> Answer[Order]:
        """Set ``party`` coupons aside for somebody of a waiting line; ``name``: of their entry.

        The same entry finds the same offer. ``head``: it is their turn, else they are not waiting.
        """
        acting, wanted = self._acting, [(campaign_id, party)]
        handle = acting.handle_of(user_id)
        order_id = self.offer_id(handle, name)
        serial = order_id[-keys.SERIAL_LENGTH :]

        def build(at: int) -> commands.Reserve:
            return commands.Reserve(
                handle=handle,
                now=now,
                who=ENGINE,
                user_id=user_id,
                serial=serial,
                serial_before=serial,
                window=keys.window_of(at),
                fingerprint=fingerprint_of("offer", campaign_id, party, name),
                offset=acting.offset(at),
                items=wanted,
                hold_seconds=OFFER_SECONDS,
                channel=LINE_CHANNEL,
                source="",
                head=int(head),
                spare=self._serials(handle, serial, 1, party),
            )

        reply = await acting.keyed("order", now, build)
        if reply.outcome == Outcome.SOLD_OUT and acting.segments.several:
            reply = await acting.segments.again(
                reply, lambda: acting.keyed("order", now, build), campaign_id, handle, party, now,
                head,
            )  # fmt: skip
        outcome = Outcome(reply.outcome)
        if outcome > Outcome.REPEATED:
            return Answer(outcome)
        return Answer(outcome, Order(order_id, _order(reply.value), reply.now))

    def offer_id(self, handle: str, name: str) -> str:
        """The id of the order that an entry in a waiting line is offered."""
        secret = self._acting.mall.handle_key
        return keys.make_id("O", handle, serial_of(secret, "offer", handle, name, 0))

    def _serials(self, handle: str, order: str, first: int, end: int) -> list[str]:
        """Serials of the coupons of an order, from ``first`` to before ``end``."""
        secret = self._acting.mall.handle_key
        return [serial_of(secret, "bought", handle, f"{order}.{n}", 0) for n in range(first, end)]

    async def pay(
        self,
        *,
        order_id: str,
        payment_ref: str,
        paid_amount: int,
        key: str,
        who: str,
        now: int = 0,
    ) -> Answer[Order]:
        """Take a payment notice: coupons are issued. The same ``payment_ref`` again: as before.

        Refused (ORDER_EXPIRED, ORDER_CANCELLED, AMOUNT_MISMATCH with ``expected``), the money is
        not kept: ``to_return`` says how much of which payment.
        """
        acting, place = self._acting, keys.split_id("O", order_id)
        if place is None:
            return Answer(Outcome.NOT_FOUND)
        handle, serial = place
        secret = acting.mall.handle_key
        command = commands.Pay(
            handle=handle,
            now=now,
            who=who,
            order=serial,
            key=serial_of(secret, "pay", handle, key, 0),
            fingerprint=fingerprint_of("pay", order_id, payment_ref, paid_amount),
            payment_ref=payment_ref,
            paid_amount=paid_amount,
            serials=self._serials(handle, serial, 0, MOST),
            offset=acting.offset(now or acting.clock()),
        )
        reply = await acting.act("order_pay", command)
        if reply.outcome == Outcome.ORDER_EXPIRED and await self._supplied(order_id, now):
            reply = await acting.act("order_pay", command)
        outcome = Outcome(reply.outcome)
        if outcome > Outcome.REPEATED:
            if outcome in (Outcome.NOT_FOUND, Outcome.IDEMPOTENCY_KEY_REUSED):
                return Answer(outcome)
            back = {"payment_ref": payment_ref, "amount": paid_amount}
            expected = _number(reply.detail)
            details = {"to_return": back} | ({} if expected is None else {"expected": expected})
            return Answer(outcome, details=details)
        return Answer(outcome, Order(order_id, _order(reply.value), reply.now))

    async def _supplied(self, order_id: str, now: int) -> bool:
        """Whether there is stock in the order's cell for all of it, from other cells maybe."""
        acting, order = self._acting, await self.read(order_id, now=now)
        if order is None or not acting.segments.several:
            return False
        cell = acting.cell_of(order.place[0])
        wanted = [(item.campaign_id, item.quantity) for item in order.record.items]
        if not await self._gather(wanted, cell, now):
            return False
        for item in order.record.items:
            at_least = item.quantity
            if not await acting.segments.refill(item.campaign_id, cell, at_least, now=now):
                return False
        return True

    async def ready(
        self, *, order_id: str, pay_seconds: int, who: str, now: int = 0
    ) -> Answer[Order]:
        """The order's group has formed: it may be paid for so long."""
        handle, serial = keys.split_id("O", order_id) or ("", "")
        command = commands.Ready(
            handle=handle, now=now, who=who, order=serial, pay_seconds=pay_seconds
        )
        return self._order(order_id, await self._acting.act("order_ready", command))

    def _order(self, order_id: str, reply: Reply) -> Answer[Order]:
        outcome = Outcome(reply.outcome)
        if outcome > Outcome.REPEATED:
            return Answer(outcome)
        return Answer(outcome, Order(order_id, _order(reply.value), reply.now))

    async def _gather(self, items: Sequence[tuple[str, int]], cell: int, now: int) -> bool:
        """Bring to ``cell`` what these items need of quotas that several of them count against.

        False: there is not so much in all cells together.
        """
        segments, needed = self._acting.segments, Counter[str]()
        sharing = Counter[str]()
        for name, quantity in items if len(items) > 1 else ():
            for quota in await segments.quotas_of(name, now):
                needed[quota] += quantity
                sharing[quota] += 1
        shared = ((name, n) for name, n in needed.items() if sharing[name] > 1)
        for name, at_least in shared:
            if not await segments.refill(name, cell, at_least, now=now, what=QUOTA):
                return False
        return True

    async def cancel(
        self,
        *,
        order_id: str,
        key: str,
        who: str,
        now: int = 0,
        moves_on: bool = True,
        group: bool = False,
    ) -> Answer[Order]:
        """Cancel an order that is not paid: what it set aside is free again.

        ``moves_on``: and is offered to those who wait for it. ``group``: because its group did not
        form; HELD where that is still open.
        """
        place = keys.split_id("O", order_id)
        if place is None:
            return Answer(Outcome.NOT_FOUND)
        handle, serial = place
        command = commands.Cancel(
            handle=handle,
            now=now,
            who=who,
            order=serial,
            key=serial_of(self._acting.mall.handle_key, "cancel", handle, key, 0),
            fingerprint=fingerprint_of("cancel", order_id),
            group=int(group),
        )
        reply = await self._acting.act("order_cancel", command)
        outcome = Outcome(reply.outcome)
        if outcome > Outcome.REPEATED:
            return Answer(outcome)
        record = _order(reply.value)
        if outcome is Outcome.DONE and moves_on:
            await self._freed(handle, record, now)
        return Answer(outcome, Order(order_id, record, reply.now))

    async def _freed(self, handle: str, record: OrderRecord, now: int) -> None:
        if self.freed is not None:
            await self.freed(handle, [item.campaign_id for item in record.items], now)

    async def lapse(self, *, order_id: str, who: str, now: int = 0) -> Outcome:
        """Tell the books that an order's time has passed (the sweeper)."""
        handle, serial = keys.split_id("O", order_id) or ("", "")
        command = commands.Unpaid(handle=handle, now=now, who=who, order=serial)
        return Outcome((await self._acting.act("order_lapse", command)).outcome)

    # ---- refunds -----------------------------------------------------------------------------

    async def has_order(self, handle: str, key: str, *, now: int = 0) -> bool:
        """Whether this person's order under this Idempotency-Key stands."""
        acting = self._acting
        serials = acting.serials("order", handle, key, now or acting.clock())[:2]
        tag = acting.tag_of(handle)
        found = [await acting.read_key(keys.order_key(tag, handle, one)) for one in serials]
        return any(found)

    async def refund(
        self, *, coupon_id: str, reason: str, refund_ref: str, key: str, who: str, now: int = 0
    ) -> Answer[Refund]:
        """Send back what was paid for what is unused of a coupon."""
        place = keys.split_id("C", coupon_id)
        if place is None:
            return Answer(Outcome.NOT_FOUND)
        handle, serial = place
        command = commands.Repay(
            handle=handle,
            now=now,
            who=who,
            serial=serial,
            key=serial_of(self._acting.mall.handle_key, "refund", handle, key, 0),
            fingerprint=fingerprint_of("refund", coupon_id, reason, refund_ref),
            refund_ref=refund_ref,
            reason=reason,
            entry=self._entry("refund", handle, serial, refund_ref),
        )
        return await self._refund("refund", coupon_id, command)

    async def refund_failed(
        self, *, coupon_id: str, refund_ref: str, key: str, who: str, now: int = 0
    ) -> Answer[Refund]:
        """The money of a refund could not be sent: the coupon is its buyer's again.

        Where its place in the stock or in the buyer's limits is taken meanwhile, that is the
        refusal, and the refund stands.
        """
        place = keys.split_id("C", coupon_id)
        if place is None:
            return Answer(Outcome.NOT_FOUND)
        handle, serial = place
        acting = self._acting
        command = commands.Unrepay(
            handle=handle,
            now=now,
            who=who,
            serial=serial,
            key=serial_of(acting.mall.handle_key, "unrefund", handle, key, 0),
            refund_ref=refund_ref,
            offset=acting.offset(now or acting.clock()),
            entry=self._entry("unrefund", handle, serial, refund_ref),
        )
        answer = await self._refund("refund_fail", coupon_id, command)
        if answer.outcome is Outcome.SOLD_OUT and acting.segments.several:
            name = await self._campaign_of(handle, serial)
            if await acting.segments.refill(name, acting.cell_of(handle), now=now):
                answer = await self._refund("refund_fail", coupon_id, command)
        return answer

    async def _campaign_of(self, handle: str, serial: str) -> str:
        """The campaign of a coupon that is there."""
        (packed,) = await self._acting.read_wallet(handle, f"C{serial}")
        return _coupon(packed).campaign_id if packed else ""

    def _entry(self, kind: str, handle: str, serial: str, ref: str) -> str:
        secret = self._acting.mall.handle_key
        return serial_of(secret, f"points of {kind}", handle, f"{serial} {ref}", 0)

    async def _refund(self, verb: str, coupon_id: str, command: commands.Command) -> Answer[Refund]:
        reply = await self._acting.act(verb, command)
        outcome = Outcome(reply.outcome)
        if outcome > Outcome.REPEATED:
            return Answer(outcome)
        position = _number(reply.detail) or 0
        if position < 0:  # kept with the coupon: somebody had given it on
            kept = _coupon(reply.value).refunds[-position - 1]
            return Answer(outcome, Refund(coupon_id, kept, reply.now))
        order = _order(reply.value)
        if outcome is Outcome.DONE and verb == "refund":
            await self._freed(command.handle, order, command.now)
        return Answer(outcome, Refund(coupon_id, order.refunds[position - 1], reply.now))

    # ---- reading -----------------------------------------------------------------------------

    async def read(self, order_id: str, *, now: int = 0) -> Order | None:
        """One order as of now, with its coupons; None when there is none."""
        found = await self.read_all([order_id], now=now)
        return found[0] if found else None

    async def read_all(self, order_ids: Sequence[str], *, now: int = 0) -> list[Order]:
        """These orders of one person, those of them that exist."""
        acting = self._acting
        places = [(name, place) for name in order_ids if (place := keys.split_id("O", name))]
        try:
            packed = await asyncio.gather(
                *(
                    acting.server.get(keys.order_key(acting.tag_of(handle), handle, serial))
                    for _, (handle, serial) in places
                )
            )
        except (RedisError, OSError) as error:
            raise Unavailable("Redis does not answer") from error
        moment = now or acting.clock()
        return [
            Order(name, _order(one), moment)
            for (name, _), one in zip(places, packed, strict=True)
            if one
        ]

    async def open_of(self, handle: str) -> list[str]:
        """Ids of a person's orders that are neither paid nor ended, the oldest first."""
        (packed,) = await self._acting.read_wallet(handle, "q")
        return [keys.make_id("O", handle, one.serial) for one in _open(packed)] if packed else []
