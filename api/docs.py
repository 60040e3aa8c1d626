"""/openapi.json, /docs (Swagger UI, nothing fetched from elsewhere), /problems/{code}."""

from __future__ import annotations

from functools import cache

import orjson

from api.openapi import document
from api.problems import Refused
from api.routes import REGISTRY, Call, Reply, route
from api.webfiles import Folder
from engine.outcomes import SENTENCES, Outcome

# Swagger UI styles itself inline and draws its icons as data; scripts are files of ours only.
POLICY = "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:"
BY_CODE = {outcome.code: outcome for outcome in reversed(Outcome) if outcome in SENTENCES}


@cache
def _openapi() -> bytes:
    return orjson.dumps(document(REGISTRY))


@cache
def _folder() -> Folder:
    return Folder("docs", POLICY)


@route(
    "GET",
    "/openapi.json",
    summary="This API, as OpenAPI 3.1.",
    public=True,
    reply=dict,
    tags=("documentation",),
)
async def openapi(_: Call) -> Reply:
    """Made from the routes and the types that serve them."""
    return Reply(_openapi())


@route(
    "GET",
    "/docs",
    summary="This API, to read and to try.",
    public=True,
    reply=str,
    produces=("text/html",),
    tags=("documentation",),
)
async def docs(call: Call) -> Reply:
    """Swagger UI."""
    return _folder().reply(call, "index.html")


@route("GET", "/docs/{file}", summary="Parts of /docs.", public=True, hidden=True)
async def docs_file(call: Call) -> Reply:
    """A file of Swagger UI."""
    return _folder().reply(call, call.path["file"])


@route(
    "GET",
    "/problems/{code}",
    summary="What a problem's type means.",
    public=True,
    reply=dict,
    tags=("documentation",),
)
async def problem_type(call: Call) -> Reply:
    """The code, its status and its sentence in both languages."""
    outcome = BY_CODE.get(call.path["code"])
    if outcome is None or outcome <= Outcome.REPEATED or outcome >= Outcome.WINDOW_MOVED:
        raise Refused(Outcome.NOT_FOUND)
    en, zh = SENTENCES[outcome]
    return Reply({"code": outcome.code, "status": outcome.status, "en": en, "zh-CN": zh})
