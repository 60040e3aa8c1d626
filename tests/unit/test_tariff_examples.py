"""The tariffs of docs/RULES.md (``tariff`` blocks), run as they stand."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import msgspec
import pytest

from engine.definitions import Tariff
from engine.parking.tariff import fee, worth, worth_of
from tests.unit.rules_language import OFFSET, ms

RULES = Path(__file__).parents[2] / "docs" / "RULES.md"
BLOCKS = re.findall(r"```tariff\n(.*?)```", RULES.read_text(encoding="utf-8"), re.DOTALL)


def tariff_of(words: str) -> Tariff:
    """``free_minutes=15 first=60:500 unit=30:200 day=24h``."""
    body: dict[str, Any] = {}
    for word in words.split():
        name, _, text = word.partition("=")
        if name in ("first", "unit"):
            minutes, cost = map(int, text.split(":"))
            if name == "first":
                body["first"] = {"minutes": minutes, "fee": cost}
            else:
                body |= {"unit_minutes": minutes, "unit_fee": cost}
        else:
            body[name] = text if name == "day" else json.loads(text)
    return msgspec.convert(body, Tariff)


def answers(block: str) -> list[str]:
    """What comes out, one a line of ``->``."""
    told: dict[str, str] = {}
    asked = []
    for line in block.splitlines():
        word, _, rest = line.partition(" ")
        if word == "->":
            asked.append(rest.split()[0])
        elif word:
            told[word] = rest.strip()
    tariff = tariff_of(told["tariff"])
    entered, until = (ms(moment) for moment in told["from"].split(" to "))
    vendor = int(told["vendor"]) if "vendor" in told else None
    table = worth(tariff, entered, until, OFFSET, int(told.get("already", 0)), vendor)
    return [
        f"-> fee {fee(tariff, entered, until, OFFSET)}"
        if one == "fee"
        else f"-> {one} min {worth_of(table, int(one))}"
        for one in asked
    ]


@pytest.mark.parametrize("block", BLOCKS)
def test_example_holds(block: str) -> None:
    assert answers(block) == [line for line in block.splitlines() if line.startswith("->")]


def test_there_are_examples() -> None:
    assert len(BLOCKS) >= 9
