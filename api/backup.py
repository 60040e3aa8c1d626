"""``hexiao backup``: a copy from which the mall starts again, made while it works.

First the books, then Redis's append-only file: so the copy of Redis is never behind the copy of
the books, and the writer of the restored mall carries over what lies between.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import sqlite3
from pathlib import Path
from typing import Any

from redis.asyncio import Redis
from rich.console import Console
from sqlalchemy.engine import make_url

from engine.config import Settings, load_secret
from engine.embedded import REWRITE
from engine.errors import CannotStart

console = Console(highlight=False, soft_wrap=True)

PATIENCE_SECONDS = 600.0
AOF = "appendonlydir"
SETTLE_SECONDS = 0.2  # by then a rewrite that was just asked for has begun


async def backup(settings: Settings, target: Path, redis_url: str | None) -> bool:
    """Copy into ``target``, a new or empty directory; a mall starts on it by HEXIAO_DATA_DIR.

    ``redis_url``: of the embedded server, whose files are here to be copied; None: another's.
    """
    await asyncio.to_thread(_make, target)
    await _books(settings, target)
    if redis_url is not None:
        await _redis(redis_url, settings.redis_dir / AOF, target / "redis" / AOF)
    else:
        console.print("Redis is not ours: copy its append-only file by its own means, now.")
    if settings.secret is None:
        await asyncio.to_thread(_keep, load_secret(settings), target / "secret")
    else:
        console.print("HEXIAO_SECRET is not in the copy: keep it where secrets are kept.")
    console.print(f"The copy is in {target}: hexiao serve --data-dir {target}")
    return True


def _make(target: Path) -> None:
    if target.exists() and any(target.iterdir()):
        raise CannotStart(f"{target} is not empty: give a new directory.")
    target.mkdir(mode=0o700, parents=True, exist_ok=True)


def _keep(secret: bytes, path: Path) -> None:
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(secret + b"\n")


async def _books(settings: Settings, target: Path) -> None:
    url = make_url(settings.database_url)
    if url.get_backend_name() == "sqlite":
        await asyncio.to_thread(_copy_sqlite, str(url.database), target / "hexiao.db")
        console.print("Books: copied.")
        return
    program = shutil.which("pg_dump")
    if program is None:
        raise CannotStart("pg_dump is not on PATH: install PostgreSQL's client programs.")
    plain = url.set(drivername="postgresql").render_as_string(hide_password=False)
    done = await asyncio.create_subprocess_exec(
        program, "--format=custom", f"--file={target / 'books.dump'}", plain
    )
    if await done.wait() != 0:
        raise CannotStart("pg_dump did not succeed; its words are above.")
    console.print("Books: books.dump, to be put back by pg_restore.")


def _copy_sqlite(source: str, target: Path) -> None:
    if not Path(source).exists():
        raise CannotStart(f"There are no books at {source}.")
    with (
        contextlib.closing(sqlite3.connect(source)) as old,
        contextlib.closing(sqlite3.connect(target)) as new,
    ):
        old.backup(new)


async def _redis(url: str, source: Path, target: Path) -> None:
    """Copy the append-only file while it grows; a cut last command is dropped at the start."""
    async with Redis.from_url(url) as client:
        before = str((await client.config_get(REWRITE))[REWRITE])
        await client.config_set(REWRITE, 0)  # a rewrite would take files away meanwhile
        try:
            await asyncio.sleep(SETTLE_SECONDS)
            async with asyncio.timeout(PATIENCE_SECONDS):
                while await _rewriting(client):  # noqa: ASYNC110 - another process's doing
                    await asyncio.sleep(0.05)
            await asyncio.to_thread(shutil.copytree, source, target)
        finally:
            await client.config_set(REWRITE, before)
    console.print("Redis: copied.")


async def _rewriting(client: Any) -> bool:
    info = await client.info("persistence")
    return bool(info["aof_rewrite_in_progress"] or info.get("aof_rewrite_scheduled"))
