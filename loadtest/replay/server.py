"""A rehearsal server of the replay's own: ``hexiao serve`` on a fresh data directory."""

from __future__ import annotations

import asyncio
import os
import secrets
import signal
import subprocess
import sys
import threading
from pathlib import Path
from types import TracebackType
from typing import Self

import redis.asyncio
from redis.exceptions import RedisError

from loadtest.replay.client import ReplayError

START_SECONDS = 60.0
STOP_SECONDS = 120.0
# What would make it another server than a fresh one of its own.
NOT_ITS_OWN = ("HOST", "REDIS_URL", "DATABASE_URL", "SECRET", "TENANT")


class OwnServer:
    """Started on entry, stopped on exit. ``url`` and ``key`` are how to call it."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.key = f"replay-{secrets.token_hex(16)}"
        self.url = ""
        self._process: subprocess.Popen[str] | None = None
        self._watchdog: subprocess.Popen[bytes] | None = None
        unwanted = {f"HEXIAO_{name}" for name in NOT_ITS_OWN}
        self._environment = {
            **{name: value for name, value in os.environ.items() if name not in unwanted},
            "HEXIAO_REHEARSAL": "1",
            "HEXIAO_DATA_DIR": str(directory),
            "HEXIAO_OPERATOR_KEY": self.key,
            "HEXIAO_PORT": "0",
        }

    def __enter__(self) -> Self:
        with (self.directory / "serve.log").open("ab") as log:
            process = self._process = subprocess.Popen(
                [_program(), "serve"],
                env=self._environment,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                process_group=0,  # Ctrl-C is the replay's to handle
            )
        # Stops it when we are gone without having done so: its pipe from us closes then.
        self._watchdog = subprocess.Popen(
            ["/bin/sh", "-c", f"read _; kill -TERM {process.pid}"],
            stdin=subprocess.PIPE,
            process_group=0,
        )
        timer = threading.Timer(START_SECONDS, process.kill)
        timer.start()
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
        finally:
            timer.cancel()
        if not line.startswith("hexiao ready on "):
            self._stop()
            raise ReplayError(f"The server did not start:\n{line}{self.log()}")
        self.url = line.split()[3]
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        code = self._stop()
        if code and error is None:
            raise ReplayError(f"The server ended with {code}:\n{self.log()}")

    def log(self) -> str:
        """The end of what it wrote to stderr."""
        return (self.directory / "serve.log").read_text(errors="replace")[-4000:]

    def _stop(self) -> int:
        process, watchdog = self._process, self._watchdog
        if watchdog is not None:
            watchdog.kill()
            watchdog.communicate()
        if process is None:
            return 0
        process.send_signal(signal.SIGTERM)
        try:
            code = process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            code = process.wait()
        if process.stdout is not None:
            process.stdout.close()
        return code

    def kill_writer(self) -> bool:
        """SIGKILL its writer; False when none lives just now. By /proc: on Linux only."""
        assert self._process is not None
        for found in Path("/proc").glob("[0-9]*"):
            try:
                # pid (name) state ppid ...: the name may hold anything, so from its end on
                parent = int((found / "stat").read_text().rpartition(")")[2].split()[1])
                if parent != self._process.pid:
                    continue
                command = (found / "cmdline").read_bytes().rstrip(b"\0").split(b"\0")
            except OSError:  # it has ended meanwhile
                continue
            if command[-1] == b"writer":
                os.kill(int(found.name), signal.SIGKILL)
                return True
        return False

    async def memory(self) -> int | None:
        """Bytes that Redis uses without its streams of facts; None where it can't be asked."""
        path = self.directory / "redis" / "redis.sock"
        if not path.exists():  # the directory's path was too long for a socket
            return None
        try:
            async with redis.asyncio.Redis(unix_socket_path=str(path)) as client:
                used = int((await client.info("memory"))["used_memory"])
                async for key in client.scan_iter(count=10_000, _type="stream"):
                    used -= await client.memory_usage(key, samples=0) or 0
        except RedisError:
            return None
        return used

    async def reconcile(self) -> tuple[int, str]:
        """``hexiao reconcile``: its exit code and what it printed."""
        process = await asyncio.create_subprocess_exec(
            _program(),
            "reconcile",
            env=self._environment,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        said, _ = await process.communicate()
        return process.returncode or 0, said.decode(errors="replace")


def _program() -> str:
    """``hexiao`` of the environment that this runs in."""
    return str(Path(sys.executable).with_name("hexiao"))
