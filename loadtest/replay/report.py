"""Expected, got, difference: for each count and each sum, and how fast it went."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from rich.console import Console
from rich.table import Table

MOST_EXAMPLES = 20


@dataclass(slots=True)
class Report:
    """What was compared and measured so far."""

    rows: list[tuple[str, str, int, int]] = field(default_factory=list)
    phases: list[tuple[str, int, float]] = field(default_factory=list)  # name, requests, seconds
    notes: list[str] = field(default_factory=list)
    examples: list[str] = field(default_factory=list)

    def equal(self, section: str, what: str, expected: int, got: int) -> None:
        """One count or sum (money in fen)."""
        self.rows.append((section, what, expected, got))

    def outcomes(
        self, section: str, expected: Mapping[str, int], got: Mapping[str, int], wrong: int
    ) -> None:
        """Answers by outcome; ``wrong``: acts that were not answered as each of them must be."""
        for outcome in sorted(expected.keys() | got.keys(), key=lambda one: (one != "done", one)):
            self.equal(section, outcome, expected.get(outcome, 0), got.get(outcome, 0))
        self.equal(section, "answered otherwise", 0, wrong)

    def example(self, text: str) -> None:
        """One thing that is not as it must be; the first of them are shown."""
        if len(self.examples) < MOST_EXAMPLES:
            self.examples.append(text)

    @property
    def differences(self) -> int:
        """How many rows differ."""
        return sum(expected != got for _, _, expected, got in self.rows)

    def show(self, console: Console) -> None:
        """Everything, the differences last where they are seen."""
        console.print(self._speeds())
        console.print(self._comparison())
        for text in (*self.notes, *self.examples):
            console.print(text, highlight=False, markup=False, soft_wrap=True)
        if self.differences:
            console.print(f"{self.differences} differences", style="bold red")
        else:
            console.print(f"{len(self.rows)} counts and sums, 0 differences", style="bold green")

    def _comparison(self) -> Table:
        table = Table("phase", "what", title="Computed from the records, and what the engine did")
        for name in ("expected", "got", "difference"):
            table.add_column(name, justify="right")
        last = ""
        for section, what, expected, got in self.rows:
            if section != last and last:
                table.add_section()
            style = "bold red" if expected != got else None
            numbers = (f"{number:,}" for number in (expected, got, got - expected))
            table.add_row("" if section == last else section, what, *numbers, style=style)
            last = section
        return table

    def _speeds(self) -> Table:
        table = Table("phase", title="Speed over HTTP")
        for name in ("requests", "seconds", "a second"):
            table.add_column(name, justify="right")
        acts, seconds = 0, 0.0
        for name, number, took in self.phases:
            table.add_row(name, *_speed(number, took))
            acts, seconds = acts + number, seconds + took
        table.add_section()
        table.add_row("in all", *_speed(acts, seconds))
        return table


def _speed(number: int, seconds: float) -> tuple[str, str, str]:
    return f"{number:,}", f"{seconds:,.1f}", f"{number / seconds if seconds else 0:,.0f}"


def total(counts: Mapping[str, int]) -> int:
    """How many acts a phase has."""
    return Counter(counts).total()
