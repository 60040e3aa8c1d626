"""House rules: who may import whom, where a key is spelled, how long lines and files are."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[2]
OURS = ("engine", "api", "loadtest", "tests", "benchmarks")
LONGEST_LINE = 100
LONGEST_FILE = 500

# Plain data and pure functions. What is not listed in ONLY may import what NEVER does not forbid.
LEAVES = ("commands", "fact_parts", "outcomes", "facts", "keys", "errors", "records")
PLAIN = tuple(f"engine.{name}" for name in (
    *LEAVES, "arithmetic", "checkin_records", "gift_records", "line_commands", "lots",
    "order_records", "parking.records", "rules", "tenders", "views", "waiting_records",
))  # fmt: skip

ONLY: dict[str, tuple[str, ...]] = {
    **{f"engine.{name}": () for name in LEAVES},
    "engine.facts": ("engine.fact_parts", "engine.fact_gifts"),
    "engine.fact_gifts": ("engine.fact_parts",),
    "engine.parking.records": (),
    "engine.arithmetic": PLAIN,
    "engine.lots": PLAIN,
    "engine.tenders": PLAIN,
    "engine.rules": PLAIN,
    "engine.views": PLAIN,
    "engine.config": (),
    "engine.embedded": (),
    "engine.fastpath": ("engine.fastpath",),
    "engine.codes": ("engine.fastpath", "engine.typed_codes"),
    "engine.typed_codes": ("engine.fastpath", "engine.keys"),
    "engine.sheets": ("engine.codes",),
    "engine.gift_codes": ("engine.fastpath",),
    "engine.definitions": (*PLAIN, "engine.definitions"),
    "engine.scripts": PLAIN,
    "loadtest": ("loadtest",),
}

# Ours by their full names, libraries by their first.
NEVER: dict[str, tuple[str, ...]] = {
    "engine": ("api", "loadtest", "tests", "benchmarks", "aiohttp", "typer", "rich"),
    "engine.engine": ("engine.books", "engine.writer", "engine.control", "sqlalchemy"),
    "engine.batching": ("engine.books", "engine.writer", "engine.control", "sqlalchemy"),
    "engine.snapshots": ("engine.books", "engine.writer", "engine.control", "sqlalchemy"),
    "engine.books": (
        "engine.engine",
        "engine.batching",
        "engine.writer",
        "engine.control",
        "redis",
    ),
    "engine.writer": ("engine.engine", "engine.batching", "engine.snapshots"),
    "api": ("loadtest", "tests", "benchmarks"),
}


class Import(NamedTuple):
    module: str
    line: int
    what: str


@cache
def sources(*suffixes: str) -> list[Path]:
    """Our own source files; vendored ones and generated C are not."""
    return sorted(
        path
        for folder in OURS
        for path in (ROOT / folder).rglob("*")
        if path.suffix in suffixes and "vendor" not in path.parts and path.is_file()
    )


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports_of(module: str, source: str) -> Iterator[Import]:
    """Every import of a module, wherever it stands. ``from x import y`` may mean module x.y."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (Import(module, node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module}:{node.lineno}: a relative import"
            assert node.module is not None
            if node.module in OURS or (ROOT / node.module.replace(".", "/")).is_dir():
                for alias in node.names:
                    yield Import(module, node.lineno, f"{node.module}.{alias.name}")
            else:
                yield Import(module, node.lineno, node.module)


def within(name: str, packages: tuple[str, ...]) -> bool:
    return any(name == package or name.startswith(f"{package}.") for package in packages)


def broken_directions(found: Iterator[Import]) -> Iterator[str]:
    for module, line, what in found:
        for who, allowed in ONLY.items():
            if within(module, (who,)) and within(what, OURS) and not within(what, allowed):
                yield f"{module}:{line} imports {what}, but {who} may import only {allowed}"
        for who, forbidden in NEVER.items():
            if within(module, (who,)) and within(what, forbidden):
                yield f"{module}:{line} imports {what}, which {who} must never"


def test_dependencies_point_inward() -> None:
    broken = [
        sentence
        for path in sources(".py", ".pyi")
        for sentence in broken_directions(imports_of(module_name(path), path.read_text()))
    ]
    assert not broken, "\n".join(broken)


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("engine.outcomes", "from engine.records import Line"),
        ("engine.rules", "import engine.scripts"),
        ("engine.fastpath.x", "from engine import keys"),
        ("engine.books.reports", "def late():\n    from engine.engine import Engine"),
        ("engine.server", "from aiohttp import web"),
        ("loadtest.locustfile", "from engine import outcomes"),
    ],
)
def test_a_wrong_direction_is_seen(module: str, source: str) -> None:
    assert list(broken_directions(imports_of(module, source)))


def spellings() -> set[str]:
    """What keys.py puts after a cell's tag: ``:facts``, ``:w:`` and so on."""
    tree = ast.parse((ROOT / "engine/keys.py").read_text())
    return {
        match[0]
        for function in tree.body
        if isinstance(function, ast.FunctionDef) and function.name.endswith("_key")
        for node in ast.walk(function)
        if isinstance(node, ast.JoinedStr)
        for part in node.values
        if isinstance(part, ast.Constant) and (match := re.match(r":[a-z]+:?", str(part.value)))
    }


def strings_of(path: Path) -> Iterator[tuple[int, str]]:
    """Every string literal that is not a docstring or a comment."""
    if path.suffix == ".lua":
        for number, line in enumerate(path.read_text().splitlines(), 1):
            for literal in re.findall(r"'[^']*'|\"[^\"]*\"", line.split("--")[0]):
                yield number, literal[1:-1]
        return
    tree = ast.parse(path.read_text())
    prose = {
        id(node.value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in prose:
            yield node.lineno, node.value


def key_pattern() -> re.Pattern[str]:
    return re.compile("|".join(s if s.endswith(":") else f"{s}$" for s in sorted(spellings())))


def test_a_key_is_spelled_once() -> None:
    spelled = key_pattern()
    homes = {ROOT / "engine/keys.py", ROOT / "engine/lua/lib/keys.lua"}
    again = [
        f"{path.relative_to(ROOT)}:{line} spells a key: {text!r}"
        for path in sources(".py", ".lua")
        if path.is_relative_to(ROOT / "engine") and path not in homes
        for line, text in strings_of(path)
        if spelled.search(text)
    ]
    assert not again, "\n".join(again)


def test_a_spelled_key_is_seen(tmp_path: Path) -> None:
    python, lua = tmp_path / "a.py", tmp_path / "a.lua"
    python.write_text('"""tag:w: in prose is fine"""\nkey = f"{tag}:w:{handle}"\n')
    lua.write_text("-- tag .. ':facts' in prose is fine\nlocal key = tag .. ':facts'\n")
    for path in (python, lua):
        assert [line for line, text in strings_of(path) if key_pattern().search(text)] == [2]


def test_lines_fit() -> None:
    long = [
        f"{path.relative_to(ROOT)}:{number} has {len(line)} characters"
        for path in sources(".py", ".pyi", ".pyx", ".lua")
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if len(line) > LONGEST_LINE
    ]
    assert not long, "\n".join(long)


def test_files_are_read_in_one_sitting() -> None:
    long = [
        f"{path.relative_to(ROOT)} has {lines} lines"
        for path in sources(".py", ".pyx", ".lua", ".js", ".css", ".html")
        if path.relative_to(ROOT).parts[0] in ("engine", "api")
        and (lines := len(path.read_text().splitlines())) > LONGEST_FILE
    ]
    assert not long, "\n".join(long)
