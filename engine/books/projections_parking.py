"""What facts about vehicles and stays change in the books; a part of ``projections.Plan``."""

from __future__ import annotations

from engine import facts
from engine.books import schema
from engine.books.arrivals import Position
from engine.books.bulk import Bulk, Row, Rows

VEHICLES_PUT = Bulk.of(
    "plate text, user_id text, position bigint, present bigint, version bigint",
    "INSERT INTO vehicle_users (tenant, plate, user_id, position, present, version)"
    " SELECT {tenant}, plate, user_id, position, present, version FROM v WHERE true"
    " ON CONFLICT (tenant, plate, user_id) DO UPDATE SET position = excluded.position,"
    " present = excluded.present, version = excluded.version"
    " WHERE vehicle_users.version < excluded.version",
)
STAYS_PUT = Bulk.of(
    "id text, cell bigint, lot_id text, session_id text, plate text, user_id text,"
    " entered_ms bigint, recorded_ms bigint, closed_ms bigint, exited_ms bigint, version bigint",
    "INSERT INTO parking_stays (tenant, id, cell, lot_id, session_id, plate, user_id, entered_ms,"
    " recorded_ms, closed_ms, exited_ms, version)"
    " SELECT {tenant}, id, cell, lot_id, session_id, plate, user_id, entered_ms,"
    " recorded_ms, closed_ms, exited_ms, version FROM v WHERE true"
    " ON CONFLICT (tenant, id) DO UPDATE SET plate = excluded.plate, user_id = excluded.user_id,"
    " entered_ms = excluded.entered_ms, closed_ms = excluded.closed_ms,"
    " exited_ms = excluded.exited_ms, version = excluded.version"
    " WHERE parking_stays.version < excluded.version",
)

ParkingTold = facts.VehicleTold | facts.StayTold | facts.Validated


class ParkingPlan:
    """Rows of a batch of facts of one cell."""

    def __init__(self, tenant: str, cell: int) -> None:
        self._tenant = tenant
        self._cell = cell
        self._vehicles: dict[tuple[str, str], Row] = {}
        self._stays: dict[str, Row] = {}
        self._validations: list[Row] = []
        self._overrides: list[Row] = []

    def add(self, place: Position, fact: ParkingTold, version: int) -> None:
        """Take one fact in."""
        if isinstance(fact, facts.VehicleTold):
            for user in fact.removed:
                self._vehicles[fact.plate, user] = fact.plate, user, 0, 0, version
            for position, user in enumerate(fact.user_ids):
                self._vehicles[fact.plate, user] = fact.plate, user, position, 1, version
        elif isinstance(fact, facts.StayTold):
            first = self._stays.get(fact.act)
            self._stays[fact.act] = (
                fact.act, self._cell, fact.lot_id, fact.session_id, fact.plate, fact.user_id,
                fact.entered, first[7] if first else fact.at, fact.closed, fact.exited, version,
            )  # fmt: skip
            if fact.what == "override":
                self._overrides.append((
                    self._tenant, self._cell, *place, fact.lot_id, fact.session_id, fact.amount,
                    fact.reason, fact.staff_id, fact.at,
                ))  # fmt: skip
        else:
            self._validations.append((
                self._tenant, fact.act, self._cell, fact.lot_id, fact.session_id, fact.plate,
                fact.user_id, fact.campaign_id, fact.terms_revision, fact.store_id,
                fact.merchant_id, fact.minutes, fact.amount, fact.at,
            ))  # fmt: skip

    async def write(self, rows: Rows) -> None:
        """Write it all."""
        await rows.run(VEHICLES_PUT, self._tenant, list(self._vehicles.values()))
        await rows.run(STAYS_PUT, self._tenant, list(self._stays.values()))
        await rows.insert(schema.parking_validations, self._validations)
        await rows.insert(schema.parking_overrides, self._overrides)
