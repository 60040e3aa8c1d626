"""One command: a server of its own, every scenario by locust, reconcile; the verdict.

``python -m loadtest.run [SCENARIO ...] [--locust PATH] [--processes N] [--scale X] [--pace N]``;
``--url`` and ``--key`` (an operator's) load a server that is there already. Exit code 1 where an
answer was wrong, more was given out than there is, or live state differs from the books; how fast
it was never fails a run. Reports as HTML and CSV in ``--reports``.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from loadtest import mall
from loadtest.replay.client import ReplayError
from loadtest.replay.server import OwnServer

ROOT = Path(__file__).resolve().parent.parent
SCENARIOS = ("flash_sale", "cashiers", "closing_time", "mall_day")
COLUMNS = ("Name", "Request Count", "Failure Count", "50%", "99%", "Requests/s")


class Server(OwnServer):
    """On the wall's clock."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self._environment["HEXIAO_REHEARSAL"] = "0"

    def reconciled(self) -> int:
        """``hexiao reconcile``'s exit code."""
        program = str(Path(sys.executable).with_name("hexiao"))
        return subprocess.run([program, "reconcile"], env=self._environment, check=False).returncode


def run_scenario(name: str, arguments: argparse.Namespace, file: Path, url: str) -> bool:
    """One scenario by locust; whether no answer was wrong."""
    stem = arguments.reports / f"loadtest-{name}"
    words = [
        arguments.locust, "--headless", "--locustfile", str(ROOT / "loadtest" / f"{name}.py"),
        "--host", url, "--processes", str(arguments.processes), "--only-summary",
        "--html", f"{stem}.html", "--csv", str(stem), "--loglevel", "WARNING",
        "--exit-code-on-error", "1",
    ]  # fmt: skip
    environment = {
        **os.environ,
        mall.FILE: str(file),
        "LOADTEST_SCALE": str(arguments.scale),
        "LOADTEST_PACE": str(arguments.pace),
        "PYTHONPATH": str(ROOT),
    }
    begun = time.monotonic()
    with Path(f"{stem}.log").open("wb") as log:
        code = subprocess.run(
            words, env=environment, stdout=log, stderr=log, check=False
        ).returncode
    print(f"\n{name}: {time.monotonic() - begun:.0f} s, {stem}.html")
    show(Path(f"{stem}_stats.csv"))
    for row in _rows(Path(f"{stem}_failures.csv")):
        print(f"  WRONG {row['Occurrences']} x {row['Name']}: {row['Error']}")
    for row in _rows(Path(f"{stem}_exceptions.csv")):
        print(f"  WRONG {row['Count']} x {row['Message']}")
    return code == 0


def show(path: Path) -> None:
    """The table of one scenario; times in milliseconds."""
    print(f"  {'':28}" + "".join(f"{name:>15}" for name in COLUMNS[1:]))
    for row in _rows(path):
        cells = (row[name].partition(".")[0] for name in COLUMNS[1:])
        print(f"  {row['Name']:28}" + "".join(f"{cell:>15}" for cell in cells))


def _rows(path: Path) -> list[dict[str, str]]:
    if not path.exists():
        return []
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def verdict(made: mall.Mall) -> list[str]:
    """What of the whole is not as it must be: more given out than there is."""
    time.sleep(1.1)  # a campaign's counters are up to a second old
    wrong = []
    print()
    for name in ("flash", "ten"):
        path = f"/v1/campaigns/{made[name]}"
        live: dict[str, Any] = mall.ask(made["url"], made["operator"], "GET", path)["live"]
        print(f"{name}: {live['issued']} of {mall.FLASH_STOCK} given out, {live['left']} left")
        if live["issued"] + live["left"] != mall.FLASH_STOCK or live["left"] < 0:
            wrong.append(f"{name}: the stock does not add up: {live}")
    return wrong


def run(arguments: argparse.Namespace) -> bool:
    """Everything; whether all was right."""
    arguments.reports.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="hexiao-load-")))
        server = None
        url, key = arguments.url.rstrip("/"), arguments.key
        if not url:
            server = stack.enter_context(Server(directory))
            url, key = server.url, server.key
        made = mall.make(url, key)
        file = directory / "mall.json"
        file.write_text(json.dumps(made))
        file.chmod(0o600)
        wrong = [
            f"{name}: wrong answers"
            for name in arguments.scenarios
            if not run_scenario(name, arguments, file, url)
        ]
        wrong += verdict(made)
        if server is None:
            print("Not reconciled: run `hexiao reconcile` where that server runs.")
        elif server.reconciled():
            wrong.append("live state differs from the books")
    print("\n".join(wrong) or "All answers were right.")
    return not wrong


def main() -> int:
    """Exit code 1 where something was wrong."""
    parser = argparse.ArgumentParser(
        prog="loadtest", description="Load by locust, and its verdict."
    )
    parser.add_argument("scenarios", nargs="*", default=SCENARIOS, metavar="SCENARIO",
                        help=f"of {', '.join(SCENARIOS)}; default: all")  # fmt: skip
    parser.add_argument("--locust", default="locust", help="the program")
    parser.add_argument("--processes", type=int, default=2, help="locust's workers on this machine")
    parser.add_argument("--scale", type=float, default=1.0, help="times as many people")
    parser.add_argument("--pace", type=float, default=0.0, help="things a person does a second")
    parser.add_argument("--url", default="", help="a server that is there already")
    parser.add_argument("--key", default=os.environ.get("HEXIAO_OPERATOR_KEY", ""))
    parser.add_argument("--reports", type=Path, default=Path("reports"))
    arguments = parser.parse_args()
    unknown = set(arguments.scenarios) - set(SCENARIOS)
    if unknown:
        parser.error(f"no such scenario: {', '.join(sorted(unknown))}")
    try:
        return 0 if run(arguments) else 1
    except (mall.MallError, ReplayError) as error:
        print(error, file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
