"""A real ``hexiao serve`` as a test sees it: started, asked over HTTP, stopped."""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Coroutine, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import aiohttp
from sqlalchemy import insert, update

from api.auth import digest_of
from api.tenants import add_tenant
from engine.books import schema
from engine.books.db import open_books

START_SECONDS = 40.0
STOP_SECONDS = 40.0


class ApiServer:
    """``hexiao serve`` on a free port over a directory of its own.

    ``environment`` adds HEXIAO_* variables. ``stop`` and ``start`` keep the data.
    """

    def __init__(self, directory: Path, redis_program: Path, **environment: str) -> None:
        self.directory = directory
        self.operator_key = f"operator-{secrets.token_hex(16)}"
        self.tenant = environment.get("HEXIAO_TENANT", "mall")
        self.environment = {
            **{name: value for name, value in os.environ.items() if not _ours(name)},
            "HEXIAO_DATA_DIR": str(directory),
            "HEXIAO_REDIS_BIN": str(redis_program),
            "HEXIAO_OPERATOR_KEY": self.operator_key,
            "HEXIAO_PORT": "0",
            **environment,
        }
        self.url = ""
        self._process: subprocess.Popen[str] | None = None

    @property
    def database_url(self) -> str:
        """The books, spelled for SQLAlchemy."""
        default = f"sqlite+aiosqlite:///{self.directory}/hexiao.db"
        return self.environment.get("HEXIAO_DATABASE_URL", default)

    @property
    def redis_url(self) -> str:
        """The embedded server's socket."""
        from engine.embedded import socket_path

        return f"unix://{socket_path(self.directory / 'redis')}"

    @property
    def process(self) -> subprocess.Popen[str]:
        """The parent process."""
        assert self._process is not None, "not started"
        return self._process

    def start(self, *arguments: str) -> Self:
        """Start and wait for the ready line."""
        self.directory.mkdir(parents=True, exist_ok=True)
        with (self.directory / "serve.log").open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "api.cli", "serve", *arguments],
                env=self.environment,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        timer = threading.Timer(START_SECONDS, self._process.kill)
        timer.start()
        try:
            assert self._process.stdout is not None
            line = self._process.stdout.readline()
        finally:
            timer.cancel()
        assert line.startswith("hexiao ready on "), f"{line}{self.log()}"
        self.url = line.split()[3]
        # The same port after a stop, so that callers find it again.
        self.environment["HEXIAO_PORT"] = self.url.rpartition(":")[2]
        return self

    def stop(self, how: signal.Signals = signal.SIGTERM) -> int:
        """Stop it; its exit code."""
        if self._process is None:
            return 0
        if self._process.poll() is None:
            self._process.send_signal(how)
        code = self._process.wait(STOP_SECONDS)
        assert self._process.stdout is not None
        self._process.stdout.close()
        self._process = None
        return code

    def log(self) -> str:
        """What it wrote to stderr."""
        return (self.directory / "serve.log").read_text(errors="replace")[-8000:]

    # ---- keys and malls, straight into the books: tests need roles before any route works -----

    def key(self, role: str, *, tenant: str = "", **bindings: str) -> str:
        """A new key of that role: ``store_id``, ``lot_id``, ``merchant_id``, ``event_id``."""
        key_id = f"k{secrets.token_hex(6)}"
        text = f"hx_{key_id}_{secrets.token_urlsafe(18)}"
        row = {
            "tenant": tenant or self.tenant,
            "id": key_id,
            "role": role,
            "label": f"{role} of a test",
            "digest": digest_of(text),
            "created_ms": time.time_ns() // 1_000_000,
            **bindings,
        }
        in_a_thread(self._add_key(row))
        return text

    def revoke(self, key: str) -> None:
        """Revoke a key as DELETE /v1/keys does."""
        in_a_thread(self._revoke(digest_of(key)))

    def new_mall(self) -> tuple[str, str]:
        """Another tenant of the same server: (its id, an operator key of it), ready to use."""
        tenant = f"t{secrets.token_hex(5)}"
        in_a_thread(self._add_mall(tenant))
        key = self.key("operator", tenant=tenant)
        in_a_thread(self.until_known(key))
        return tenant, key

    async def _add_key(self, row: dict[str, Any]) -> None:
        books = open_books(self.database_url, pool_size=1)
        async with books.begin() as connection:
            await connection.execute(insert(schema.keys), row)
            await connection.execute(_raised(row["tenant"]))
        await books.close()

    async def _revoke(self, digest: str) -> None:
        books = open_books(self.database_url, pool_size=1)
        keys = schema.keys
        async with books.begin() as connection:
            found = await connection.execute(
                update(keys)
                .where(keys.c.digest == digest)
                .values(revoked_ms=1)
                .returning(keys.c.tenant)
            )
            await connection.execute(_raised(found.scalar_one()))
        await books.close()

    async def _add_mall(self, tenant: str) -> None:
        books = open_books(self.database_url, pool_size=1)
        cells = int(self.environment.get("HEXIAO_CELLS", "1"))
        await add_tenant(books, tenant, cells=cells, timezone="Asia/Shanghai", currency="CNY")
        await books.close()

    async def until_known(self, key: str) -> None:
        """Wait until the key of a new mall opens it."""
        async with Api(self.url, key) as api:
            for _ in range(100):
                answer = await api.get("/v1/nothing")
                if answer.status == 404:
                    return
                await asyncio.sleep(0.05)
        raise AssertionError("the new mall did not appear")


@dataclass(slots=True)
class Answer:
    """What came back. ``json`` is None where the body is none."""

    status: int
    headers: Mapping[str, str]
    content: bytes
    json: Any = field(default=None)

    @property
    def code(self) -> str:
        """Of a problem; "" of a success."""
        return str(self.json.get("code", "")) if isinstance(self.json, dict) else ""

    @property
    def replayed(self) -> bool:
        """Whether it says that it is a first answer given again."""
        return self.headers.get("Idempotent-Replayed") == "true"


class Api:
    """A caller with a key. Every POST carries a new Idempotency-Key unless ``idem`` is given."""

    def __init__(self, url: str, key: str | None, **headers: str) -> None:
        self.url = url
        self.headers = {"Authorization": f"Bearer {key}"} if key else {}
        self.headers |= headers
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0), timeout=aiohttp.ClientTimeout(total=60)
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._session is not None
        await self._session.close()

    async def get(self, path: str, **options: Any) -> Answer:
        """GET; ``params`` are the query."""
        return await self.ask("GET", path, **options)

    async def post(
        self, path: str, body: Any = None, *, idem: str | None = None, **options: Any
    ) -> Answer:
        """POST a JSON body."""
        return await self.ask("POST", path, body, idem=idem or secrets.token_hex(12), **options)

    async def put(self, path: str, body: Any, **options: Any) -> Answer:
        """PUT a JSON body."""
        return await self.ask("PUT", path, body, **options)

    async def patch(self, path: str, body: Any, **options: Any) -> Answer:
        """PATCH with a JSON body."""
        return await self.ask("PATCH", path, body, **options)

    async def delete(self, path: str, **options: Any) -> Answer:
        """DELETE."""
        return await self.ask("DELETE", path, **options)

    async def ask(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        key: str | None = None,
        idem: str | None = None,
        now: str | None = None,
        params: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
        data: Any = None,
    ) -> Answer:
        """Any request. ``key`` replaces the caller's; ``now``: Hexiao-Now; ``data``: a raw body."""
        assert self._session is not None
        sent = dict(self.headers)
        if key is not None:
            sent["Authorization"] = f"Bearer {key}"
        if idem is not None:
            sent["Idempotency-Key"] = idem
        if now is not None:
            sent["Hexiao-Now"] = now
        if body is not None:
            data = json.dumps(body).encode()
        if data is not None:
            sent["Content-Type"] = "application/json"
        sent |= headers or {}
        async with self._session.request(
            method, self.url + path, data=data, headers=sent, params=params
        ) as response:
            content = await response.read()
            kind = response.content_type
            parsed = json.loads(content) if content and kind.endswith(("/json", "+json")) else None
            return Answer(response.status, response.headers, content, parsed)


def in_a_thread(work: Coroutine[Any, Any, Any]) -> Any:
    """Run a coroutine on a loop of its own, whether or not this thread has one running."""
    result: list[Any] = []

    def target() -> None:
        result.append(asyncio.run(work))

    thread = threading.Thread(target=target)
    thread.start()
    thread.join()
    assert result, "it raised; see above"
    return result[0]


def _raised(tenant: str) -> Any:
    tenants = schema.tenants
    return (
        update(tenants).where(tenants.c.id == tenant).values(definitions=tenants.c.definitions + 1)
    )


def _ours(name: str) -> bool:
    return name.startswith("HEXIAO_") and name not in (
        "HEXIAO_NO_EXTENSIONS",
        "HEXIAO_REQUIRE_EXTENSIONS",
    )
