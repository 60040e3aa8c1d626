"""One batch of facts into the books, in one transaction: its effect happens exactly once.

The cell's row is locked first and the writer's fence checked, so one transaction at a time moves
a cell, and never one of a writer that lost its lease. Facts beyond what the cell holds are
inserted; projections and postings follow for those alone. What was committed before is only
compared. ``cells.seq`` is gapless: where a fact is missing the batch ends and says so.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import structlog
from sqlalchemy import Column, Table, case, select, tuple_, update
from sqlalchemy.ext.asyncio import AsyncConnection

from engine import facts
from engine.books import ledger, numbers, schema
from engine.books.arrivals import Arrival, Position, digest_of
from engine.books.bulk import Bulk, RefusedByDatabase, Rows
from engine.books.claim_runs import Runs, told_between
from engine.books.db import Books
from engine.books.ingest_postgres import PostgresRows
from engine.books.ingest_sqlite import SqliteRows
from engine.books.ledger import LedgerError, Original
from engine.books.projections import FACTS_NEW, Known, Plan
from engine.failpoints import failpoint

log = structlog.get_logger()
ERROR_LENGTH = 500
_CACHED_TERMS = 10_000

_TIERS = Bulk.of(
    "user_id text",
    "SELECT users.user_id, users.tier, users.tier_until_ms FROM v"
    " JOIN users ON users.tenant = {tenant} AND users.user_id = v.user_id",
)
_ORIGINALS = Bulk.of(
    "id text",
    "SELECT used.redemption_id, used.coupon_id, used.campaign_id, used.terms_revision,"
    " used.discount + used.value, used.benefit, used.paid FROM v JOIN redemption_coupons AS used"
    " ON used.tenant = {tenant} AND used.redemption_id = v.id"
    " ORDER BY used.redemption_id, used.position",
)
_BOUGHT = Bulk.of(
    "id text",
    "SELECT coupons.id, coupons.paid, coupons.paid_used FROM v JOIN coupons"
    " ON coupons.tenant = {tenant} AND coupons.id = v.id WHERE coupons.paid > 0",
)
_TERMS = Bulk.of(
    "campaign_id text, revision bigint",
    "SELECT terms.campaign_id, terms.revision, terms.body FROM v JOIN campaign_terms AS terms"
    " ON terms.tenant = {tenant} AND terms.campaign_id = v.campaign_id"
    " AND terms.revision = v.revision",
)
_REFUSED_PUT = Bulk.of(
    "cell bigint, epoch bigint, seq bigint, entry text, error text, raw bytea, created_ms bigint",
    "INSERT INTO refused_facts (tenant, cell, epoch, seq, entry, error, raw, created_ms)"
    " SELECT {tenant}, cell, epoch, seq, entry, error, raw, created_ms FROM v WHERE true"
    " ON CONFLICT (tenant, cell, epoch, seq) DO NOTHING",
)
P = TypeVar("P", bound=Plan)
_COUPONS = (facts.Claimed, facts.Received)
_Known = dict[tuple[str, int], ledger.Terms | str]
_Read = tuple[Arrival, facts.AnyFact]


class LeaseLost(Exception):  # noqa: N818 - what happened, not a mistake
    """Another writer has this cell now; nothing of the batch was written."""


@dataclass(frozen=True, slots=True)
class Lease:
    """The right to write a cell; ``fence`` is raised with each change of owner."""

    tenant: str
    cell: int
    cells: int  # of the tenant, in all
    owner: str
    fence: int


@dataclass(slots=True)
class Ingested:
    """What a batch came to. ``place``: up to where the books hold the cell."""

    place: Position
    new: int = 0
    repeated: int = 0
    refused: list[tuple[Position, str]] = field(default_factory=list)
    gap: Position | None = None  # the first fact that does not follow ``place``


class Ingest:
    """Takes facts of one tenant in. Keeps the terms of campaigns, which never change."""

    def __init__(self, books: Books, tenant: str) -> None:
        self.books = books
        self.tenant = tenant
        self._currency = ""
        self._terms: _Known = {}

    async def __call__(
        self,
        cell: int,
        arrivals: Iterable[Arrival],
        lease: Lease | None = None,
        *,
        watermark: bool = True,
    ) -> Ingested:
        """Take a batch in, in any order, repetitions allowed.

        ``lease`` None: no writer is at work (tools, tests). ``watermark`` False: the times of
        facts do not say up to when the books are complete (a rehearsal server).
        LeaseLost when the cell belongs to another writer.
        """
        batch = sorted(arrivals, key=lambda arrival: arrival.place)
        try:
            return await self._once(cell, batch, lease, watermark, careful=False)
        except RefusedByDatabase:
            return await self._once(cell, batch, lease, watermark, careful=True)

    async def _once(
        self,
        cell: int,
        batch: Sequence[Arrival],
        lease: Lease | None,
        watermark: bool,
        careful: bool,
    ) -> Ingested:
        async with self.books.begin() as connection:
            turn = Turn(self, connection, cell, await self.lock(connection, cell, lease))
            fresh, done = turn.sort_out(batch)
            if fresh:
                await (turn.apply_carefully(fresh) if careful else turn.apply(fresh))
            await turn.compare(done)
            await turn.close(watermark)
            if fresh:
                failpoint("before_commit")
        if fresh:
            failpoint("after_commit")
        result = turn.result
        for place, error in result.refused:
            log.error("fact_refused", tenant=self.tenant, cell=cell, place=place, error=error)
        return result

    async def lock(self, connection: AsyncConnection, cell: int, lease: Lease | None) -> Position:
        """Lock the cell's row; how far the books are. LeaseLost."""
        cells = schema.cells.c
        query = (
            select(cells.epoch, cells.seq, cells.lease_owner, cells.fence)
            .where(cells.tenant == self.tenant, cells.cell == cell)
            .with_for_update()
        )
        row = (await connection.execute(query)).one()
        if lease is not None and (row.lease_owner, row.fence) != (lease.owner, lease.fence):
            raise LeaseLost(f"cell {cell} of {self.tenant}")
        return Position(row.epoch, row.seq)

    async def currency(self, connection: AsyncConnection) -> str:
        """The tenant's, read once."""
        if not self._currency:
            query = select(schema.tenants.c.currency).where(schema.tenants.c.id == self.tenant)
            self._currency = (await connection.execute(query)).scalar_one()
        return self._currency

    async def learn_terms(self, rows: Rows, named: set[tuple[str, int]]) -> None:
        """Have the terms of these (campaign, revision) at hand for ``terms_of``."""
        missing = [key for key in named if key not in self._terms]
        if len(self._terms) + len(missing) > _CACHED_TERMS:
            self._terms.clear()
            missing = list(named)
        for campaign_id, revision, body in await rows.run(_TERMS, self.tenant, missing):
            try:
                self._terms[campaign_id, revision] = ledger.read_terms(json.loads(body))
            except (LedgerError, ValueError, KeyError, TypeError) as error:
                self._terms[campaign_id, revision] = f"{campaign_id}: {error}"

    def forget_failures(self) -> None:
        """Terms that could not be read may be mended by now."""
        self._terms = {k: terms for k, terms in self._terms.items() if not isinstance(terms, str)}

    def terms_of(self, campaign_id: str, revision: int) -> ledger.Terms:
        """Terms that ``learn_terms`` was asked for; LedgerError when there are none."""
        found = self._terms.get((campaign_id, revision), "the books hold no such terms")
        if isinstance(found, str):
            raise LedgerError(f"{campaign_id} revision {revision}: {found}")
        return found


class Turn:
    """One transaction on one cell, its row locked."""

    def __init__(
        self, ingest: Ingest, connection: AsyncConnection, cell: int, place: Position
    ) -> None:
        self._ingest = ingest
        self._connection = connection
        self._cell = cell
        self.rows: Rows = (
            SqliteRows(connection) if ingest.books.sqlite else PostgresRows(connection)
        )
        self.tenant = ingest.tenant
        self._before = place
        self._last_ms = 0
        self.result = Ingested(place)

    def sort_out(self, batch: Sequence[Arrival]) -> tuple[list[Arrival], list[Arrival]]:
        """Facts that follow what the cell holds without a gap, and those it holds already."""
        fresh: list[Arrival] = []
        done: list[Arrival] = []
        place = self._before
        for arrival in batch:
            if arrival.place <= place:
                done.append(arrival)
            elif place.is_followed_by(arrival.place):
                fresh.append(arrival)
                place = arrival.place
            else:
                self.result.gap = arrival.place
                break
        self.result.place = place
        return fresh, done

    async def apply(self, fresh: Sequence[Arrival], *, alone: bool = True) -> None:
        """Insert new facts and all that follows from them.

        ``alone``: there is none of them in the books, or RefusedByDatabase. Else what somebody
        wrote behind the cell's back is left as it is, and the rest taken.
        """
        readable = [(a, a.fact) for a in fresh if a.fact is not None]
        refused = [(a, a.error) for a in fresh if a.fact is None]
        if not alone:
            readable = await self._without_claims_held(readable)
        runs = Runs() if alone else None
        plan, unsettled = await self._plan(readable, runs)
        if runs is not None:
            await self.rows.insert(schema.facts, plan.facts)
            await self.rows.insert(schema.claim_runs, runs.rows(self.tenant, self._cell))
            self.result.new += runs.claims
        else:
            inserted = set(await self.rows.run(FACTS_NEW, self.tenant, plan.facts))
            if len(inserted) != len(plan.facts):
                await self.compare([a for a, _ in readable if a.place not in inserted])
                readable = [pair for pair in readable if pair[0].place in inserted]
                plan, unsettled = await self._plan(readable)
        failpoint("mid_transaction")
        await plan.write(self.rows, self.numbers)
        await self._set_aside(refused + unsettled)
        self.result.new += len(plan.facts)
        self._last_ms = max(self._last_ms, plan.last_ms)

    async def apply_carefully(self, fresh: Sequence[Arrival]) -> None:
        """As ``apply``, but a fact that the database refuses is found by halving and set aside."""
        before = self.result.new, list(self.result.refused)
        try:
            async with self._connection.begin_nested():
                await self.apply(fresh, alone=False)
        except RefusedByDatabase as error:
            self.result.new, self.result.refused = before
            if len(fresh) == 1:
                await self._set_aside([(fresh[0], f"refused by the database: {error}")])
                return
            half = len(fresh) // 2
            await self.apply_carefully(fresh[:half])
            await self.apply_carefully(fresh[half:])

    async def _without_claims_held(self, readable: list[_Read]) -> list[_Read]:
        """Those that no run of the books holds; the others must be the same facts."""
        if not readable:
            return []
        ends = readable[0][0].place, readable[-1][0].place
        told = await told_between(self._connection, self.tenant, self._cell, *ends)
        held = {one.place for one in told}
        await self.compare([a for a, _ in readable if a.place in held])
        return [pair for pair in readable if pair[0].place not in held]

    async def _plan(
        self, readable: Sequence[_Read], runs: Runs | None = None
    ) -> tuple[Plan, list[tuple[Arrival, str]]]:
        plan = await self.plan_of([fact for _, fact in readable], Plan)
        plan.runs = runs
        unsettled = []
        for arrival, fact in readable:
            try:
                plan.add(arrival, fact)
            except LedgerError as error:
                unsettled.append((arrival, str(error)))
        return plan, unsettled

    async def plan_of(self, batch: Sequence[facts.AnyFact], kind: type[P]) -> P:
        """An empty plan that knows what the books hold of what these facts name."""
        known = await self._look_up(batch)
        currency = await self._ingest.currency(self._connection)
        return kind(self.tenant, self._cell, currency, known)

    async def _look_up(self, batch: Sequence[facts.AnyFact]) -> Known:
        users: set[str] = set()
        redemptions: set[str] = set()
        coupons: set[str] = set()  # whose price may move
        terms: set[tuple[str, int]] = set()
        for fact in batch:
            if isinstance(fact, _COUPONS):  # first: most facts are
                users.add(fact.user_id)
                if fact.paid:
                    terms.add((fact.campaign_id, fact.terms_revision))
            elif isinstance(fact, facts.Redeemed | facts.Committed | facts.Reversed):
                if isinstance(fact, facts.Reversed):
                    redemptions.add(fact.redemption_id)
                cards = [paid for paid in fact.tenders if paid.coupon_id]
                for used in (*fact.coupons, *cards):
                    terms.add((used.campaign_id, used.terms_revision))
                    coupons.add(used.coupon_id)
            elif isinstance(fact, facts.Refunded | facts.RefundFailed | facts.Given):
                coupons.add(fact.act)
                terms.add((fact.campaign_id, fact.terms_revision))
        run, tenant = self.rows.run, self._ingest.tenant
        tiers = {
            user: (tier, until)
            for user, tier, until in await run(_TIERS, tenant, [(user,) for user in users])
        }
        bought = {
            name: (paid, used)
            for name, paid, used in await run(_BOUGHT, tenant, [(name,) for name in coupons])
        }
        originals: dict[str, list[Original]] = {}
        for redemption, *rest in await run(_ORIGINALS, tenant, [(r,) for r in redemptions]):
            originals.setdefault(redemption, []).append(Original(*rest))
        terms.update((o.campaign_id, o.terms_revision) for all_ in originals.values() for o in all_)
        await self._ingest.learn_terms(self.rows, terms)
        return Known(self._ingest.terms_of, tiers, originals, bought)

    async def numbers(self, count: int) -> int:
        """The first of ``count`` posting numbers; locks the tenant's counter until the commit."""
        return await numbers.take(self._connection, self.tenant, "postings", count)

    async def compare(self, done: Sequence[Arrival]) -> None:
        """Facts that came before must be the same facts; another payload is an alarm."""
        if not done:
            return
        digests = await self._digests(schema.facts, schema.facts.c.digest, done)
        ends = min(arrival.place for arrival in done), max(arrival.place for arrival in done)
        for told in await told_between(self._connection, self.tenant, self._cell, *ends):
            digests[told.place] = digest_of(bytes(told.packed))
        aside = await self._digests(schema.refused_facts, schema.refused_facts.c.entry, done)
        wrong = []
        for arrival in done:
            known = digests.get(arrival.place)
            if known == arrival.digest or arrival.place in aside:
                self.result.repeated += 1
            elif known is None:
                wrong.append((arrival, "the books passed this place without a fact"))
            else:
                wrong.append((arrival, "another fact in the place of one that the books hold"))
        await self._set_aside(wrong)

    async def _digests(
        self, table: Table, column: Column[str], done: Sequence[Arrival]
    ) -> dict[Position, str]:
        places = [arrival.place for arrival in done]
        place = tuple_(table.c.epoch, table.c.seq)
        query = select(table.c.epoch, table.c.seq, column).where(
            table.c.tenant == self._ingest.tenant,
            table.c.cell == self._cell,
            place >= min(places),
            place <= max(places),
        )
        found = await self._connection.execute(query)
        return {Position(epoch, seq): value for epoch, seq, value in found}

    async def _set_aside(self, refused: Sequence[tuple[Arrival, str]]) -> None:
        now = int(time.time() * 1000)
        rows = [
            (self._cell, *a.place, a.entry, error[:ERROR_LENGTH], a.raw, now)
            for a, error in refused
        ]
        await self.rows.run(_REFUSED_PUT, self._ingest.tenant, rows)
        self.result.refused += [(a.place, error) for a, error in refused]

    async def close(self, watermark: bool) -> None:
        """Move the cell forward."""
        if self.result.place == self._before:
            return
        cells = schema.cells
        complete = cells.c.complete_ms
        values: dict[str, Any] = {"epoch": self.result.place.epoch, "seq": self.result.place.seq}
        if watermark:
            values["complete_ms"] = case((complete < self._last_ms, self._last_ms), else_=complete)
        await self._connection.execute(
            update(cells)
            .where(cells.c.tenant == self._ingest.tenant, cells.c.cell == self._cell)
            .values(**values)
        )
