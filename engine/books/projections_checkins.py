"""What facts about check-ins change in the books; a part of ``projections.Plan``."""

from __future__ import annotations

from engine import facts
from engine.books import schema
from engine.books.bulk import Row, Rows
from engine.outcomes import Outcome


class CheckInsPlan:
    """Rows of a batch of facts of one cell."""

    def __init__(self, tenant: str, cell: int) -> None:
        self._tenant = tenant
        self._cell = cell
        self._checkins: list[Row] = []

    def add(self, fact: facts.Checked) -> None:
        """Take one fact in."""
        code = Outcome(fact.outcome).code if fact.outcome else ""
        self._checkins.append((
            self._tenant, fact.act, self._cell, fact.user_id, fact.coupon_id, fact.campaign_id,
            fact.event_id, fact.gate, "out" if fact.out else "in", code, fact.offline, fact.at,
            fact.scanned, fact.staff_id, fact.redemption_id, fact.entries, fact.other_gate,
            fact.other_at,
        ))  # fmt: skip

    async def write(self, rows: Rows) -> None:
        """Write it all."""
        await rows.insert(schema.checkins, self._checkins)
