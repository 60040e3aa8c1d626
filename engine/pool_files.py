"""Files of third parties' codes: read piece by piece, never whole.

CSV: a code is the first cell of a row, or the cell under a heading (``code``). NDJSON: a line is a
JSON text, or an object with a text ``code``. UTF-8, with or without BOM; blank lines are nothing.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Generator
from dataclasses import dataclass, field
from typing import BinaryIO, NamedTuple

import msgspec

CODE = re.compile(r"[!-~]{1,255}")
HEADINGS = ("code", "external_code", "券码", "兑换码")
FAULTS = {  # English, Chinese
    "csv": ("This is no CSV.", "不是有效的 CSV。"),
    "json": ('A line is "CODE" or {"code": "CODE"}.', '每行应为 "CODE" 或 {"code": "CODE"}。'),
    "missing": ("There is no code.", "缺少券码。"),
    "form": (
        "A code is 1 to 255 visible ASCII characters without blanks.",
        "券码须为 1 至 255 个可见 ASCII 字符,且不含空格。",
    ),
}
MOST = 1000  # lines that a report names
_BOM = "\ufeff"


class Line(NamedTuple):
    """A line that says something: its code, or why that is none."""

    number: int  # from 1
    code: str
    fault: str = ""  # of FAULTS


class _Object(msgspec.Struct):
    code: str


_json = msgspec.json.Decoder(str | _Object).decode


def read_csv(file: BinaryIO) -> Generator[Line, None, None]:
    """The rows of a CSV file; the number of a row is that of its last line."""
    # The BOM goes before the reader comes: behind it, a quoted first cell would be none.
    text = io.TextIOWrapper(file, "utf-8-sig", errors="replace", newline="")
    rows = csv.reader(text, strict=False)
    column, first = 0, True
    try:
        while True:
            try:
                row = next(rows, None)
            except csv.Error:
                yield Line(rows.line_num, "", "csv")
                continue
            if row is None:
                return
            if not any(cell.strip() for cell in row):
                continue
            if first:
                first = False
                names = [cell.strip().lower() for cell in row]
                heading = next((name for name in HEADINGS if name in names), None)
                if heading is not None:
                    column = names.index(heading)
                    continue
            cell = row[column].strip() if column < len(row) else ""
            yield _judged(rows.line_num, cell)
    finally:
        text.detach()  # the file is not ours to close


def read_ndjson(file: BinaryIO) -> Generator[Line, None, None]:
    """The lines of an NDJSON file."""
    for number, raw in enumerate(file, 1):
        line = raw.strip().removeprefix(_BOM.encode()) if number == 1 else raw.strip()
        if not line:
            continue
        try:
            told = _json(line)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            yield Line(number, "", "json")
        else:
            yield _judged(number, told if isinstance(told, str) else told.code)


def _judged(number: int, code: str) -> Line:
    if CODE.fullmatch(code):
        return Line(number, code)
    if not code:
        return Line(number, "", "missing")
    return Line(number, "", "form")


@dataclass
class Report:
    """What became of a file, line by line; of each list the first ``MOST``."""

    language: str = "en"
    lines: int = 0
    accepted: int = 0
    duplicates: list[dict[str, object]] = field(default_factory=list)
    duplicates_total: int = 0
    invalid: list[dict[str, object]] = field(default_factory=list)
    invalid_total: int = 0

    def duplicate(self, line: Line) -> None:
        """Its code came before: in this file, or in another."""
        self.duplicates_total += 1
        if len(self.duplicates) < MOST:
            self.duplicates.append({"line": line.number, "code": line.code})

    def fault(self, line: Line) -> None:
        """It has no code."""
        self.invalid_total += 1
        if len(self.invalid) < MOST:
            detail = FAULTS[line.fault][self.language != "en"]
            self.invalid.append({"line": line.number, "detail": detail})
