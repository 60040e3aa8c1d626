"""The short way beside aiohttp's: whatever comes in one piece, in two or all at once, each answer
comes in its turn and belongs to its request."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from api.app import all_routes
from tests.api.server import Api, ApiServer
from tests.api.story import campaign_body

_numbers = itertools.count()


class Line:
    """A connection as bytes."""

    def __init__(
        self, server: ApiServer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self.key = server.operator_key
        self.reader = reader
        self.writer = writer

    def request(
        self, name: str, body: object = None, *, method: str = "POST", path: str = "/v1/claims",
        idem: bool = True, more: str = "",
    ) -> bytes:  # fmt: skip
        """A request that is called ``name`` in its X-Request-Id."""
        text = b"" if body is None else json.dumps(body).encode()
        key = f"Idempotency-Key: e{next(_numbers)}\r\n" if idem and method == "POST" else ""
        length = f"Content-Length: {len(text)}\r\n" if text else ""
        media = "Content-Type: application/json\r\n" if text else ""
        head = (
            f"{method} {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {self.key}\r\n"
            f"X-Request-Id: {name}\r\n{key}{media}{length}{more}\r\n"
        )
        return head.encode() + text

    async def send(self, *pieces: bytes, pause: float = 0.02) -> None:
        """Write them one after the other, so that each arrives by itself."""
        for n, piece in enumerate(pieces):
            if n:
                await asyncio.sleep(pause)
            self.writer.write(piece)
            await self.writer.drain()

    async def answer(self) -> tuple[int, str, bytes]:
        """(status, X-Request-Id, body) of the next answer."""
        async with asyncio.timeout(10):
            head = (await self.reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
            fields = dict(line.split(": ", 1) for line in head[1:] if line)
            body = await self.reader.readexactly(int(fields.get("Content-Length", 0)))
        return int(head[0].split()[1]), fields.get("X-Request-Id", ""), body

    async def answers(self, count: int) -> list[tuple[int, str]]:
        """(status, X-Request-Id) of so many."""
        return [(await self.answer())[:2] for _ in range(count)]


@asynccontextmanager
async def line_to(server: ApiServer) -> AsyncIterator[Line]:
    """A connection; the key is known to the process from its first request on."""
    host, port = server.url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    line = Line(server, reader, writer)
    await line.send(line.request("first", method="GET", path="/v1/settings"))
    assert await line.answers(1) == [(200, "first")]
    yield line
    writer.close()


def claim(user: str, campaign: str = "express") -> dict[str, str]:
    return {"campaign_id": campaign, "user_id": user, "channel": "app"}


async def test_answers_come_in_turn(api: Api, api_server: ApiServer) -> None:
    await api.post("/v1/campaigns", campaign_body("express", ["per_user", "100"]))
    async with line_to(api_server) as line:
        # Several at once, in one piece: slow ones and ones that are known at once.
        await line.send(
            b"".join(
                (
                    line.request("a1", claim("u1")),
                    line.request("a2", claim("u1"), idem=False),
                    line.request("a3", method="GET", path="/v1/users/u1/coupons"),
                    line.request("a4", claim("u2", "none")),
                )
            )
        )
        assert await line.answers(4) == [(201, "a1"), (400, "a2"), (200, "a3"), (404, "a4")]
    async with line_to(api_server) as line:
        # Each by itself, nobody waiting for an answer: what is known at once waits for its turn.
        for turn in range(20):
            names = [f"b{turn}-{n}" for n in range(3)]
            await line.send(
                line.request(names[0], claim(f"v{turn}")),
                line.request(names[1], claim("v"), idem=False),
                line.request(names[2], method="GET", path=f"/v1/users/v{turn}/coupons"),
                pause=0.0 if turn % 2 else 0.0005,
            )
            assert await line.answers(3) == [(201, names[0]), (400, names[1]), (200, names[2])]
    for turn in range(10):
        async with line_to(api_server) as line:
            await line.send(
                line.request("e", method="GET", path="/v1/users/v1/coupons"),
                line.request("f", claim("v"), idem=False),
                pause=0.0002 * turn,
            )
            assert await line.answers(2) == [(200, "e"), (400, "f")]


async def test_both_ways_take_turns(api: Api, api_server: ApiServer) -> None:
    """A connection that asks for this and that, one after the other, as an app does."""
    await api.post("/v1/campaigns", campaign_body("express", ["per_user", "100"]))
    async with line_to(api_server) as line:
        for n in range(5):
            await line.send(line.request(f"c{n}", claim(f"w{n}")))
            status, name, body = await line.answer()
            assert (status, name) == (201, f"c{n}")
            await line.send(
                line.request(f"d{n}", method="GET", path=f"/v1/coupons/{json.loads(body)['id']}")
            )
            assert await line.answers(1) == [(200, f"d{n}")]


async def test_a_path_with_parameters_is_read_alike_by_both_ways(
    api: Api, api_server: ApiServer
) -> None:
    """What comes in two pieces goes to aiohttp; whole, some of it goes the short way."""
    await api.post("/v1/campaigns", campaign_body("queue", ["stock", "1"]))
    path = "/v1/campaigns/queue/waitlist"
    for name in ("ann", "b.o:b_-1", "c" * 64):
        assert (await api.post(path, {"user_id": name})).status == 201
    paths = {
        "/ann": 200, "/b.o:b_-1": 200, "/" + "c" * 64: 200, "/" + "c" * 65: 404, "/nobody": 404,
        "/%61nn": 200, "/b.o%3Ab_-1": 200, "/an%6": 404, "/ann/": 404, "/ann?": 200,
        "/ann?a=1": 400, "//ann": 404, "/..": 404, "/.": 404, "/-ann": 404, "/ann#x": 200,
    }  # fmt: skip
    asked: list[tuple[str, str, object, int]] = [
        ("GET", path + rest, None, status) for rest, status in paths.items()
    ]
    asked += [
        ("POST", path, {"user_id": "ann"}, 409), ("POST", path, {"user_id": "a b"}, 400),
        ("POST", path, None, 400), ("POST", path + "/ann", {}, 405), ("PATCH", path, {}, 405),
        ("POST", "/v1/campaigns/none/waitlist", {"user_id": "ann"}, 404),
        ("POST", "/v1/campaigns/../waitlist", {"user_id": "ann"}, 404),
    ]  # fmt: skip
    for method, target, body, status in asked:
        async with line_to(api_server) as line:
            whole = line.request("j", body, method=method, path=target)
            await line.send(whole)
            short = await line.answer()
        async with line_to(api_server) as line:
            await line.send(whole[:20], whole[20:])
            assert await line.answer() == short, target
        assert short[0] == status, (target, short)


def test_a_route_that_goes_the_short_way_is_alone_on_its_path() -> None:
    """No other one could be meant by a path that it fits."""
    routes = all_routes()
    short = [one for one in routes if one.short]
    assert len(short) == 2
    for one in short:
        parts = one.path.split("/")
        for other in routes:
            if other is one or other.method not in (one.method, "*"):
                continue
            others = other.path.split("/")
            fits = len(parts) == len(others) and all(
                a == b or a.startswith("{") or b.startswith("{")
                for a, b in zip(parts, others, strict=True)
            )
            assert not fits, (one.path, other.path)


async def test_a_body_in_pieces_is_a_body(api: Api, api_server: ApiServer) -> None:
    """Also where it reads like a request: nothing in it is ever acted on."""
    await api.post("/v1/campaigns", campaign_body("express", ["per_user", "100"]))
    async with line_to(api_server) as line:
        whole = line.request("e1", claim("x1"))
        head, body = whole.split(b"\r\n\r\n", 1)
        await line.send(head[:40], head[40:] + b"\r\n\r\n", body[:9], body[9:])
        assert await line.answers(1) == [(201, "e1")]
    async with line_to(api_server) as line:  # one and a half at once
        first, second = line.request("g1", claim("x4")), line.request("g2", claim("x5"))
        await line.send(first + second[:-9])
        assert await line.answers(1) == [(201, "g1")]
        await line.send(second[-9:])
        assert await line.answers(1) == [(201, "g2")]
        await line.send(line.request("g3", method="GET", path="/v1/users/x5/coupons"))
        assert await line.answers(1) == [(200, "g3")]
    for method, path in (("GET", "/v1/users/x5/coupons"), ("POST", "/v1/claims")):
        async with line_to(api_server) as line:  # one and the beginning of another
            first = line.request("h1", method=method, path=path)
            second = line.request("h2", claim(f"h-{method}"))
            await line.send(first + second[:40])
            assert [name for _, name in await line.answers(1)] == ["h1"]
            await asyncio.sleep(0.01)
            await line.send(second[40:])
            assert await line.answers(1) == [(201, "h2")]
            for n in range(2):
                path = f"/v1/users/h-{method}/coupons"
                await line.send(line.request(f"h{n}", method="GET", path=path))
                assert await line.answers(1) == [(200, f"h{n}")]
    async with line_to(api_server) as line:
        inner = line.request("e3", claim("smuggled"))
        outer = line.request("e2", more=f"Content-Type: text/x\r\nContent-Length: {len(inner)}\r\n")
        await line.send(outer, inner, line.request("e4", claim("x2")))
        assert [name for _, name in await line.answers(2)] == ["e2", "e4"]
    assert (await api.get("/v1/users/smuggled/coupons")).json["items"] == []
    async with line_to(api_server) as line:
        text = json.dumps(claim("x3")).encode()
        chunked = b"%x\r\n%b\r\n0\r\n\r\n" % (len(text), text)
        more = "Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n"
        await line.send(line.request("e5", more=more) + chunked)
        assert await line.answers(1) == [(201, "e5")]


async def test_a_connection_ends_where_it_is_asked_to(api: Api, api_server: ApiServer) -> None:
    await api.post("/v1/campaigns", campaign_body("express", ["per_user", "100"]))
    async with line_to(api_server) as line:
        await line.send(line.request("f1", claim("y1"), more="Connection: close\r\n"))
        assert await line.answers(1) == [(201, "f1")]
        assert await line.reader.read() == b""
    async with line_to(api_server) as line:
        await line.send(line.request("f2", claim("y2")))
        assert await line.answers(1) == [(201, "f2")]
        await line.send(b"no such\x00thing\r\n\r\n")
        assert (await line.answer())[0] == 400
        assert await line.reader.read() == b""


async def test_who_hangs_up_costs_nobody_an_answer(api: Api, api_server: ApiServer) -> None:
    """Of callers who are answered together, some are gone before they are."""
    await api.post("/v1/campaigns", campaign_body("crowd", ["per_user", "100"]))
    for turn in range(3):
        async with AsyncExitStack() as stack:
            lines = [await stack.enter_async_context(line_to(api_server)) for _ in range(16)]
            for n, line in enumerate(lines):
                line.writer.write(line.request(f"i{n}", claim(f"i{turn}-{n}", "crowd")))
            for line in lines[::2]:
                line.writer.transport.abort()
            for n, line in list(enumerate(lines))[1::2]:
                assert await line.answers(1) == [(201, f"i{n}")]
        await asyncio.sleep(0.01)  # for the sockets to be closed
