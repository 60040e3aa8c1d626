"""Rows of the books as files: CSV for programs that Excel opens too, XLSX for people.

One table of fields serves JSON, CSV and XLSX. In JSON and CSV money is integer fen, as everywhere
in the contract, and times are RFC 3339; a CSV begins with a byte order mark, without which Excel
takes Chinese for something else. In XLSX money is yuan and times are the mall's local ones.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

import xlsxwriter

from engine.definitions.times import format_time

BOM = "\ufeff"
XLSX_ROWS = 1_048_000  # a sheet of Excel ends at 1,048,576
CSV_TYPE = "text/csv"
XLSX_TYPE = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"

Row = Mapping[str, Any]


class Field(NamedTuple):
    """``kind``: text, count, money (fen), ratio (0 to 1), time (Unix ms)."""

    kind: str
    en: str
    zh: str


FIELDS = {
    "account": Field("text", "Account", "科目"),
    "act_id": Field("text", "Act", "业务编号"),
    "adjustments": Field("money", "Adjustments", "调账"),
    "amount": Field("money", "Amount", "金额"),
    "as_of": Field("time", "As of", "截至"),
    "asked_at": Field("time", "Asked at", "申请时间"),
    "asked_by": Field("text", "Asked by", "申请人"),
    "at": Field("time", "Time", "时间"),
    "balance": Field("money", "Balance", "余额"),
    "attempts": Field("count", "Refused tries", "被拒次数"),
    "basket": Field("money", "Mean basket", "核销客单价"),
    "basket_change": Field("ratio", "Change of basket", "客单价变化"),
    "baseline_basket": Field("money", "Baseline basket", "基准客单价"),
    "bears_elsewhere": Field("money", "Bears elsewhere", "承担他店核销"),
    "budget": Field("money", "Budget", "预算"),
    "campaign": Field("text", "Campaign", "券批次"),
    "campaign_id": Field("text", "Campaign", "券批次"),
    "channel": Field("text", "Channel", "渠道"),
    "claim": Field("count", "Claim or order", "领取/下单人数"),
    "click": Field("count", "Click", "点击人数"),
    "code": Field("text", "Code", "原因代码"),
    "commission": Field("money", "Commission", "佣金"),
    "breakage": Field("money", "Breakage", "预付余额归商户"),
    "count": Field("count", "How many", "数量"),
    "coupon_code": Field("text", "Code", "券码"),
    "number": Field("count", "Number", "编号"),
    "typed_code": Field("text", "Code to type", "手输码"),
    "valid_from": Field("time", "Valid from", "生效时间"),
    "valid_until": Field("time", "Valid until", "失效时间"),
    "coupon_id": Field("text", "Coupon", "券号"),
    "coupons": Field("count", "Coupons", "券张数"),
    "created_at": Field("time", "Made at", "出账时间"),
    "credits": Field("money", "Credits", "贷方"),
    "currency": Field("text", "Currency", "币种"),
    "day": Field("text", "Day", "日期"),
    "debits": Field("money", "Debits", "借方"),
    "decided_at": Field("time", "Decided at", "审批时间"),
    "decided_by": Field("text", "Decided by", "审批人"),
    "definition": Field("text", "Definition", "口径"),
    "denominator": Field("count", "Denominator", "分母"),
    "discount": Field("money", "Discount", "优惠金额"),
    "end": Field("time", "End", "账期止"),
    "entries": Field("count", "Entries", "笔数"),
    "entry": Field("text", "Entry", "入口"),
    "expired": Field("count", "Expired", "已过期"),
    "exposure": Field("count", "Exposure", "曝光人数"),
    "held": Field("count", "Held", "占用"),
    "id": Field("text", "Id", "编号"),
    "issued": Field("count", "Issued", "已发放"),
    "kind": Field("text", "Kind", "类型"),
    "late": Field("count", "Late", "补记"),
    "left": Field("count", "Left", "剩余"),
    "lot": Field("text", "Lot", "停车场"),
    "lot_id": Field("text", "Lot", "停车场"),
    "mall_bears": Field("money", "Mall bears", "商场承担"),
    "merchant": Field("text", "Merchant", "商户"),
    "merchant_bears": Field("money", "Merchant bears", "商户承担"),
    "merchant_id": Field("text", "Merchant", "商户"),
    "n": Field("count", "No.", "序号"),
    "name": Field("text", "Name", "指标"),
    "net_payable": Field("money", "Net payable", "实际应付"),
    "note": Field("text", "Note", "说明"),
    "numerator": Field("count", "Numerator", "分子"),
    "order_ref": Field("text", "Order", "订单号"),
    "others_bear": Field("money", "Others bear", "其他方承担"),
    "outstanding": Field("money", "Outstanding", "未兑付金额"),
    "party": Field("text", "Party", "往来方"),
    "pay": Field("count", "Pay", "支付人数"),
    "payable_to_merchant": Field("money", "Payable to merchant", "应付商户"),
    "penetration": Field("ratio", "Penetration", "渗透率"),
    "points": Field("count", "Points", "积分"),
    "points_in": Field("count", "Points in", "积分增加"),
    "points_out": Field("count", "Points out", "积分减少"),
    "points_value": Field("money", "Points", "积分抵现"),
    "prepaid": Field("money", "Prepaid", "预付"),
    "reason": Field("text", "Reason", "事由"),
    "redeem": Field("count", "Redeem", "核销人数"),
    "redeemed": Field("count", "Redeemed", "已核销"),
    "redemption_id": Field("text", "Redemption", "核销号"),
    "redemption_rate": Field("ratio", "Redemption rate", "核销率"),
    "redemptions": Field("count", "Redemptions", "核销笔数"),
    "rejection": Field("text", "Turned down because", "驳回原因"),
    "repurchase": Field("count", "Repurchase", "复购人数"),
    "repurchase_30d": Field("ratio", "Bought again in 30 days", "30天复购率"),
    "reversals": Field("count", "Reversals", "撤销笔数"),
    "sales": Field("money", "Sales", "实付金额"),
    "spent": Field("money", "Spent", "已用预算"),
    "start": Field("time", "Start", "账期起"),
    "statement_id": Field("text", "Statement", "结算单号"),
    "status": Field("text", "Status", "状态"),
    "status_at": Field("time", "Status since", "状态时间"),
    "stays": Field("count", "Stays", "停车次数"),
    "store": Field("text", "Store", "门店"),
    "store_id": Field("text", "Store", "门店"),
    "stored_value": Field("money", "Stored value", "储值"),
    "terminal": Field("text", "Terminal", "终端"),
    "tier": Field("text", "Tier", "会员等级"),
    "total": Field("count", "Total", "总量"),
    "users": Field("count", "Users", "人数"),
    "value": Field("ratio", "Value", "值"),
    "voided": Field("count", "Voided", "已作废"),
    "with_deduction": Field("count", "With a deduction", "享受减免次数"),
    "worth": Field("money", "Worth", "价值"),
}

_PLAIN = re.compile(r"[A-Za-z0-9_.:-]*")


def json_row(row: Row) -> dict[str, Any]:
    """The row, and rows within it, as JSON shows them: moments as RFC 3339, all else as it is."""
    return {name: _plain(name, value) for name, value in row.items()}


def heading(name: str, language: str, *, fen: bool = False) -> str:
    """A column's heading for people; ``fen`` says the unit of money where it is not yuan."""
    field = FIELDS[name]
    if language.startswith("zh"):
        return f"{field.zh}(分)" if fen and field.kind == "money" else field.zh
    return f"{field.en} (fen)" if fen and field.kind == "money" else field.en


def csv_bytes(
    columns: Sequence[str],
    rows: Iterable[Row],
    language: str = "en",
    trailer: Sequence[Any] | None = None,
) -> bytes:
    """A CSV file, UTF-8 with byte order mark.

    The head line carries the field names of the JSON answer, or Chinese headings for ``zh-CN``.
    ``trailer``: a last line of its own, e.g. control totals.
    """
    out = io.StringIO(newline="")
    writer = csv.writer(out)
    chinese = language.startswith("zh")
    writer.writerow([heading(c, language, fen=True) if chinese else c for c in columns])
    for row in rows:
        writer.writerow([_cell(_plain(name, row[name])) for name in columns])
    if trailer is not None:
        writer.writerow([*trailer, *[""] * (len(columns) - len(trailer))])
    return (BOM + out.getvalue()).encode()


def _plain(name: str, value: Any) -> Any:
    if value is not None and name in FIELDS and FIELDS[name].kind == "time":
        return format_time(value)
    if isinstance(value, list):
        return [json_row(one) if isinstance(one, dict) else one for one in value]
    return value


def _cell(value: Any) -> Any:
    """Text that a spreadsheet would run as a formula is kept text (OWASP, CSV injection)."""
    if value is None:
        return ""
    if isinstance(value, str) and value[:1] in {"=", "+", "-", "@", "\t", "\r"}:
        return value if _PLAIN.fullmatch(value) else "'" + value
    return value


class Workbook:
    """An XLSX file written row by row: memory stays flat however long a sheet is."""

    def __init__(self, path: Path, language: str, timezone: str) -> None:
        self._book = xlsxwriter.Workbook(
            str(path),
            {"constant_memory": True, "strings_to_formulas": False, "strings_to_urls": False},
        )
        self._zone = ZoneInfo(timezone)
        self._language = language
        self._names: set[str] = set()
        self._formats = {
            "text": self._book.add_format({"num_format": "@"}),
            "count": self._book.add_format({"num_format": "#,##0"}),
            "money": self._book.add_format({"num_format": "#,##0.00"}),
            "ratio": self._book.add_format({"num_format": "0.00%"}),
            "time": self._book.add_format({"num_format": "yyyy-mm-dd hh:mm:ss"}),
            "head": self._book.add_format({"bold": True, "bottom": 1}),
            "bold": self._book.add_format({"bold": True}),
        }

    def sheet(self, title: str, columns: Sequence[str], head: Row | None = None) -> Sheet:
        """A new sheet; ``head``: what stands above the table, one field a line."""
        name, n = title[:31], 1
        while name in self._names:
            n += 1
            name = f"{title[:27]} {n}"
        self._names.add(name)
        page = self._book.add_worksheet(name)
        sheet = Sheet(page, columns, self._formats, self._zone)
        for i, column in enumerate(columns):
            page.set_column(i, i, 22 if FIELDS[column].kind in {"text", "time"} else 14)
        for field, value in (head or {}).items():
            page.write_string(sheet.row, 0, heading(field, self._language), self._formats["bold"])
            sheet.write(1, field, value)
            sheet.row += 1
        sheet.row += bool(head)
        for i, column in enumerate(columns):
            page.write_string(sheet.row, i, heading(column, self._language), self._formats["head"])
        page.freeze_panes(sheet.row + 1, 0)
        sheet.row += 1
        return sheet

    def close(self) -> None:
        """Write the file."""
        self._book.close()


class Sheet:
    """A sheet being written, from top to bottom."""

    def __init__(
        self, page: Any, columns: Sequence[str], formats: Mapping[str, Any], zone: ZoneInfo
    ) -> None:
        self._page = page
        self._columns = columns
        self._formats = formats
        self._zone = zone
        self.row = 0

    @property
    def rows_left(self) -> int:
        """How many more rows the sheet takes."""
        return XLSX_ROWS - self.row

    def add_all(self, rows: Iterable[Row]) -> None:
        """Append rows."""
        for row in rows:
            self.add(row)

    def add(self, row: Row, label: str = "") -> None:
        """Append one row; ``label`` stands in the first column, of a row of totals."""
        for i, name in enumerate(self._columns):
            if name in row:
                self.write(i, name, row[name])
        if label:
            self._page.write_string(self.row, 0, label, self._formats["bold"])
        self.row += 1

    def write(self, column: int, name: str, value: Any) -> None:
        """One cell of the current row."""
        kind = FIELDS[name].kind
        if value is None:
            return
        style = self._formats[kind]
        if kind == "money":
            self._page.write_number(self.row, column, value / 100, style)
        elif kind in {"count", "ratio"}:
            self._page.write_number(self.row, column, value, style)
        elif kind == "time":
            moment = datetime.fromtimestamp(value / 1000, self._zone).replace(tzinfo=None)
            self._page.write_datetime(self.row, column, moment, style)
        else:
            self._page.write_string(self.row, column, str(value), style)
