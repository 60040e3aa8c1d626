"""Plain requests: both twins take the same, and understand it as aiohttp's parser does."""

from __future__ import annotations

import asyncio
import random
from typing import Any

import pytest
from aiohttp import HttpVersion11
from aiohttp.base_protocol import BaseProtocol
from aiohttp.http import HttpRequestParser

from engine.fastpath import _request_py as pure
from tests.fastpath.conftest import load_module

LINE = b"POST /v1/claims HTTP/1.1\r\n"
FIELDS = (
    b"Host: x",
    b"Authorization: Bearer hx_1_2",
    b"content-type: application/json",
    b"X-Forwarded-For: 1.2.3.4",
    b"Idempotency-Key: k-1",
    b"Content-Length: 2",
)


def request(*fields: bytes, line: bytes = LINE, body: bytes = b"{}") -> bytes:
    return line + b"".join(field + b"\r\n" for field in fields) + b"\r\n" + body


@pytest.fixture(params=["py", "c"], ids=["pure", "compiled"], scope="module")
def read(request: pytest.FixtureRequest) -> Any:
    return load_module(f"_request_{request.param}").read


def test_a_plain_request(read: Any) -> None:
    told = {
        "Authorization": "Bearer hx_1_2",
        "Content-Type": "application/json",
        "Idempotency-Key": "k-1",
    }
    assert read(request(*FIELDS)) == (b"POST /v1/claims", told, b"{}")
    got = read(
        request(b"HOST: x", b"connection: Keep-Alive", line=b"GET /v1?a=%41 HTTP/1.1\r\n", body=b"")
    )
    assert got == (b"GET /v1?a=%41", {}, b"")
    for name in pure.TOLD:
        for spelled in (name, name.lower(), name.upper()):
            assert read(request(b"Host: x", spelled.encode() + b": a  b", body=b"")) == (
                b"POST /v1/claims", {name: "a  b"}, b"",
            )  # fmt: skip


@pytest.mark.parametrize(
    "data",
    [
        b"",
        LINE,
        request(*FIELDS)[:-1],  # the end is still on its way
        request(*FIELDS) + b"G",  # the beginning of another
        request(*FIELDS) * 2,
        request(*FIELDS, body=b""),
        request(b"Authorization: Bearer x", body=b""),  # no host
        request(b"Host : x", body=b""),
        request(b"Host:x", body=b""),
        request(b"Host: x ", body=b""),
        request(b"Host:  x", body=b""),
        request(b"Host: ", body=b""),
        request(b"Host: x", b" folded", body=b""),
        request(b"Host: x", b": y", body=b""),
        request(b"Host: x", b"A b: y", body=b""),
        request(b"Host: x", b"A\x00: y", body=b""),
        request(b"Host: x\ty", body=b""),
        request(b"Host: x\x00", body=b""),
        request(b"Host: x", "Hexiao-Actor: 王".encode(), body=b""),
        request(b"Host: x", b"Connection: close", body=b""),
        request(b"Host: x", b"Connection: keep-alive, upgrade", body=b""),
        request(b"Host: x", b"Content-Length: +2"),
        request(b"Host: x", b"Content-Length: 2, 2"),
        request(b"Host: x", b"Content-Length: 0x2"),
        request(b"Host: x", b"Content-Length: 00000002"),
        request(b"Host: x", b"Content-Length: 9999999", body=b"x" * 9_999_999),
        request(b"Host: x", body=b"{}"),
        request(b"Host: x", *[b"A: b"] * pure.MOST_HEADERS, body=b""),
        request(b"Host: x", b"A: " + b"b" * pure.MOST_HEAD, body=b""),
        request(b"Host: x", line=b"POST  /v1/claims HTTP/1.1\r\n", body=b""),
        request(b"Host: x", line=b"POST /v1/claims  HTTP/1.1\r\n", body=b""),
        request(b"Host: x", line=b"POST /v1/cl\xc3\xa4ims HTTP/1.1\r\n", body=b""),
        request(b"Host: x", line=b"post /v1/claims HTTP/1.1\r\n", body=b""),
        request(b"Host: x", line=b"POST http://x/v1/claims HTTP/1.1\r\n", body=b""),
        request(b"Host: x", line=b"POST /v1/claims HTTP/1.0\r\n", body=b""),
        request(b"Host: x", line=b"POST /v1/claims HTTP/1.1\n", body=b""),
        request(b"Host: x", line=b"\r\n" + LINE, body=b""),
        request(b"Host: x\n", body=b""),
        request(b"Host: x\nConnection: close", body=b""),
        request(b"Host: x\rConnection: close", body=b""),
        *(request(*FIELDS, f"{name}: 2".encode()) for name in pure.STRANGE),
        *(
            request(b"Host: x", *[f"{name}: 0".encode()] * 2, body=b"")
            for name in (*pure.TOLD, *pure.ONCE)
        ),
    ],
)
def test_what_is_not_plain_belongs_to_a_parser(read: Any, data: bytes) -> None:
    assert read(data) is None


async def test_what_is_taken_means_the_same_to_aiohttp() -> None:
    """Requests with something changed, left out or doubled: equal in both twins, and if taken,
    one whole request of the same content to aiohttp's parser."""
    twins = [pure.read, load_module("_request_c").read]
    spare = [f"{name}: {n}" for n, name in enumerate((*pure.TOLD, *pure.ONCE, *pure.STRANGE, "A"))]
    pieces = [*FIELDS, *(one.encode() for one in spare), b"Connection: keep-alive"]
    bits = [
        b"\r\n",
        b"\n",
        b"\r",
        b" ",
        b":",
        b"\t",
        b"\x00",
        b"\x7f",
        b"\x80",
        b"A",
        b"0",
        b",",
        b";",
    ]
    pick = random.Random(7)
    taken = 0
    for _ in range(6000):
        fields = [*FIELDS, *pick.choices(pieces, k=pick.choice((0, 0, 1, 2)))]
        if pick.random() < 0.2:
            del fields[pick.randrange(len(fields))]
        pick.shuffle(fields)
        data = request(*fields, body=pick.choice((b"{}", b"{}", b"", b"{} ")))
        for _ in range(pick.choice((0, 0, 1, 2))):
            at = pick.randrange(len(data))
            data = data[:at] + pick.choice(bits) + data[at + pick.choice((0, 1)) :]
        got = [read(data) for read in twins]
        assert got[0] == got[1], data
        if got[0] is not None and got[0][0] == b"POST /v1/claims":  # any other serves nothing
            taken += 1
            assert _by_aiohttp(data) == got[0], data
    assert taken > 1000


def _by_aiohttp(data: bytes) -> tuple[bytes, dict[str, str], bytes]:
    loop = asyncio.get_running_loop()
    parser = HttpRequestParser(BaseProtocol(loop), loop, 1 << 20)
    messages, upgraded, _ = parser.feed_data(data)
    ((message, payload),) = messages
    assert not upgraded
    assert not message.should_close
    assert not message.chunked
    assert not message.upgrade
    assert message.version == HttpVersion11
    assert payload.is_eof()
    told = {}
    for name in pure.TOLD:
        values = message.headers.getall(name, [])
        assert len(values) < 2
        if values:
            told[name] = values[0]
    return f"{message.method} {message.path}".encode(), told, payload.read_nowait()
