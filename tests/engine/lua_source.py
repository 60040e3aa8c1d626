"""The scripts as text: functions, what each calls, what can be reached from where."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from engine import scripts

LIBRARIES = sorted(path.stem for path in (scripts.LUA / "lib").glob("*.lua"))
WRITES = re.compile(
    r"redis\.call\('(HSET|HSETNX|HDEL|SET|DEL|ZADD|ZREM|XADD|HINCRBY|INCR|EXPIRE|XTRIM|LPOP|RPUSH)'"
)
MARK = "-- After this point the act must succeed."
_STARTS = re.compile(r"(?:local )?function ([\w.]+)\(")


@dataclass
class File:
    """A script or library, its comments gone; ``body`` is what stands outside its functions."""

    name: str
    functions: dict[str, str] = field(default_factory=dict)  # "campaigns.share", or a local name
    body: str = ""

    @property
    def text(self) -> str:
        return "\n".join([*self.functions.values(), self.body])


def path_of(name: str) -> Path:
    """``claim`` or ``lib/keys``."""
    return scripts.LUA / f"{name}.lua"


def code_of(text: str) -> str:
    """Without its header and its comments, the mark kept as ``MARK()``."""
    text = re.sub(r"\A--\[\[.*?\n\]\]", "", text, flags=re.DOTALL)
    return re.sub(r"--.*", "", text.replace(MARK, "MARK()"))


@cache
def parse(name: str) -> File:
    """Functions begin and end at the left margin, as the whole folder writes them."""
    file, current = File(name), ""
    for line in code_of(path_of(name).read_text()).splitlines():
        start = _STARTS.match(line)
        if start:
            current = start[1]
            file.functions[current] = line + "\n"
            if line.endswith(" end"):
                current = ""
        elif current:
            file.functions[current] += line + "\n"
            if line == "end":
                current = ""
        else:
            file.body += line + "\n"
    return file


def calls_in(text: str, file: File) -> set[tuple[str, str]]:
    """(file, function) of every function of ours that a text names."""
    found = set()
    for library, function in re.findall(rf"\b({'|'.join(LIBRARIES)})\.(\w+)", text):
        if f"{library}.{function}" in parse(f"lib/{library}").functions:
            found.add((f"lib/{library}", f"{library}.{function}"))
    for name in file.functions:
        if "." not in name and re.search(rf"\b{name}\b", text):
            found.add((file.name, name))
    return found


def reach(text: str, file: File) -> str:
    """A text with the texts of all functions that can be reached from it."""
    seen: set[tuple[str, str]] = set()
    todo = list(calls_in(text, file))
    while todo:
        place = todo.pop()
        if place not in seen:
            seen.add(place)
            owner = parse(place[0])
            todo += calls_in(owner.functions[place[1]], owner)
    bodies = {parse(name).body for name, _ in seen if name != file.name}
    functions = [parse(name).functions[function] for name, function in sorted(seen)]
    return "\n".join([text, *functions, *sorted(bodies)])


def used_libraries(file: File) -> set[str]:
    """Libraries that a file names itself, other than itself."""
    named = set(re.findall(rf"\b({'|'.join(LIBRARIES)})\.\w+", strip_strings(file.text)))
    return named - {Path(file.name).name}


def strip_strings(text: str) -> str:
    """With every string literal empty."""
    return re.sub(r"'(?:[^'\\]|\\.)*'", "''", text)
