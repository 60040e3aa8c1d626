"""Downloads: the same rows as in JSON, for spreadsheets."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from api.routes import Call, Reply
from engine.books.export import CSV_TYPE, XLSX_TYPE, csv_bytes

JSON, NDJSON = "application/json", "application/x-ndjson"
UTF8_CSV = f"{CSV_TYPE}; charset=utf-8"
_MEDIA = {"csv": UTF8_CSV, "xlsx": XLSX_TYPE}


def file(body: bytes, name: str, kind: str, headers: dict[str, str] | None = None) -> Reply:
    """A download called ``name`` of ``kind`` csv or xlsx."""
    disposition = {"Content-Disposition": f'attachment; filename="{name}.{kind}"'}
    return Reply(body, content_type=_MEDIA[kind], headers={**disposition, **(headers or {})})


def csv_file(call: Call, name: str, columns: Sequence[str], rows: list[dict[str, Any]]) -> Reply:
    """Rows as CSV with byte order mark, headings in the caller's language."""
    return file(csv_bytes(columns, rows, call.language), name, "csv")
