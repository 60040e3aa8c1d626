"""The command line: ``hexiao replay completejourney``."""

from __future__ import annotations

import asyncio
import contextlib
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from loadtest.replay.client import Client, ReplayError
from loadtest.replay.drive import Drive
from loadtest.replay.records import Records, RecordsError, read
from loadtest.replay.report import Report
from loadtest.replay.rules import compare_stock, expected_of, replay_rules
from loadtest.replay.server import OwnServer
from loadtest.replay.settlement import replay_settlement

app = typer.Typer(
    name="hexiao replay",
    help="Drive real coupon records through the HTTP API and compare what comes of it.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
console = Console(width=None if sys.stdout.isatty() else 100)


@app.callback()
def replay() -> None:
    """Drive real coupon records through the HTTP API and compare what comes of it."""


@app.command()
def completejourney(
    url: Annotated[
        str, typer.Option(help="A rehearsal server; without it one is started on fresh data.")
    ] = "",
    key: Annotated[
        str, typer.Option(help="An operator key of it.", envvar="HEXIAO_OPERATOR_KEY")
    ] = "",
    households: Annotated[
        int | None, typer.Option(min=0, help="Rules: only the first N households.")
    ] = None,
    lines: Annotated[
        int | None, typer.Option(min=0, help="Settlement: only the first N lines.")
    ] = None,
    connections: Annotated[int, typer.Option(min=1, help="Requests at a time.")] = 96,
    data_dir: Annotated[
        Path | None,
        typer.Option(help="Fresh directory for its own server, kept; default: one that is not."),
    ] = None,
    kill_writer: Annotated[bool, typer.Option("--kill-writer", hidden=True)] = False,
) -> None:
    """A grocery chain's coupon programme of 2017: its rules, and its money to the fen."""
    if url and not key:
        raise typer.BadParameter("--url needs --key.")
    if url and (kill_writer or data_dir):
        raise typer.BadParameter("--kill-writer and --data-dir are for a server of its own.")
    report = Report()
    try:
        records = read(households, lines)
        with contextlib.ExitStack() as stack:
            server = None
            if not url:
                server = stack.enter_context(OwnServer(_fresh(data_dir, stack)))
                url, key = server.url, server.key
            with asyncio.Runner(loop_factory=_fast_loop()) as runner:
                runner.run(_replay(records, url, key, connections, report, server, kill_writer))
    except (ReplayError, RecordsError) as error:
        report.show(console)
        console.print(str(error), style="bold red", markup=False, soft_wrap=True)
        raise typer.Exit(1) from None
    report.show(console)
    raise typer.Exit(1 if report.differences else 0)


def _fresh(given: Path | None, stack: contextlib.ExitStack) -> Path:
    """An empty directory: the one named, or one that goes away at the end."""
    if given is None:
        return Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="hexiao-replay-")))
    given.mkdir(parents=True, exist_ok=True)
    if any(given.iterdir()):
        raise ReplayError(f"{given} is not empty: a replay starts on fresh data.")
    return given.absolute()


def _fast_loop() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """uvloop's, where it is installed."""
    try:
        import uvloop
    except ImportError:
        return None
    return uvloop.new_event_loop


async def _replay(
    records: Records,
    url: str,
    key: str,
    connections: int,
    report: Report,
    server: OwnServer | None,
    kill_writer: bool,
) -> None:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    async with Client(url, key, connections) as client:
        await check_server(client)
        with Progress(*columns, console=console, refresh_per_second=4) as progress:
            kill = server.kill_writer if server is not None and kill_writer else None
            drive = Drive(client, report, progress, kill)
            before = await server.memory() if server is not None else None
            await replay_rules(drive, records)
            if server is not None:
                await _note_memory(server, report, before, expected_of(records).claims)
            await replay_settlement(drive, records)
            await compare_stock(drive, records)
        if client.repeated:
            report.notes.append(f"{client.repeated:,} requests were sent again (503, or cut off).")
    await _reconcile(server, report)


async def check_server(client: Client) -> None:
    """ReplayError unless the server lets its operators set the clock, and the key is one's."""
    answer = await client.ask("GET", "/readyz")
    if not answer.json["rehearsal"]:
        raise ReplayError(
            f"{client.url} is not a rehearsal server: it keeps the wall's clock, and its books are"
            " for real customers. Start one with HEXIAO_REHEARSAL=1, or leave --url out."
        )
    answer = await client.ask("GET", "/v1/settings")
    if answer.status != 200:
        raise ReplayError(f"--key must be an operator's key of {client.url}: {answer.outcome}.")


async def _note_memory(server: OwnServer, report: Report, before: int | None, live: int) -> None:
    after = await server.memory()
    if before is None or after is None:
        report.notes.append("Redis could not be asked what its memory holds.")
    elif live:
        report.notes.append(
            f"Redis holds {after - before:,} bytes more than before, streams left out:"
            f" {(after - before) / live:,.0f} a coupon."
        )


async def _reconcile(server: OwnServer | None, report: Report) -> None:
    """Of the replay's own server; another's operator runs `hexiao reconcile` where it lives."""
    if server is None:
        report.notes.append("Not reconciled: run `hexiao reconcile` where that server runs.")
        return
    code, said = await server.reconcile()
    report.equal("hexiao reconcile", "exit code", 0, code)
    report.notes.append(said.rstrip())


if __name__ == "__main__":
    app(prog_name="hexiao replay")
