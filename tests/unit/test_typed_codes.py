"""Codes to type: what people get wrong is seen, what they write otherwise is read."""

from __future__ import annotations

import pytest

from engine.fastpath import ALPHABET
from engine.typed_codes import MOST_NUMBER, TypedCodes, _damm, place_of, shown

KEY, SECRET = b"k" * 32, b"s" * 32
CODES = TypedCodes(SECRET, "mall", KEY)
NUMBERS = (1, 2, 31, 12_345, 99_999_999, MOST_NUMBER)


@pytest.mark.parametrize("number", NUMBERS)
def test_one_wrong_character_or_two_swapped_are_seen(number: int) -> None:
    code = CODES.code(number)
    assert CODES.read(code) == place_of(KEY, number)
    wrong = [
        code[:at] + other + code[at + 1 :]
        for at in range(len(code))
        for other in ALPHABET
        if other != code[at]
    ]
    wrong += [
        code[:at] + code[at + 1] + code[at] + code[at + 2 :]
        for at in range(len(code) - 1)
        if code[at] != code[at + 1]
    ]
    assert [one for one in wrong if _damm(one) == 0 or CODES.read(one)] == []


def test_it_is_read_as_people_write_it() -> None:
    code = CODES.code(12_345)
    place = place_of(KEY, 12_345)
    wide = "".join(chr(ord(one) + 0xFEE0) for one in code)
    loose = code.replace("1", "l").replace("0", "O")
    for text in (shown(code), code.lower(), f" {code[:5]} {code[5:]}\r\n", wide, loose):
        assert CODES.read(text) == place, text


def test_nothing_else_is_one() -> None:
    code = CODES.code(7)
    for text in ("", "0" * 13, code[:-1], code + "0", "0" * 1000, "十" * 13, code[:-1] + "U"):
        assert CODES.read(text) is None, text
    assert TypedCodes(SECRET, "other", KEY).read(code) is None
    rotated = TypedCodes(SECRET, "mall", KEY, key_ids=(1, 2), active=2)
    assert rotated.read(code) == rotated.read(rotated.code(7)) == place_of(KEY, 7)
    for number in (0, -1, MOST_NUMBER + 1):
        with pytest.raises(ValueError, match="28 bits"):
            CODES.code(number)
