"""What facts about waiting lines change in the books; a part of ``projections.Plan``."""

from __future__ import annotations

from engine import facts
from engine.books.bulk import Bulk, Row, Rows

WAITLIST_PUT = Bulk.of(
    "id text, cell bigint, campaign_id text, user_id text, party bigint, priority bigint,"
    " place bigint, joined_ms bigint, state text, order_id text, until_ms bigint, why bigint,"
    " changed_ms bigint, version bigint",
    "INSERT INTO waitlist (tenant, id, cell, campaign_id, user_id, party, priority, place,"
    " joined_ms, state, order_id, until_ms, why, changed_ms, version)"
    " SELECT {tenant}, id, cell, campaign_id, user_id, party, priority, place,"
    " joined_ms, state, order_id, until_ms, why, changed_ms, version FROM v WHERE true"
    " ON CONFLICT (tenant, id) DO UPDATE SET state = excluded.state,"
    " order_id = excluded.order_id, until_ms = excluded.until_ms, why = excluded.why,"
    " changed_ms = excluded.changed_ms, version = excluded.version"
    " WHERE waitlist.version < excluded.version",
)


class WaitingPlan:
    """Rows of a batch of facts of one cell."""

    def __init__(self, tenant: str, cell: int) -> None:
        self._tenant = tenant
        self._cell = cell
        self._places: dict[str, Row] = {}

    def add(self, fact: facts.LineTold, version: int) -> None:
        """Take one fact in: it tells the whole entry."""
        self._places[fact.act] = (
            fact.act, self._cell, fact.campaign_id, fact.user_id, fact.party, fact.priority,
            fact.place, fact.joined, fact.state, fact.order_id, fact.until, fact.why, fact.at,
            version,
        )  # fmt: skip

    async def write(self, rows: Rows) -> None:
        """Write it all."""
        await rows.run(WAITLIST_PUT, self._tenant, list(self._places.values()))
