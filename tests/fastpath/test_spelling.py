"""How a code may be spelled when a scanner types it, and how not."""

from typing import Any

import pytest

from engine.fastpath import OK, ROTATING
from tests.fastpath.by_the_book import HANDLE, KEY, NOW, REFUSED, SERIAL, signed, spell

SPELLINGS = [
    ("as made", lambda c: c, True),
    ("lower case", str.lower, True),
    ("mixed case", lambda c: c[:20].lower() + c[20:], True),
    ("full-width", lambda c: "".join(chr(ord(x) + 0xFEE0) for x in c), True),
    ("full-width lower case", lambda c: "".join(chr(ord(x) + 0xFEE0) for x in c.lower()), True),
    ("trailing CR", lambda c: c + "\r", True),
    ("CR LF TAB around", lambda c: "\t" + c + "\r\n", True),
    ("blank after each", lambda c: " ".join(c), True),
    ("ideographic blanks", lambda c: "\u3000".join(c), True),
    ("256 characters", lambda c: c + " " * (256 - len(c)), True),
    ("257 characters", lambda c: c + " " * (257 - len(c)), False),
    ("as bytes", str.encode, True),
    ("full-width as bytes", lambda c: "".join(chr(ord(x) + 0xFEE0) for x in c).encode(), True),
    ("bytes that are no UTF-8", lambda c: c.encode() + b"\xff", False),
    ("256 wide blanks and more as bytes", lambda c: c.encode() + b"\xe3\x80\x80" * 198, True),
    ("257 characters as bytes", lambda c: c.encode() + b"\xe3\x80\x80" * 199, False),
    ("a mebibyte of bytes", lambda c: c.encode() + b" " * 1_048_576, False),
    ("one short", lambda c: c[:-1], False),
    ("first missing", lambda c: c[1:], False),
    ("one more", lambda c: c + "0", False),
    ("leading zero", lambda c: "0" + c, False),
    ("twice", lambda c: c + c, False),
    ("empty", lambda c: "", False),
    ("blanks only", lambda c: " " * 58, False),
    ("hyphens", lambda c: c[:29] + "-" + c[29:], False),
    ("hyphen for a character", lambda c: c[:57] + "-", False),
    ("underscore", lambda c: c[:29] + "_" + c[30:], False),
    ("sign", lambda c: "+" + c[1:], False),
    ("NUL after it", lambda c: c + "\0", False),
    ("zero-width space", lambda c: c + "\u200b", False),
    ("byte order mark", lambda c: "\ufeff" + c, False),
    ("O for 0", lambda c: c.replace("0", "O"), False),
    ("I for 1", lambda c: c.replace("1", "I"), False),
    ("L for 1", lambda c: c.replace("1", "L"), False),
    ("o for 0", lambda c: c.replace("0", "o"), False),
    ("U", lambda c: c[:-1] + "U", False),
    ("Arabic digits", lambda c: c.replace("4", "\u0664"), False),
    ("a lone surrogate", lambda c: c[:-1] + "\ud800", False),
    ("an emoji", lambda c: c[:-1] + "\U0001f600", False),
]


@pytest.mark.parametrize(
    ("spelling", "good"), [row[1:] for row in SPELLINGS], ids=[row[0] for row in SPELLINGS]
)
def test_spellings(ring: Any, spelling: Any, good: bool) -> None:
    code = ring.encode(ROTATING, HANDLE, SERIAL, NOW)
    assert "0" in code
    assert "1" in code
    assert "4" in code
    expected = (OK, ROTATING, HANDLE, SERIAL, NOW) if good else REFUSED
    assert ring.verify(spelling(code), NOW) == expected
    assert ring.verify_many([code, spelling(code)], NOW)[1] == expected


def test_a_short_code_finds_nothing_left_behind_by_a_longer_one(ring: Any) -> None:
    for serial in range(1, 101):
        code = ring.encode(ROTATING, HANDLE, spell(serial, 11), NOW)
        for length in (57, 56, 40, 1, 0):
            full, short = ring.verify_many([code], NOW), ring.verify_many([code[:length]], NOW)
            assert full[0][0] == OK
            assert short == [REFUSED] == [ring.verify(code[:length], NOW)]


def test_the_two_bits_after_the_code_are_zero(ring: Any) -> None:
    for pad in range(4):
        verdict = ring.verify(signed(KEY, step=NOW, pad=pad), NOW)
        assert (verdict[0] == OK) == (pad == 0)


@pytest.mark.parametrize("where", [0, 30, 57])
def test_each_character_stands_for_itself_only(ring: Any, where: int) -> None:
    """Every character of the basic plane in one place: upper, lower and full-width forms pass."""
    code = ring.encode(ROTATING, HANDLE, SERIAL, NOW)
    right = code[where]
    wide = [chr(ord(c) + 0xFEE0) for c in (right, right.lower())]
    tried = [code[:where] + chr(c) + code[where + 1 :] for c in range(0x10000)]
    passed = [
        chr(c) for c, verdict in enumerate(ring.verify_many(tried, NOW)) if verdict != REFUSED
    ]
    assert set(passed) == {right, right.lower(), *wide}


def test_blanks_are_what_unicode_calls_blank(ring: Any) -> None:
    code = ring.encode(ROTATING, HANDLE, SERIAL, NOW)
    passed = [
        c
        for c, verdict in enumerate(ring.verify_many([code + chr(c) for c in range(0x10000)], NOW))
        if verdict != REFUSED
    ]
    assert passed == [c for c in range(0x110000) if chr(c).isspace()]
