"""A pretix of its own, as its manual sets it up: PostgreSQL, Redis, gunicorn; asked over HTTP.

The first rows (an organizer and a key of its team) go in by SQL, because no API makes them; event,
tickets, orders and the list of admission are made through its API. AGPL: nothing of it is imported.
"""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import aiohttp

from benchmarks.peers.environments import alone, pretix_environment, pretix_schema, python
from engine.embedded import EmbeddedRedis, free_port
from tests.servers import Postgres

TOKEN = "of-a-benchmark-only-0123456789abcdef0123456789abcdef0123456789ab"
WORKERS, THREADS = 2, 8  # gunicorn's: two workers a CPU at most, as the manual says
FIRST_ROWS = f"""
INSERT INTO pretixbase_organizer (name, slug, plugins) VALUES ('Bench', 'bench', '');
INSERT INTO pretixbase_saleschannel
    (label, identifier, type, position, configuration, organizer_id)
    SELECT '"Online"', 'web', 'web', 0, '{{}}', id FROM pretixbase_organizer;
INSERT INTO pretixbase_team (name, all_events, organizer_id, require_2fa, all_event_permissions,
    all_organizer_permissions, limit_event_permissions, limit_organizer_permissions)
    SELECT 'all', true, id, false, true, true, '{{}}', '{{}}' FROM pretixbase_organizer;
INSERT INTO pretixbase_teamapitoken (name, active, token, team_id)
    SELECT 'bench', true, '{TOKEN}', id FROM pretixbase_team;
"""
HEADERS = {"Authorization": f"Token {TOKEN}"}
PER_ORDER = 50
START_SECONDS = 60.0


class Pretix:
    """Running; ``tickets`` makes an event with so many paid tickets."""

    def __init__(self, port: int, pid: int) -> None:
        self.port = port
        self.pid = pid
        self.check_in_list = 0

    async def tickets(self, count: int) -> list[str]:
        """Their secrets."""
        async with aiohttp.ClientSession(
            f"http://127.0.0.1:{self.port}", headers=HEADERS
        ) as session:

            async def post(path: str, body: dict[str, Any]) -> dict[str, Any]:
                async with session.post(f"/api/v1/organizers/bench{path}", json=body) as answer:
                    found = await answer.read()
                    assert answer.status == 201, (answer.status, found[:2000])
                    made: dict[str, Any] = await answer.json()
                    return made

            await post("/events/", {
                "name": {"en": "Film night"}, "slug": "film", "currency": "CNY", "live": False,
                "date_from": "2030-01-01T20:00:00Z", "timezone": "Asia/Shanghai",
                "is_public": False, "testmode": False, "plugins": [], "has_subevents": False,
            })  # fmt: skip
            item = await post("/events/film/items/", {
                "name": {"en": "Seat"}, "default_price": "0.00", "category": None, "active": True,
                "tax_rule": None, "admission": True, "position": 0,
            })  # fmt: skip
            await post("/events/film/quotas/", {
                "name": "Seats", "size": None, "items": [item["id"]], "variations": [],
            })  # fmt: skip
            checkin = await post("/events/film/checkinlists/", {
                "name": "Door", "all_products": True, "limit_products": [],
            })  # fmt: skip
            self.check_in_list = checkin["id"]
            secrets: list[str] = []
            while len(secrets) < count:
                order = await post("/events/film/orders/", {
                    "email": "somebody@example.org", "locale": "en", "status": "p",
                    "payment_provider": "free", "send_email": False,
                    "positions": [
                        {"positionid": n + 1, "item": item["id"], "variation": None,
                         "price": "0.00", "answers": [], "attendee_name_parts": {}}
                        for n in range(PER_ORDER)
                    ],
                })  # fmt: skip
                secrets += [position["secret"] for position in order["positions"]]
            return secrets[:count]

    def scan(self, secret: str) -> dict[str, Any]:
        """The body of a scan at the door."""
        return {"secret": secret, "lists": [self.check_in_list], "type": "entry"}


@contextmanager
def pretix(directory: Path, postgres: Postgres) -> Iterator[Pretix]:
    """Fresh and running."""
    interpreter = python("pretix")
    database = postgres.create()
    psql = [str(postgres.programs / "psql"), "-h", str(postgres.directory), "-U", "postgres"]
    with pretix_schema().open() as schema:
        subprocess.run(
            [*psql, "-d", database, "-Xq", "-v", "ON_ERROR_STOP=1"], stdin=schema, check=True,
            stdout=subprocess.DEVNULL,
        )  # fmt: skip
    postgres.execute(FIRST_ROWS, database)
    redis = EmbeddedRedis(directory / "redis", fsync="everysec")
    redis.start()
    port = free_port()
    file = pretix_environment(directory, postgres, database, redis.tcp_url)
    with (directory / "pretix.log").open("wb") as log:
        process = subprocess.Popen(
            [interpreter, "-m", "gunicorn", "pretix.wsgi", "--bind", f"127.0.0.1:{port}",
             "--worker-class", "gthread", "--workers", str(WORKERS), "--threads", str(THREADS),
             "--keep-alive", "60"],
            cwd=directory, env=alone(PRETIX_CONFIG_FILE=str(file)), stdout=log,
            stderr=log,
        )  # fmt: skip
    try:
        _until_up(port, process, directory / "pretix.log")
        yield Pretix(port, process.pid)
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)
        redis.stop()


def _until_up(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    import urllib.error
    import urllib.request

    deadline = time.monotonic() + START_SECONDS
    while True:
        assert process.poll() is None, log.read_text()[-4000:]
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/healthcheck/", timeout=30)
            return
        except (urllib.error.URLError, OSError):
            assert time.monotonic() < deadline, log.read_text()[-4000:]
            time.sleep(0.2)
