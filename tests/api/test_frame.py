"""What every route has in common: order of checks, headers, bodies that are not right."""

from __future__ import annotations

from tests.api.server import Api, ApiServer


async def test_health(api: Api) -> None:
    """Nobody is asked for a key."""
    answer = await api.get("/healthz", key="")
    assert (answer.status, answer.json) == (200, {"status": "ok"})


async def test_ready(api: Api, api_server: ApiServer) -> None:
    """It says what it stands on."""
    answer = await api.get("/readyz")
    assert answer.status == 200, answer.json
    assert answer.json["durability"] == "appendfsync always"
    assert answer.json["rehearsal"] is False
