"""What went from cell to cell: the same totals on both sides, nothing lost and nothing twice."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from engine.books.schema import stock_moves
from engine.reconcile.check import Again, Check
from engine.reconcile.live import Cell

DIRECTIONS = ("sent", "received")

Moves = dict[tuple[int, str, str], dict[int, int]]  # by cell, item, direction: total by peer
Packed = Sequence[bytes | None]  # the totals of DIRECTIONS, as a cell keeps them

_totals = msgspec.msgpack.Decoder(list[int]).decode


async def moves_of(check: Check, conn: AsyncConnection, what: str) -> Moves:
    """All that the books have of ``stock`` (by campaign) or ``quota`` (by event/quota)."""
    m = stock_moves.c
    query = select(m.cell, m.item, m.direction, m.peer, m.total).where(
        m.tenant == check.tenant, m.what == what
    )
    found: Moves = {}
    for cell, item, direction, peer, total in await conn.execute(query):
        found.setdefault((cell, item, direction), {})[peer] = total
    return found


def compare_moves(
    check: Check, what: str, cell: Cell, item: str, live: Packed, books: Moves, again: Again
) -> int:
    """Each total in Redis is that of the books; how much more is here than before it all."""
    moved = 0
    for direction, sign, packed in zip(DIRECTIONS, (-1, 1), live, strict=True):
        mine = {peer: n for peer, n in enumerate(_totals(packed) if packed else []) if n}
        told = books.get((cell.number, item, direction), {})
        moved += sign * sum(told.values())
        if mine != told:
            check.differs(f"{what} {direction}", f"{item} cell {cell.number}", mine, told, again)
    return moved


def law(
    check: Check, what: str, item: str, shares: list[int], live: Sequence[Packed], total: int,
    again: Again,
) -> None:  # fmt: skip
    """Shares and what is on its way between cells sum to the total; nothing came unsent."""
    totals = [[_totals(packed) if packed else [] for packed in one] for one in live]
    moving = 0
    for sender, (sent, _) in enumerate(totals):
        for to, (_, received) in enumerate(totals):
            there = sent[to] if to < len(sent) else 0
            here = received[sender] if sender < len(received) else 0
            moving += there - here
            if here > there:
                where = f"{item} cell {sender} to {to}"
                check.differs(f"{what} moved", where, f"received {here}", f"sent {there}", again)
    if sum(shares) + moving != total:
        told = f"shares {shares} + on its way {moving}"
        check.differs(f"{what} law", item, told, f"total {total}", again)
