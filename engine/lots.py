"""A person's points as the clock has them: the twin of ``lua/lib/points.lua``."""

from __future__ import annotations

from engine.records import PointsHold, PointsLot, PointsRecord

FEN_PER_YUAN = 100
_NO_END = 1 << 62


def worth(points: int, per_yuan: int) -> int:
    """What points are worth in fen, rounded down (a debt: away from zero)."""
    return points * FEN_PER_YUAN // per_yuan


def settled(record: PointsRecord, now: int) -> PointsRecord:
    """The record at ``now``: lapsed holds back in their lots, ended lots gone, debt repaid."""
    lots = [PointsLot(lot.serial, lot.points, lot.available, lot.expires) for lot in record.lots]
    holds: list[PointsHold] = []
    for hold in record.holds:
        if now < hold.until:
            holds.append(hold)
            continue
        for part in hold.parts:
            add(lots, part)
    lots = [lot for lot in lots if not lot.expires or now < lot.expires]
    debt = record.debt
    for lot in lots:
        paid = min(debt, lot.points)
        debt, lot.points = debt - paid, lot.points - paid
    lots = [lot for lot in lots if lot.points]
    balance = sum(lot.points for lot in lots) + sum(hold.points for hold in holds) - debt
    return PointsRecord(balance, debt, lots, holds, record.days)


def add(lots: list[PointsLot], part: PointsLot) -> None:
    """Put a part back into its lot, or in its place: by its end, then by when it is usable."""
    for lot in lots:
        if lot.serial == part.serial:
            lot.points += part.points
            return
    order = _order(part)
    at = next((i for i, lot in enumerate(lots) if order < _order(lot)), len(lots))
    lots.insert(at, PointsLot(part.serial, part.points, part.available, part.expires))


def _order(lot: PointsLot) -> tuple[int, int]:
    return lot.expires or _NO_END, lot.available


def available(record: PointsRecord, now: int) -> int:
    """What can be spent at ``now`` of a settled record."""
    return sum(lot.points for lot in record.lots if now >= lot.available)


def pending(record: PointsRecord, now: int) -> int:
    """What can be spent later only."""
    return sum(lot.points for lot in record.lots if now < lot.available)


def held(record: PointsRecord) -> int:
    """What is set aside."""
    return sum(hold.points for hold in record.holds)


def expiring(record: PointsRecord) -> list[tuple[int, int]]:
    """(when, how many points then expire), the next first."""
    found: dict[int, int] = {}
    for lot in record.lots:
        if lot.expires:
            found[lot.expires] = found.get(lot.expires, 0) + lot.points
    return sorted(found.items())
