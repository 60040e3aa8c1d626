"""``hexiao``: the command line. Exit code 0 only for success."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Annotated, Any, Literal

import structlog
import typer

from api import logs
from api.loops import run
from engine.config import Settings, SettingsError, load_secret, load_settings
from engine.embedded import ServerError, running_url
from engine.errors import CannotStart, HexiaoError

app = typer.Typer(
    name="hexiao",
    help="A coupon and redemption engine for malls. Settings: the HEXIAO_* variables.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

# api.routes.ROLES but "user": end users have tokens, not keys.
Role = Literal[
    "operator",
    "storefront",
    "payments",
    "terminal",
    "desk",
    "gate",
    "parking",
    "merchant",
    "finance",
]

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


@app.command()
def demo(
    url: Annotated[str, typer.Option(help="A running hexiao.")] = "http://127.0.0.1:8080",
    key: Annotated[str | None, typer.Option(help="An operator key of it.")] = None,
) -> None:
    """Build a demo mall on a running server and say how to try it; safe to repeat."""
    from api.serve import show_demo

    settings = _settings()
    operator_key = key or settings.operator_key
    if operator_key is None:
        raise CannotStart("Give an operator key: --key, or HEXIAO_OPERATOR_KEY.")
    _run("demo", settings, lambda: show_demo(url, operator_key))


@app.command(
    add_help_option=False,
    context_settings={"allow_extra_args": True, "ignore_unknown_options": True},
)
def replay(context: typer.Context) -> None:
    """Drive real coupon records through the HTTP API: `hexiao replay completejourney`."""
    # A program of its own: it knows the API from outside only. In our place, so that a signal
    # finds it and not a parent that would kill it before it has stopped its server.
    os.execv(sys.executable, [sys.executable, "-m", "loadtest.replay", *context.args])  # noqa: S606


Only = Annotated[str | None, typer.Option("--tenant", help="This mall only; default: all.")]
Tenant = Annotated[str | None, typer.Option(help="The mall (HEXIAO_TENANT).")]


@app.command()
def reconcile(tenant: Only = None, data_dir: DataDir = None) -> None:
    """Compare live state with the books and print each difference; exit code 1 if any."""
    _admin(lambda a, s: a.run_reconcile(s, tenant), redis=True, data_dir=data_dir)


@app.command()
def recover(tenant: Only = None, data_dir: DataDir = None) -> None:
    """Compare Redis with the books, load scripts, publish definitions. Refuses what is behind."""
    _admin(lambda a, s: a.run_recover(s, tenant), redis=True, data_dir=data_dir)


@app.command()
def doctor(data_dir: DataDir = None) -> None:
    """Look at all that this machine needs and say what is in the way."""
    _admin(lambda a, s: a.doctor(s, s.redis_url or running_url(s.redis_dir)), data_dir=data_dir)


@app.command()
def backup(
    target: Annotated[Path, typer.Argument(help="A new directory.")], data_dir: DataDir = None
) -> None:
    """Copy books, Redis's append-only file and secret while the mall works."""
    from api.backup import backup as copy

    settings = _settings(data_dir=data_dir)
    redis_url = _with_redis(settings).redis_url if settings.embedded else None
    _run("backup", settings, lambda: copy(settings, target, redis_url))


keys = typer.Typer(help="Keys of a mall's systems.", no_args_is_help=True)
app.add_typer(keys, name="keys")


@keys.command("add")
def keys_add(
    role: Annotated[Role, typer.Argument(help="What it may do.")],
    label: Annotated[str, typer.Option(help="What it is for; stands in every fact.")],
    store: Annotated[str | None, typer.Option(help="Of a terminal.")] = None,
    merchant: Annotated[str | None, typer.Option(help="Of a merchant.")] = None,
    lot: Annotated[str | None, typer.Option(help="Of a parking system.")] = None,
    event: Annotated[str | None, typer.Option(help="Of a gate.")] = None,
    tenant: Tenant = None,
    data_dir: DataDir = None,
) -> None:
    """Make a key; its text is shown once."""
    bound = {"store_id": store, "merchant_id": merchant, "lot_id": lot, "event_id": event}
    _admin(
        lambda a, s: a.add_key(s, s.tenant, role, label, bound),
        tenant=tenant,
        data_dir=data_dir,
    )


@keys.command("list")
def keys_list(tenant: Tenant = None, data_dir: DataDir = None) -> None:
    """All keys, never their texts."""
    _admin(lambda a, s: a.list_keys(s, s.tenant), tenant=tenant, data_dir=data_dir)


@keys.command("revoke")
def keys_revoke(
    key_id: Annotated[str, typer.Argument(metavar="ID")],
    tenant: Tenant = None,
    data_dir: DataDir = None,
) -> None:
    """Revoke a key: within a second it opens nothing."""
    _admin(lambda a, s: a.revoke_key(s, s.tenant, key_id), tenant=tenant, data_dir=data_dir)


tenants = typer.Typer(help="Malls.", no_args_is_help=True)
app.add_typer(tenants, name="tenants")


@tenants.command("add")
def tenants_add(
    tenant: Annotated[str, typer.Argument(metavar="ID")],
    cells: Annotated[int | None, typer.Option(help="Fixed from now on (HEXIAO_CELLS).")] = None,
    timezone: Annotated[str | None, typer.Option(help="HEXIAO_TIMEZONE.")] = None,
    currency: Annotated[str | None, typer.Option(help="HEXIAO_CURRENCY.")] = None,
    data_dir: DataDir = None,
) -> None:
    """Make a mall."""
    _admin(
        lambda a, s: a.make_tenant(s, s.tenant),
        tenant=tenant,
        cells=cells,
        timezone=timezone,
        currency=currency,
        data_dir=data_dir,
    )


@tenants.command("list")
def tenants_list(data_dir: DataDir = None) -> None:
    """All malls."""
    _admin(lambda a, s: a.show_tenants(s), data_dir=data_dir)


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
    # Read before it looks like a Redis of somebody else's, whose secret must be given.
    secret = load_secret(settings).decode()
    return settings.model_copy(update={"redis_url": url, "secret": secret})


def _run(name: str, settings: Settings, main: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
    logs.set_up(settings.log_level)
    structlog.contextvars.bind_contextvars(process=name)
    return run(main())


def _run_parent(settings: Settings, main: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """The same for a parent of processes: uvloop can't put a child into a group of its own."""
    logs.set_up(settings.log_level)
    structlog.contextvars.bind_contextvars(process="serve")
    asyncio.run(main())


def _admin(
    act: Callable[[Any, Settings], Coroutine[Any, Any, bool]], *, redis: bool = False, **given: Any
) -> None:
    """Run one of ``api.admin``'s; exit code 1 where it says that all is not well."""
    from api import admin

    settings = _settings(**given)
    if redis:
        settings = _with_redis(settings)
    # What a command prints is its answer: only what went wrong is logged beside it.
    quiet = settings.model_copy(update={"log_level": "error"})
    if not _run("admin", quiet, lambda: act(admin, settings)):
        raise typer.Exit(1)


def main() -> None:
    """The entry point: what we refuse on purpose is one sentence, not a traceback."""
    try:
        app(prog_name="hexiao")
    except (HexiaoError, SettingsError, ServerError) as error:
        sys.stderr.write(f"{error}\n")
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
