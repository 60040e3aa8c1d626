"""Handles, serials and base32."""

import hashlib
from typing import Any

import pytest

from engine.fastpath import ALPHABET, CODE_LENGTH, STEP_MS, b32_decode, b32_encode
from tests.fastpath.by_the_book import ALPHABET as BOOK_ALPHABET
from tests.fastpath.by_the_book import KEY, OTHER_KEY, number, spell


def test_constants() -> None:
    assert (ALPHABET, CODE_LENGTH, STEP_MS) == (BOOK_ALPHABET, 58, 30_000)


@pytest.mark.parametrize("length", [1, 2, 11, 16, 58])
def test_base32(length: int) -> None:
    top = 32**length - 1
    for value in {0, 1, 31, top // 3, top - 1, top} - {v for v in (31,) if v > top}:
        assert b32_encode(value, length) == spell(value, length)
        assert b32_decode(spell(value, length)) == value == number(spell(value, length))
    for value in (-1, top + 1):
        with pytest.raises(ValueError, match="fit"):
            b32_encode(value, length)


@pytest.mark.parametrize("text", ["", "a", "I", "L", "O", "U", "-1", "+1", "1_1", " 1", "１", "\0"])
def test_what_is_no_base32(text: str) -> None:
    with pytest.raises(ValueError):
        b32_decode(text)


# Changing one of these loses every wallet: the handle key is made once and never rotated.
@pytest.mark.parametrize(
    ("user_id", "handle"),
    [
        ("u1", "WR5Q9SCF8CSB8T4A"),
        ("member:000123", "34Y56T53KTFV11H6"),
        ("会员一", "98DXPDNGKS3JC2JT"),
    ],
)
def test_fixed_handles(twin: Any, user_id: str, handle: str) -> None:
    assert twin.handle_of(KEY, user_id) == handle
    digest = hashlib.blake2b(user_id.encode(), digest_size=10, key=KEY).hexdigest()
    assert number(handle) == int(digest, 16)


@pytest.mark.parametrize(
    ("kind", "handle", "key", "window", "serial"),
    [
        ("claim", "0123456789ABCDEF", "r1", 0, "ER7FRQBKJ7F"),
        ("claim", "0123456789ABCDEF", "r1", 690, "6HX95AYW41K"),
        ("redemption", "0123456789ABCDEF", "r1", 690, "6861ENCARSW"),
    ],
)
def test_fixed_serials(
    twin: Any, kind: str, handle: str, key: str, window: int, serial: str
) -> None:
    assert twin.serial_of(KEY, kind, handle, key, window) == serial
    data = f"{kind}\x1f{handle}\x1f{window}\x1f{key}".encode()
    digest = hashlib.blake2b(data, digest_size=7, key=KEY).hexdigest()
    assert number(serial) == int(digest, 16) % 2**55


def test_each_part_of_an_act_counts(twin: Any) -> None:
    acts = [
        (KEY, "claim", "0" * 16, "r1", 1),
        (OTHER_KEY, "claim", "0" * 16, "r1", 1),
        (KEY, "order", "0" * 16, "r1", 1),
        (KEY, "claim", "1" * 16, "r1", 1),
        (KEY, "claim", "0" * 16, "r2", 1),
        (KEY, "claim", "0" * 16, "r1", 2),
        (KEY, "claim", "0" * 16, "1", 12),
        (KEY, "claim", "0" * 16, "21", 1),
    ]
    assert len({twin.serial_of(*act) for act in acts}) == len(acts)


def test_bad_arguments(twin: Any) -> None:
    for key in (b"", b"fifteen bytes..", b"x" * 65):
        with pytest.raises(ValueError):
            twin.handle_of(key, "u1")
        with pytest.raises(ValueError):
            twin.serial_of(key, "claim", "0" * 16, "r1", 1)
    with pytest.raises(ValueError, match="surrogates"):
        twin.handle_of(KEY, "\ud800")
    with pytest.raises(TypeError):
        twin.handle_of("a key in a str, and long enough", "u1")
    with pytest.raises(TypeError):
        twin.serial_of(KEY, "claim", "0" * 16, None, 1)
