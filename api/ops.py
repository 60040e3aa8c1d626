"""For those who run it: /healthz, /readyz, /metrics. No key asked: keep them off the internet."""

from __future__ import annotations

import asyncio
from typing import Literal

import msgspec
from prometheus_client import CONTENT_TYPE_LATEST

from api.readiness import Ready
from api.routes import Call, Reply, route


class Health(msgspec.Struct):
    """The process lives."""

    status: Literal["ok"] = "ok"


@route(
    "GET",
    "/healthz",
    summary="Whether the process lives.",
    public=True,
    reply=Health,
    tags=("operating",),
)
async def healthz(_: Call) -> Reply:
    """Nothing is asked of anybody."""
    return Reply(b'{"status":"ok"}')


@route(
    "GET",
    "/readyz",
    summary="Whether Redis and the books are there and in step.",
    public=True,
    reply=Ready,
    tags=("operating",),
)
async def readyz(call: Call) -> Reply:
    """200 or 503, the same body."""
    ready = await call.gate.readiness.state()
    return Reply(ready, 200 if ready.status == "ready" else 503)


@route(
    "GET",
    "/metrics",
    summary="Numbers for Prometheus.",
    public=True,
    reply=str,
    produces=("text/plain",),
    tags=("operating",),
)
async def metrics(call: Call) -> Reply:
    """The writer's lag is measured at the scrape."""
    await call.gate.readiness.state()
    page = await asyncio.to_thread(call.gate.metrics.page)
    return Reply(page, content_type=CONTENT_TYPE_LATEST)
