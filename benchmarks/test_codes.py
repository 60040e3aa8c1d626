"""Codes: what one costs to verify and to make, against libcrypto alone and against a JWT.

`make bench-codes` prints the ratios and writes reports/bench-codes.json. The aims: one
code from Python <= 3 one-shot HMACs called from C, a batch <= 1.5 a code, a JWT >= 50 codes. The
answers that were timed are checked, the times are not.
"""

import importlib
import json
import os
import platform
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jwt
import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from engine.fastpath import OK, ROTATING, event_tag

KEY = bytes(range(32))
MESSAGE = bytes(26)  # what a code's tag covers
HANDLE = "0123456789ABCDEF"
SERIAL = "0000000001A"
NOW = 59_666_666
BATCH = 1000
REPORT = Path("reports/bench-codes.json")

compiled: Any = pytest.importorskip("engine.fastpath._code_c", reason="nothing compiled to time")
pure: Any = importlib.import_module("engine.fastpath._code_py")
SIGNED: Any = {
    "compiled": pytest.importorskip("engine.fastpath._sign_c", reason="nothing compiled to time"),
    "pure": importlib.import_module("engine.fastpath._sign_py"),
}
TWINS = pytest.mark.parametrize("twin", [compiled, pure], ids=["compiled", "pure"])


@pytest.fixture(scope="module")
def nanoseconds() -> Iterator[dict[str, float]]:
    """Best time of one unit of work by name; printed and written when all have run."""
    times: dict[str, float] = {}
    yield times
    if "one-shot HMAC" in times:
        _report(times)


def _report(times: dict[str, float]) -> None:
    unit = times["one-shot HMAC"]
    token = times.get("PyJWT HS256 decode")
    print(f"\n\n{'':34}{'ns':>9}{'/ one-shot':>12}{'JWT /':>9}")
    for name, time in times.items():
        jwts = f"{token / time:9.1f}" if token else ""
        print(f"{name:34}{time:9.0f}{time / unit:12.2f}{jwts}")
    machine = {
        "python": platform.python_version(),
        "openssl": ssl.OPENSSL_VERSION,
        "machine": platform.machine(),
        "cpus": os.cpu_count(),
    }
    REPORT.parent.mkdir(exist_ok=True)
    REPORT.write_text(json.dumps({"machine": machine, "best_ns": times}, indent=1) + "\n")


def best(benchmark: BenchmarkFixture, units: int = 1) -> float:
    """The best round's nanoseconds a unit; 0 when benchmarks are disabled."""
    return benchmark.stats.stats.min / units * 1e9 if benchmark.stats else 0.0


def batch(ring: Any) -> list[str]:
    items = [(ROTATING, HANDLE, f"{n:011d}", NOW) for n in range(1, BATCH + 1)]
    return ring.encode_many(items)  # type: ignore[no-any-return] # a twin is Any


def test_one_shot_hmac(benchmark: BenchmarkFixture, nanoseconds: dict[str, float]) -> None:
    """libcrypto's HMAC() in a loop in C: the unit of the aims."""
    benchmark(compiled._one_shot, KEY, MESSAGE, BATCH)
    nanoseconds["one-shot HMAC"] = best(benchmark, BATCH)


def test_prepared_hmac(benchmark: BenchmarkFixture, nanoseconds: dict[str, float]) -> None:
    """The same from a prepared key: what no way of verifying can go below."""
    benchmark(compiled._hmac_sha256, KEY, MESSAGE, BATCH)
    nanoseconds["HMAC, key prepared"] = best(benchmark, BATCH)


def test_jwt(benchmark: BenchmarkFixture, nanoseconds: dict[str, float]) -> None:
    """A token of the same meaning, decoded by PyJWT with its checks of signature and expiry."""
    claims = {"sub": HANDLE, "cid": SERIAL, "exp": 4_102_444_800}
    token = jwt.encode(claims, KEY, algorithm="HS256")
    assert benchmark(jwt.decode, token, KEY, algorithms=["HS256"]) == claims
    nanoseconds["PyJWT HS256 decode"] = best(benchmark)


@TWINS
def test_verify(benchmark: BenchmarkFixture, nanoseconds: dict[str, float], twin: Any) -> None:
    ring = twin.KeyRing({1: KEY}, 1)
    code = ring.encode(ROTATING, HANDLE, SERIAL, NOW)
    assert benchmark(ring.verify, code, NOW) == (OK, ROTATING, HANDLE, SERIAL, NOW)
    nanoseconds[f"verify, {_name(twin)}"] = best(benchmark)


@TWINS
def test_verify_a_forged_one(
    benchmark: BenchmarkFixture, nanoseconds: dict[str, float], twin: Any
) -> None:
    ring, stranger = twin.KeyRing({1: KEY}, 1), twin.KeyRing({1: KEY[::-1]}, 1)
    code = stranger.encode(ROTATING, HANDLE, SERIAL, NOW)
    assert benchmark(ring.verify, code, NOW)[0] != OK
    nanoseconds[f"verify a forged one, {_name(twin)}"] = best(benchmark)


@TWINS
def test_verify_many(benchmark: BenchmarkFixture, nanoseconds: dict[str, float], twin: Any) -> None:
    ring = twin.KeyRing({1: KEY}, 1)
    verdicts = benchmark(ring.verify_many, batch(ring), NOW)
    assert [verdict[0] for verdict in verdicts] == [OK] * BATCH
    nanoseconds[f"verify of a batch, {_name(twin)}"] = best(benchmark, BATCH)


def test_verify_many_on_two_threads(
    benchmark: BenchmarkFixture, nanoseconds: dict[str, float]
) -> None:
    """Half of it is two cores' worth: wall time a code while two threads verify batches."""
    ring = compiled.KeyRing({1: KEY}, 1)
    codes, rounds = batch(ring), 50
    answers: list[Any] = []

    def work() -> None:
        for _ in range(rounds):
            verdicts = ring.verify_many(codes, NOW)
        answers.append(verdicts)

    def both() -> None:
        threads = [threading.Thread(target=work) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    benchmark(both)
    assert all(verdict[0] == OK for verdicts in answers for verdict in verdicts)
    nanoseconds["verify of a batch, two threads"] = best(benchmark, 2 * rounds * BATCH)


@pytest.mark.parametrize("twin", ["compiled", "pure"])
def test_verify_many_signed(
    benchmark: BenchmarkFixture, nanoseconds: dict[str, float], twin: str
) -> None:
    """What a gate that asks nobody does: Ed25519 with the public key (aim: 200,000 ns at most)."""
    signer = SIGNED[twin].Signer(1, KEY)
    codes = [signer.encode(HANDLE, f"{n:011d}", event_tag("event"), 0) for n in range(1, BATCH + 1)]
    verdicts = benchmark(SIGNED[twin].Verifier({1: signer.public}).verify_many, codes)
    assert [verdict[0] for verdict in verdicts] == [OK] * BATCH
    nanoseconds[f"verify of signed ones, {twin}"] = best(benchmark, BATCH)


@TWINS
def test_encode(benchmark: BenchmarkFixture, nanoseconds: dict[str, float], twin: Any) -> None:
    ring = twin.KeyRing({1: KEY}, 1)
    code = benchmark(ring.encode, ROTATING, HANDLE, SERIAL, NOW)
    assert ring.verify(code, NOW)[0] == OK
    nanoseconds[f"encode, {_name(twin)}"] = best(benchmark)


def test_jwt_encode(benchmark: BenchmarkFixture, nanoseconds: dict[str, float]) -> None:
    claims = {"sub": HANDLE, "cid": SERIAL, "exp": 4_102_444_800}
    token = benchmark(jwt.encode, claims, KEY, algorithm="HS256")
    assert jwt.decode(token, KEY, algorithms=["HS256"]) == claims
    nanoseconds["PyJWT HS256 encode"] = best(benchmark)


@TWINS
def test_handle_and_serial(
    benchmark: BenchmarkFixture, nanoseconds: dict[str, float], twin: Any
) -> None:
    """What each act by a user id pays: one handle and one serial."""

    def name() -> str:
        handle: str = twin.handle_of(KEY, "member:000123")
        serial: str = twin.serial_of(KEY, "claim", handle, "3f6c1b2e-9a77-4d0e", 690)
        return handle + serial

    assert len(benchmark(name)) == 27
    nanoseconds[f"handle and serial, {_name(twin)}"] = best(benchmark)


def _name(twin: Any) -> str:
    return "compiled" if twin is compiled else "pure"
