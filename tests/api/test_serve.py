"""``hexiao serve``: what stays through stops, kills and restarts, and that no answer is dropped."""

from __future__ import annotations

import asyncio
import os
import re
import secrets
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.api.conftest import OwnServer
from tests.api.server import Api, ApiServer, in_a_thread
from tests.servers import wait_until

pytestmark = [pytest.mark.servers("valkey"), pytest.mark.databases("sqlite")]

LAST = 100  # of what was answered, asked again
CAMPAIGN = {
    "id": "open",
    "name": "open",
    "kind": "coupon",
    "stock": {"total": None},
    "benefit": {"type": "amount_off", "amount": 100},
    "validity": {"type": "relative", "minutes": 600},
}


def claim_of(user: str) -> dict[str, str]:
    """A claim of the open campaign."""
    return {"campaign_id": "open", "user_id": user, "channel": "app"}


async def open_campaign(server: ApiServer) -> None:
    """Coupons for whoever asks."""
    async with Api(server.url, server.operator_key) as api:
        assert (await api.post("/v1/campaigns", CAMPAIGN)).status == 201


def children(server: ApiServer) -> dict[str, int]:
    """Process ids by name: writer, worker, redis."""
    listed = subprocess.run(
        ["ps", "-ww", "-o", "pid=,args=", "--ppid", str(server.process.pid)],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    found = {}
    for line in listed.splitlines():
        pid, _, words = line.strip().partition(" ")
        for name, sign in (
            ("writer", "api.cli writer"),
            ("worker", "api.worker"),
            ("redis", "-server"),
        ):
            if sign in words and "watchdog" not in words:
                found[name] = int(pid)
    return found


def gone(pids: list[int]) -> bool:
    """Whether none of these processes runs."""
    return not any(Path(f"/proc/{pid}").exists() for pid in pids)


async def reconciled(server: ApiServer) -> None:
    """Nothing differs between live state and books."""
    from engine.books.db import open_books
    from engine.outbox import open_client
    from engine.reconcile import reconcile

    books, redis = open_books(server.database_url), await open_client(server.redis_url)
    report = await reconcile(books, redis, server.tenant)
    await books.close()
    await redis.aclose()
    assert report.ok, report.differences


class Callers:
    """People who claim for as long as they are let, each with keep-alive and one at a time."""

    def __init__(self, server: ApiServer) -> None:
        self.server = server
        self.answered: dict[str, str] = {}  # Idempotency-Key → coupon id
        self.unknown: dict[str, str] = {}  # Idempotency-Key → what went wrong
        self.refused = 0  # no connection was made: nothing was asked
        self._stop = False

    async def run(self, count: int, seconds: float) -> None:
        """Claim with ``count`` callers for so long, each up to a hundred times a second."""
        tasks = [asyncio.create_task(self._claim(n)) for n in range(count)]
        await asyncio.sleep(seconds)
        self._stop = True
        await asyncio.gather(*tasks)

    async def _claim(self, number: int) -> None:
        async with Api(self.server.url, self.server.operator_key) as api:
            while not self._stop:
                key = secrets.token_hex(8)
                try:
                    answer = await api.post("/v1/claims", claim_of(f"u{number}"), idem=key)
                except aiohttp.ClientConnectorError:
                    self.refused += 1
                    await asyncio.sleep(0.02)
                    continue
                except (aiohttp.ClientError, OSError) as error:
                    self.unknown[key] = f"{type(error).__name__}: {error}"
                    continue
                if answer.status == 201:
                    self.answered[key] = answer.json["id"]
                    await asyncio.sleep(0.01)
                else:
                    assert answer.status == 503, answer.content
                    self.unknown[key] = str(answer.status)
                    await asyncio.sleep(0.02)

    async def ask_again(self) -> None:
        """The last keys once more: the same coupon, told as a first answer given again."""
        async with Api(self.server.url, self.server.operator_key) as api:
            for key, coupon in list(self.answered.items())[-LAST:]:
                user = (await api.get(f"/v1/coupons/{coupon}")).json["user_id"]
                again = await api.post("/v1/claims", claim_of(user), idem=key)
                assert (again.status, again.replayed, again.json["id"]) == (201, True, coupon)


@pytest.mark.slow
async def test_sigterm_drops_no_answer(own_server: OwnServer) -> None:
    """Stopped under load: every request that was taken is answered, and the exit code is 0."""
    server = own_server()
    await open_campaign(server)
    callers = Callers(server)

    async def stop() -> int:
        await asyncio.sleep(0.5)
        return await asyncio.to_thread(server.stop)

    _, code = await asyncio.gather(callers.run(16, 2.5), stop())
    assert code == 0, server.log()
    assert callers.answered
    assert callers.unknown == {}
    assert callers.refused > 0
    server.start()
    await callers.ask_again()
    await reconciled(server)


@pytest.mark.slow
async def test_kills_lose_nothing(own_server: OwnServer) -> None:
    """An API process, the writer and Redis killed under load: they come back, and all that was
    answered stands once."""
    server = own_server()
    await open_campaign(server)
    callers = Callers(server)

    async def kill() -> None:
        for name in ("worker", "writer", "redis"):
            await asyncio.sleep(0.7)
            os.kill(children(server)[name], signal.SIGKILL)

    await asyncio.gather(callers.run(8, 5.0), kill())
    async with Api(server.url, server.operator_key) as api:
        for _ in range(100):
            if (await api.get("/readyz")).status == 200:
                break
            await asyncio.sleep(0.1)
        late = await api.post("/v1/claims", claim_of("late"))
        assert late.status == 201, server.log()
    assert callers.refused == 0  # the sockets are the parent's: callers wait
    await callers.ask_again()
    await reconciled(server)


@pytest.mark.slow
async def test_the_parent_killed(own_server: OwnServer) -> None:
    """Nothing of it stays behind, and the next start finds everything."""
    server = own_server()
    await open_campaign(server)
    async with Api(server.url, server.operator_key) as api:
        coupon = (await api.post("/v1/claims", claim_of("u1"), idem="first")).json["id"]
    pids = list(children(server).values())
    assert len(pids) == 3
    server.stop(signal.SIGKILL)
    wait_until(lambda: gone(pids), 20)
    server.start()
    async with Api(server.url, server.operator_key) as api:
        again = await api.post("/v1/claims", claim_of("u1"), idem="first")
        assert (again.replayed, again.json["id"]) == (True, coupon)
        wallet = await api.get("/v1/users/u1/coupons")
        assert [item["id"] for item in wallet.json["items"]] == [coupon]
    await reconciled(server)


@pytest.mark.slow
async def test_two_processes_stop_under_load(own_server: OwnServer) -> None:
    """/metrics of either counts what both did, and a SIGTERM drops no answer of any."""
    server = own_server(HEXIAO_WORKERS="2", HEXIAO_CELLS="2")
    await open_campaign(server)
    before = Callers(server)
    await before.run(16, 1.0)
    assert before.unknown == {}
    pages = set()
    for _ in range(20):  # a connection each: both are asked, by all odds
        async with Api(server.url, server.operator_key) as api:
            page = (await api.get("/metrics")).content.decode()
        counted = re.search(r'route="/v1/claims",status="201"} (\S+)', page)
        batched = re.search(r'hexiao_batch_size_sum{verb="claim"} (\S+)', page)
        assert counted is not None
        assert batched is not None
        pages.add((float(counted[1]), float(batched[1])))
    assert pages == {(len(before.answered), len(before.answered))}
    callers = Callers(server)

    async def stop() -> int:
        await asyncio.sleep(1.0)
        return await asyncio.to_thread(server.stop)

    _, code = await asyncio.gather(callers.run(32, 3.0), stop())
    assert code == 0, server.log()
    assert callers.answered
    assert callers.unknown == {}
    assert callers.refused > 0
    server.start()
    await callers.ask_again()
    await reconciled(server)


@pytest.mark.slow
async def test_several_processes(own_server: OwnServer) -> None:
    """They share one port; keys revoked at one are refused by all; their numbers are added up."""
    server = own_server(HEXIAO_WORKERS="2", HEXIAO_CELLS="4")
    await open_campaign(server)
    key = server.key("storefront")

    async def claims(how_many: int) -> set[int]:
        statuses = set()
        for n in range(how_many):
            async with Api(server.url, key) as api:  # a connection each: any process may take it
                statuses.add((await api.post("/v1/claims", claim_of(f"u{n}"))).status)
        return statuses

    assert await claims(40) == {201}
    async with Api(server.url, server.operator_key) as api:
        page = (await api.get("/metrics")).content.decode()
        assert 'route="/v1/claims",status="201"} 40.0' in page
        ready = (await api.get("/readyz")).json
        assert (ready["cells"], len(ready["writer_lag"])) == (4, 4)
    server.revoke(key)
    await asyncio.sleep(1.0)
    assert await claims(20) == {401}
    await reconciled(server)


@pytest.mark.slow
def test_one_directory_one_server(own_server: OwnServer, tmp_path: Path) -> None:
    """A second one is told so at once, and a port that is taken is named."""
    server = own_server()
    twin = ApiServer(server.directory, Path(server.environment["HEXIAO_REDIS_BIN"]))
    began = time.monotonic()
    with pytest.raises(AssertionError, match="in use by another hexiao"):
        twin.start()
    port = server.environment["HEXIAO_PORT"]
    other = ApiServer(
        tmp_path / "other", Path(server.environment["HEXIAO_REDIS_BIN"]), HEXIAO_PORT=port
    )
    with pytest.raises(AssertionError, match=f"HEXIAO_PORT {port} can't be used"):
        other.start()
    assert time.monotonic() - began < 20
    for failed in (twin, other):
        assert failed.stop() == 1


@pytest.mark.slow
def test_an_idle_server_stops_at_once(own_server: OwnServer) -> None:
    """SIGINT as SIGTERM: exit code 0, within seconds though callers keep connections open."""
    server = own_server()

    async def idle() -> Any:
        async with Api(server.url, server.operator_key) as api:
            await api.get("/healthz")
            began = time.monotonic()
            code = await asyncio.to_thread(server.stop, signal.SIGINT)
            return code, time.monotonic() - began

    code, seconds = in_a_thread(idle())
    assert code == 0
    assert seconds < 10


@pytest.mark.slow
async def test_a_copy_starts_as_a_mall(own_server: OwnServer, tmp_path: Path) -> None:
    """``hexiao backup`` while it works; the copy knows every coupon given out before."""
    from tests.api.test_cli import on

    server = own_server()
    await open_campaign(server)
    async with Api(server.url, server.operator_key) as api:
        coupon = (await api.post("/v1/claims", claim_of("u1"))).json["id"]
        code = (await api.get(f"/v1/coupons/{coupon}/code?form=static")).json["code"]
        done = await asyncio.to_thread(on, server, "backup", str(tmp_path / "copy"))
        assert done.returncode == 0, done.stdout + done.stderr
        assert (await asyncio.to_thread(on, server, "backup", str(tmp_path / "copy"))).returncode
    program = Path(server.environment["HEXIAO_REDIS_BIN"])
    copy = ApiServer(tmp_path / "copy", program).start()
    try:
        async with Api(copy.url, copy.operator_key) as api:
            assert (await api.get(f"/v1/coupons/{coupon}")).json["user_id"] == "u1"
            verified = await api.post("/v1/codes/verify", {"codes": [code]})
            assert verified.json["items"][0]["ok"] is True
            assert (await api.post("/v1/claims", claim_of("u2"))).status == 201
        await reconciled(copy)
    finally:
        assert copy.stop() == 0


@pytest.mark.slow
async def test_redis_that_hangs(own_server: OwnServer) -> None:
    """503 and why, never a caller that waits for ever; then on as before."""
    server = own_server()
    async with Api(server.url, server.operator_key) as api:
        os.kill(children(server)["redis"], signal.SIGSTOP)
        try:
            answer = await api.get("/readyz")
            assert answer.status == 503
            assert answer.json["status"] == "not_ready"
            assert "Redis" in answer.json["problems"][0]
            claim = await api.post("/v1/claims", claim_of("u1"))
            assert (claim.status, claim.code) == (503, "overloaded")
        finally:
            os.kill(children(server)["redis"], signal.SIGCONT)
        for _ in range(100):
            if (await api.get("/readyz")).status == 200:
                break
            await asyncio.sleep(0.1)
        assert (await api.post("/v1/claims", claim_of("u1"))).status == 404
