"""Facts that were set aside are taken in again once their cause is mended.

In their order, each in a transaction of its own: an older writer did not know the fact, terms were
missing, a column was too narrow. What followed them meanwhile has been taken in already, so each is
put where it belongs: a hold that was committed since is only kept as a fact, a coupon issued late
is as what happened to it since has left it. What still can't be taken in stays set aside.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec
import structlog
from sqlalchemy import and_, delete, exists, or_, select, tuple_, update
from sqlalchemy.ext.asyncio import AsyncConnection

from engine import facts
from engine.books import schema
from engine.books.arrivals import BEGINNING, Arrival, Position, position_of, read_fact
from engine.books.bulk import RefusedByDatabase
from engine.books.claim_runs import covers
from engine.books.ingest import ERROR_LENGTH, Ingest, Lease, Turn
from engine.books.ledger import LedgerError
from engine.books.projections import FACTS_NEW, Plan, place_of, version_of
from engine.keys import ids_between, split_id

if TYPE_CHECKING:
    from engine.books.db import Books

log = structlog.get_logger()
_AT_ONCE = 1000  # set aside in a cell: more wait for the next time


@dataclass(slots=True)
class Retaken:
    """How many were taken in, and how many stay set aside."""

    taken: int = 0
    left: int = 0


class LatePlan(Plan):
    """The changes of one fact that was set aside, now that others have come after it."""

    def knows_tier(self, user_id: str, tier: tuple[str, int]) -> None:
        """The tier that this person had at the time of the facts to come: name, until (ms)."""
        self._tiers[user_id] = tier

    def forget_hold(self, redemption_id: str, *, committed: bool) -> None:
        """A hold that is over: its coupons went on; committed, its redemption is there already."""
        for part in self._parts[redemption_id]:
            self._coupons.pop(part[3], None)
        if committed:
            del self._redemptions[redemption_id], self._parts[redemption_id]
        else:
            row = self._redemptions[redemption_id]
            self._redemptions[redemption_id] = (*row[:3], "released", *row[4:])


async def retake(ingest: Ingest, cell: int, lease: Lease | None = None) -> Retaken:
    """Take in what was set aside of a cell; ``lease`` as for ``Ingest``. LeaseLost."""
    aside, known = schema.refused_facts, schema.facts
    place = ("tenant", "cell", "epoch", "seq")
    held = or_(
        exists().where(*(known.c[name] == aside.c[name] for name in place)), covers(aside)
    )
    query = (
        select(aside)
        .where(aside.c.tenant == ingest.tenant, aside.c.cell == cell, ~held)
        .order_by(aside.c.epoch, aside.c.seq)
        .limit(_AT_ONCE)
    )
    books = ingest.books
    async with books.connect() as conn:
        rows = (await conn.execute(query)).all()
    told = Retaken()
    if rows:
        ingest.forget_failures()
    for row in rows:
        error = await _again(books, ingest, cell, lease, row)
        told.taken += not error
        told.left += bool(error)
        if not error:
            log.info("fact_taken_in_again", tenant=ingest.tenant, cell=cell, seq=row.seq)
    return told


async def _again(books: Books, ingest: Ingest, cell: int, lease: Lease | None, row: Any) -> str:
    """Take one in; why not, else ""."""
    arrival = _arrival(row)
    mine = and_(
        schema.refused_facts.c.tenant == ingest.tenant,
        schema.refused_facts.c.cell == cell,
        schema.refused_facts.c.epoch == row.epoch,
        schema.refused_facts.c.seq == row.seq,
    )
    error = arrival.error
    if arrival.fact is not None:
        try:
            async with books.begin() as conn:
                turn = Turn(ingest, conn, cell, await ingest.lock(conn, cell, lease))
                await _take(turn, conn, arrival, arrival.fact)
                await conn.execute(delete(schema.refused_facts).where(mine))
            return ""
        except LedgerError as refused:
            error = str(refused)
        except RefusedByDatabase as refused:
            error = f"refused by the database: {refused}"
    if error != row.error:
        async with books.begin() as conn:
            changed = update(schema.refused_facts).where(mine)
            await conn.execute(changed.values(error=error[:ERROR_LENGTH]))
    return error or "unreadable"


def _arrival(row: Any) -> Arrival:
    """What was set aside is one fact, or the whole entry that could not be read."""
    place = Position(row.epoch, row.seq)
    raw = bytes(row.raw)
    one = read_fact(msgspec.Raw(raw), place, row.entry)
    if one.fact is not None:
        return one
    try:
        parts = facts.split(raw)
    except msgspec.DecodeError:
        return one
    at = place.seq - (position_of(row.entry).seq - len(parts) + 1)
    return read_fact(parts[at], place, row.entry) if 0 <= at < len(parts) else one


async def _take(turn: Turn, conn: AsyncConnection, arrival: Arrival, fact: facts.AnyFact) -> None:
    plan = await turn.plan_of([fact], LatePlan)
    if isinstance(fact, facts.Claimed | facts.Received):
        parts = split_id("C", fact.act)
        handle = parts[0] if parts else ""
        plan.knows_tier(fact.user_id, await _tier_at(conn, turn, arrival.place, handle))
    plan.add(arrival, fact)
    if isinstance(fact, facts.Held):
        later = await _later(conn, turn, arrival.place, [fact.act])
        later += await _replaced(conn, turn, arrival.place, fact)
        if later:
            committed = any(isinstance(one, facts.Committed) for _, one in later)
            plan.forget_hold(fact.act, committed=committed)
    if not await turn.rows.run(FACTS_NEW, plan.tenant, plan.facts):
        raise LedgerError("the books hold another fact in its place")
    await plan.write(turn.rows, turn.numbers)
    if isinstance(fact, facts.ProfileTold):
        await _retell_tier(conn, turn, fact)
    for coupon_id in _coupons_of(fact):
        await _fold(conn, turn, coupon_id)


def _coupons_of(fact: facts.AnyFact) -> Iterator[str]:
    if isinstance(
        fact, facts.Claimed | facts.Received | facts.Gifted | facts.GiftEnded | facts.Given
    ):
        yield fact.act
    elif isinstance(fact, facts.Redeemed | facts.Held | facts.Committed | facts.Reversed):
        yield from (used.coupon_id for used in fact.coupons)
        yield from (paid.coupon_id for paid in fact.tenders if paid.coupon_id)
    elif isinstance(fact, facts.Released):
        yield from fact.coupon_ids


async def _fold(conn: AsyncConnection, turn: Turn, coupon_id: str) -> None:
    """A coupon as all acts on it have left it, told in their order."""
    acts = await _acts_on(conn, turn, coupon_id)
    state: dict[str, Any] = {"state": "issued", "redemption_id": None, "used": 0, "spent": 0}
    for place, fact in await _later(conn, turn, BEGINNING, acts):
        change = _after(coupon_id, state, fact)
        gone = state["state"] in ("voided", "refunded", "transferred")
        if gone and change.keys() & {"used", "spent"}:
            del change["state"]  # a use that goes back brings nothing withdrawn back
        state |= change
        state |= {"changed_ms": fact.at, "version": version_of(place)}
    if state["state"] == "held":
        r = schema.redemptions.c
        over = select(r.state).where(r.tenant == turn.tenant, r.id == state["redemption_id"])
        if await conn.scalar(over) == "released":  # another redemption took its place
            state |= {"state": "issued", "redemption_id": None}
    coupons = schema.coupons
    mine = (coupons.c.tenant == turn.tenant, coupons.c.id == coupon_id)
    await conn.execute(update(coupons).where(*mine).values(**state))


def _after(coupon_id: str, before: dict[str, Any], fact: facts.AnyFact) -> dict[str, Any]:
    """What an act changes of a coupon."""
    if isinstance(fact, facts.Voided):
        return {"state": "voided", "redemption_id": None}
    if isinstance(fact, facts.Refunded):
        return {"state": "refunded", "redemption_id": None}
    if isinstance(fact, facts.RefundFailed):
        return {"state": "voided" if fact.voided else "issued", "redemption_id": None}
    if isinstance(fact, facts.Received):
        return {"used": fact.used, "spent": fact.spent}
    if isinstance(fact, facts.Given):
        return {"state": "transferred", "redemption_id": None}
    if isinstance(fact, facts.Gifted):
        return {"state": "held", "redemption_id": None} if fact.held else {}
    if isinstance(fact, facts.GiftEnded):
        return {"state": "issued", "redemption_id": None} if fact.freed else {}
    if isinstance(fact, facts.Released):
        if (before["state"], before["redemption_id"]) == ("held", fact.act):
            return {"state": "issued", "redemption_id": None}
    elif isinstance(fact, facts.Redeemed | facts.Committed | facts.Held):
        held = isinstance(fact, facts.Held)
        for used in fact.coupons:
            if used.coupon_id == coupon_id and used.uses == 1:
                return {"state": "held" if held else "redeemed", "redemption_id": fact.act}
            if used.coupon_id == coupon_id and not held:
                return {"state": "redeemed" if used.done else "issued", "used": used.used}
        for paid in fact.tenders:
            if paid.coupon_id == coupon_id and not held:
                return {"state": "redeemed" if paid.done else "issued", "spent": paid.spent}
    elif isinstance(fact, facts.Reversed):
        for back in fact.coupons:
            if back.coupon_id == coupon_id and back.used >= 0:
                return {"state": "issued", "used": back.used}
            if back.coupon_id == coupon_id and back.returned:
                return {"state": "issued", "redemption_id": None}
        for returned in fact.tenders:
            if returned.coupon_id == coupon_id:
                return {"state": "issued", "spent": returned.spent}
    return {}


async def _later(
    conn: AsyncConnection, turn: Turn, place: Position, acts: list[str]
) -> list[tuple[Position, facts.AnyFact]]:
    """Facts of these acts after a place, in order."""
    f = schema.facts.c
    query = (
        select(f.epoch, f.seq, f.type, f.body)
        .where(
            f.tenant == turn.tenant,
            f.act.in_(acts),
            schema.NO_CLAIM,
            tuple_(f.epoch, f.seq) > place,
        )
        .order_by(f.epoch, f.seq)
    )
    return [
        (Position(row.epoch, row.seq), fact_of(row.type, row.body))
        for row in await conn.execute(query)
    ]


async def _acts_on(conn: AsyncConnection, turn: Turn, coupon_id: str) -> list[str]:
    """The coupon itself (void), the redemptions that used it, and their reversals."""
    used, undone = schema.redemption_coupons.c, schema.reversals.c
    redemptions = (
        await conn.scalars(
            select(used.redemption_id).where(
                used.tenant == turn.tenant, used.coupon_id == coupon_id
            )
        )
    ).all()
    reversals = (
        await conn.scalars(
            select(undone.id).where(
                undone.tenant == turn.tenant, undone.redemption_id.in_(redemptions)
            )
        )
    ).all()
    return [coupon_id, *redemptions, *reversals]


async def _replaced(
    conn: AsyncConnection, turn: Turn, place: Position, held: facts.Held
) -> list[tuple[Position, facts.AnyFact]]:
    """Redemptions of the same person that took the place of the hold."""
    r = schema.redemptions.c
    ids = await conn.scalars(
        select(r.id).where(r.tenant == turn.tenant, r.user_id == held.user_id, r.at_ms >= held.at)
    )
    found = await _later(conn, turn, place, list(ids.all()))
    return [(at, fact) for at, fact in found if getattr(fact, "replaces", "") == held.act]


async def _tier_at(
    conn: AsyncConnection, turn: Turn, place: Position, handle: str
) -> tuple[str, int]:
    """What was told last of a person's tier before a place: tier, until (ms)."""
    f = schema.facts.c
    query = (
        select(f.type, f.body)
        .where(
            f.tenant == turn.tenant,
            f.act == handle,
            schema.NO_CLAIM,
            f.type == "profile_told",
            tuple_(f.epoch, f.seq) < place,
        )
        .order_by(f.epoch.desc(), f.seq.desc())
        .limit(1)
    )
    row = (await conn.execute(query)).first()
    told = fact_of(row.type, row.body) if row else None
    return (told.tier, told.tier_until) if isinstance(told, facts.ProfileTold) else ("", 0)


async def _retell_tier(conn: AsyncConnection, turn: Turn, told: facts.ProfileTold) -> None:
    """Coupons claimed after the tier was told were claimed under it."""
    coupons = schema.coupons.c
    claims = select(coupons.id, coupons.born, coupons.issued_ms).where(
        coupons.tenant == turn.tenant,
        coupons.id.between(*ids_between("C", told.act)),
        coupons.came_from == "",
    )
    for row in (await conn.execute(claims)).all():
        tier, until = await _tier_at(conn, turn, place_of(row.born), told.act)
        mine = (coupons.tenant == turn.tenant, coupons.id == row.id)
        now = "" if until and row.issued_ms >= until else tier
        await conn.execute(update(schema.coupons).where(*mine).values(tier=now))


def fact_of(kind: str, body: str) -> facts.AnyFact:
    """A fact as ``facts.body`` keeps it."""
    fact: facts.AnyFact = msgspec.convert([kind, *_values(json.loads(body))], facts.AnyFact)
    return fact


def _values(value: Any) -> list[Any]:
    return [
        [_values(one) if isinstance(one, dict) else one for one in inner]
        if isinstance(inner, list)
        else inner
        for inner in value.values()
    ]
