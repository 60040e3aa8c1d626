"""docs/BENCHMARKS.md: its tables come from reports, whatever was there before."""

from __future__ import annotations

import json
from pathlib import Path

from benchmarks.tables import MARK, ROOT, TABLES, filled

MACHINE = {"date": "2026-11-22T09:00:00+00:00", "cpus": 2, "cpu": "a CPU", "python": "3.11"}


def test_every_mark_has_its_table() -> None:
    text = (ROOT / "docs" / "BENCHMARKS.md").read_text(encoding="utf-8")
    assert sorted(MARK.findall(text)) == sorted(TABLES)


def test_a_report_replaces_the_table_before(tmp_path: Path) -> None:
    marked = "before\n<!-- table: backlog -->\nafter\n"
    empty = filled(marked, tmp_path)
    assert "Not measured yet" in empty
    row = {"facts": 1_000_000, "seconds": 50.0, "per_second": 20_000.4, "cpu": 9.87,
           "mb_at_a_tenth": 104.2, "mb_at_most": 107.9}  # fmt: skip
    (tmp_path / "bench-backlog.json").write_text(json.dumps({"machine": MACHINE, **row}))
    full = filled(empty, tmp_path)
    assert "| 1,000,000 | 50.0 | 20,000 | 9.87 | 104 | 108 |" in full
    assert "*2026-11-22 · 2 CPUs, a CPU · Python 3.11*" in full
    assert "Not measured yet" not in full
    assert filled(full, tmp_path) == full
    assert filled(full, tmp_path / "none") == full  # without a report it stays
    assert full.startswith("before\n")
    assert full.endswith("after\n")
