"""Which twin runs, threads, and arguments that are refused alike."""

import os
import subprocess
import sys
import threading
from typing import Any

import pytest

from engine.fastpath import CODE_LENGTH, MEMBER, OK, ROTATING, STATIC
from tests.fastpath.by_the_book import (
    HANDLE,
    KEY,
    NO_SERIAL,
    NOW,
    SERIAL,
    spell,
)


def test_the_compiled_twin_is_the_one_in_use(twins: tuple[Any, Any]) -> None:
    """The fixture skips where nothing was built, and fails there when CI requires it."""
    assert _impl() == "compiled"


def test_no_extensions_means_the_pure_twin() -> None:
    assert _impl(HEXIAO_NO_EXTENSIONS="1") == "pure"


def _impl(**more: str) -> str:
    env = {k: v for k, v in os.environ.items() if k != "HEXIAO_NO_EXTENSIONS"} | more
    program = "from engine import fastpath; print(fastpath.IMPL, fastpath.KeyRing.__module__)"
    out = subprocess.run(
        [sys.executable, "-c", program], env=env, capture_output=True, text=True, check=True
    )
    impl, module = out.stdout.split()
    twin = {"pure": "_code_py", "compiled": "_code_c"}[impl]
    assert module == f"engine.fastpath.{twin}"
    return impl


def test_two_threads_get_equal_answers(ring: Any) -> None:
    codes = ring.encode_many([(ROTATING, HANDLE, spell(n, 11), NOW) for n in range(1, 301)])
    codes += ["0" * CODE_LENGTH, "", "x"]
    expected = ring.verify_many(codes, NOW)
    seen: list[list[Any]] = [[], []]

    def work(mine: list[Any]) -> None:
        for _ in range(20):
            mine.append(ring.verify_many(codes, NOW))
            mine.append([ring.verify(code, NOW) for code in codes[:100]] + expected[100:])

    threads = [threading.Thread(target=work, args=(mine,)) for mine in seen]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(answer == expected for mine in seen for answer in mine)
    assert [len(mine) for mine in seen] == [40, 40]


def test_a_batch_lets_other_threads_run(twins: tuple[Any, Any]) -> None:
    """With no forced switches, a thread that waits can run only if the batch lets go of the GIL."""
    ring = twins[1].KeyRing({1: KEY}, 1)
    codes = [ring.encode(ROTATING, HANDLE, SERIAL, NOW)] * 20_000
    ran_meanwhile = False
    interval = sys.getswitchinterval()
    sys.setswitchinterval(3600)
    try:
        for _ in range(50):  # the other thread may be slow to wake up on a busy machine
            gate = threading.Lock()
            ran: list[bool] = []
            gate.acquire()

            def wait(gate: threading.Lock = gate, ran: list[bool] = ran) -> None:
                with gate:
                    ran.append(True)

            thread = threading.Thread(target=wait)
            thread.start()
            gate.release()
            before = len(ran)
            ring.verify_many(codes, NOW)
            ran_meanwhile = len(ran) > before
            thread.join()
            if ran_meanwhile:
                break
    finally:
        sys.setswitchinterval(interval)
    assert ran_meanwhile


BAD_ARGUMENTS = [
    (ROTATING, HANDLE, NO_SERIAL, NOW),
    (STATIC, HANDLE, NO_SERIAL, 0),
    (MEMBER, HANDLE, SERIAL, NOW),
    (STATIC, HANDLE, SERIAL, NOW),
    (3, HANDLE, SERIAL, NOW),
    (-1, HANDLE, SERIAL, NOW),
    (-2, HANDLE, SERIAL, NOW),
    (1 << 80, HANDLE, SERIAL, NOW),
    (ROTATING, HANDLE[1:], SERIAL, NOW),
    (ROTATING, HANDLE + "0", SERIAL, NOW),
    (ROTATING, HANDLE.lower(), SERIAL, NOW),
    (ROTATING, "I" + HANDLE[1:], SERIAL, NOW),
    (ROTATING, "\u3000" + HANDLE[1:], SERIAL, NOW),
    (ROTATING, "", SERIAL, NOW),
    (ROTATING, HANDLE, SERIAL[1:], NOW),
    (ROTATING, HANDLE, SERIAL + "0", NOW),
    (ROTATING, HANDLE, "U" + SERIAL[1:], NOW),
    (ROTATING, HANDLE, "_" + SERIAL[1:], NOW),
    (ROTATING, HANDLE, "\ud800" + SERIAL[1:], NOW),
    (ROTATING, HANDLE, SERIAL, -1),
    (ROTATING, HANDLE, SERIAL, -2),
    (ROTATING, HANDLE, SERIAL, 1 << 48),
    (ROTATING, HANDLE, SERIAL, 1 << 80),
]


@pytest.mark.parametrize("arguments", BAD_ARGUMENTS, ids=ascii)
def test_what_cannot_be_encoded(ring: Any, arguments: tuple[Any, ...]) -> None:
    with pytest.raises(ValueError):
        ring.encode(*arguments)
    with pytest.raises(ValueError):
        ring.encode_many([arguments])


def test_wrong_types(ring: Any) -> None:
    for code in (None, 1, bytearray(58), ["0"]):
        with pytest.raises(TypeError):
            ring.verify(code, NOW)
        with pytest.raises(TypeError):
            ring.verify_many([code], NOW)
    for step in (None, 1.5, "1"):
        with pytest.raises(TypeError):
            ring.verify("x", step)
        with pytest.raises(TypeError):
            ring.verify_many([], step)
    for step in (-1, 1 << 48, 1 << 80):
        with pytest.raises(ValueError, match="step"):
            ring.verify("x", step)
    with pytest.raises(TypeError):
        ring.encode(ROTATING, None, SERIAL, NOW)
    with pytest.raises(TypeError):
        ring.encode(ROTATING, HANDLE, 42, NOW)
    with pytest.raises(TypeError):
        ring.encode("0", HANDLE, SERIAL, NOW)
    with pytest.raises(TypeError):
        ring.encode(ROTATING, HANDLE, SERIAL, "0")


def test_a_str_of_another_class_is_a_str(ring: Any) -> None:
    class Text(str):
        __slots__ = ()

    code = ring.encode(ROTATING, Text(HANDLE), Text(SERIAL), NOW)
    assert ring.verify(Text(code), NOW) == (OK, ROTATING, HANDLE, SERIAL, NOW)
    assert ring.verify_many([Text(code)], NOW) == [(OK, ROTATING, HANDLE, SERIAL, NOW)]


@pytest.mark.parametrize(
    ("keys", "active", "error"),
    [
        ({}, 1, ValueError),
        ({1: KEY}, 2, ValueError),
        ({1: KEY, 16: KEY}, 1, ValueError),
        ({1: KEY, -1: KEY}, 1, ValueError),
        ({1: b"fifteen bytes.."}, 1, ValueError),
        ({1: "a key in a str, and long enough"}, 1, TypeError),
    ],
)
def test_rings_that_cannot_be(
    twin: Any, keys: dict[int, Any], active: int, error: type[Exception]
) -> None:
    with pytest.raises(error):
        twin.KeyRing(keys, active)
