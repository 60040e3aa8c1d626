"""Servers for the tests of the API: one a session for each pair of Redis and books."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Protocol

import pytest

from tests.api.counter import Counter
from tests.api.server import Api, ApiServer


def _books(request: pytest.FixtureRequest, kind: str) -> dict[str, str]:
    """HEXIAO_DATABASE_URL for a new database; nothing where the default SQLite is meant."""
    if kind == "sqlite":
        return {}
    postgres = request.getfixturevalue("postgres")
    return {"HEXIAO_DATABASE_URL": postgres.url(postgres.create())}


@pytest.fixture(scope="session")
def api_server(
    request: pytest.FixtureRequest,
    redis_program: Path,
    database_kind: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[ApiServer]:
    """The session's server, on the wall's clock: not to be stopped. Use ids of your own."""
    directory = tmp_path_factory.mktemp("serve")
    server = ApiServer(directory, redis_program, **_books(request, database_kind))
    server.start()
    yield server
    assert server.stop() == 0, server.log()


@pytest.fixture(scope="session")
def rehearsal_server(
    request: pytest.FixtureRequest,
    redis_program: Path,
    database_kind: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[ApiServer]:
    """The session's rehearsal server: operators set the clock by Hexiao-Now (``now=``)."""
    directory = tmp_path_factory.mktemp("rehearsal")
    books = _books(request, database_kind)
    server = ApiServer(directory, redis_program, HEXIAO_REHEARSAL="1", **books)
    server.start()
    yield server
    assert server.stop() == 0, server.log()


class OwnServer(Protocol):
    """``own_server(HEXIAO_WORKERS="2")`` → a started server."""

    def __call__(self, **environment: str) -> ApiServer: ...


@pytest.fixture
def own_server(
    request: pytest.FixtureRequest, redis_program: Path, database_kind: str, tmp_path: Path
) -> Iterator[OwnServer]:
    """Makes servers that a test may stop, kill and start again (a second or two each)."""
    with ExitStack() as stack:
        count = 0

        def make(**environment: str) -> ApiServer:
            nonlocal count
            count += 1
            books = _books(request, database_kind)
            server = ApiServer(tmp_path / f"serve{count}", redis_program, **books, **environment)
            stack.callback(server.stop)
            return server.start()

        yield make


@pytest.fixture
async def api(api_server: ApiServer) -> AsyncIterator[Api]:
    """A caller with the operator key of the session's server."""
    async with Api(api_server.url, api_server.operator_key) as caller:
        yield caller


@pytest.fixture
async def rehearsal(rehearsal_server: ApiServer) -> AsyncIterator[Api]:
    """A caller with the operator key of the session's rehearsal server."""
    async with Api(rehearsal_server.url, rehearsal_server.operator_key) as caller:
        yield caller


@pytest.fixture
async def counter(api_server: ApiServer, api: Api) -> Counter:
    """A part of the session's mall that is nobody else's."""
    return await Counter.open(api_server, api)


@pytest.fixture
async def rehearsed(rehearsal_server: ApiServer, rehearsal: Api) -> Counter:
    """The same on the rehearsal server."""
    return await Counter.open(rehearsal_server, rehearsal)
