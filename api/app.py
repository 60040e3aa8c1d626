"""The application of one API process: every route of the registry on one dispatch."""

from __future__ import annotations

import importlib

import orjson
from aiohttp import web

from api import unbuilt
from api.frame import Endpoint, Gate
from api.problems import PROBLEM, Refused, problem
from api.routes import REGISTRY, ROLES, Call, Reply, Route
from engine.outcomes import Outcome

# Importing a channel registers its routes.
CHANNELS = (
    "api.storefront",
    "api.redemptions",
    "api.till",
    "api.office",
    "api.directory",
    "api.finance",
    "api.ops",
    "api.docs",
)
BODY_BYTES = 64 << 20  # the most that any route takes; each route has its own limit below that

GATE: web.AppKey[Gate] = web.AppKey("gate", Gate)


def all_routes() -> list[Route]:
    """Every built route, in order of registration."""
    for channel in CHANNELS:
        importlib.import_module(channel)
    return REGISTRY


def make_app(gate: Gate) -> web.Application:
    """The aiohttp application; ``gate`` is shared by its endpoints."""
    app = web.Application(client_max_size=BODY_BYTES)
    app[GATE] = gate
    built = all_routes()
    for route in built:
        app.router.add_route(route.method, route.path, Endpoint(route, gate).handle)
        if route.public and route.method == "GET":
            app.router.add_route("HEAD", route.path, Endpoint(route, gate).handle)
    for route in unbuilt.routes(frozenset(one.path for one in built)):
        app.router.add_route("*", route.path, Anything(route, gate).handle)
    inside = Route("*", "/v1/{rest:.*}", nowhere, frozenset(ROLES), "No such path.")
    outside = Route("*", "/{rest:.*}", nowhere, frozenset(ROLES), "No such path.", public=True)
    for route in (inside, outside):
        app.router.add_route("*", route.path, Anything(route, gate).handle)
    return app


class Anything(Endpoint):
    """An endpoint that reads nothing of the request: what it answers is always a refusal."""

    __slots__ = ()

    async def _read(self, call: Call, *_: object) -> None:
        call.body = call.query = None


async def nowhere(call: Call) -> Reply:
    """404, or 405 where the path is served by another method."""
    allowed = await _methods(call.request)
    if not allowed:
        raise Refused(Outcome.NOT_FOUND)
    names = ", ".join(sorted(allowed))
    chinese = call.language != "en"
    detail = f"此路径只支持:{names}。" if chinese else f"This path takes {names} only."
    members = problem(
        Outcome.INVALID_REQUEST, call.language, status=405, say=call.say, detail=detail
    )
    return Reply(
        orjson.dumps(members),
        405,
        content_type=PROBLEM,
        headers={"Allow": names},
        code=Outcome.INVALID_REQUEST.code,
    )


async def _methods(request: web.Request) -> set[str]:
    allowed: set[str] = set()
    for resource in request.app.router.resources():
        match, methods = await resource.resolve(request)
        if match is None:
            allowed |= methods
    return allowed
