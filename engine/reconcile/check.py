"""What a check carries: the two sides it compares, and the report it fills."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple
from zoneinfo import ZoneInfo

import msgspec
from sqlalchemy import func, select

from engine import keys
from engine.books.schema import campaign_terms, cells, tenants
from engine.fastpath import handle_of
from engine.reconcile.live import BATCH, Cell, Live

if TYPE_CHECKING:
    from engine.books.db import Books

MOST = 1000  # differences kept; all are counted

Again = tuple[Any, ...]  # what to look at again: ("wallet", cell, key), ("campaign", id), …


class Difference(NamedTuple):
    """One thing that is not the same on both sides; "" = it is not there."""

    what: str
    where: str
    live: str
    books: str


@dataclass
class Report:
    """What was compared and what differs. ``moved``: acts went on meanwhile."""

    tenant: str
    checked: dict[str, int] = field(default_factory=dict)
    differences: list[Difference] = field(default_factory=list)
    dropped: int = 0  # differences beyond the first MOST
    moved: bool = False
    seconds: float = 0.0
    _again: list[Again] = field(default_factory=list, repr=False)

    @property
    def ok(self) -> bool:
        """No difference."""
        return not self.differences

    def count(self, what: str, number: int = 1) -> None:
        """So many more of ``what`` were compared."""
        self.checked[what] = self.checked.get(what, 0) + number

    def add(self, difference: Difference, again: Again) -> None:
        """Report a difference and what to look at once more when acts go on."""
        if len(self.differences) >= MOST:
            self.dropped += 1
            return
        self.differences.append(difference)
        self._again.append(again)

    def take(self) -> set[Again]:
        """Forget the differences that can be looked at again; what to look at."""
        pairs = list(zip(self.differences, self._again, strict=True))
        self.differences = [difference for difference, again in pairs if not again]
        self._again = [again for _, again in pairs if not again]
        return {again for _, again in pairs if again}


class Limits(NamedTuple):
    """How many coupons of a campaign one person may claim; None = any number."""

    per_user: int | None = None
    per_day: int | None = None
    per_week: int | None = None
    per_month: int | None = None


class _Issue(msgspec.Struct):
    per_user: int | None = None
    per_user_per_day: int | None = None
    per_user_per_week: int | None = None
    per_user_per_month: int | None = None


class _Body(msgspec.Struct):
    issue: _Issue | None = None


@dataclass
class Check:
    """One run over one tenant."""

    books: Books
    live: Live
    tenant: str
    cells: list[Cell]
    zone: ZoneInfo
    handle_key: bytes
    now: int  # the tenant's clock when the run began, ms
    limits: dict[tuple[str, int], Limits]  # by campaign and revision
    report: Report
    # Gathered on the way through the cells:
    users: set[str] = field(default_factory=set)  # whose wallets were read
    redemptions: set[bytes] = field(default_factory=set)  # handle + serial of records read
    open_holds: dict[str, tuple[int, str]] = field(default_factory=dict)  # until, hold field
    orders: set[bytes] = field(default_factory=set)  # handle + serial of orders read
    checkins: set[str] = field(default_factory=set)  # ids of check-ins read
    order_fields: set[str] = field(default_factory=set)  # the same, of those that are open
    gifts: dict[str, int] = field(default_factory=dict)  # handle + serial of open ones: until
    takes: set[str] = field(default_factory=set)  # handle + serial of coupons on their way
    hold_fields: dict[str, str] = field(default_factory=dict)  # handle + serial: hold field
    hold_campaigns: dict[str, set[str]] = field(default_factory=dict)  # of open holds: limited ones

    @classmethod
    async def of(cls, books: Books, redis: Any, tenant: str) -> Check:
        """Ready to run; LookupError when there is no such tenant."""
        async with books.connect() as conn:
            row = (await conn.execute(select(tenants).where(tenants.c.id == tenant))).first()
            if row is None:
                raise LookupError(f"there is no tenant {tenant}")
            limits = {}
            for campaign, revision, body in await conn.execute(
                select(
                    campaign_terms.c.campaign_id, campaign_terms.c.revision, campaign_terms.c.body
                ).where(campaign_terms.c.tenant == tenant)
            ):
                issue = msgspec.json.decode(body, type=_Body).issue or _Issue()
                limits[campaign, revision] = Limits(*msgspec.structs.astuple(issue))
        places = [Cell(n, keys.cell_tag(tenant, n, row.cells)) for n in range(row.cells)]
        live = Live(redis)
        now = max([await live.clock(cell) for cell in places])
        zone = ZoneInfo(row.timezone)
        return cls(books, live, tenant, places, zone, row.handle_key, now, limits, Report(tenant))

    def differs(self, what: str, where: str, live: object, books: object, again: Again) -> None:
        """Report a difference."""
        self.report.add(Difference(what, where, str(live), str(books)), again)

    def wallet_of(self, user_id: str) -> tuple[Cell, str]:
        """Where a person's wallet is: the cell and the key."""
        handle = handle_of(self.handle_key, user_id)
        cell = self.cells[keys.cell_of(handle, len(self.cells))]
        return cell, keys.wallet_key(cell.tag, handle)

    def cell_of(self, handle: str) -> Cell:
        """The cell of a handle."""
        return self.cells[keys.cell_of(handle, len(self.cells))]

    async def missing(self, what: str, named: Mapping[str, tuple[Cell, str]]) -> None:
        """Report each name of the books whose key is not in Redis.

        Asked key by key, after the books: what comes in meanwhile is in Redis first.
        """
        names = list(named)
        for cell in self.cells:
            here = [name for name in names if named[name][0] is cell]
            for start in range(0, len(here), BATCH):
                some = here[start : start + BATCH]
                there = await self.live.many([("EXISTS", named[name][1]) for name in some])
                for name, exists in zip(some, there, strict=True):
                    if not exists:
                        self.differs(what, name, "", "there", ())

    async def live_places(self) -> list[tuple[int, int]]:
        """(epoch, seq) that each cell has in Redis."""
        return [await self.live.place(cell) for cell in self.cells]

    async def books_places(self) -> list[tuple[int, int]]:
        """(epoch, seq) that the books have of each cell."""
        query = select(cells.c.cell, cells.c.epoch, cells.c.seq)
        async with self.books.connect() as conn:
            rows = await conn.execute(query.where(cells.c.tenant == self.tenant))
            known = {cell: (epoch, seq) for cell, epoch, seq in rows}
        return [known.get(cell.number, (1, 0)) for cell in self.cells]

    async def count_of(self, table: Any, *conditions: Any) -> int:
        """How many rows of the tenant the books have."""
        query = select(func.count()).select_from(table).where(table.c.tenant == self.tenant)
        async with self.books.connect() as conn:
            return await conn.scalar(query.where(*conditions)) or 0
