"""Times on the wire: RFC 3339 with any offset in, UTC with milliseconds out; Unix ms inside."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

# RFC 3339 section 5.6; a leap second is not a moment this engine can keep.
TIME_PATTERN = (
    r"^[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt]([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]"
    r"(\.[0-9]{1,9})?([Zz]|[+-]([01][0-9]|2[0-3]):[0-5][0-9])$"
)
_TIME = re.compile(TIME_PATTERN)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)
_END_MS = 253_402_300_800_000  # 10000-01-01: a year has four digits


def parse_time(text: str) -> int:
    """Unix ms of an RFC 3339 time, rounded down; ValueError when it is none or not after 1970.

    0 stands for "none" in the records, so the epoch itself is refused too.
    """
    if not _TIME.fullmatch(text):
        raise ValueError(f"not an RFC 3339 time: {text!r}")
    ms = (datetime.fromisoformat(text.upper()) - _EPOCH) // _MILLISECOND
    if not 0 < ms < _END_MS:
        raise ValueError(f"outside the years 1970 to 9999: {text!r}")
    return ms


def format_time(ms: int) -> str:
    """``2026-01-31T16:00:00.000Z`` of Unix ms."""
    return (_EPOCH + ms * _MILLISECOND).isoformat(timespec="milliseconds")[:-6] + "Z"
