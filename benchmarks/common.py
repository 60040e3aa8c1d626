"""What whole-process benchmarks share: processes and their CPU, the machine, the report. Linux."""

from __future__ import annotations

import datetime
import json
import os
import platform
import resource
import subprocess
from contextlib import suppress
from importlib import metadata
from pathlib import Path
from typing import Any

_TICKS = os.sysconf("SC_CLK_TCK")
_TELLING = ("aiohttp", "uvloop", "redis", "hiredis", "msgspec", "orjson")


def cpu_seconds(pid: int) -> float:
    """CPU time that a process has used, user and system, all threads (10 ms steps)."""
    fields = _stat(pid)
    return (int(fields[11]) + int(fields[12])) / _TICKS


def own_cpu_seconds() -> float:
    """The same of this process, to the microsecond."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def tree_cpu_seconds(pid: int) -> float:
    """CPU time of a process and of all that descend from it, those that have ended included."""
    parents: dict[int, list[int]] = {}
    used = {}
    for found in Path("/proc").glob("[0-9]*"):
        try:
            fields = _stat(int(found.name))
        except OSError:  # it has ended meanwhile
            continue
        parents.setdefault(int(fields[1]), []).append(int(found.name))
        used[int(found.name)] = sum(map(int, fields[11:15])) / _TICKS
    total, left = 0.0, [pid]
    while left:
        one = left.pop()
        total += used.get(one, 0.0)
        left += parents.get(one, [])
    return total


def resident_mb(pid: int) -> float:
    """What a process holds of the machine's memory now, in 10^6 bytes."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def children(parent: int, *words: str) -> list[int]:
    """The pids of the parent's children whose command line holds all these words."""
    matching = []
    for found in Path("/proc").glob("[0-9]*"):
        try:
            if int(_stat(int(found.name))[1]) == parent:
                command = (found / "cmdline").read_bytes().decode(errors="replace")
                if all(word in command for word in words):
                    matching.append(int(found.name))
        except OSError:  # it has ended meanwhile
            continue
    return matching


def child(parent: int, *words: str) -> int:
    """The pid of the one child; LookupError without."""
    for pid in children(parent, *words):
        return pid
    raise LookupError(f"no child of {parent} is a {' '.join(words)}")


def _stat(pid: int) -> list[str]:
    """The fields of /proc/PID/stat after the name, which may hold anything: state, ppid, ..."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()


def machine() -> dict[str, Any]:
    """What a figure is worth nothing without."""
    models = [line for line in _lines("/proc/cpuinfo") if line.startswith("model name")]
    return {
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "commit": _commit(),
        "python": platform.python_version(),
        "cpus": os.cpu_count(),
        "cpu": models[0].partition(":")[2].strip() if models else platform.machine(),
        "load": os.getloadavg()[0],
        "packages": {name: metadata.version(name) for name in _TELLING},
    }


def _commit() -> str:
    """Of the code that was measured; "" where git does not know."""
    asked = ["git", "-C", str(Path(__file__).parent), "rev-parse", "--short", "HEAD"]
    with suppress(OSError):
        done = subprocess.run(asked, capture_output=True, text=True, check=False)
        return done.stdout.strip()
    return ""


def _lines(path: str) -> list[str]:
    return Path(path).read_text().splitlines()


def server_name(info: dict[str, Any]) -> str:
    """``valkey 9.1.2``, from INFO: Valkey's own version, not that of the Redis it is like."""
    version = info.get("valkey_version", info["redis_version"])
    return f"{info.get('server_name', 'redis')} {version}"


def write_report(path: Path, report: dict[str, Any]) -> None:
    """Write it as JSON."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(report, indent=1) + "\n")
