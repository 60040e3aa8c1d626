"""The usual SQL way behind the bare aiohttp handler of benchmarks/bare.py, an answer of that size.

``python -m benchmarks.peers.sql_front DSN CONNECTIONS`` prints its port and serves until its stdin
ends: same loop, same parsing, UPDATE and INSERT in a transaction for each claim. No auth.
"""

from __future__ import annotations

import asyncio
import socket
import sys

import orjson
from aiohttp import web

from api.loops import run
from benchmarks.bare import coupon_of
from benchmarks.peers.sql import InTransaction, open_pool


class Front:
    """One route."""

    def __init__(self, way: InTransaction) -> None:
        self._way = way

    async def claim(self, request: web.Request) -> web.Response:
        """201 with the coupon, 409 where none is left for this user."""
        body = orjson.loads(await request.read())
        number = await self._way.take(body["campaign_id"], body["user_id"])
        if number is None:
            refusal = {"code": "sold_out", "title": "Sold out", "status": 409}
            return web.Response(
                body=orjson.dumps(refusal), status=409, content_type="application/problem+json"
            )
        coupon = coupon_of(body, number)
        return web.Response(body=orjson.dumps(coupon), status=201, content_type="application/json")


async def serve(dsn: str, connections: int) -> None:
    """Until stdin ends."""
    pool = await open_pool(dsn, connections, "always")
    app = web.Application()
    app.router.add_post("/v1/claims", Front(InTransaction(pool, 0)).claim)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    listener = socket.create_server(("127.0.0.1", 0), backlog=2048)
    await web.SockSite(runner, listener, backlog=2048).start()
    print(listener.getsockname()[1], flush=True)
    await asyncio.to_thread(sys.stdin.read)
    await runner.cleanup()
    await pool.close()


if __name__ == "__main__":
    run(serve(sys.argv[1], int(sys.argv[2])))
