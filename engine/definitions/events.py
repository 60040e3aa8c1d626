"""What a ticket is for: an event, when its doors are open, and how many it has room for."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from engine.definitions.shapes import Body, Count, Id, Time
from engine.definitions.times import parse_time
from engine.records import EventTerms

MOST_QUOTAS = 8  # of one campaign: each is counted in every act that gives a ticket out


class Quota(Body, frozen=True):
    """How many tickets may be out; campaigns that name the same one of an event share it."""

    id: Id
    total: Count


class Event(Body, frozen=True):
    """One session. Entry is open from ``entry_from`` (null: at any time) to ``entry_until``
    (null: until it ends). ``reentry``: whoever left may come in again.
    """

    id: Id
    starts_at: Time
    ends_at: Time
    entry_from: Time | None = None
    entry_until: Time | None = None
    reentry: bool = False
    quotas: Annotated[list[Quota], Meta(max_length=MOST_QUOTAS)] | None = None

    def __post_init__(self) -> None:
        self._to_utc("starts_at", "ends_at", "entry_from", "entry_until")


def compile_event(event: Event) -> EventTerms:
    """An event as a ticket's terms have it."""
    ends = parse_time(event.ends_at)
    return EventTerms(
        id=event.id,
        starts=parse_time(event.starts_at),
        ends=ends,
        entry_from=0 if event.entry_from is None else parse_time(event.entry_from),
        entry_until=ends if event.entry_until is None else parse_time(event.entry_until),
        reentry=event.reentry,
    )
