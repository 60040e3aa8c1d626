"""The HTTP server of one API process: every route of the registry on one dispatch."""

from __future__ import annotations

import asyncio
import importlib
import re
from collections.abc import Mapping
from functools import partial
from typing import Any

import orjson
from aiohttp import web
from aiohttp.web_protocol import RequestHandler

from api.express import Front, Server
from api.frame import PATH, Endpoint, Gate
from api.problems import PROBLEM, Refused, problem
from api.routes import REGISTRY, ROLES, Call, Reply, Route
from engine.outcomes import Outcome

# Importing a channel registers its routes.
CHANNELS = (
    "api.storefront",
    "api.orders",
    "api.gifts",
    "api.prints",
    "api.waiting",
    "api.events",
    "api.wallets",
    "api.attempts",
    "api.redemptions",
    "api.till",
    "api.checkins",
    "api.gates",
    "api.closing",
    "api.parking_payments",
    "api.points",
    "api.office",
    "api.jobs",
    "api.invitations",
    "api.groups",
    "api.pools",
    "api.directory",
    "api.parking_lots",
    "api.parking_stays",
    "api.parking_gate",
    "api.finance",
    "api.settling",
    "api.reports",
    "api.tracking",
    "api.ops",
    "api.docs",
    "api.console",
)
BODY_BYTES = 64 << 20  # the most that any route takes; each route has its own limit below that
_ANYBODY = frozenset(ROLES)
# A parameter as the short way reads it: an id that every reader of paths takes as it stands.
_PLAIN_ID = r"(?P<\1>[A-Za-z0-9_][A-Za-z0-9_.:-]{0,63})"


def all_routes() -> list[Route]:
    """Every built route, in order of registration."""
    for channel in CHANNELS:
        importlib.import_module(channel)
    return REGISTRY


class Site:
    """Finds the endpoint of a request: by its raw path where the route has no parameters.

    That is one look-up, and aiohttp's dispatcher, which serves the rest, and an Application around
    it cost as much as reading the request does.
    """

    def __init__(self, gate: Gate) -> None:
        self._gate = gate
        self._router = web.UrlDispatcher()
        self.plain: dict[tuple[str, str], Endpoint] = {}
        self.lines: dict[bytes, Endpoint] = {}  # the same by the beginning of a request
        self._short: list[tuple[re.Pattern[bytes], Endpoint]] = []  # with parameters
        self.fronts: dict[RequestHandler, Front] = {}  # of the connections that are open
        for route in all_routes():
            self._add(route.method, route.path, Endpoint(route, gate))
            if route.public and route.method == "GET":
                self._add("HEAD", route.path, Endpoint(route, gate))
        for path, public in (("/v1/{rest:.*}", False), ("/{rest:.*}", True)):
            route = Route("*", path, self._nowhere, _ANYBODY, "No such path.", public=public)
            self._add("*", path, Anything(route, gate))

    def _add(self, method: str, path: str, endpoint: Endpoint) -> None:
        self._router.add_route(method, path, endpoint.handle)
        if not endpoint.params and method != "*":
            self.plain[method, path] = self.lines[f"{method} {path}".encode()] = endpoint
        elif endpoint.route.short:
            line = re.sub(r"\{(\w+)\}", _PLAIN_ID, f"{method} {path}")
            self._short.append((re.compile(line.encode()), endpoint))

    def short(self, line: bytes) -> tuple[Endpoint, Mapping[str, str]] | None:
        """By the beginning of a request the endpoint that is ``short``, and its parameters."""
        for pattern, endpoint in self._short:
            if match := pattern.fullmatch(line):
                found = zip(endpoint.params, match.groups(), strict=True)
                return endpoint, {name: value.decode() for name, value in found}
        return None

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """The handler of a low-level aiohttp server."""
        assert isinstance(request, web.Request)
        front = self.fronts[request.protocol]
        front.begun()
        try:
            endpoint = self.plain.get((request.method, request.raw_path))
            if endpoint is not None:
                return await endpoint.handle(request)
            match = await self._router.resolve(request)
            request[PATH] = match
            return await match.handler(request)
        finally:
            front.ended()

    async def _nowhere(self, call: Call) -> Reply:
        """404, or 405 where the path is served by another method."""
        allowed = await self._methods(call.request)
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

    async def _methods(self, request: web.Request) -> set[str]:
        allowed: set[str] = set()
        for resource in self._router.resources():
            match, methods = await resource.resolve(request)
            if match is None:
                allowed |= methods
        return allowed


def make_server(gate: Gate, **options: Any) -> Server:
    """A low-level aiohttp server of all routes; ``options`` are its own."""
    make_request = partial(web.Request, loop=asyncio.get_running_loop(), client_max_size=BODY_BYTES)
    return Server(Site(gate), request_factory=make_request, **options)


class Anything(Endpoint):
    """An endpoint that reads nothing of the request: what it answers is always a refusal."""

    __slots__ = ()

    def _head(self, call: Call, *_: object) -> None:
        call.body = call.query = None
