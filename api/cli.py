"""``hexiao``: the command line. Exit code 0 only for success."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Annotated, Any

import structlog
import typer

from api import logs
from api.loops import run
from engine.config import Settings, SettingsError, load_settings
from engine.embedded import ServerError, running_url
from engine.errors import CannotStart, Unavailable

app = typer.Typer(
    name="hexiao",
    help="A coupon and redemption engine for malls. Settings: the HEXIAO_* variables.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

Host = Annotated[str | None, typer.Option(help="Address to listen on (HEXIAO_HOST).")]
Port = Annotated[int | None, typer.Option(help="Port; 0 = any free one (HEXIAO_PORT).")]
Workers = Annotated[int | None, typer.Option(help="API processes (HEXIAO_WORKERS).")]
DataDir = Annotated[Path | None, typer.Option(help="Where data lie (HEXIAO_DATA_DIR).")]


@app.command()
def serve(
    demo: Annotated[
        bool, typer.Option("--demo", help="Build a demo mall and say how to try it.")
    ] = False,
    host: Host = None,
    port: Port = None,
    workers: Workers = None,
    data_dir: DataDir = None,
) -> None:
    """Run all that one machine needs: embedded Redis, API, writer."""
    from api.serve import serve as run_all

    settings = _settings(host=host, port=port, workers=workers, data_dir=data_dir)
    _run_parent(settings, lambda: run_all(settings, demo=demo))


@app.command()
def api(host: Host = None, port: Port = None, workers: Workers = None) -> None:
    """Run the API processes only, on a Redis by URL; a `hexiao writer` runs elsewhere."""
    from api.serve import serve as run_all

    settings = _settings(host=host, port=port, workers=workers)
    _run_parent(settings, lambda: run_all(settings, embedded=False, writer=False))


@app.command()
def writer() -> None:
    """Carry facts from Redis to the books. Any number may run; they share the cells."""
    from engine.writer import run_writer

    settings = _with_redis(_settings())
    _run("writer", settings, lambda: run_writer(settings))


def _settings(**given: Any) -> Settings:
    return load_settings(**given)


def _with_redis(settings: Settings) -> Settings:
    """The settings with the URL of the embedded server where that is the one and it runs."""
    if settings.redis_url is not None:
        return settings
    url = running_url(settings.redis_dir)
    if url is None:
        raise CannotStart(
            f"No Redis runs in {settings.redis_dir}: start `hexiao serve`, or set HEXIAO_REDIS_URL."
        )
    return settings.model_copy(update={"redis_url": url})


def _run(name: str, settings: Settings, main: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
    logs.set_up(settings.log_level)
    structlog.contextvars.bind_contextvars(process=name)
    return run(main())


def _run_parent(settings: Settings, main: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """The same for a parent of processes: uvloop can't put a child into a group of its own."""
    logs.set_up(settings.log_level)
    structlog.contextvars.bind_contextvars(process="serve")
    asyncio.run(main())


def main() -> None:
    """The entry point: what we refuse on purpose is one sentence, not a traceback."""
    try:
        app()
    except (CannotStart, SettingsError, ServerError, Unavailable) as error:
        sys.stderr.write(f"{error}\n")
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
