"""All that one machine needs, under one parent: embedded Redis, writer, API processes.

A child that dies is started again; the listening sockets are the parent's, so callers that knock
meanwhile wait instead of being turned away. SIGTERM: the API processes finish what is in flight,
then the writer, then Redis; exit code 0.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import shutil
import signal
import socket
import sys
import time
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from pathlib import Path

import structlog
from prometheus_client import multiprocess
from redis.exceptions import RedisError

from api.auth import key_text
from api.tenants import add_tenant
from engine.books.db import migrate, open_books
from engine.config import Settings, load_secret
from engine.embedded import EmbeddedRedis, ServerError, Watchdog
from engine.errors import CannotStart

SLOWEST_START_SECONDS = 60.0
STOP_SECONDS = 40.0  # a child that has not ended by then is killed
LONG_LIFE_SECONDS = 10.0  # a child that lived so long is started again at once
TIDY_SECONDS = 5.0  # between two looks whether the AOF should be rewritten
SHORTEST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 0.1, 5.0

log = structlog.get_logger()


# On a machine that has more to do than it can, callers are answered first, and the books catch up.
WRITER_NICE = 5


class Child:
    """One process, kept alive until ``stop``."""

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        environment: Mapping[str, str],
        *,
        listener: socket.socket | None = None,
        gives_way: bool = False,
    ) -> None:
        self.name = name
        self.ready = False  # it said so or, without a listener, was started
        self.failed = False  # it ended before it was ever ready
        self._command = command
        self._environment = environment
        self._listener = listener
        self._gives_way = gives_way
        self._process: asyncio.subprocess.Process | None = None
        self._stopping = False

    async def keep(self) -> None:
        """Run it, again and again, until ``stop``."""
        pause = SHORTEST_PAUSE_SECONDS
        while not self._stopped():
            started = time.monotonic()
            code = await self._run()
            if self._stopped():
                return
            if not self.ready:
                self.failed = True
                return
            log.error("child_ended", child=self.name, code=code)
            if time.monotonic() - started > LONG_LIFE_SECONDS:
                pause = SHORTEST_PAUSE_SECONDS
            await asyncio.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE_SECONDS)

    async def stop(self) -> None:
        """SIGTERM, patience, SIGKILL."""
        self._stopping = True
        if self._listener is not None:
            self._listener.close()  # who knocks from now on is refused, not left waiting
        process = self._process
        if process is None or process.returncode is not None:
            return
        process.send_signal(signal.SIGTERM)
        try:
            async with asyncio.timeout(STOP_SECONDS):
                await process.wait()
        except TimeoutError:
            log.error("child_killed", child=self.name)
            process.kill()
            await process.wait()

    def _stopped(self) -> bool:
        return self._stopping

    async def _run(self) -> int:
        environment = dict(self._environment)
        with contextlib.ExitStack() as stack:
            passed = []
            if self._listener is not None:
                ours, theirs = os.pipe()
                stack.callback(os.close, theirs)
                self._await_ready(ours)
                passed = [self._listener.fileno(), theirs]
                environment["HEXIAO_LISTEN_FD"] = str(self._listener.fileno())
                environment["HEXIAO_READY_FD"] = str(theirs)
            self._process = await asyncio.create_subprocess_exec(
                *self._command,
                env=environment,
                pass_fds=passed,
                process_group=0,  # Ctrl-C is the parent's to handle
            )
        if self._stopped():  # while it was being started: nobody has told it
            with contextlib.suppress(ProcessLookupError):
                self._process.terminate()
        if self._gives_way:
            with contextlib.suppress(ProcessLookupError):  # it was killed at once
                os.setpriority(os.PRIO_PROCESS, self._process.pid, WRITER_NICE)
        watchdog = Watchdog(self._process.pid)
        if self._listener is None:
            self.ready = True
        try:
            return await self._process.wait()
        finally:
            await asyncio.to_thread(watchdog.dismiss)
            if "PROMETHEUS_MULTIPROC_DIR" in os.environ:
                multiprocess.mark_process_dead(self._process.pid)  # type: ignore[no-untyped-call]

    def _await_ready(self, pipe: int) -> None:
        loop = asyncio.get_running_loop()

        def told() -> None:
            loop.remove_reader(pipe)
            if os.read(pipe, 1):
                self.ready = True
            os.close(pipe)

        loop.add_reader(pipe, told)


async def serve(
    settings: Settings, *, demo: bool = False, embedded: bool = True, writer: bool = True
) -> None:
    """Run until SIGTERM or SIGINT. CannotStart, with what to set, when something is in the way.

    ``embedded`` False asks for HEXIAO_REDIS_URL; ``writer`` False leaves the outbox to others.
    """
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    secret = load_secret(settings)
    operator_key = settings.operator_key
    if demo and operator_key is None:
        operator_key = key_text(secret, settings.tenant, "operator")
    async with contextlib.AsyncExitStack() as stack:
        redis_url = settings.redis_url
        if redis_url is None:
            if not embedded:
                raise CannotStart("Set HEXIAO_REDIS_URL: only `hexiao serve` brings its own Redis.")
            stack.enter_context(alone(settings.data_dir))
            redis_url = await stack.enter_async_context(kept_redis(settings))
        await prepare_books(settings)
        listeners = open_listeners(settings)
        for listener in listeners:
            stack.callback(listener.close)
        environment = child_environment(settings, redis_url, secret, operator_key, listeners[0])
        children = [
            Child(
                f"api-{n}",
                (sys.executable, "-m", "api.worker"),
                {**environment, "HEXIAO_WORKER": str(n)},
                listener=listener,
            )
            for n, listener in enumerate(listeners)
        ]
        command = (sys.executable, "-m", "api.cli", "writer")
        helpers = [Child("writer", command, environment, gives_way=True)]
        await stack.enter_async_context(kept_alive(helpers if writer else []))
        await stack.enter_async_context(kept_alive(children))
        if await all_ready(children, stop):
            url = base_url(settings, listeners[0])
            announce(settings, url)
            if demo:
                await show_demo(url, str(operator_key))
            elif operator_key is None:
                say("no HEXIAO_OPERATOR_KEY: make a key by `hexiao keys add operator --label NAME`")
            await stop.wait()
        log.info("stopping")


@contextlib.asynccontextmanager
async def kept_alive(children: Sequence[Child]) -> AsyncIterator[None]:
    """Children, kept alive inside the block and stopped, all at once, at its end."""
    keepers = [asyncio.create_task(child.keep()) for child in children]
    try:
        yield
    finally:
        await asyncio.gather(*(child.stop() for child in children))
        await asyncio.gather(*keepers)


@contextlib.asynccontextmanager
async def kept_redis(settings: Settings) -> AsyncIterator[str]:
    """The embedded server's URL; a server that dies is started again on what it kept."""
    server = EmbeddedRedis(settings.redis_dir, fsync=settings.appendfsync)
    await server.astart()

    async def watch() -> None:
        looked = time.monotonic()
        while True:
            await asyncio.sleep(0.2)
            if server.running:
                if time.monotonic() - looked > TIDY_SECONDS:
                    looked = time.monotonic()
                    with contextlib.suppress(RedisError, OSError):
                        await asyncio.to_thread(server.tidy)
            else:
                log.error("redis_ended")
                try:
                    await server.astart()
                except ServerError as error:  # it is tried again
                    log.error("redis_not_started", error=str(error))

    watcher = asyncio.create_task(watch())
    try:
        yield server.url
    finally:
        watcher.cancel()
        await asyncio.gather(watcher, return_exceptions=True)
        await server.astop()


@contextlib.contextmanager
def alone(data_dir: Path) -> Iterator[None]:
    """Hold the data directory; CannotStart when another hexiao holds it."""
    data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    with (data_dir / "serve.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise CannotStart(
                f"{data_dir} is in use by another hexiao; stop that one, or give this one a"
                " HEXIAO_DATA_DIR of its own."
            ) from None
        yield


async def prepare_books(settings: Settings) -> None:
    """Bring the schema to this version and make the mall of HEXIAO_TENANT."""
    await migrate(settings.database_url)
    books = open_books(settings.database_url, pool_size=1)
    try:
        await add_tenant(
            books,
            settings.tenant,
            cells=settings.cells,
            timezone=settings.timezone,
            currency=settings.currency,
        )
    finally:
        await books.close()


def open_listeners(settings: Settings) -> list[socket.socket]:
    """One bound socket a worker, all on one port; CannotStart when it is taken."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            settings.host, settings.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        # Without SO_REUSEPORT first: with it, a second hexiao would take half of our callers.
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
            address = probe.getsockname()
        listeners = []
        for _ in range(settings.workers):
            listener = socket.socket(family, kind, protocol)
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if settings.workers > 1:
                listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            listener.bind(address)
            listeners.append(listener)
    except OSError as error:
        raise CannotStart(
            f"HEXIAO_HOST {settings.host} and HEXIAO_PORT {settings.port} can't be used:"
            f" {error.strerror}."
        ) from None
    return listeners


def base_url(settings: Settings, listener: socket.socket) -> str:
    """Where callers find us."""
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    return f"http://{host}:{listener.getsockname()[1]}"


def child_environment(
    settings: Settings,
    redis_url: str,
    secret: bytes,
    operator_key: str | None,
    listener: socket.socket,
) -> dict[str, str]:
    """Ours, with what was decided here spelled out."""
    told: dict[str, object] = {
        name: getattr(settings, name) for name in type(settings).model_fields
    }
    told |= {
        "redis_url": redis_url,
        "secret": secret.decode(),
        "operator_key": operator_key,
        "port": listener.getsockname()[1],
    }
    environment = dict(os.environ)
    for name, value in told.items():
        if value is not None:
            environment[f"HEXIAO_{name.upper()}"] = str(value)
    if settings.workers > 1:
        shared = settings.data_dir / "metrics"
        shutil.rmtree(shared, ignore_errors=True)
        shared.mkdir(parents=True)
        environment["PROMETHEUS_MULTIPROC_DIR"] = str(shared)
        os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(shared)
    return environment


async def all_ready(children: Sequence[Child], stop: asyncio.Event) -> bool:
    """Wait until all accept requests: True; False when told to stop before. CannotStart else."""
    deadline = time.monotonic() + SLOWEST_START_SECONDS
    while not all(child.ready for child in children):
        if stop.is_set():
            return False
        if any(child.failed for child in children):
            raise CannotStart("The API did not start; its last words are above.")
        if time.monotonic() > deadline:
            raise CannotStart(f"The API was not ready within {SLOWEST_START_SECONDS:g} s.")
        await asyncio.sleep(0.01)
    return True


def announce(settings: Settings, url: str) -> None:
    """The ready line, and a loud one where the clock is not the wall's."""
    if settings.rehearsal:
        log.warning("REHEARSAL: operators set the clock by Hexiao-Now; not for real customers")
    books = "SQLite" if settings.database_url.startswith("sqlite") else "PostgreSQL"
    redis = "embedded Redis" if settings.embedded else "Redis by URL"
    workers = f"{settings.workers} API process{'es' if settings.workers > 1 else ''}"
    loud = ", REHEARSAL" if settings.rehearsal else ""
    say(f"hexiao ready on {url} (tenant {settings.tenant}, {workers}, {redis}, {books}{loud})")


async def show_demo(url: str, operator_key: str) -> None:
    """Build the demo mall through the public API and print how to use it."""
    from api.demo import build_demo

    for line in await build_demo(url, operator_key):
        say(line)


def say(line: str) -> None:
    """A line on stdout, at once."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()
