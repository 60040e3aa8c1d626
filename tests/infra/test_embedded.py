"""The embedded Redis: which program, one directory one server, no orphan, no lost answer."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
import redis

from engine import embedded
from engine.embedded import (
    PORTS,
    EmbeddedRedis,
    ServerError,
    find_server,
    running_url,
    socket_path,
    wheel_server,
)
from tests.conftest import OwnRedis
from tests.servers import wait_until

PARENT = """
    import sys, time
    from pathlib import Path
    from engine.embedded import EmbeddedRedis
    server = EmbeddedRedis(Path(sys.argv[1]))
    server.start()
    print(server.pid, flush=True)
    time.sleep(60)
"""


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    stat = Path(f"/proc/{pid}/stat")
    return not (stat.exists() and stat.read_text().split(")")[1].split()[0] == "Z")


async def test_it_serves_for_as_long_as_asked(tmp_path: Path) -> None:
    assert running_url(tmp_path / "r") is None
    async with EmbeddedRedis(tmp_path / "r") as server:
        assert running_url(tmp_path / "r") == server.url
        assert server.port in PORTS
        with redis.Redis.from_url(server.tcp_url) as client:
            assert client.ping()
            client.hset("wallet", "C1", "a coupon that tells where it came from " * 3)
            assert client.object("encoding", "wallet") == b"listpack"
        pid = server.pid
    assert not alive(pid)
    assert running_url(tmp_path / "r") is None
    with pytest.raises(ServerError, match="not running"):
        assert server.pid


def test_without_a_port_only_its_user_reaches_it(tmp_path: Path) -> None:
    server = EmbeddedRedis(tmp_path / "r", port=0)
    server.start()
    try:
        assert server.socket.stat().st_mode & 0o777 == 0o700
        assert server.directory.stat().st_mode & 0o777 == 0o700
        with pytest.raises(ServerError, match="no TCP port"):
            assert server.port
    finally:
        server.stop()


def test_a_directory_serves_one_at_a_time(own_redis: OwnRedis) -> None:
    server = own_redis()
    second = EmbeddedRedis(server.directory, binary=server.binary)
    with pytest.raises(ServerError, match="in use by another hexiao"):
        second.start(patience_s=0.1)
    server.stop()
    second.start()
    second.stop()


def test_a_long_path_gets_a_short_socket(tmp_path: Path) -> None:
    deep = tmp_path / ("d" * 60) / ("e" * 60)
    assert len(os.fsencode(socket_path(deep))) <= 100
    server = EmbeddedRedis(deep)
    server.start()
    try:
        with redis.Redis.from_url(server.url) as client:
            assert client.ping()
    finally:
        server.stop()


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
@pytest.mark.parametrize("stalled", [False, True], ids=["awake", "stalled"])
def test_no_server_outlives_its_parent(
    tmp_path: Path, how: signal.Signals, stalled: bool
) -> None:
    parent = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(PARENT), str(tmp_path / "r")],
        stdout=subprocess.PIPE,
    )
    assert parent.stdout is not None
    with parent.stdout:
        pid = int(parent.stdout.readline())
    assert alive(pid)
    if stalled:
        os.kill(pid, signal.SIGSTOP)
    parent.send_signal(how)
    parent.wait()
    wait_until(lambda: not alive(pid), 10)


def test_the_next_start_waits_for_what_a_dead_parent_left(tmp_path: Path) -> None:
    parent = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(PARENT), str(tmp_path / "r")],
        stdout=subprocess.PIPE,
    )
    assert parent.stdout is not None
    with parent.stdout:
        parent.stdout.readline()
    with redis.Redis.from_url(f"unix://{socket_path(tmp_path / 'r')}") as client:
        client.set("answered", "yes")
    parent.kill()
    parent.wait()
    server = EmbeddedRedis(tmp_path / "r")
    server.start()
    try:
        with redis.Redis.from_url(server.url) as client:
            assert client.get("answered") == b"yes"
    finally:
        server.stop()


@pytest.mark.slow
def test_a_big_file_is_loaded_before_start_returns(own_redis: OwnRedis) -> None:
    keys = 15_000
    server = own_redis(options={"enable-debug-command": "local"})
    with redis.Redis.from_url(server.url) as client:
        client.execute_command("DEBUG", "POPULATE", keys)
        client.bgrewriteaof()
        wait_until(lambda: _rewritten(client), 20)
    server.stop()
    # Slow enough to outlast the patience: a microsecond asked for is 50 or more given.
    server.options |= {"key-load-delay": "1", "loading-process-events-interval-bytes": "1024"}
    server.start(patience_s=0.4)
    with redis.Redis.from_url(server.url) as client:
        assert client.dbsize() == keys


def test_the_file_is_rewritten_when_it_has_doubled_and_nobody_asks_much(
    own_redis: OwnRedis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not in a rush, not while a backup is made, and not again before it has doubled."""
    monkeypatch.setattr(embedded, "REWRITE_BYTES", 10_000)
    server = own_redis()
    with redis.Redis.from_url(server.url) as client:
        assert not server.tidy()
        for n in range(100):
            client.set("same", f"{n}" * 200)
        monkeypatch.setattr(embedded, "QUIET_OPERATIONS", -1)
        assert not server.tidy()
        monkeypatch.setattr(embedded, "QUIET_OPERATIONS", 10_000)
        client.config_set("auto-aof-rewrite-percentage", 0)
        assert not server.tidy()
        client.config_set("auto-aof-rewrite-percentage", 100)
        before = client.info("persistence")["aof_current_size"]
        assert server.tidy()
        wait_until(lambda: _rewritten(client), 20)
        assert client.info("persistence")["aof_current_size"] < before / 2
        assert not server.tidy()


def _rewritten(client: redis.Redis) -> bool:
    state = client.info("persistence")
    return not state["aof_rewrite_in_progress"] and not state["aof_rewrite_scheduled"]


def test_a_broken_start_says_why(tmp_path: Path) -> None:
    server = EmbeddedRedis(tmp_path / "r", options={"no-such-setting": "1"})
    with pytest.raises(ServerError, match=r"did not start: .*no-such-setting"):
        server.start()
    assert not server.running


def test_which_program(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("HEXIAO_REDIS_BIN", raising=False)
    assert find_server() == wheel_server()
    own = tmp_path / "my-redis"
    own.touch(0o755)
    monkeypatch.setenv("HEXIAO_REDIS_BIN", str(own))
    assert find_server() == own
    monkeypatch.setenv("HEXIAO_REDIS_BIN", str(tmp_path / "missing"))
    with pytest.raises(ServerError, match="HEXIAO_REDIS_BIN names"):
        find_server()
