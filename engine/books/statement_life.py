"""What becomes of a statement: ``closed → confirmed | disputed → paid``.

A dispute that was settled may still be confirmed. What was confirmed is not disputed any more: what
turns up later is an adjustment, and goes into the next statement. What is paid stays paid.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from sqlalchemy import select, update

from engine.books import definitions
from engine.books.schema import statements
from engine.books.settlement import statement_row
from engine.books.statements import head
from engine.outcomes import Outcome

if TYPE_CHECKING:
    from engine.books.db import Books
    from engine.books.definitions import Body, By, Change, Receipt
    from engine.views import Answer


class Move(NamedTuple):
    """From which status a move may start, and to which it leads."""

    start: tuple[str, ...]
    end: str


MOVES = {
    "confirm": Move(("closed", "disputed"), "confirmed"),
    "dispute": Move(("closed",), "disputed"),
    "pay": Move(("confirmed", "disputed"), "paid"),
}


async def move(
    books: Books,
    tenant: str,
    by: By,
    receipt: Receipt,
    statement_id: str,
    verb: str,
    *,
    merchant_id: str | None = None,
    reason: str = "",
    payment_ref: str = "",
) -> Answer[Body]:
    """Do a move of MOVES; the answer is the statement without its lines.

    ``merchant_id``: whose statement it must be. Refusals: NOT_FOUND, WRONG_STATUS.
    """
    allowed = MOVES[verb]

    async def work(change: Change) -> Body:
        mine = (statements.c.tenant == tenant, statements.c.id == statement_id)
        row: Any = (await change.connection.execute(select(statements).where(*mine))).first()
        if row is None or (merchant_id and row.merchant_id != merchant_id):
            change.refuse(Outcome.NOT_FOUND)
        if row.status not in allowed.start:
            change.refuse(Outcome.WRONG_STATUS, current=row.status)
        values: dict[str, Any] = {"status": allowed.end, "status_ms": by.at}
        if verb == "dispute":
            values["reason"] = reason
        if verb == "pay":
            values["payment_ref"] = payment_ref
        await change.connection.execute(update(statements).where(*mine).values(**values))
        told = {"from": row.status, "merchant_id": row.merchant_id}
        told |= {"reason": reason} if reason else {}
        told |= {"payment_ref": payment_ref} if payment_ref else {}
        await change.note(f"statement.{verb}", f"statement:{statement_id}", told)
        row = (await change.connection.execute(select(statements).where(*mine))).one()
        return head(statement_row(row))

    return await definitions.change(books, tenant, by, work, receipt=receipt, defines=False)
