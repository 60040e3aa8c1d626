"""The command line: help everywhere, exit code 0 only for success, one sentence for a refusal."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import get_args

import pytest
from typer.testing import CliRunner

from api.cli import Role, app, main
from api.routes import ROLES
from tests.api.server import Api, ApiServer
from tests.conftest import OwnRedis

COMMANDS = (
    "serve",
    "api",
    "writer",
    "demo",
    "reconcile",
    "recover",
    "doctor",
    "backup",
    "keys",
    "keys add",
    "keys list",
    "keys revoke",
    "tenants",
    "tenants add",
    "tenants list",
)


def hexiao(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the command."""
    plain = {name: value for name, value in os.environ.items() if not name.startswith("HEXIAO_")}
    return subprocess.run(
        [sys.executable, "-m", "api.cli", *words],
        env={**plain, "COLUMNS": "200", **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def on(server: ApiServer, *words: str) -> subprocess.CompletedProcess[str]:
    """Run the command beside a server: on its data, as its owner would."""
    wanted = ("HEXIAO_DATA_DIR", "HEXIAO_DATABASE_URL", "HEXIAO_OPERATOR_KEY")
    found = {name: server.environment[name] for name in wanted if name in server.environment}
    return hexiao(*words, **found)


@pytest.mark.parametrize("command", COMMANDS)
def test_help(command: str) -> None:
    """Each command says what it is for."""
    done = CliRunner().invoke(app, [*command.split(), "--help"], prog_name="hexiao")
    assert done.exit_code == 0, done.output
    assert f"Usage: hexiao {command} " in done.output


@pytest.mark.parametrize(
    "words", [["nonsense"], ["keys", "add", "king", "--label", "x"], ["serve", "--port", "many"]]
)
def test_what_is_no_command(words: list[str]) -> None:
    """Exit code 2, as of any program."""
    assert CliRunner().invoke(app, words).exit_code == 2


def test_roles_are_those_of_the_routes() -> None:
    """End users have tokens, not keys."""
    assert set(get_args(Role)) == set(ROLES) - {"user"}


@pytest.mark.parametrize(
    ("words", "environment", "sentence"),
    [
        ("serve", {"HEXIAO_PORT": "99999"}, "HEXIAO_PORT"),
        ("serve", {"HEXIAO_OPERATOR_KEY": "short"}, "HEXIAO_OPERATOR_KEY"),
        ("serve", {"HEXIAO_TENANT": "a b"}, "HEXIAO_TENANT"),
        ("serve", {"HEXIAO_REDIS_URL": "http://x"}, "HEXIAO_REDIS_URL"),
        ("writer", {}, "HEXIAO_REDIS_URL"),
        ("reconcile", {}, "HEXIAO_REDIS_URL"),
        ("recover", {}, "HEXIAO_REDIS_URL"),
        ("backup copy", {}, "HEXIAO_REDIS_URL"),
        ("demo", {}, "HEXIAO_OPERATOR_KEY"),
    ],
)
def test_refusals_are_sentences(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    words: str,
    environment: dict[str, str],
    sentence: str,
) -> None:
    """Exit code 1 and what to set; nothing was started."""
    for name in list(os.environ):
        if name.startswith("HEXIAO_"):
            monkeypatch.delenv(name)
    for name, value in {"HEXIAO_DATA_DIR": str(tmp_path), **environment}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(sys, "argv", ["hexiao", *words.split()])
    with pytest.raises(SystemExit) as stopped:
        main()
    assert stopped.value.code == 1
    told = capfd.readouterr().err
    assert sentence in told
    assert "Traceback" not in told


@pytest.mark.parametrize(
    ("words", "environment", "sentence"),
    [
        ("serve", {"HEXIAO_REDIS_URL": "redis://127.0.0.1:1"}, "HEXIAO_SECRET"),
        ("serve --host 192.0.2.1", {}, "HEXIAO_HOST"),
        ("api", {}, "HEXIAO_REDIS_URL"),
        ("keys list --tenant nobody", {}, "There is no tenant nobody"),
    ],
)
def test_refusals_at_the_start_are_sentences(
    tmp_path: Path, words: str, environment: dict[str, str], sentence: str
) -> None:
    """The same for what is found out on the way; what was started is stopped."""
    given = {"HEXIAO_DATA_DIR": str(tmp_path), "HEXIAO_PORT": "0", **environment}
    done = hexiao(*words.split(), **given)
    assert done.returncode == 1, done.stdout + done.stderr
    assert sentence in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.servers("valkey")
@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"maxmemory": "100mb", "maxmemory-policy": "allkeys-lru"}, "maxmemory-policy noeviction"),
        pytest.param({"appendonly": "no"}, "appendonly yes", marks=pytest.mark.slow),
    ],
)
@pytest.mark.slow
def test_a_redis_that_loses_things_is_refused(
    tmp_path: Path, own_redis: OwnRedis, options: dict[str, str], sentence: str
) -> None:
    """One that may evict, one that keeps nothing: the sentence says what to set."""
    redis = own_redis(options=options)
    done = hexiao(
        "serve",
        HEXIAO_DATA_DIR=str(tmp_path / "var"),
        HEXIAO_PORT="0",
        HEXIAO_REDIS_URL=redis.url,
        HEXIAO_SECRET="a secret of 24 characters".replace(" ", "-"),
    )
    assert done.returncode == 1
    assert sentence in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.servers("valkey")
@pytest.mark.databases("sqlite")
@pytest.mark.slow
async def test_keys(api: Api, api_server: ApiServer) -> None:
    """Added, listed, revoked on a running mall."""
    made = on(api_server, "keys", "add", "finance", "--label", "the accountant")
    assert made.returncode == 0, made.stderr
    key = made.stdout.strip()
    assert key.startswith("hx_k")
    assert (await api.get("/v1/merchants", key=key)).status == 200
    shown = on(api_server, "keys", "list")
    assert shown.returncode == 0
    line = next(line for line in shown.stdout.splitlines() if "the accountant" in line)
    assert line.split()[-1] == "good"
    assert key not in shown.stdout
    assert on(api_server, "keys", "revoke", line.split()[0]).returncode == 0
    listed = on(api_server, "keys", "list").stdout
    line = next(line for line in listed.splitlines() if "the accountant" in line)
    assert line.split()[-1] == "revoked"


@pytest.mark.servers("valkey")
@pytest.mark.databases("sqlite")
@pytest.mark.slow
async def test_tenants(api_server: ApiServer, tenant: str) -> None:
    """A new mall is served without a restart."""
    assert on(api_server, "tenants", "add", tenant, "--currency", "USD").returncode == 0
    assert on(api_server, "tenants", "add", tenant).returncode == 1
    shown = on(api_server, "tenants", "list").stdout
    assert "USD" in next(line for line in shown.splitlines() if tenant in line)
    key = on(api_server, "keys", "add", "operator", "--label", "x", "--tenant", tenant)
    await api_server.until_known(key.stdout.strip())


@pytest.mark.servers("valkey")
@pytest.mark.databases("sqlite")
@pytest.mark.slow
def test_checks(api_server: ApiServer) -> None:
    """A mall at work has nothing to complain of."""
    for command in ("doctor", "recover", "reconcile"):
        done = on(api_server, command, *(() if command == "doctor" else ("--tenant", "mall")))
        assert done.returncode == 0, (command, done.stdout, done.stderr)
    sick = hexiao("doctor", HEXIAO_DATA_DIR=str(api_server.directory / "elsewhere"))
    assert sick.returncode == 1
    assert "hexiao serve" in sick.stdout
