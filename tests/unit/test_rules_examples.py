"""The worked examples of docs/RULES.md, run as they stand."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.unit.rules_language import run

RULES = Path(__file__).parents[2] / "docs" / "RULES.md"


def examples() -> list[tuple[int, str]]:
    """(line number, block) of each ``rules`` block."""
    text = RULES.read_text(encoding="utf-8")
    return [
        (text.count("\n", 0, match.start()) + 1, match[1])
        for match in re.finditer(r"```rules\n(.*?)```", text, re.DOTALL)
    ]


@pytest.mark.parametrize("block", [
    pytest.param(block, id=f"line {number}") for number, block in examples()
])  # fmt: skip
def test_example_holds(block: str) -> None:
    answers, expected = run(block)
    assert answers == expected


def test_there_are_examples() -> None:
    assert len(examples()) >= 55
