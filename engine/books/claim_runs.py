"""The facts of claims: runs that follow each other, packed as Redis sent them.

Most facts are claims, and a claim's coupon tells in words what it says. A row of ``facts`` for
each was half of what a sale wrote into the books. So the claims of a batch lie packed in rows of
``claim_runs``, each with as many as follow each other without a gap; a fact that is found by its
place (a coupon tells its own: ``coupons.born``) is read from its run. Nothing is lost: the bytes
are the outbox', and their digest is the fact's. Books from before have rows in ``facts``, as has a
claim that was taken in alone (``retaking``, or after the database refused a batch); a place is in
one of the two.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec
from sqlalchemy import ColumnElement, Table, and_, exists, select, tuple_

from engine import facts
from engine.books.arrivals import Arrival, Position
from engine.books.schema import claim_runs

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection

    from engine.books.bulk import Row

# Claims of a run: who asks for one reads so many. Never fewer: older runs are looked for by it.
MOST = 128
_pack = msgspec.msgpack.Encoder().encode
_runs = claim_runs.c


class Told(NamedTuple):
    """A claim's fact in its place."""

    place: Position
    packed: msgspec.Raw

    @property
    def fact(self) -> facts.AnyFact:
        """What it says."""
        return facts.decode_one(self.packed)


class Runs:
    """Gathers the claims of a batch, in their order."""

    def __init__(self) -> None:
        self.claims = 0
        self._runs: list[list[Arrival]] = []

    def add(self, arrival: Arrival) -> None:
        """The next one."""
        self.claims += 1
        if self._runs:
            run = self._runs[-1]
            epoch, seq = run[-1].place
            if arrival.place == (epoch, seq + 1) and len(run) < MOST:
                run.append(arrival)
                return
        self._runs.append([arrival])

    def rows(self, tenant: str, cell: int) -> list[Row]:
        """Rows of ``claim_runs``."""
        return [
            (tenant, cell, *run[-1].place, run[0].place.seq,
             _pack([msgspec.Raw(arrival.raw) for arrival in run]))
            for run in self._runs
        ]  # fmt: skip


def covers(table: Table) -> ColumnElement[bool]:
    """Whether a run holds the place (tenant, cell, epoch, seq) of this table's row."""
    named = (_runs[name] == table.c[name] for name in ("tenant", "cell", "epoch"))
    # A lower end, too: only with both is it one look into the key.
    seq = table.c.seq
    return exists().where(
        and_(*named, _runs.seq >= seq, _runs.seq < seq + MOST, _runs.first <= seq)
    )


async def told_at(
    conn: AsyncConnection, tenant: str, cell: int, place: Position
) -> facts.AnyFact | None:
    """The claim that has this place; None where no run holds it."""
    found = await told_between(conn, tenant, cell, place, place)
    return found[0].fact if found else None


async def told_between(
    conn: AsyncConnection, tenant: str, cell: int, first: Position, last: Position
) -> list[Told]:
    """All claims in runs from ``first`` to ``last``, both included, in order."""
    # Two ends of the key's own columns and nothing else of them: then SQLite reads just these.
    query = (
        select(_runs.epoch, _runs.first, _runs.claims)
        .where(
            _runs.tenant == tenant,
            _runs.cell == cell,
            tuple_(_runs.epoch, _runs.seq) >= first,
            tuple_(_runs.epoch, _runs.seq) < (last.epoch, last.seq + MOST),
        )
        .order_by(_runs.epoch, _runs.seq)
    )
    rows = await conn.execute(query)
    return [told for told in _unpacked(rows) if first <= told.place <= last]


async def told_after(
    conn: AsyncConnection, tenant: str, cell: int, place: Position, most: int
) -> list[Told]:
    """The first ``most`` claims in runs after a place, in order."""
    here = (
        _runs.tenant == tenant,
        _runs.cell == cell,
        tuple_(_runs.epoch, _runs.seq) > place,
    )
    order = (_runs.epoch, _runs.seq)
    sizes = select(_runs.epoch, _runs.seq, _runs.first).where(*here).order_by(*order).limit(most)
    held, last = 0, None
    for epoch, seq, first in await conn.execute(sizes):
        last = Position(epoch, seq)
        held += seq - (max(first - 1, place.seq) if epoch == place.epoch else first - 1)
        if held >= most:
            break
    if last is None:
        return []
    query = select(_runs.epoch, _runs.first, _runs.claims).where(
        *here, tuple_(_runs.epoch, _runs.seq) <= last
    )
    rows = await conn.execute(query.order_by(*order))
    return [told for told in _unpacked(rows) if told.place > place][:most]


def _unpacked(rows: Iterable[Any]) -> Iterator[Told]:
    for epoch, first, claims in rows:
        for seq, packed in enumerate(facts.split(bytes(claims)), first):
            yield Told(Position(epoch, seq), packed)
