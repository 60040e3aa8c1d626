"""The Redis side of a process: connections, script calls, what the servers say of themselves.

Two clients (docs/ARCHITECTURE.md, "Repeating safely"): the hot one never retries, because a
retry after a time-out runs a script twice; the reading one may. One code for a single server and
for Redis Cluster, where a batch is one script call to the node that holds its cell.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from typing import Any

from redis.asyncio import Redis, RedisCluster
from redis.asyncio.retry import Retry
from redis.backoff import ExponentialBackoff, NoBackoff
from redis.exceptions import RedisError

from engine import scripts
from engine.errors import CannotStart

CONNECT_SECONDS = 3.0
READS = 64  # at once: redis-py opens a connection for each, and refuses the 101st
_OLDEST = {"redis": (7, 0), "valkey": (7, 2)}


class Server:
    """A single Redis or Valkey, or a cluster of them. Open with ``await Server.open(url)``."""

    def __init__(self, hot: Any, reading: Any, cluster: bool) -> None:
        self._hot = hot
        self._reading = reading
        self.cluster = cluster
        self.offset = 0  # the server's clock minus ours, ms; every answer refreshes it
        self.info: dict[str, Any] = {}
        self._reads = asyncio.Semaphore(READS)
        self.slowed = 0.0  # a test's hook: seconds that each operation of a batch is made to take

    @classmethod
    async def open(cls, url: str) -> Server:
        """Connect; CannotStart when the server can't be reached."""
        probe = Redis.from_url(url, socket_connect_timeout=CONNECT_SECONDS)
        try:
            info = await probe.info("server")
        except (RedisError, OSError) as error:
            raise CannotStart(f"Redis does not answer at HEXIAO_REDIS_URL ({error}).") from None
        finally:
            await probe.aclose()
        cluster = info.get("redis_mode", info.get("server_mode")) == "cluster"
        kind: Any = RedisCluster if cluster else Redis
        hot = kind.from_url(
            url,
            retry=Retry(NoBackoff(), 0),
            socket_timeout=None,  # a time-out a command costs a Task; the batch has the deadline
            socket_connect_timeout=CONNECT_SECONDS,
        )
        reading = kind.from_url(
            url,
            retry=Retry(ExponentialBackoff(cap=0.2, base=0.01), 3),
            socket_timeout=10,
            socket_connect_timeout=CONNECT_SECONDS,
        )
        if cluster:  # a cluster's client learns its nodes before the first question to one of them
            try:
                await hot.initialize()
                await reading.initialize()
            except RedisError as error:
                raise CannotStart(f"The Redis cluster is not ready ({error}).") from None
        server = cls(hot, reading, cluster)
        await server.refresh()
        return server

    async def close(self) -> None:
        """Close all connections."""
        await self._hot.aclose()
        await self._reading.aclose()

    # ---- script calls ------------------------------------------------------------------------

    async def call(
        self, key: str, calls: Sequence[tuple[scripts.Script, bytes]]
    ) -> list[bytes | Exception]:
        """Run scripts on one cell in one round trip, in order; a reply or an error for each."""
        if len(calls) == 1 or self.cluster:
            # redis-py does not send EVALSHA in a cluster pipeline.
            return [await self._one(key, script, argument) for script, argument in calls]
        pipe = self._hot.pipeline(transaction=False)
        for script, argument in calls:
            pipe.execute_command("EVALSHA", script.sha, 1, key, argument)
        replies: list[bytes | Exception] = await pipe.execute(raise_on_error=False)
        return replies

    async def _one(self, key: str, script: scripts.Script, argument: bytes) -> bytes | Exception:
        try:
            reply: bytes = await self._hot.execute_command("EVALSHA", script.sha, 1, key, argument)
        except RedisError as error:
            return error
        return reply

    async def read(self, key: str, script: scripts.Script, argument: bytes) -> bytes:
        """Run a ``no-writes`` script; may be retried."""
        async with self._reads:
            reply: bytes = await self._reading.execute_command(
                "EVALSHA", script.sha, 1, key, argument
            )
        return reply

    async def read_all(
        self, keys: Sequence[str], script: scripts.Script, argument: bytes
    ) -> list[bytes]:
        """Run a ``no-writes`` script on several cells in one go; may be retried."""
        if self.cluster:
            return list(await asyncio.gather(*(self.read(key, script, argument) for key in keys)))
        pipe = self._reading.pipeline(transaction=False)
        for key in keys:
            pipe.execute_command("EVALSHA", script.sha, 1, key, argument)
        async with self._reads:
            replies: list[bytes] = await pipe.execute()
        return replies

    async def write_once(self, key: str, script: scripts.Script, *arguments: Any) -> Any:
        """Run a script outside the batches (publishing); safe to repeat by its version."""
        return await self._hot.execute_command("EVALSHA", script.sha, 1, key, *arguments)

    async def due_scores(self, key: str, until: int, most: int) -> list[tuple[bytes, float]]:
        """As ``due``, with their scores."""
        async with self._reads:
            found: list[tuple[bytes, float]] = await self._reading.zrangebyscore(
                key, 0, until, start=0, num=most, withscores=True
            )
        return [(member, float(score)) for member, score in found]

    async def get(self, key: str) -> bytes | None:
        """GET."""
        async with self._reads:
            value: bytes | None = await self._reading.get(key)
        return value

    async def fields(self, key: str, *names: str) -> list[bytes | None]:
        """HMGET."""
        async with self._reads:
            values: list[bytes | None] = await self._reading.hmget(key, list(names))
        return values

    async def all_fields(self, key: str) -> dict[bytes, bytes]:
        """HGETALL."""
        async with self._reads:
            found: dict[bytes, bytes] = await self._reading.hgetall(key)
        return found

    async def due(self, key: str, until: int, most: int) -> list[bytes]:
        """Members of a sorted set with a score up to ``until``, lowest first."""
        async with self._reads:
            found: list[bytes] = await self._reading.zrangebyscore(key, 0, until, start=0, num=most)
        return found

    # ---- what the servers say of themselves --------------------------------------------------

    def nodes(self) -> list[Any]:
        """The primaries; [None] on a single server."""
        return list(self._reading.get_primaries()) if self.cluster else [None]

    def node_of(self, key: str) -> Any:
        """The primary that holds the key's slot; None on a single server."""
        return self._reading.get_node_from_key(key) if self.cluster else None

    async def ask(self, node: Any, *words: Any) -> Any:
        """A command to one node, by the reading client."""
        if node is None:
            return await self._reading.execute_command(*words)
        return await self._reading.execute_command(*words, target_nodes=node)

    async def load_scripts(self) -> None:
        """Load every script on every primary."""
        for node in self.nodes():
            for verb in scripts.verbs():
                await self.ask(node, "SCRIPT LOAD", scripts.load(verb).source)

    async def replid(self, node: Any) -> str:
        """``master_replid``: changes with every restart and every promotion."""
        return str((await self.ask(node, "INFO", "replication"))["master_replid"])

    async def refresh(self) -> None:
        """Take the server's clock and its description anew."""
        node = self.nodes()[0]
        self.info = await self.ask(node, "INFO", "server")
        before = time.time()
        seconds, micros = await self.ask(node, "TIME")
        middle = (before + time.time()) / 2
        self.offset = round(int(seconds) * 1000 + int(micros) / 1000 - middle * 1000)

    def clock(self) -> int:
        """The server's clock in ms, by the last known offset."""
        return int(time.time() * 1000) + self.offset

    def saw(self, now: int) -> None:
        """An answer told the server's time."""
        self.offset = now - int(time.time() * 1000)

    @property
    def version(self) -> str:
        """Such as ``valkey 9.1.2`` or ``redis 7.0.15``."""
        name = str(self.info.get("server_name", "redis"))
        number = self.info.get("valkey_version") if name == "valkey" else None
        return f"{name} {number or self.info['redis_version']}"

    async def check(self) -> None:
        """CannotStart, with what to set, where a server is too old, may evict or keeps nothing."""
        name, number = self.version.split()
        oldest = _OLDEST.get(name, (7, 0))
        if tuple(int(part) for part in number.split(".")[:2]) < oldest:
            wanted = f"{name} {oldest[0]}.{oldest[1]}"
            raise CannotStart(f"{self.version} is too old: use {wanted} or newer.")
        for node in self.nodes():
            memory = await self.ask(node, "INFO", "memory")
            if memory.get("maxmemory_policy", "noeviction") != "noeviction":
                raise CannotStart(
                    f"Redis may evict keys (maxmemory-policy {memory['maxmemory_policy']}):"
                    " coupons would vanish. Set maxmemory-policy noeviction."
                )
            persistence = await self.ask(node, "INFO", "persistence")
            if not int(persistence.get("aof_enabled", 0)):
                raise CannotStart(
                    "Redis does not persist what it is told (appendonly no):"
                    " set appendonly yes and appendfsync always."
                )

    async def durability(self) -> str:
        """``appendfsync always`` and the like; ``unknown`` where CONFIG is not allowed."""
        try:
            found = await self.ask(self.nodes()[0], "CONFIG GET", "appendfsync")
        except RedisError:
            return "unknown"
        return f"appendfsync {found.get('appendfsync', 'unknown')}"

    async def ping(self) -> float:
        """Seconds that a PING takes."""
        started = time.perf_counter()
        async with asyncio.timeout(2):
            for node in self.nodes():
                await self.ask(node, "PING")
        return time.perf_counter() - started
