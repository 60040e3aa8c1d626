"""The worked examples of docs/RULES.md that are not about baskets, run as they stand."""

from __future__ import annotations

import json
import re
from pathlib import Path

import msgspec
import pytest

from engine.books.counter import Side, TillLine, compare
from engine.definitions import Campaign, parse_time
from engine.definitions.exposure import max_exposure
from engine.definitions.patch import merge

RULES = Path(__file__).parents[2] / "docs" / "RULES.md"
NOON = parse_time("2026-03-02T12:00:00+08:00")
PLAIN = {
    "id": "c", "name": "c", "kind": "coupon", "stock": {"total": 100},
    "benefit": {"type": "amount_off", "amount": 500},
    "validity": {"type": "relative", "minutes": 60},
}  # fmt: skip


def blocks(language: str) -> list[str]:
    text = RULES.read_text(encoding="utf-8")
    return re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)


@pytest.mark.parametrize(
    ("parts", "most"),
    [
        tuple(pair)
        for block in blocks("exposure")
        for pair in re.findall(r"(\{.*\})\n-> (\S+)", block)
    ],
)
def test_what_a_campaign_can_cost(parts: str, most: str) -> None:
    body = merge(PLAIN, json.loads(parts))
    assert max_exposure(msgspec.convert(body, Campaign), NOON, "Asia/Shanghai") == json.loads(most)


@pytest.mark.parametrize("block", blocks("reconciliation"))
def test_a_tills_list(block: str) -> None:
    ours, theirs, expected = [], [], []
    for line in block.strip().splitlines():
        side, name, *rest = line.split()
        if side == "here":
            ours.append(Side(rest[0], int(rest[1]), [name], "reversed" not in rest))
        elif side == "there":
            by_id = re.fullmatch(r"R\d+", name)
            theirs.append(TillLine("" if by_id else name, name if by_id else "", int(rest[0])))
        else:
            expected.append(" ".join([name, *rest]))
    found = compare(ours, theirs)
    told = [
        f"{kind} {one['order_ref']}"
        + (f" {one['here']} {one['there']}" if kind == "differs" else "")
        for kind in ("matched", "differs", "missing_here", "missing_there")
        for one in getattr(found, kind)
    ]
    assert sorted(told) == sorted(expected)


def test_there_are_examples() -> None:
    assert len(blocks("exposure")) >= 3
    assert len(blocks("reconciliation")) >= 4
