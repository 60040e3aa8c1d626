"""/console/: the mall's own pages over this API. Files only; what they ask is asked with a key."""

from __future__ import annotations

from functools import cache

from api.routes import Call, Reply, route
from api.webfiles import Folder

# Nothing inline, nothing from elsewhere, in nobody's frame.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


@cache
def folder() -> Folder:
    """The console's files."""
    return Folder("console", POLICY)


@route("GET", "/console", summary="To the console.", public=True, hidden=True)
async def bare(_: Call) -> Reply:
    """The pages name their files relative to /console/; a proxy's prefix before it stays."""
    return Reply(b"", 308, content_type="text/plain", headers={"Location": "console/"})


@route(
    "GET",
    "/console/",
    summary="The console: live campaigns, look-ups, a till, reports.",
    public=True,
    reply=str,
    produces=("text/html",),
    tags=("operating",),
)
async def console(call: Call) -> Reply:
    """Its one page."""
    return folder().reply(call, "index.html")


@route("GET", "/console/{file}", summary="Parts of /console/.", public=True, hidden=True)
async def console_file(call: Call) -> Reply:
    """A script, a style sheet, the icon."""
    return folder().reply(call, call.path["file"])
