"""The short way of a request that came in one piece: read, judge, answer, one write.

aiohttp makes a request, a task, a writer and a response of each request, and goes round its loop
three times; for an answer that is known at once, or one of a few lines, that costs more than the
answer. So a ``Front`` stands before aiohttp's protocol on every connection, and serves by itself
what is whole, plain (a path without parameters, or of one of the few routes that say ``short``), of
a key that is known, and alone on its connection. It reads what is spelled as usual by
``engine.fastpath.read_request``, anything else with aiohttp's own parser. Everything else goes to
aiohttp as it came, byte for byte.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Mapping
from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, cast

from aiohttp import HttpVersion11, web
from aiohttp.http import HttpRequestParser, RawRequestMessage
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.web_protocol import RequestHandler
from multidict import istr

from api.routes import Begun, Reply
from engine.fastpath import read_request

if TYPE_CHECKING:
    from api.app import Site
    from api.frame import Endpoint
    from api.routes import Call, Route

KEEPALIVE_SECONDS = 30.0  # a connection on which nothing is asked for so long is closed
NEVER = 1e9  # aiohttp's own clock for that does not see what goes the short way
_LENGTH = istr("Content-Length")
NO_PARAMETERS: Mapping[str, str] = MappingProxyType({})
MOST_BYTES = 1 << 20  # of a piece; what a read brings is less


class Asked:
    """What handlers read of a request on the short way; ``raw_path``: the route's, no query."""

    __slots__ = ("_parameters", "headers", "method", "raw_path")
    query: Mapping[str, str] = {}  # what has a query does not go the short way

    def __init__(
        self, route: Route, headers: Mapping[str, str], parameters: Mapping[str, str]
    ) -> None:
        self.method = route.method
        self.raw_path = route.path
        self.headers = headers
        self._parameters = parameters

    def __getitem__(self, _: object) -> Mapping[str, str]:
        """As of aiohttp's requests, by ``frame.PATH``: the path's parameters."""
        return self._parameters


class Leaving:
    """Answers that are ready in one turn of the loop leave right after each other.

    Whoever is woken by the first is awake when the others come; written one by one, between
    other work, each would wake somebody who sleeps again: 1 to 4 us of a claim's 43.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self._ready: list[tuple[asyncio.Transport, bytes, bool]] = []

    def add(self, transport: asyncio.Transport, piece: bytes, *, last: bool = False) -> None:
        """``last``: the connection is closed with it."""
        if not self._ready:
            self.loop.call_soon(self._leave)
        self._ready.append((transport, piece, last))

    def _leave(self) -> None:
        ready, self._ready = self._ready, []
        for transport, piece, last in ready:
            if transport.is_closing():
                continue
            transport.write(piece)
            if last:
                transport.close()


class Front(asyncio.Protocol):
    """One connection."""

    def __init__(self, inner: RequestHandler, site: Site, leaving: Leaving) -> None:
        self._inner = inner
        self._site = site
        self._leaving = leaving
        self._loop = loop = leaving.loop
        self._parser: HttpRequestParser | None = None  # made when it is needed
        self._answering: asyncio.Future[Any] | None = None
        self._held: list[bytes] = []  # what came meanwhile
        self._inside = False  # aiohttp has a request that is not answered yet
        self._through = False  # from now on everything goes to aiohttp
        self._handling = 0  # requests that aiohttp's handlers are at
        self._heard = loop.time()
        self._timer: asyncio.TimerHandle | None = None
        self._transport: asyncio.Transport

    # ---- the connection ----------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._site.fronts[self._inner] = self
        self._timer = self._loop.call_later(KEEPALIVE_SECONDS, self._rest)
        self._inner.connection_made(transport)

    def connection_lost(self, exc: BaseException | None) -> None:
        self._site.fronts.pop(self._inner, None)
        if self._timer is not None:
            self._timer.cancel()
        self._inner.connection_lost(exc)

    def eof_received(self) -> None:
        self._inner.eof_received()

    def pause_writing(self) -> None:
        self._inner.pause_writing()

    def resume_writing(self) -> None:
        self._inner.resume_writing()

    def _rest(self) -> None:
        """Close a connection that nobody uses."""
        quiet = self._loop.time() - self._heard
        if self._answering is None and not self._handling and quiet >= KEEPALIVE_SECONDS:
            self._transport.close()
        else:
            wait = max(1.0, KEEPALIVE_SECONDS - quiet)
            self._timer = self._loop.call_later(wait, self._rest)

    # ---- requests ----------------------------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        self._heard = self._loop.time()
        if self._answering is not None:  # a caller who does not wait: in its turn
            self._held.append(data)
            self._transport.pause_reading()
        elif self._inside or self._transport.get_write_buffer_size():
            self._through = True  # aiohttp knows what comes after what
            self._inner.data_received(data)
        elif self._through or not self._served(data):
            self._inside = True
            self._inner.data_received(data)

    def _served(self, data: bytes) -> bool:
        """Whether it is a request for the short way; then it is on it."""
        read = read_request(data)
        if read is not None:
            line, headers, body = read
            endpoint = self._site.lines.get(line)
            if endpoint is not None:
                return self._taken(endpoint, headers, body)
            found = self._site.short(line)
            return found is not None and self._taken(found[0], headers, body, found[1])
        parsed = self._parsed(data)
        if parsed is None:
            self._through = True  # aiohttp has the rest of it, or the beginning of another
            return False
        message, raw = parsed
        endpoint = self._site.plain.get((message.method, message.path))
        if endpoint is None or message.should_close or message.version != HttpVersion11:
            return False
        return self._taken(endpoint, message.headers, raw)

    def _parsed(self, data: bytes) -> tuple[RawRequestMessage, bytes] | None:
        """The one request that the data are, by aiohttp's parser; None where they are not one."""
        if self._parser is None:
            self._parser = HttpRequestParser(
                self._inner, self._loop, MOST_BYTES, payload_exception=web.RequestPayloadError,
                auto_decompress=False,
            )  # fmt: skip
        try:
            messages, upgraded, _ = self._parser.feed_data(data)
        except HttpProcessingError:
            return None
        if len(messages) != 1 or upgraded or not _ends_with(messages[0][0], data):
            return None
        self._parser.message_consumed()
        message, payload = messages[0]
        return message, payload.read_nowait()

    def _taken(
        self, endpoint: Endpoint, headers: Mapping[str, str], raw: bytes,
        parameters: Mapping[str, str] = NO_PARAMETERS,
    ) -> bool:  # fmt: skip
        """Answer the request, now or later; False where it may not go the short way."""
        key = endpoint.known(headers)
        if key is None:
            return False
        asked = Asked(endpoint.route, headers, parameters)
        call, reply = endpoint.judge(asked, key, raw)
        if isinstance(reply, Reply):
            self._leaving.add(self._transport, endpoint.written(call, reply))
        elif reply is None:
            self._answer_by(endpoint, call, endpoint.route.handler(call))
        else:
            self._answering = reply.future
            reply.future.add_done_callback(partial(self._came, endpoint, call, reply))
        return True

    def _came(self, endpoint: Endpoint, call: Call, begun: Begun, _: object) -> None:
        """What an answer waited for is there."""
        try:
            reply = endpoint.finish(call, begun)
            if not isinstance(reply, Reply):
                self._answer_by(endpoint, call, reply)
                return
            self._answering = None
            piece = endpoint.written(call, reply)
        except BaseException:  # there will be no answer: the caller is not left waiting for it
            self._transport.close()
            raise
        self._answered(call, piece)

    def _answer_by(self, endpoint: Endpoint, call: Call, answer: Awaitable[Reply]) -> None:
        self._answering = self._loop.create_task(self._answer(endpoint, call, answer))

    async def _answer(self, endpoint: Endpoint, call: Call, answer: Awaitable[Reply]) -> None:
        try:
            piece = await endpoint.piece(call, answer)
        except BaseException:  # there will be no answer: the caller is not left waiting for it
            self._transport.close()
            raise
        finally:
            self._answering = None
        self._answered(call, piece)

    def _answered(self, call: Call, piece: bytes) -> None:
        last = call.gate.draining
        self._heard = self._loop.time()
        self._leaving.add(self._transport, piece, last=last)
        if self._held and not last and not self._transport.is_closing():
            held, self._held = self._held, []
            self._transport.resume_reading()
            self.data_received(b"".join(held))

    # ---- what goes to aiohttp ----------------------------------------------------------------

    def begun(self) -> None:
        """A handler has a request of this connection."""
        self._handling += 1

    def ended(self) -> None:
        """It has answered; aiohttp writes the answer before the loop comes round.

        What it could not write at once lies in the transport's buffer, and is seen there.
        """
        self._handling -= 1
        self._inside = self._handling > 0
        self._heard = self._loop.time()


def _ends_with(message: RawRequestMessage, data: bytes) -> bool:
    """Whether the data end where the one request in them does, so that no parser keeps a part."""
    length = 0 if message.chunked else int(message.headers.get(_LENGTH, 0))
    return data.find(b"\r\n\r\n") + 4 + length == len(data) and not message.chunked


class Server(web.Server):
    """aiohttp's low-level server with a ``Front`` on each connection."""

    def __init__(self, site: Site, **options: Any) -> None:
        super().__init__(site.handle, keepalive_timeout=NEVER, **options)
        self._site = site
        self._leaving = Leaving(asyncio.get_running_loop())

    def __call__(self) -> RequestHandler:
        front = Front(super().__call__(), self._site, self._leaving)
        return cast("RequestHandler", front)  # an asyncio.Protocol, which is what is asked
