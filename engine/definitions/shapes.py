"""What every body is made of: ids, money, times, names; and ``Body``, the base of them all."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from engine.definitions.times import TIME_PATTERN, format_time, parse_time

# Largest amount of money, in fen. Below 2^37, so that amount * 10000 and the like stay exact in
# the doubles that Lua counts with.
MAX_MONEY = 10**11
MAX_COUNT = 10**9
MAX_MINUTES = 100 * 366 * 24 * 60

# Python's "$" would let a line feed through at the end, hence the look-ahead.
ID_PATTERN = r"^[A-Za-z0-9_.:-]{1,64}(?!\n)$"
PARTY_PATTERN = r"^(mall|redeeming|(merchant|sponsor):[A-Za-z0-9_.:-]{1,64})(?!\n)$"
FUNDER_PATTERN = r"^(mall|redeeming|merchant|(merchant|sponsor):[A-Za-z0-9_.:-]{1,64})(?!\n)$"

Id = Annotated[str, Meta(pattern=ID_PATTERN, max_length=64)]
Time = Annotated[
    str,
    Meta(
        pattern=TIME_PATTERN,
        max_length=64,
        description="RFC 3339, any offset; returned in UTC with milliseconds.",
        extra_json_schema={"format": "date-time"},
    ),
]
Money = Annotated[int, Meta(ge=0, le=MAX_MONEY, description="Minor units (fen).")]
PositiveMoney = Annotated[int, Meta(ge=1, le=MAX_MONEY, description="Minor units (fen).")]
Count = Annotated[int, Meta(ge=0, le=MAX_COUNT)]
# int and float apart, so that 50 is returned as 50.
Percent = (
    Annotated[int, Meta(gt=0, le=100)]
    | Annotated[float, Meta(gt=0, le=100, description="At most two decimals.")]
)
PercentOrNone = (
    Annotated[int, Meta(ge=0, le=100)]
    | Annotated[float, Meta(ge=0, le=100, description="At most two decimals.")]
)
Text = Annotated[str, Meta(min_length=1, max_length=256)]
Word = Annotated[str, Meta(min_length=1, max_length=128)]
Language = Annotated[str, Meta(pattern=r"^[A-Za-z]{2,3}(-[A-Za-z0-9]{1,8})*$", max_length=35)]
Name = Text | Annotated[dict[Language, Text], Meta(min_length=1, max_length=20)]
Ids = Annotated[list[Id], Meta(max_length=10_000)]
Words = Annotated[list[Word], Meta(max_length=10_000)]
Weekday = Annotated[int, Meta(ge=1, le=7, description="1 = Monday.")]
ClockTime = Annotated[
    str,
    Meta(
        pattern=r"^(([01][0-9]|2[0-3]):[0-5][0-9]|24:00)$",
        max_length=5,
        description="HH:MM; 24:00 only as an end.",
    ),
]
Hours = Annotated[list[tuple[ClockTime, ClockTime]], Meta(max_length=24)]


class Body(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """Base of all bodies: an unknown field is refused, a decoded body never changes."""

    def _to_utc(self, *names: str) -> None:
        """Spell times as they are returned. One that is no date stays: ``checks`` names it."""
        for name in names:
            text = getattr(self, name)
            if text is not None:
                try:
                    msgspec.structs.force_setattr(self, name, format_time(parse_time(text)))
                except ValueError:
                    continue
