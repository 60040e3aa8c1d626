"""Number plates as people and cameras write them."""

from __future__ import annotations

import pytest

from engine.errors import InvalidRequest
from engine.parking.plates import PROVINCES, normalise


@pytest.mark.parametrize(("written", "plate"), [
    ("京A12345", "京A12345"),
    (" 沪 a·d1234 5 ", "沪AD12345"),
    ("粤B・F12345", "粤BF12345"),
    ("苏E12345D", "苏E12345D"),
    ("浙A1234学", "浙A1234学"),
    ("京A1234警", "京A1234警"),
    ("鲁B1234挂", "鲁B1234挂"),
    ("粤ZAB12港", "粤ZAB12港"),
    ("粤Z1234澳", "粤Z1234澳"),
    ("沪A0023领", "沪A0023领"),
    ("使014578", "使014578"),
    ("224001使", "224001使"),
    ("WJ京1234X", "WJ京1234X"),
    ("wj1234t", "WJ1234T"),
])  # fmt: skip
def test_a_plate_has_one_spelling(written: str, plate: str) -> None:
    assert normalise(written) == plate == normalise(plate)


@pytest.mark.parametrize("text", [
    "", "京", "京A1234", "京A123456", "京I12345", "京A1O345", "台A12345", "A12345", "京112345",
    "京AD1234O", "京AL12345", "京A12345L", "粤ZAB1港", "使01457", "京A12345\0", "京" * 65,
    "京A12345 京A12346", "<script>", "京A٣2345",
])  # fmt: skip
def test_what_is_no_plate(text: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        normalise(text)
    assert refused.value.field == "plate"
    assert refused.value.detail_zh


def test_every_province_has_its_sign() -> None:
    assert len(set(PROVINCES)) == len(PROVINCES) == 31
