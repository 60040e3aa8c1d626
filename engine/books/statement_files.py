"""A statement as a file: CSV of its lines or entries, or an XLSX workbook with both."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine.books.export import Workbook, csv_bytes
from engine.books.settlement import LINE_COLUMNS, TOTAL_COLUMNS
from engine.books.statements import ENTRY_COLUMNS, entries_of

if TYPE_CHECKING:
    from engine.books.db import Books
    from engine.books.statements import Position

_HEAD = ("merchant_id", "start", "end", "status", "currency", "created_at")
_BESIDE = TOTAL_COLUMNS[-3:]
_LINES = (*LINE_COLUMNS, *_BESIDE)
_FILE_COLUMNS = ("statement_id", "merchant_id", "start", "end", *_LINES, "note")
_CHUNK = 5000


def rows_of(statement: dict[str, Any], language: str) -> Iterator[dict[str, Any]]:
    """Its lines, what it bears elsewhere and its adjustments, so that each column adds up."""
    chinese = language.startswith("zh")
    nothing = {**dict.fromkeys(LINE_COLUMNS[:3], None), **dict.fromkeys(TOTAL_COLUMNS, 0)}
    for line in statement["lines"]:
        yield {**nothing, **line, "net_payable": line["payable_to_merchant"] + line["breakage"],
               "note": ""}  # fmt: skip
    for line in statement["elsewhere"]:
        at = line["merchant_id"]
        note = f"承担 {at} 核销的券" if chinese else f"redeemed by {at}, borne here"
        place = {name: line[name] for name in ("store_id", "lot_id", "campaign_id")}
        borne = line["bears_elsewhere"]
        yield {**nothing, **place, "bears_elsewhere": borne, "net_payable": -borne, "note": note}
    for one in statement["adjustments"]:
        amount = one["amount"]
        sums = dict.fromkeys(("adjustments", "payable_to_merchant", "net_payable"), amount)
        yield {**nothing, **sums, "note": f"{one['id']} {one['reason']}"}


def lines_csv(statement: dict[str, Any], language: str) -> bytes:
    """Its rows, each with the statement it belongs to, and a last line of totals."""
    head = {name: statement[name] for name in ("merchant_id", "start", "end")}
    rows = [
        {"statement_id": statement["id"], **head, **row} for row in rows_of(statement, language)
    ]
    label = "合计" if language.startswith("zh") else "total"
    totals = [statement["totals"].get(name, "") for name in _LINES[3:]]
    return csv_bytes(_FILE_COLUMNS, rows, language, [label, "", "", "", "", "", "", *totals])


async def entries_csv(books: Books, tenant: str, statement_id: str, language: str) -> bytes:
    """All of its entries, in order of time."""
    rows: list[dict[str, Any]] = []
    async for chunk in _entries(books, tenant, statement_id):
        rows += chunk
    return await asyncio.to_thread(csv_bytes, ENTRY_COLUMNS, rows, language)


async def workbook(
    books: Books, tenant: str, statement: dict[str, Any], language: str, timezone: str
) -> bytes:
    """Lines with totals on one sheet, entries on the next; money in yuan, times local ones."""
    chinese = language.startswith("zh")
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory, "statement.xlsx")
        book = Workbook(path, language, timezone)
        head = {"statement_id": statement["id"], **{name: statement[name] for name in _HEAD}}
        sheet = book.sheet("结算单" if chinese else "Statement", (*_LINES, "note"), head)
        sheet.add_all(rows_of(statement, language))
        sheet.add(statement["totals"], label="合计" if chinese else "Total")
        title = "明细" if chinese else "Entries"
        sheet = book.sheet(title, ENTRY_COLUMNS)
        async for chunk in _entries(books, tenant, statement["id"]):
            if sheet.rows_left < len(chunk):
                sheet = book.sheet(title, ENTRY_COLUMNS)
            # Away from the event loop: a hundred thousand entries are seconds of work.
            await asyncio.to_thread(sheet.add_all, chunk)
        await asyncio.to_thread(book.close)
        return await asyncio.to_thread(path.read_bytes)


async def _entries(
    books: Books, tenant: str, statement_id: str
) -> AsyncIterator[list[dict[str, Any]]]:
    after: Position | None = None
    while True:
        rows, after = await entries_of(books, tenant, statement_id, after, _CHUNK)
        yield rows
        if after is None:
            return
