"""The ``points`` blocks of docs/RULES.md, played on a real engine; answers stand after ``->``."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from engine import lots
from engine.outcomes import Outcome
from engine.points import ALL
from tests.engine.harness import WHO, Running
from tests.unit.rules_language import ms

RULES = Path(__file__).parents[2] / "docs" / "RULES.md"


def examples() -> list[tuple[int, str]]:
    """(line number, block) of each ``points`` block."""
    text = RULES.read_text(encoding="utf-8")
    return [
        (text.count("\n", 0, match.start()) + 1, match[1])
        for match in re.finditer(r"```points\n(.*?)```", text, re.DOTALL)
    ]


class Play:
    """One block on one mall."""

    def __init__(self, mall: Running) -> None:
        self.mall = mall
        self.points = mall.engine.points
        self.now = ms("2026-03-02 12:00")  # a Monday
        self.names: dict[str, str] = {}
        self.count = 0

    async def run(self, block: str) -> tuple[list[str], list[str]]:
        """(what came, what is written), one string a line that has an answer."""
        came, written = [], []
        for line in block.splitlines():
            said, arrow, expected = line.partition("->")
            if not said.strip():
                continue
            answer = await self.say(re.sub(r"(-\d\d) (\d\d:)", r"\1T\2", said).split())
            if arrow:
                came.append(f"{said.strip()} -> {answer}")
                written.append(f"{said.strip()} -> {expected.strip()}")
        return came, written

    async def say(self, words: list[str]) -> str:
        if words[0] == "at":
            self.now = moment(words[1])
            return ""
        if words[0] == "settings":
            await self.mall.settings(**json.loads(" ".join(words[1:])))
            return ""
        if words[0] == "reverse":
            return await self.reverse(words[1:])
        if words[0] == "refund":
            return await self.refund(words[1:])
        if words[1] == "is":
            await self.mall.engine.set_profile(user_id=words[0], tier=words[2], who=WHO)
            return ""
        if words[1] == "buys":
            return await self.buy(words[0], words[2:])
        if words[1] == "has":
            return await self.has(words[0])
        return await self.credit(words[0], words[1], words[2:])

    def options(self, words: list[str]) -> dict[str, str]:
        return dict(zip(words[::2], words[1::2], strict=True))

    async def credit(self, who: str, verb: str, words: list[str]) -> str:
        """``ann earns 100 as e1 from DATE until DATE``, ``spends``, ``adjusts``."""
        kind, number, more = verb.removesuffix("s"), int(words[0]), self.options(words[1:])
        self.count += 1
        answer = await self.points.credit(
            user_id=who, kind=kind, points=-number if kind == "spend" else number,
            key=f"k{self.count}", who=WHO, now=self.now,
            available=moment(more["from"]) if "from" in more else 0,
            expires=moment(more["until"]) if "until" in more else 0,
        )  # fmt: skip
        return self.told(answer, more.get("as", ""))

    async def reverse(self, words: list[str]) -> str:
        """``reverse e1 20 by allow_negative``."""
        some = len(words) > 1 and words[1].isdigit()
        more = self.options(words[2:] if some else words[1:])
        self.count += 1
        answer = await self.points.reverse(
            entry_id=self.names[words[0]], key=f"k{self.count}", who=WHO, now=self.now,
            points=int(words[1]) if some else ALL, policy=more.get("by", "within_balance"),
        )  # fmt: skip
        return self.told(answer, "")

    def told(self, answer: Any, name: str) -> str:
        if answer.value is None:
            short = answer.details.get("short_by")
            return str(answer.outcome.code) + (f", short by {short}" if short else "")
        self.names[name] = answer.value.id
        return f"{answer.value.record.points:+d} = {answer.value.record.balance}"

    async def buy(self, who: str, words: list[str]) -> str:
        """``ann buys t1 at s1 for 23800 on DATE``."""
        more = self.options(words[1:])
        answer = await self.points.purchase(
            transaction_id=words[0], user_id=who, store_id=more["at"], amount=int(more["for"]),
            occurred=moment(more["on"]) if "on" in more else self.now, who=WHO, now=self.now,
            key=words[0],
        )  # fmt: skip
        if answer.value is None:
            return answer.outcome.code
        self.names[words[0]] = who
        said = f"{answer.value.points:+d} = {answer.value.balance}"
        if answer.value.reason:
            said += f", {answer.value.reason}"
        return said + (", again" if answer.outcome is Outcome.REPEATED else "")

    async def refund(self, words: list[str]) -> str:
        """``refund t1 by f1 of 11900 for ann``."""
        more = self.options(words[1:])
        answer = await self.points.refund(
            transaction_id=words[0], refund_id=more["by"], amount=int(more["of"]), who=WHO,
            key=f"{words[0]}/{more['by']}",
            user_id=more.get("for") or self.names[words[0]], now=self.now,
        )  # fmt: skip
        if answer.value is None:
            return answer.outcome.code
        made = answer.value[1]
        said = f"{-made.points_back:+d} = {made.balance}"
        if made.short:
            said += f", short {made.short}"
        return said + (", again" if answer.outcome is Outcome.REPEATED else "")

    async def has(self, who: str) -> str:
        """``ann has``: the balance, and what of it is not to be spent now."""
        record = (await self.points.purse(who, now=self.now)).record
        said = [f"{record.balance}"]
        if later := lots.pending(record, self.now):
            said.append(f"pending {later}")
        if record.debt:
            said.append(f"debt {record.debt}")
        said += [f"{number} expire" for _, number in lots.expiring(record)]
        return ", ".join(said)


def moment(word: str) -> int:
    """``2026-03-02T12:00`` in the mall's zone, as Unix ms."""
    return ms(word.replace("T", " "))
