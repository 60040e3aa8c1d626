"""One API process: ``python -m api.worker``, started by ``serve`` with a listening socket.

From the environment, besides HEXIAO_*: HEXIAO_LISTEN_FD, the socket; HEXIAO_READY_FD, where one
byte says that it accepts requests; HEXIAO_WORKER, its number from 0.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
import time
from typing import TYPE_CHECKING

import structlog
from aiohttp import web

from api import logs
from api.app import make_server
from api.loops import run
from api.service import Service
from engine.collector import spare_the_collector
from engine.config import Settings, load_settings
from engine.errors import CannotStart

DRAIN_SECONDS = 1.0  # for callers whose request is on its way to us
FINISH_SECONDS = 20.0  # for what is in flight
CUT_SECONDS = 3.0  # for who reads no answer, twice: aiohttp waits for handler and connection
CLOSE_SECONDS = 10.0  # for connections to Redis and books to be closed
BACKLOG = 2048

if TYPE_CHECKING:
    from api.frame import Gate

log = structlog.get_logger()


async def serve(settings: Settings, listener: socket.socket, *, first: bool, ready_fd: int) -> None:
    """Serve until SIGTERM or SIGINT; then finish what is in flight."""
    service = await Service.open(settings, first=first)
    server = make_server(
        service.gate,
        access_log=None,
        handler_cancellation=False,  # a till that hangs up must not stop half an act
        auto_decompress=False,  # a compressed body would be a bomb; it is refused instead
    )
    runner = web.ServerRunner(server, shutdown_timeout=CUT_SECONDS)
    await runner.setup()
    site = web.SockSite(runner, listener, backlog=BACKLOG)
    await site.start()
    spare_the_collector()
    os.write(ready_fd, b"+")
    os.close(ready_fd)
    await stopped()
    # No new connections; those that are open are closed with their next answer, so that nobody
    # sends a request into a connection that we are closing.
    service.gate.draining = True
    await site.stop()
    await drained(server, service.gate)
    await runner.cleanup()
    try:
        async with asyncio.timeout(CLOSE_SECONDS):
            await service.close()
    except TimeoutError:  # everything is answered by now: nothing is lost with what hangs
        log.error("closing_cut_off")


async def drained(server: web.Server, gate: Gate) -> None:
    """Return when every connection is closed, or idle for so long that it asks for nothing."""
    began = time.monotonic()
    while server.connections:
        past = time.monotonic() - began
        if past > (FINISH_SECONDS if gate.in_flight else DRAIN_SECONDS):
            return
        await asyncio.sleep(0.01)


async def stopped() -> None:
    """Return on SIGTERM or SIGINT."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    await stop.wait()


def main() -> int:
    """Exit code: 0 after a stop that was asked for."""
    settings = load_settings()
    logs.set_up(settings.log_level)
    number = int(os.environ.get("HEXIAO_WORKER", "0"))
    structlog.contextvars.bind_contextvars(process=f"api-{number}")
    listener = socket.socket(fileno=int(os.environ["HEXIAO_LISTEN_FD"]))
    ready_fd = int(os.environ["HEXIAO_READY_FD"])
    try:
        run(serve(settings, listener, first=number == 0, ready_fd=ready_fd))
    except CannotStart as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
