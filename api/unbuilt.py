"""Paths of the contract that this version does not serve: they say so, never silence.

A path that a handler module registers leaves this table by itself.
"""

from __future__ import annotations

import re

from api.problems import Refused
from api.routes import ROLES, Call, Reply, Route
from engine.outcomes import Outcome

PATHS = (
    "/console/",
)


async def not_built(call: Call) -> Reply:
    """404 that names the path, so that a caller knows it is us and not a typing error."""
    path = re.sub(r"[^!-~]", "?", call.request.path)[:200]
    chinese = call.language != "en"
    detail = f"当前版本尚未实现 {path}。" if chinese else f"{path} is not built in this version."
    raise Refused(Outcome.NOT_FOUND, detail=detail)


def routes(built: frozenset[str]) -> list[Route]:
    """The routes that are not built, for every method; ``built``: the paths that are."""
    return [
        Route("*", path, not_built, frozenset(ROLES), "Not built in this version.", hidden=True)
        for path in PATHS
        if path not in built
    ]
