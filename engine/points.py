"""Points and purchases: the verbs of a person's points, and what the payment platform reports."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

import msgspec
from redis.exceptions import RedisError

from engine import commands, keys, lots
from engine.acting import Acting, fingerprint_of
from engine.batching import Reply
from engine.errors import Unavailable
from engine.fastpath import serial_of
from engine.notes import note, noted
from engine.outcomes import Outcome
from engine.records import EntryRecord, PointsRecord, PurchaseRecord, PurchaseRefund
from engine.views import Answer

DAY_MS = 86_400_000
ALL = -1
KIND = "purchase key"  # of Idempotency-Keys: one is a purchase's or a refund's, not both

_entry = msgspec.msgpack.Decoder(EntryRecord).decode
_purchase = msgspec.msgpack.Decoder(PurchaseRecord).decode
_record = msgspec.msgpack.Decoder(PointsRecord).decode
_number = msgspec.msgpack.Decoder(int | None).decode


@dataclass(slots=True, frozen=True)
class Entry:
    """An entry of points with its id (``P`` + handle + serial)."""

    id: str
    record: EntryRecord


@dataclass(slots=True, frozen=True)
class Purse:
    """A person's points as of ``now``."""

    now: int
    record: PointsRecord


class Points:
    """Entries, purchases and refunds of one tenant's people."""

    def __init__(self, acting: Acting) -> None:
        self._acting = acting

    # ---- entries -----------------------------------------------------------------------------

    async def credit(
        self,
        *,
        user_id: str,
        kind: str,
        points: int,
        key: str,
        who: str,
        reason: str = "",
        ref: str = "",
        available: int = 0,
        expires: int = 0,
        now: int = 0,
    ) -> Answer[Entry]:
        """Make an entry: ``kind`` earn, spend or adjust; ``points`` signed; times in ms, 0 = none.

        POINTS_INSUFFICIENT says ``short_by``.
        """
        acting = self._acting
        handle = acting.handle_of(user_id)
        fingerprint = fingerprint_of(user_id, kind, points, reason, ref, available, expires)

        def build(at: int) -> commands.Credit:
            serial, before, window = acting.serials("points", handle, key, at)
            used[:] = serial, before
            return commands.Credit(
                handle=handle,
                now=now,
                who=who,
                user_id=user_id,
                kind=kind,
                points=points,
                reason=reason,
                ref=ref,
                available=available,
                expires=expires,
                serial=serial,
                serial_before=before,
                window=window,
                fingerprint=fingerprint,
            )

        used: list[str] = []
        reply = await acting.keyed("points_credit", now, build)
        return _entry_of(handle, used, reply)

    async def reverse(
        self,
        *,
        entry_id: str,
        key: str,
        who: str,
        points: int = ALL,
        policy: str = "within_balance",
        reason: str = "",
        now: int = 0,
    ) -> Answer[Entry]:
        """Reverse an entry, in part or (``ALL``) as far as its policy allows."""
        acting = self._acting
        place = keys.split_id("P", entry_id)
        if place is None:
            return Answer(Outcome.NOT_FOUND)
        handle, entry = place
        fingerprint = fingerprint_of("reverse", entry_id, points, policy, reason)

        def build(at: int) -> commands.Undo:
            serial, before, window = acting.serials("points", handle, key, at)
            used[:] = serial, before
            return commands.Undo(
                handle=handle,
                now=now,
                who=who,
                entry=entry,
                points=points,
                policy=policy,
                reason=reason,
                serial=serial,
                serial_before=before,
                window=window,
                fingerprint=fingerprint,
            )

        used: list[str] = []
        reply = await acting.keyed("points_reverse", now, build)
        return _entry_of(handle, used, reply)

    async def has_entry(self, handle: str, key: str, *, now: int = 0) -> bool:
        """Whether an entry of this person stands under this Idempotency-Key."""
        acting = self._acting
        first, before, _ = acting.serials("points", handle, key, now or acting.clock())
        tag = acting.tag_of(handle)
        try:
            found = [
                await acting.server.get(keys.points_key(tag, handle, serial))
                for serial in (first, before)
            ]
        except (RedisError, OSError) as error:
            raise Unavailable("Redis does not answer") from error
        return any(found)

    async def expire(self, handle: str, *, now: int = 0) -> None:
        """Tell the books which of a person's lots have expired."""
        await self._acting.act("points_expire", commands.Expire(handle=handle, now=now))

    async def purse(self, user_id: str, *, now: int = 0) -> Purse:
        """A person's points now; empty for somebody unknown."""
        acting = self._acting
        handle = acting.handle_of(user_id)
        try:
            (packed,) = await acting.server.fields(
                keys.wallet_key(acting.tag_of(handle), handle), "p"
            )
        except (RedisError, OSError) as error:
            raise Unavailable("Redis does not answer") from error
        moment = now or acting.clock()
        return Purse(moment, lots.settled(_record(packed) if packed else PointsRecord(), moment))

    # ---- purchases ---------------------------------------------------------------------------

    def purchase_serial(self, handle: str, transaction_id: str) -> str:
        """Where in a person's cell the purchase of this transaction lies."""
        return serial_of(self._acting.mall.handle_key, "purchase", handle, transaction_id, 0)

    def _key(self, handle: str, key: str, use: str, now: int) -> tuple[str, str, str]:
        serial, before, _ = self._acting.serials(KIND, handle, key, now or self._acting.clock())
        return serial, before, use

    async def _name(
        self, transaction_id: str, user_id: str, store_id: str, now: int
    ) -> Answer[None]:
        """Have the transaction named in the cell of its own id; ALREADY_EXISTS: it is another's."""
        handle = self._acting.handle_of("transaction:" + transaction_id)
        reply = await self._acting.act(
            "transaction",
            commands.Named(handle=handle, now=now, user_id=user_id, store_id=store_id),
        )
        outcome = Outcome(reply.outcome)
        fields = {Outcome.NOT_FOUND: "store_id", Outcome.ALREADY_EXISTS: "transaction_id"}
        return Answer(outcome, details={"field": fields[outcome]} if outcome in fields else {})

    async def purchase(
        self,
        *,
        transaction_id: str,
        user_id: str,
        store_id: str,
        amount: int,
        occurred: int,
        key: str,
        who: str,
        channel: str = "",
        receipt_no: str = "",
        now: int = 0,
    ) -> Answer[PurchaseRecord]:
        """Take in a purchase, once a transaction; ``occurred`` in ms says on which day it earns.

        IDEMPOTENCY_KEY_REUSED where ``key`` is another transaction's.
        """
        handle, use = self._acting.handle_of(user_id), fingerprint_of("purchase", transaction_id)
        known = await noted(self._acting, KIND, handle, key, now)
        if known not in ("", use):
            return Answer(Outcome.IDEMPOTENCY_KEY_REUSED)  # before anything is named
        named = await self._name(transaction_id, user_id, store_id, now)
        if not named.ok:
            return Answer(named.outcome, details=named.details)
        acting = self._acting
        reply = await acting.act(
            "purchase",
            commands.Buy(
                key=self._key(handle, key, use, now),
                handle=handle,
                now=now,
                who=who,
                serial=self.purchase_serial(handle, transaction_id),
                user_id=user_id,
                transaction_id=transaction_id,
                store_id=store_id,
                amount=amount,
                occurred=occurred,
                day=(occurred + acting.offset(occurred)) // DAY_MS,
                offset=acting.offset(now or acting.clock()),
                channel=channel,
                receipt_no=receipt_no,
                fingerprint=fingerprint_of(user_id, store_id, amount),
            ),
        )
        if reply.outcome == Outcome.REPEATED and not known:  # told before under another key
            await note(acting, KIND, handle, key, use, now)
        return _purchase_of(reply, "transaction_id")

    async def refund(
        self,
        *,
        transaction_id: str,
        refund_id: str,
        user_id: str,
        amount: int,
        key: str,
        who: str,
        now: int = 0,
    ) -> Answer[tuple[PurchaseRecord, PurchaseRefund]]:
        """Take in a refund, once a ``refund_id`` of its purchase, before the purchase even.

        IDEMPOTENCY_KEY_REUSED where ``key`` is another refund's, or a purchase's.
        """
        handle = self._acting.handle_of(user_id)
        use = fingerprint_of("refund", transaction_id, refund_id)
        known = await noted(self._acting, KIND, handle, key, now)
        if known not in ("", use):
            return Answer(Outcome.IDEMPOTENCY_KEY_REUSED)
        named = await self._name(transaction_id, user_id, "", now)
        if not named.ok:
            return Answer(named.outcome, details=named.details)
        reply = await self._acting.act(
            "purchase_refund",
            commands.Refund(
                key=self._key(handle, key, use, now),
                handle=handle,
                now=now,
                who=who,
                serial=self.purchase_serial(handle, transaction_id),
                user_id=user_id,
                transaction_id=transaction_id,
                refund_id=refund_id,
                amount=amount,
            ),
        )
        if reply.outcome == Outcome.REPEATED and not known:
            await note(self._acting, KIND, handle, key, use, now)
        answer = _purchase_of(reply, "refund_id")
        if answer.value is None:
            return Answer(answer.outcome, details=answer.details)
        made = next(r for r in answer.value.refunds if r.refund_id == refund_id)
        return Answer(answer.outcome, (answer.value, made))

    async def purchase_of(self, transaction_id: str) -> PurchaseRecord | None:
        """The purchase of a transaction; None when none (or only a refund) was reported."""
        acting = self._acting
        named = acting.handle_of("transaction:" + transaction_id)
        try:
            owner = await acting.server.get(keys.transaction_key(acting.tag_of(named), named))
            if owner is None:
                return None
            handle = acting.handle_of(owner.decode())
            serial = self.purchase_serial(handle, transaction_id)
            packed = await acting.server.get(
                keys.purchase_key(acting.tag_of(handle), handle, serial)
            )
        except (RedisError, OSError) as error:
            raise Unavailable("Redis does not answer") from error
        record = _purchase(packed) if packed else None
        return record if record and record.known else None

    async def sweep(self, at_once: int) -> int:
        """Tell the books of lots whose time has passed, in all cells; of how many people."""
        acting, told = self._acting, 0
        for tag in acting.tags:
            due = await acting.server.due(keys.points_due_key(tag), acting.clock(), at_once)
            await asyncio.gather(*(self.expire(handle.decode()) for handle in due))
            told += len(due)
        return told


def _entry_of(handle: str, used: list[str], reply: Reply) -> Answer[Entry]:
    outcome = Outcome(reply.outcome)
    if outcome > Outcome.REPEATED:
        short = _number(reply.detail)
        details: dict[str, object] = {"short_by": short} if short else {}
        if outcome == Outcome.INVALID_REQUEST:
            details["field"] = "expires_at"
        return Answer(outcome, details=details)
    record = _entry(reply.value)
    # A repeat may have found the entry of the window before; its time tells which.
    serial = used[keys.window_of(record.at) != keys.window_of(reply.now)]
    return Answer(outcome, Entry(keys.make_id("P", handle, serial), record))


def _purchase_of(reply: Reply, field: str) -> Answer[PurchaseRecord]:
    outcome = Outcome(reply.outcome)
    if outcome <= Outcome.REPEATED:
        return Answer(outcome, _purchase(reply.value))
    fields = {
        Outcome.NOT_FOUND: "store_id",
        Outcome.IDEMPOTENCY_KEY_REUSED: field,
        Outcome.MORE_THAN_REDEEMED: "amount",
    }
    return Answer(outcome, details={"field": fields[outcome]})
