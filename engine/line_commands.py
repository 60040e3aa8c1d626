"""What scripts of waiting lines are asked to do, as data; see commands.py."""

from __future__ import annotations

import msgspec

from engine.commands import Command, Operation


class LineOpen(Operation, frozen=True, kw_only=True):
    """A waiting line begins; ``handle`` stands for the campaign's line, in all of these."""

    campaign_id: str


class LineMark(msgspec.Struct, array_like=True, frozen=True, kw_only=True):
    """Tell a cell whether people wait for a campaign: an odd version says so."""

    campaign_id: str
    version: int


class NoteKey(Operation, frozen=True, kw_only=True):
    """A key is about to be used in another cell than that of ``handle``, whose it is."""

    use: str  # for what: a campaign's line, a stay, a purchase or its refund
    serial: str  # that stands for the key, whatever it is used for
    serial_before: str
    free_of: str  # what it was noted for, and which does not know it
    refused: int = 0  # 1: the act was refused, so it was not used


class LineJoin(Command, frozen=True, kw_only=True):
    """Join a waiting line, or tell that room was found at once."""

    campaign_id: str
    person: str  # their handle
    user_id: str
    party: int
    priority: int
    serial: str
    serial_before: str
    window: int
    key: str  # as NoteKey.serial, where the person is of the line's cell; "" = it is noted already
    key_before: str
    free_of: str
    fingerprint: str
    offset: int
    total: int  # of the stock, where more than one are wanted; -1 = any number
    marked: int  # the version that every cell has been told
    replaces: str  # serial of the entry whose offer is over, "" = none
    order: str  # serial of the order that was found room for, "" = none
    until: int


class LineLeave(Command, frozen=True, kw_only=True):
    """Leave a waiting line."""

    campaign_id: str
    person: str


class LineMove(Command, frozen=True, kw_only=True):
    """Move a waiting line on: what became of its first, and who is next."""

    campaign_id: str
    offset: int
    # person, serial, their order or "", until, why not; and what the fact of it tells after `act`
    results: list[tuple[str, str, str, int, int, msgspec.Raw]]
    handled: int  # 1: this tells what became of those who were named before
    free: int  # how many may be offered now, -1 = any number
    total: int  # of the stock: for more than that nobody waits; -1 = unlimited
    most: int  # people at once
    why: int  # nobody is next: an outcome; -1 = as it was
    unmarked: int  # the even version that every cell has been told, -1 = none


class LineRead(Operation, frozen=True, kw_only=True):
    """Ask for somebody's place in a waiting line."""

    campaign_id: str
    person: str
    offset: int
