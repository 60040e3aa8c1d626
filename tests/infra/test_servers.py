"""Each server fixture is the real thing, and does what the rest of the suite counts on."""

from __future__ import annotations

import signal

import asyncpg
import pytest
import redis
import redis.asyncio
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine

from tests.conftest import OwnRedis
from tests.servers import Cluster, Postgres

LIBRARIES = """#!lua flags=allow-oom
local packed = cmsgpack.pack({KEYS[1], 7})
redis.call('XADD', KEYS[1], '1-1', 'f', cjson.encode(cmsgpack.unpack(packed)))
return {bit.band(12, 10), redis.call('XLEN', KEYS[1])}
"""
TWO_KEYS = "#!lua\nreturn {redis.call('SET', KEYS[1], 1), redis.call('SET', KEYS[2], 1)}"
HIDDEN_KEY = "#!lua\nreturn redis.call('SET', '{other}:x', KEYS[1])"


async def test_scripts_find_the_libraries_they_use(
    redis_client: redis.asyncio.Redis, tenant: str
) -> None:
    stream = f"{{{tenant}.0}}:test"
    sha = await redis_client.script_load(LIBRARIES)
    assert await redis_client.evalsha(sha, 1, stream) == [8, 1]
    entries = await redis_client.xrange(stream)
    assert entries == [(b"1-1", {b"f": f'["{stream}",7]'.encode()})]


async def test_the_server_is_the_one_of_the_matrix(
    redis_client: redis.asyncio.Redis, redis_kind: str
) -> None:
    info = await redis_client.info("server")
    assert info.get("server_name", "redis") == redis_kind.removesuffix("7")


async def test_the_server_persists_and_never_evicts(redis_client: redis.asyncio.Redis) -> None:
    wanted = {
        "appendonly": "yes",
        "appendfsync": "always",
        "maxmemory-policy": "noeviction",
        "save": "",
    }
    for name, value in wanted.items():
        assert (await redis_client.config_get(name))[name] == value


def test_what_was_answered_outlives_a_kill(own_redis: OwnRedis) -> None:
    server = own_redis()
    with redis.Redis.from_url(server.tcp_url) as client:
        client.set("answered", "yes")
    port = server.port
    server.kill()
    assert not server.running
    server.start()
    assert server.port == port
    with redis.Redis.from_url(server.url) as client:
        assert client.get("answered") == b"yes"


def test_own_servers_are_apart(own_redis: OwnRedis) -> None:
    one, two = own_redis(), own_redis(fsync="everysec", options={"maxmemory": "64mb"})
    with redis.Redis.from_url(one.url) as first, redis.Redis.from_url(two.url) as second:
        first.set("whose", "first")
        assert second.get("whose") is None
        assert second.config_get("appendfsync")["appendfsync"] == "everysec"
        assert second.config_get("maxmemory")["maxmemory"] == str(64 << 20)


async def test_the_cluster_refuses_what_crosses_slots(
    redis_cluster: Cluster
) -> None:
    async with redis.asyncio.RedisCluster.from_url(redis_cluster.url) as client:
        assert len(client.get_primaries()) == 3
        for number in range(30):
            await client.set(f"{{spread{number}}}:x", number)
            assert await client.get(f"{{spread{number}}}:x") == str(number).encode()
        assert await client.eval(TWO_KEYS, 2, "{same}:a", "{same}:b") == [b"OK", b"OK"]
    with (
        redis.Redis.from_url(redis_cluster.nodes[0].url) as node,
        pytest.raises(redis.exceptions.ResponseError, match="same slot"),
    ):
        node.mset({"{a}:x": 1, "{b}:x": 1})


async def test_a_cluster_script_may_not_touch_a_foreign_slot(redis_cluster: Cluster) -> None:
    async with redis.asyncio.RedisCluster.from_url(redis_cluster.url) as client:
        with pytest.raises(redis.exceptions.ResponseError, match=r"slot|non-local"):
            await client.eval(HIDDEN_KEY, 1, "{mine}:x")


async def test_postgres_copies(postgres_url: str) -> None:
    engine = create_async_engine(postgres_url)
    async with engine.begin() as connection:
        await connection.execute(text("CREATE TABLE t (id bigint PRIMARY KEY, name text)"))
        raw = (await connection.get_raw_connection()).driver_connection
        assert isinstance(raw, asyncpg.Connection)
        rows = [(n, f"券{n}") for n in range(5000)]
        await raw.copy_records_to_table("t", records=rows, columns=["id", "name"])
        counted = await connection.execute(text("SELECT count(*), max(name) FROM t WHERE id < 10"))
        assert counted.one() == (10, "券9")
    await engine.dispose()


async def test_books_are_empty_and_of_the_kind_asked_for(
    database_url: str, database_kind: str
) -> None:
    engine = create_async_engine(database_url)
    async with engine.begin() as connection:
        assert connection.dialect.name == database_kind.replace("postgres", "postgresql")
        await connection.execute(text("CREATE TABLE only_here (id bigint)"))
    await engine.dispose()


def test_postgres_comes_back_with_its_data(own_postgres: Postgres) -> None:
    postgres = own_postgres
    name = postgres.create()
    postgres.execute("CREATE TABLE kept (id int)", name)
    postgres.stop(signal.SIGQUIT)
    postgres.start()
    assert postgres.execute("SELECT count(*) FROM kept", name) == "0\n"
    copy = postgres.create(template=name)
    assert postgres.execute("SELECT count(*) FROM kept", copy) == "0\n"
    postgres.drop(copy)
    postgres.drop(name)


def test_each_server_meets_each_database_once(
    request: pytest.FixtureRequest, redis_kind: str, database_kind: str
) -> None:
    assert f"{redis_kind}-{database_kind}" in request.node.name
