"""Replies as HTTP responses."""

from __future__ import annotations

import time
from email.utils import formatdate
from functools import lru_cache
from http import HTTPStatus

import msgspec
import orjson
from aiohttp import HttpVersion11, web
from aiohttp.abc import AbstractStreamWriter
from multidict import CIMultiDict

from api.routes import Call, Reply

SERVER = "hexiao"


class Whole(web.StreamResponse):
    """A response that leaves as it stands, head and body in one piece, on a connection kept open.

    aiohttp's own gathers its head in a multidict, looks it through field by field and writes it
    out: a fifth of what a claim costs here.
    """

    _sender: AbstractStreamWriter | None = None

    def __init__(self, status: int, piece: bytes) -> None:
        super().__init__(status=status)
        self._piece = piece

    @property
    def keep_alive(self) -> bool:
        return True

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter:
        self._sender = request.writer
        return self._sender

    async def write_eof(self, data: bytes = b"") -> None:
        assert self._sender is not None, "prepare comes first"
        await self._sender.write_eof(self._piece)


def respond(call: Call, reply: Reply) -> web.StreamResponse:
    """The HTTP response of a reply."""
    request = call.request
    if (
        reply.body is None
        or call.gate.draining
        or request.method == "HEAD"
        or request.version != HttpVersion11
        or not request.keep_alive
    ):
        return _by_field(call, reply)
    return Whole(reply.status or call.route.status, whole(call, reply))


def whole(call: Call, reply: Reply) -> bytes:
    """A reply as it leaves on a connection of HTTP/1.1 that is kept open, head and body."""
    body = _bytes_of(reply) or b""
    status = reply.status or call.route.status
    more = "\r\nIdempotent-Replayed: true" if reply.replayed else ""
    if reply.headers:
        more += "".join(f"\r\n{name}: {value}" for name, value in reply.headers.items())
    if call.gate.draining:
        more += "\r\nConnection: close"
    head = (
        f"{_start(status, reply.content_type, int(time.time()))}{call.request_id}{more}"
        f"\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def _bytes_of(reply: Reply) -> bytes | None:
    body = reply.body
    if body is None or isinstance(body, bytes):
        return body
    if isinstance(body, dict | list):
        return orjson.dumps(body, default=msgspec.to_builtins)
    return msgspec.json.encode(body)


@lru_cache(maxsize=256)
def _start(status: int, content_type: str, second: int) -> str:
    """A response's head up to the request id: the same for a second and a kind of answer."""
    fields = {
        "Date": formatdate(second, usegmt=True),
        "Server": SERVER,
        "Content-Type": content_type,
        **_of_status(status),
    }
    lines = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    return f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\n{lines}X-Request-Id: "


def _of_status(status: int) -> dict[str, str]:
    if status == 401:
        return {"WWW-Authenticate": "Bearer"}
    return {"Retry-After": "1"} if status in (429, 503) else {}


def _by_field(call: Call, reply: Reply) -> web.Response:
    """The rare ones: without a body, to HEAD or HTTP/1.0, or the last on their connection."""
    status, body = reply.status or call.route.status, _bytes_of(reply)
    headers: CIMultiDict[str] = CIMultiDict(_of_status(status))
    headers["Server"] = SERVER
    headers["Content-Type"] = reply.content_type
    headers["X-Request-Id"] = call.request_id
    if reply.replayed:
        headers["Idempotent-Replayed"] = "true"
    if reply.headers:
        headers.update(reply.headers)
    response = web.Response(body=body, status=status, headers=headers)
    if call.gate.draining:
        response.force_close()
    return response
