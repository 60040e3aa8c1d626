"""What keeps the cells right: the fence, publishing of definitions, the sweeper.

Everything here is level-triggered and safe to repeat, by any number of processes at once.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import msgspec
import structlog
from redis.exceptions import NoScriptError, RedisError
from sqlalchemy import Row, Table, insert, select, update
from sqlalchemy.exc import IntegrityError, SQLAlchemyError

from engine import keys, scripts
from engine.books import notices, pools, schema
from engine.books.db import Books
from engine.definitions import (
    Campaign,
    Lot,
    Settings,
    compile_issue,
    compile_settings,
    compile_terms,
)
from engine.errors import Unavailable
from engine.gift_records import GiftState
from engine.outcomes import Outcome
from engine.parking.records import LotRecord
from engine.quotas import WITHDRAWALS, Quotas
from engine.records import PromiseRecord, StoreRecord, pack
from engine.segments import FRESH_SECONDS
from engine.server import Server

if TYPE_CHECKING:
    from engine.engine import Engine

WATCH_SECONDS = 1.0
BUDGETS_EVERY = 5  # of these, budgets are looked at
SWEEP_AT_ONCE = 256
UNDONE_MS = 5000  # a coupon on its way to somebody for so long was cut off
MOST_PROMISED_MS = 200  # issuing.promise, and what clocks differ by
SYSTEM = json.dumps({"key": "", "label": "engine", "role": "engine"})

log = structlog.get_logger()
_promise = msgspec.msgpack.Decoder(PromiseRecord).decode
_answer = msgspec.msgpack.Decoder(tuple[int, int, int | None]).decode


class Control:
    """One tenant's cells on one server, as one process sees them. It is the engine's Fence."""

    def __init__(self, tenant: str, cells: int, server: Server, books: Books) -> None:
        self.tenant = tenant
        self.cells = cells
        self.behind = ""  # why the tenant is fenced, for /readyz and people
        self._server = server
        self._books = books
        self._tags = [keys.cell_tag(tenant, cell, cells) for cell in range(cells)]
        self._replids: dict[int, str] = {}  # of the servers that these cells were compared on
        self._trusted = False
        self._doubts = 0
        self._refused_at = 0.0
        self._lock = asyncio.Lock()
        self.budgets_used: dict[str, float] = {}  # of campaigns with a budget: percent
        self.quotas = Quotas(tenant, self._tags, server, books, self._write)

    # ---- the fence ---------------------------------------------------------------------------

    @property
    def trusted(self) -> bool:
        """Whether nothing has happened since the last comparison that asks for another."""
        return self._trusted

    def doubt(self) -> None:
        """Something happened (a lost connection, NOSCRIPT): compare before the next act."""
        self._trusted = False
        self._doubts += 1

    @property
    def doubts(self) -> int:
        """How often: what was learnt of a server before may be of another one."""
        return self._doubts

    async def verify(self, cell: int) -> None:
        """Compare the cells with the books and load the scripts; Unavailable while fenced."""
        async with self._lock:
            if self._trusted:
                return
            if time.monotonic() - self._refused_at < WATCH_SECONDS:
                raise Unavailable(self.behind, recovering=True)
            try:
                await self._compare()
                await self._server.load_scripts()
                await self._compare()  # it may have been another server that took the scripts
            except (RedisError, OSError) as error:
                raise Unavailable(f"Redis does not answer ({type(error).__name__})") from error
            except SQLAlchemyError as error:
                log.warning("books_unreachable", error=repr(error))
                raise Unavailable("the books do not answer", recovering=True) from error
            self._trusted = True

    async def _compare(self) -> None:
        for cell, tag in enumerate(self._tags):
            replid = await self._server.replid(self._server.node_of(tag))
            if self._replids.get(cell) == replid:
                continue
            epoch, seq = await self._position(tag)
            row = await self._booked(cell)
            if (epoch, seq) < (row.epoch, row.seq):
                self._refused_at = time.monotonic()
                self.behind = (
                    f"Redis is behind the books in cell {cell} of {self.tenant}: it holds seq"
                    f" {seq} of epoch {epoch}, the books hold {row.seq} of {row.epoch}."
                    " It was restored from an old copy or lost its append-only file."
                    " Bring the newer data back; nothing is given out or taken back until then."
                )
                log.error("fenced", reason=self.behind)
                raise Unavailable(self.behind, recovering=True)
            if row.replid != replid:
                log.info("cell_compared", cell=cell, replid=replid, seq=seq, books_seq=row.seq)
                async with self._books.begin() as connection:
                    await connection.execute(
                        update(schema.cells)
                        .where(schema.cells.c.tenant == self.tenant, schema.cells.c.cell == cell)
                        .values(replid=replid)
                    )
            self._replids[cell] = replid
        self.behind = ""

    async def _position(self, tag: str) -> tuple[int, int]:
        epoch, seq = await self._server.fields(keys.cell_key(tag), "epoch", "seq")
        return int(epoch or 1), int(seq or 0)

    async def _booked(self, cell: int):  # type: ignore[no-untyped-def]  # a Row
        where = (schema.cells.c.tenant == self.tenant, schema.cells.c.cell == cell)
        async with self._books.connect() as connection:
            row = (await connection.execute(select(schema.cells).where(*where))).first()
        if row is None:
            try:
                async with self._books.begin() as connection:
                    await connection.execute(
                        insert(schema.cells).values(
                            tenant=self.tenant, cell=cell, epoch=1, seq=0, complete_ms=0,
                            lease_until_ms=0, fence=0,
                        )
                    )
            except IntegrityError:
                pass  # another process made it
            async with self._books.connect() as connection:
                row = (await connection.execute(select(schema.cells).where(*where))).one()
        return row

    # ---- publishing --------------------------------------------------------------------------

    async def _write(self, cell: int, verb: str, *arguments: object) -> object:
        """Run a publishing script on a cell, under the fence."""
        if not self._trusted:
            await self.verify(cell)
        key, script = keys.cell_key(self._tags[cell]), scripts.load(verb)
        try:
            try:
                return await self._server.write_once(key, script, *arguments)
            except NoScriptError:
                self.doubt()
                await self.verify(cell)
                return await self._server.write_once(key, script, *arguments)
        except (RedisError, OSError) as error:
            self.doubt()
            raise Unavailable(f"Redis does not answer ({type(error).__name__})") from error

    async def publish_campaign(self, campaign_id: str, *, who: str = SYSTEM, now: int = 0) -> None:
        """Bring a campaign of the books to every cell that has an older version."""
        table = schema.campaigns
        async with self._books.connect() as connection:
            row = (
                await connection.execute(
                    select(table).where(table.c.tenant == self.tenant, table.c.id == campaign_id)
                )
            ).one()
        body = msgspec.json.decode(row.body, type=Campaign)
        if body.event is not None:
            await self.quotas.publish(body.event.id)
        terms = pack(compile_terms(body))
        shares, budgets = json.loads(row.shares), json.loads(row.budgets)
        changed = False
        for cell in range(self.cells):
            share = shares[cell] if row.total is not None else ""
            issue = pack(compile_issue(body, row.revision, cell, self.cells))
            reply = await self._write(
                cell, "publish", campaign_id, row.version, issue, share, who, now,
                budgets[cell] if budgets else -1, row.revision, terms,
            )
            outcome, _, left = _answer(bytes(reply))  # type: ignore[call-overload]
            if outcome > Outcome.REPEATED:
                log.error("publish_refused", campaign=campaign_id, cell=cell, left=left)
            changed = changed or outcome == Outcome.DONE
        if changed and not now:
            await self.seen(campaign_id, new=row.version == 1)

    async def seen(self, campaign_id: str, *, new: bool = False) -> None:
        """Wait, as a rule a tenth of a second at most, until no process refuses what is open now.

        So whoever changed a campaign finds it changed everywhere once that is answered.
        """
        if self.cells > 1 and not new:  # what was seen of other cells a moment ago
            await asyncio.sleep(FRESH_SECONDS)
        last = 0
        for tag in self._tags:
            (packed,) = await self._server.fields(keys.campaign_key(tag, campaign_id), "promise")
            last = max(last, _promise(packed).until_ms if packed else 0)
        # The server's clock seems to be behind where its last answer was read late: never ahead.
        left = last - self._server.clock() + 5
        if left > 0:
            await asyncio.sleep(min(left, MOST_PROMISED_MS) / 1000)

    async def publish_store(self, store_id: str) -> None:
        """Bring a store to every cell."""
        table = schema.stores
        async with self._books.connect() as connection:
            row = (
                await connection.execute(
                    select(table).where(table.c.tenant == self.tenant, table.c.id == store_id)
                )
            ).one()
        await self._publish_store(row.id, row.revision, row.merchant_id, row.closed)

    async def _publish_store(self, store: str, revision: int, merchant: str, closed: int) -> None:
        record = pack(StoreRecord(revision, merchant, int(closed)))
        for cell in range(self.cells):
            await self._write(cell, "define", f"s{store}", revision, record)

    async def publish_lot(self, lot_id: str) -> None:
        """Bring a lot to every cell."""
        for row in await self._rows(schema.lots, lot_id):
            await self._publish_lot(row.id, row.revision, row.merchant_id, row.body)

    async def _publish_lot(self, lot: str, revision: int, merchant: str, body: str) -> None:
        grace = msgspec.json.decode(body, type=Lot).grace_minutes
        record = pack(LotRecord(revision, merchant, -1 if grace is None else grace))
        for cell in range(self.cells):
            await self._write(cell, "define", f"l{lot}", revision, record)

    async def _rows(self, table: Table, only: str | None = None) -> Sequence[Row[Any]]:
        query = select(table).where(table.c.tenant == self.tenant)
        if only is not None:
            query = query.where(table.c.id == only)
        async with self._books.connect() as connection:
            return (await connection.execute(query)).all()

    async def publish_settings(self) -> None:
        """Bring the settings to every cell."""
        table = schema.tenants
        async with self._books.connect() as connection:
            row = (
                await connection.execute(select(table).where(table.c.id == self.tenant))
            ).one()
        settings = msgspec.json.decode(row.settings, type=Settings)
        record = pack(compile_settings(settings, row.settings_revision))
        for cell in range(self.cells):
            await self._write(cell, "define", "settings", row.settings_revision, record)

    async def publish_all(self) -> None:
        """Bring everything of the books to the cells (at start; after a crash between the two)."""
        async with self._books.connect() as connection:
            campaigns = (
                await connection.execute(
                    select(schema.campaigns.c.id).where(schema.campaigns.c.tenant == self.tenant)
                )
            ).scalars().all()
            stores = (
                await connection.execute(
                    select(schema.stores).where(schema.stores.c.tenant == self.tenant)
                )
            ).all()
        await self.publish_settings()
        for row in stores:
            await self._publish_store(row.id, row.revision, row.merchant_id, row.closed)
        for row in await self._rows(schema.lots):
            await self._publish_lot(row.id, row.revision, row.merchant_id, row.body)
        for campaign_id in campaigns:
            await self.publish_campaign(campaign_id)

    async def withdraw(
        self, campaign_id: str, number: int, what: str = "stock", *, who: str = SYSTEM
    ) -> list[int] | None:
        """Take stock or budget away where it is left: the change of each cell's share (<= 0).

        ``what``: ``stock`` (coupons) or ``budget`` (fen).

        None, and nothing changed, when fewer than ``number`` are left.
        """
        for _ in range(WITHDRAWALS):
            changes, left = await self._withdraw(campaign_id, number, what, who)
            if changes is not None or left < number:
                return changes
        return None  # again and again others were faster: it is not there for long

    async def _withdraw(
        self, campaign_id: str, number: int, what: str, who: str
    ) -> tuple[list[int] | None, int]:
        """One try, and how many were left then."""
        lefts, field = [], "left" if what == "stock" else "budget_left"
        for tag in self._tags:
            (left,) = await self._server.fields(keys.campaign_key(tag, campaign_id), field)
            lefts.append(int(left or 0))
        if sum(lefts) < number:
            return None, sum(lefts)
        changes = [0] * self.cells
        for cell in sorted(range(self.cells), key=lambda c: -lefts[c]):
            taken = min(number + sum(changes), lefts[cell])
            if taken <= 0:
                continue
            reply = await self._write(cell, "withdraw", campaign_id, taken, who, what)
            if _answer(bytes(reply))[0] == Outcome.DONE:  # type: ignore[call-overload]
                changes[cell] = -taken
        if number + sum(changes):
            await self._undo(campaign_id, changes, who, what)
            return None, sum(lefts)
        return changes, sum(lefts)

    async def _undo(self, campaign_id: str, changes: list[int], who: str, what: str) -> None:
        """Others were faster than a withdrawal over several cells: give back what it took."""
        for cell, change in enumerate(changes):
            if change:
                await self._write(cell, "withdraw", campaign_id, change, who, what)

    async def load_codes(
        self, campaign_id: str | None = None, *, who: str = SYSTEM, now: int = 0
    ) -> int:
        """Bring third parties' codes of the books to the cells that wait for them; how many."""
        loaded = 0
        while batches := await pools.waiting(self._books, self.tenant, campaign_id):
            for batch in batches:
                reply = await self._write(
                    batch.cell, "pool", batch.campaign_id, batch.number, who, now, *batch.codes
                )
                if _answer(bytes(reply))[0] > Outcome.REPEATED:  # type: ignore[call-overload]
                    raise Unavailable(f"campaign {batch.campaign_id} is not published yet")
            await pools.pushed(self._books, self.tenant, batches)
            loaded += sum(len(batch.codes) for batch in batches)
        return loaded

    # ---- watching ----------------------------------------------------------------------------

    async def watch(self, engine: Engine, sweeping: Callable[[], bool]) -> None:
        """Each second: the clock and replid; what has lapsed told to the books; budgets."""
        for tick in itertools.count():
            await asyncio.sleep(WATCH_SECONDS)
            try:
                await self._server.refresh()
                for cell, tag in enumerate(self._tags):
                    if self._replids.get(cell) != await self._server.replid(
                        self._server.node_of(tag)
                    ):
                        self.doubt()
                if not self._trusted:
                    await self.verify(0)
                if sweeping():
                    await self.sweep(engine)
                    if tick % BUDGETS_EVERY == 0:
                        await self.watch_budgets()
                        await self.load_codes()
                        await notices.expiring_soon(
                            self._books, self.tenant, self._server.clock()
                        )
            except SQLAlchemyError as error:
                log.warning("books_unreachable", error=repr(error))
            except (RedisError, OSError, Unavailable) as error:
                self.doubt()
                log.warning("watch", error=str(error))

    async def sweep(self, engine: Engine) -> int:
        """Tell the books of holds, orders and points whose time has passed; how many."""
        told = 0
        for tag in self._tags:
            key = keys.holds_key(tag)
            for member in await self._server.due(key, engine.clock(), SWEEP_AT_ONCE):
                await engine.lapse(redemption_id="R" + member.decode(), who=SYSTEM)
                told += 1
            key = keys.orders_key(tag)
            for member in await self._server.due(key, engine.clock(), SWEEP_AT_ONCE):
                await engine.orders.lapse(order_id="O" + member.decode(), who=SYSTEM)
                told += 1
            told += await self._sweep_gifts(engine, tag)
        told += await engine.segments.sweep()
        return told + await engine.points.sweep(SWEEP_AT_ONCE)

    async def _sweep_gifts(self, engine: Engine, tag: str) -> int:
        """Gifts that nobody took, and coupons that a crash left on their way."""
        key, now = keys.gifts_key(tag), engine.clock()
        lapsed = await self._server.due(key, now, SWEEP_AT_ONCE)
        for member in lapsed:
            gift_id = "G" + member.decode()
            await engine.gifts.end(gift_id=gift_id, how=GiftState.LAPSED, who=SYSTEM)
        key = keys.takes_key(tag)
        cut = await self._server.due(key, now - UNDONE_MS, SWEEP_AT_ONCE)
        for member in cut:
            await engine.gifts.finish(member.decode())
        return len(lapsed) + len(cut)

    async def watch_budgets(self) -> None:
        """Warn where a budget passes one of the settings' marks (``budget_alarm``, %).

        Once a mark; again after the budget was raised or money came back. /metrics tells all.
        """
        table = schema.campaigns
        async with self._books.connect() as connection:
            rows = (
                await connection.execute(
                    select(table.c.id, table.c.budgets).where(
                        table.c.tenant == self.tenant, table.c.budgets != "[]"
                    )
                )
            ).all()
            told = await connection.scalar(
                select(schema.tenants.c.settings).where(schema.tenants.c.id == self.tenant)
            )
        marks = msgspec.json.decode(told, type=Settings).budget_alarm if told else []
        for row in rows:
            budget = sum(json.loads(row.budgets))
            keyed = [keys.campaign_key(tag, row.id) for tag in self._tags]
            lefts = [(await self._server.fields(key, "budget_left"))[0] for key in keyed]
            left = sum(int(one or 0) for one in lefts)
            used = 100 * (budget - left) / budget if budget else 100.0
            before = self.budgets_used.get(row.id, 0.0)
            passed = [mark for mark in marks if before < mark <= used]
            if passed:
                log.warning(
                    "budget_alarm", tenant=self.tenant, campaign=row.id, mark=max(passed),
                    budget=budget, left=left,
                )
                await notices.budget_alarm(
                    self._books, self.tenant, row.id, mark=max(passed), budget=budget, left=left,
                    now=self._server.clock(),
                )
            self.budgets_used[row.id] = used
