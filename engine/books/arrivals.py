"""From entries of the outbox to single facts, each with its place and its digest.

The id of an entry says where its facts belong (``<epoch>-<last seq>``), so even one that cannot be
decoded leaves no hole: it is set aside in its place.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import blake2b
from typing import NamedTuple

import msgspec

from engine import facts

_MOST_LOST = 1_000  # facts that one undecodable entry may stand for


class Position(NamedTuple):
    """A place in a cell's outbox; later acts compare greater."""

    epoch: int
    seq: int

    def is_followed_by(self, other: Position) -> bool:
        """Whether nothing is missing between the two. A new epoch may count on or from 1."""
        if other.epoch == self.epoch:
            return other.seq == self.seq + 1
        return other.epoch > self.epoch and other.seq in (1, self.seq + 1)


BEGINNING = Position(1, 0)  # of a cell that nothing has happened in


class Entry(NamedTuple):
    """An entry as read from the stream; ``body`` is its field ``f``, empty when it has none."""

    id: str
    body: bytes


@dataclass(slots=True)
class Arrival:
    """One fact as it arrived; ``fact`` is None, and ``error`` says why, when it is unreadable."""

    place: Position
    entry: str
    raw: bytes
    fact: facts.AnyFact | None
    error: str = ""

    @property
    def digest(self) -> str:
        """Of the bytes that Redis sent: the same fact again has the same."""
        return digest_of(self.raw)


def position_of(entry_id: str) -> Position:
    """Where the last fact of an entry belongs; ValueError when it is no id of ours."""
    epoch, _, seq = entry_id.partition("-")
    return Position(int(epoch), int(seq))


def read_entries(entries: Iterable[Entry], after: Position | None = None) -> list[Arrival]:
    """Every fact of the entries, in their order.

    ``after``: what the first entry directly follows in the stream. Only with it is it known how
    many facts an undecodable entry stands for; without, such an entry gives its last place alone
    (and the facts before that are missed, so that the caller reads again from what it has).
    """
    arrivals: list[Arrival] = []
    for entry in entries:
        arrivals += _read_entry(entry, after)
        if after is not None:
            after = position_of(entry.id)
    return arrivals


def _read_entry(entry: Entry, after: Position | None) -> list[Arrival]:
    last = position_of(entry.id)
    try:
        parts = facts.split(entry.body)
    except msgspec.DecodeError as error:
        return _unreadable(entry, after, f"undecodable entry: {error}")
    if not 0 < len(parts) <= last.seq:
        return _unreadable(entry, after, f"an entry of {len(parts)} facts")
    first = last.seq - len(parts) + 1
    try:
        told = facts.decode(entry.body)
    except msgspec.DecodeError:  # one of them
        return [
            read_fact(part, Position(last.epoch, seq), entry.id)
            for seq, part in enumerate(parts, first)
        ]
    return [
        _arrival(part, Position(last.epoch, seq), entry.id, fact)
        for seq, (part, fact) in enumerate(zip(parts, told, strict=True), first)
    ]


def read_fact(part: msgspec.Raw, place: Position, entry: str) -> Arrival:
    """One fact of an entry, whose place is known."""
    try:
        fact = facts.decode_one(part)
    except msgspec.DecodeError as error:
        return Arrival(place, entry, bytes(part), None, f"undecodable fact: {error}")
    return _arrival(part, place, entry, fact)


def _arrival(part: msgspec.Raw, place: Position, entry: str, fact: facts.AnyFact) -> Arrival:
    if fact.seq != place.seq:
        return Arrival(place, entry, bytes(part), None, f"calls itself number {fact.seq}")
    return Arrival(place, entry, bytes(part), fact)


def _unreadable(entry: Entry, after: Position | None, error: str) -> list[Arrival]:
    last = position_of(entry.id)
    first = last.seq
    if after is not None:
        counts_on = after.epoch == last.epoch or after.seq < last.seq
        first = after.seq + 1 if counts_on else 1
        if not 0 <= last.seq - first < _MOST_LOST:
            first = last.seq
    return [
        Arrival(Position(last.epoch, seq), entry.id, entry.body, None, error)
        for seq in range(first, last.seq + 1)
    ]


def digest_of(raw: bytes) -> str:
    """128 bits in hex."""
    return blake2b(raw, digest_size=16).hexdigest()
