"""What whole-process benchmarks share: processes and their CPU, the machine, the report. Linux."""

from __future__ import annotations

import datetime
import json
import os
import platform
from importlib import metadata
from pathlib import Path
from typing import Any

_TICKS = os.sysconf("SC_CLK_TCK")
_TELLING = ("aiohttp", "uvloop", "redis", "hiredis", "msgspec", "orjson")


def cpu_seconds(pid: int) -> float:
    """CPU time that a process has used, user and system, all threads (10 ms steps)."""
    fields = _stat(pid)
    return (int(fields[11]) + int(fields[12])) / _TICKS


def child(parent: int, *words: str) -> int:
    """The pid of the parent's child whose command line holds all these words."""
    for found in Path("/proc").glob("[0-9]*"):
        try:
            if int(_stat(int(found.name))[1]) == parent:
                command = (found / "cmdline").read_bytes().decode(errors="replace")
                if all(word in command for word in words):
                    return int(found.name)
        except OSError:  # it has ended meanwhile
            continue
    raise LookupError(f"no child of {parent} is a {' '.join(words)}")


def _stat(pid: int) -> list[str]:
    """The fields of /proc/PID/stat after the name, which may hold anything: state, ppid, ..."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()


def machine() -> dict[str, Any]:
    """What a figure is worth nothing without."""
    models = [line for line in _lines("/proc/cpuinfo") if line.startswith("model name")]
    return {
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "python": platform.python_version(),
        "cpus": os.cpu_count(),
        "cpu": models[0].partition(":")[2].strip() if models else platform.machine(),
        "load": os.getloadavg()[0],
        "packages": {name: metadata.version(name) for name in _TELLING},
    }


def _lines(path: str) -> list[str]:
    return Path(path).read_text().splitlines()


def write_report(path: Path, report: dict[str, Any]) -> None:
    """Write it as JSON."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(report, indent=1) + "\n")
