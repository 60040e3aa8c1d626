"""Files: CSV that Excel reads as Chinese, workbooks in yuan, nothing run as a formula."""

from __future__ import annotations

import csv
import io
from datetime import datetime
from pathlib import Path
from typing import Any

import openpyxl
import pytest

from engine.books import settlement, statement_files, statements
from engine.books.export import FIELDS, Workbook, csv_bytes, heading, json_row
from engine.books.reports import attribution, postings, redemptions, stock
from engine.books.settlement import LINE_COLUMNS, TOTAL_COLUMNS, Reach
from engine.books.statements import ENTRY_COLUMNS
from tests.books.mall import Mall, march

FAR = Reach(march(100), march(100))


def read_csv(body: bytes) -> list[list[str]]:
    assert body.startswith(b"\xef\xbb\xbf")
    return list(csv.reader(io.StringIO(body.decode("utf-8-sig"), newline="")))


def test_every_column_has_headings_and_a_kind() -> None:
    for columns in (
        LINE_COLUMNS,
        ENTRY_COLUMNS,
        postings.COLUMNS,
        postings.BALANCE_COLUMNS,
        stock.COLUMNS,
        (*attribution.GROUPS, *attribution.MEASURES),
        (*redemptions.GROUPS, *redemptions.MEASURES),
    ):
        for name in columns:
            assert FIELDS[name].kind in {"text", "count", "money", "ratio", "time"}
            assert heading(name, "en")
            assert heading(name, "zh-CN") != heading(name, "en")


def test_csv_in_both_languages() -> None:
    rows = [{"store_id": "海底捞", "discount": 1234, "at": march(1, 0), "late": 1}]
    columns = ("store_id", "discount", "at", "late")

    assert read_csv(csv_bytes(columns, rows)) == [
        ["store_id", "discount", "at", "late"],
        ["海底捞", "1234", "2026-02-28T16:00:00.000Z", "1"],
    ]
    chinese = read_csv(csv_bytes(columns, rows, "zh-CN", ["合计", 1234]))
    assert chinese[0] == ["门店", "优惠金额(分)", "时间", "补记"]
    assert chinese[2] == ["合计", "1234", "", ""]


@pytest.mark.parametrize(
    ("text", "cell"),
    [
        ("=cmd|' /C calc'!A0", "'=cmd|' /C calc'!A0"),
        ("@SUM(A1)", "'@SUM(A1)"),
        ("+1 555", "'+1 555"),
        ("-1+1", "'-1+1"),
        ("\tx", "'\tx"),
        ("-A1", "-A1"),  # an id as the contract allows them
        ("POS-778", "POS-778"),
        ('a,"b"\nc', 'a,"b"\nc'),
        (None, ""),
    ],
)
def test_text_stays_text_in_csv(text: str | None, cell: str) -> None:
    assert read_csv(csv_bytes(["order_ref"], [{"order_ref": text}]))[1:] == [[cell]]


def test_negative_amounts_stay_numbers() -> None:
    assert read_csv(csv_bytes(["amount"], [{"amount": -5}]))[1] == ["-5"]


def test_json_row() -> None:
    row = json_row({"at": march(1, 0), "as_of": None, "discount": 5, "store_id": "s1"})
    assert row == {
        "at": "2026-02-28T16:00:00.000Z",
        "as_of": None,
        "discount": 5,
        "store_id": "s1",
    }


def test_a_workbook(tmp_path: Path) -> None:
    book = Workbook(tmp_path / "x.xlsx", "zh-CN", "Asia/Shanghai")
    sheet = book.sheet("明细", ("order_ref", "discount", "at", "redemption_rate"),
                       {"merchant_id": "m1"})  # fmt: skip
    sheet.add({"order_ref": "=1+1", "discount": 123, "at": march(1, 9.5), "redemption_rate": 0.5})
    sheet.add({"order_ref": None, "discount": -100, "at": None, "redemption_rate": None})
    sheet.add({"discount": 23}, label="合计")
    book.sheet("明细", ("order_ref",))
    book.close()

    read = openpyxl.load_workbook(tmp_path / "x.xlsx")
    assert read.sheetnames == ["明细", "明细 2"]
    cells = [[cell.value for cell in row] for row in read["明细"].iter_rows()]
    assert cells[0][:2] == ["商户", "m1"]
    assert cells[2] == ["订单号", "优惠金额", "时间", "核销率"]
    assert cells[3] == ["=1+1", 1.23, datetime(2026, 3, 1, 9, 30), 0.5]  # noqa: DTZ001 - Excel's
    assert cells[4] == [None, -1, None, None]
    assert cells[5][:2] == ["合计", 0.23]
    assert read["明细"]["A4"].data_type == "s"
    assert read["明细"]["B4"].number_format == "#,##0.00"


async def test_the_files_of_a_statement(mall: Mall) -> None:
    await mall.campaign("ten", {"type": "amount_off", "amount": 1050}, issue={"per_user": None},
                        funding={"mall": 60, "merchant": 40})  # fmt: skip
    for n in range(3):
        await mall.use("u1", "ten", "s1", 5000, march(2) + n, order_ref=f"P-{n}")
    await mall.reverse(await mall.use("u1", "ten", "s2", 3000, march(3)), march(4))
    await mall.drain()
    answer = await settlement.close_period(
        mall.books, mall.id, mall.by(), FAR, merchant_id=None, start=march(1, 0), end=march(32, 0)
    )
    assert answer.value is not None
    (statement,) = answer.value["items"]
    totals = statement["totals"]

    lines = read_csv(statement_files.lines_csv(statement, "en"))
    entries = read_csv(
        await statement_files.entries_csv(mall.books, mall.id, statement["id"], "en")
    )
    body = await statement_files.workbook(mall.books, mall.id, statement, "en", "Asia/Shanghai")

    assert lines[0][4:-1] == [*LINE_COLUMNS[:3], *TOTAL_COLUMNS]
    assert [row[4] for row in lines[1:]] == ["s1", "s2", ""]
    assert lines[-1][0] == "total"
    assert lines[-1][7:-1] == [str(totals[name]) for name in TOTAL_COLUMNS]
    assert entries[0] == list(ENTRY_COLUMNS)
    assert len(entries) == 1 + 5
    assert _sum(entries, "discount") == totals["discount"] == 3150
    read = openpyxl.load_workbook(io.BytesIO(body))
    assert read.sheetnames == ["Statement", "Entries"]
    table = [[cell.value for cell in row] for row in read["Statement"].iter_rows()]
    head = {row[0]: row[1] for row in table[:7]}
    assert head["Statement"] == statement["id"]
    assert table[-1][0] == "Total"
    at = table[8].index("Payable to merchant")
    assert round(table[-1][at] * 100) == totals["payable_to_merchant"]
    rows = [[cell.value for cell in row] for row in read["Entries"].iter_rows()]
    assert len(rows) == 1 + 5
    assert rows[1][rows[0].index("Order")] == "P-0"


def _sum(table: list[list[str]], name: str) -> int:
    return sum(int(row[table[0].index(name)]) for row in table[1:])


async def test_entries_in_chunks_and_over_sheets(
    mall: Mall, monkeypatch: pytest.MonkeyPatch
) -> None:
    await mall.campaign("ten", {"type": "amount_off", "amount": 1050}, issue={"per_user": None})
    for n in range(5):
        await mall.use("u1", "ten", "s1", 5000, march(2) + n)
    await mall.drain()
    answer = await settlement.close_period(
        mall.books, mall.id, mall.by(), FAR, merchant_id=None, start=march(1, 0), end=march(32, 0)
    )
    assert answer.value is not None
    (statement,) = answer.value["items"]
    monkeypatch.setattr(statement_files, "_CHUNK", 2)
    monkeypatch.setattr("engine.books.export.XLSX_ROWS", 4)

    body = await statement_files.workbook(mall.books, mall.id, statement, "zh-CN", "UTC")

    read = openpyxl.load_workbook(io.BytesIO(body))
    assert read.sheetnames == ["结算单", "明细", "明细 2"]
    counts: list[Any] = [read[name].max_row - 1 for name in read.sheetnames[1:]]
    assert counts == [2, 3]
    assert await statements.statement(mall.books, mall.id, statement["id"]) is not None
