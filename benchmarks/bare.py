"""What any claim over aiohttp pays: one route that reads JSON with orjson and answers as much.

``python -m benchmarks.bare`` prints its port and serves until its stdin ends. Same loop, same
request, an answer of the same size as a claim's; no auth, no idempotency, no limits, no Redis.
"""

from __future__ import annotations

import asyncio
import socket
import sys
from typing import Any

import orjson
from aiohttp import web

from api.loops import run


def coupon_of(body: dict[str, Any], number: int) -> dict[str, Any]:
    """An answer of the size of a claim's."""
    return {
        "id": f"C{number:027d}",
        "campaign_id": body["campaign_id"],
        "terms_revision": 1,
        "user_id": body["user_id"],
        "kind": "coupon",
        "status": "issued",
        "issued_at": "2026-01-31T10:00:00.000Z",
        "valid_from": "2026-01-31T10:00:00.000Z",
        "valid_until": "2026-02-07T10:00:00.000Z",
        "uses_left": 1,
        "balance": None,
        "channel": body["channel"],
        "source": None,
        "metadata": None,
    }


async def claim(request: web.Request) -> web.Response:
    """Answers like a claim."""
    coupon = coupon_of(orjson.loads(await request.read()), 0)
    return web.Response(body=orjson.dumps(coupon), status=201, content_type="application/json")


async def serve() -> None:
    """Until stdin ends."""
    app = web.Application()
    app.router.add_post("/v1/claims", claim)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    listener = socket.create_server(("127.0.0.1", 0), backlog=2048)
    await web.SockSite(runner, listener, backlog=2048).start()
    print(listener.getsockname()[1], flush=True)
    await asyncio.to_thread(sys.stdin.read)
    await runner.cleanup()


if __name__ == "__main__":
    run(serve())
