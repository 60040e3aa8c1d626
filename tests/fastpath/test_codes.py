"""The codes of a tenant, and their pictures as a scanner reads them."""

import io
import re
from collections.abc import Callable

import numpy as np
import pytest
import zxingcpp
from PIL import Image

from engine.codes import Code, Codes, Scan, qr_png, qr_svg
from engine.fastpath import INVALID, MEMBER, OFFLINE, OK, ROTATING, STALE, STATIC, STEP_MS

SECRET = b"a secret of thirty-two bytes ..."
HANDLE = "0123456789ABCDEF"
COUPON = "C" + HANDLE + "0000000001A"
STEP = 59_666_666
NOW_MS = STEP * STEP_MS
NOTHING = Scan(INVALID, 0, None, "", 0)


@pytest.fixture
def mall() -> Codes:
    return Codes(SECRET, "mall")


def test_a_rotating_code_is_good_for_its_step_and_the_next(mall: Codes) -> None:
    for now_ms in (NOW_MS, NOW_MS + 17, NOW_MS + 29_999):
        code, expires_at_ms, refresh_at_ms = mall.rotating(COUPON, now_ms)
        assert expires_at_ms is not None
        assert (expires_at_ms, refresh_at_ms) == (NOW_MS + 60_000, NOW_MS + 30_000)
        for at_ms, status in ((now_ms, OK), (expires_at_ms - 1, OK), (expires_at_ms, STALE)):
            assert mall.read(code, at_ms) == Scan(status, ROTATING, COUPON, HANDLE, STEP)
    assert mall.rotating(COUPON, NOW_MS).code != mall.rotating(COUPON, NOW_MS + 30_000).code


def test_a_static_code(mall: Codes) -> None:
    code = mall.static(COUPON, NOW_MS)
    assert code == Code(code.code, NOW_MS, None)
    assert mall.static(COUPON, None) == Code(code.code, None, None)
    assert mall.read(code.code, NOW_MS * 2) == Scan(OK, STATIC, COUPON, HANDLE, 0)


def test_a_member_code(mall: Codes) -> None:
    code = mall.member(HANDLE, NOW_MS + 1)
    assert code[1:] == (NOW_MS + 60_000, NOW_MS + 30_000)
    assert mall.read(code.code, NOW_MS) == Scan(OK, MEMBER, None, HANDLE, STEP)


def test_many(mall: Codes) -> None:
    codes = [mall.rotating(COUPON, NOW_MS).code, "x", mall.member(HANDLE, NOW_MS - 60_000).code]
    assert mall.read_many(codes, NOW_MS) == [mall.read(code, NOW_MS) for code in codes]
    assert [scan.status for scan in mall.read_many(codes, NOW_MS)] == [OK, INVALID, STALE]


def test_a_code_of_another_tenant_or_secret_or_key_means_nothing(mall: Codes) -> None:
    codes = [
        mall.rotating(COUPON, NOW_MS).code,
        mall.static(COUPON, None).code,
        mall.member(HANDLE, NOW_MS).code,
    ]
    strangers = [
        Codes(SECRET, "mall2"),
        Codes(SECRET, "Mall"),
        Codes(SECRET[:-1] + b"!", "mall"),
        Codes(SECRET, "mall", key_ids=(2,), active=2),
    ]
    for stranger in strangers:
        assert stranger.read_many(codes, NOW_MS) == [NOTHING] * 3
    assert [scan.status for scan in mall.read_many(codes, NOW_MS)] == [OK] * 3


def test_a_new_key_signs_while_the_old_one_is_still_read(mall: Codes) -> None:
    rotated = Codes(SECRET, "mall", key_ids=(1, 2), active=2)
    retired = Codes(SECRET, "mall", key_ids=(2,), active=2)
    old, new = mall.static(COUPON, None).code, rotated.static(COUPON, None).code
    assert [scan.status for scan in rotated.read_many([old, new], NOW_MS)] == [OK, OK]
    assert [scan.status for scan in retired.read_many([old, new], NOW_MS)] == [INVALID, OK]
    assert mall.read(new, NOW_MS) == NOTHING


@pytest.mark.parametrize(
    "coupon_id",
    ["", "C", COUPON[1:], COUPON + "0", "R" + COUPON[1:], COUPON.lower(), "C" + "0" * 27],
)
def test_what_is_no_coupon_id(mall: Codes, coupon_id: str) -> None:
    with pytest.raises(ValueError):
        mall.rotating(coupon_id, NOW_MS)
    with pytest.raises(ValueError):
        mall.static(coupon_id, None)


def test_what_makes_no_codes() -> None:
    with pytest.raises(ValueError, match="secret"):
        Codes(b"short", "mall")
    with pytest.raises(ValueError, match="sign"):
        Codes(SECRET, "mall", key_ids=(1,), active=2)


def test_a_fixed_static_code(mall: Codes) -> None:
    """Changing the derivation of keys would break every code in print."""
    assert (
        mall.static(COUPON, None).code
        == "A4048CGMRX159DHNSW0000000002M000Y6PV4JZC7PER7WDYYZMDXZJF9C"
    )


def from_png(scale: int) -> Callable[[str], Image.Image]:
    return lambda code: Image.open(io.BytesIO(qr_png(code, scale))).convert("L")


def turned(degrees: float, factor: float) -> Callable[[str], Image.Image]:
    def picture(code: str) -> Image.Image:
        image = from_png(10)(code).rotate(
            degrees, Image.Resampling.BICUBIC, expand=True, fillcolor=255
        )
        return image.resize((int(image.width * factor), int(image.height * factor)))

    return picture


def from_svg(code: str) -> Image.Image:
    """Draw the one path of segno's SVG: `M x y`, `m dx dy` and `h length`, strokes 1 high."""
    document = qr_svg(code).decode()
    path = re.search(r'stroke="#000" d="([^"]*)"', document)
    assert path is not None
    size = int(document.split('viewBox="0 0 ')[1].split()[0])
    pixels = np.full((size, size), 255, dtype=np.uint8)
    x = y = 0.0
    for command, arguments in re.findall(r"([Mmh])([^Mmh]*)", path[1]):
        numbers = [float(n) for n in re.findall(r"-?[\d.]+", arguments)]
        if command == "h":
            pixels[int(y), int(x) : int(x + numbers[0])] = 0
            x += numbers[0]
        else:
            x, y = numbers if command == "M" else (x + numbers[0], y + numbers[1])
    return Image.fromarray(pixels).resize((4 * size, 4 * size), Image.Resampling.NEAREST)


PICTURES: dict[str, Callable[[str], Image.Image]] = {
    "png 1": from_png(1),
    "png 2": from_png(2),
    "png 3": from_png(3),
    "png 8": from_png(8),
    "png 20": from_png(20),
    "upside down": turned(180, 1),
    "on its side": turned(90, 0.5),
    "askew": turned(13, 1),
    "askew and shrunk": turned(-31, 0.6),
    "svg": from_svg,
}


@pytest.mark.parametrize("picture", PICTURES.values(), ids=PICTURES)
def test_a_scanner_reads_the_picture(mall: Codes, picture: Callable[[str], Image.Image]) -> None:
    made = [mall.rotating(COUPON, NOW_MS), mall.static(COUPON, None), mall.member(HANDLE, NOW_MS)]
    for code, _, _ in made:
        (read,) = zxingcpp.read_barcodes(picture(code))
        assert read.format == zxingcpp.BarcodeFormat.QRCode
        assert read.text == code
        assert mall.read(read.text, NOW_MS).status == OK


def test_the_picture_is_small_and_robust(mall: Codes) -> None:
    """Version 3 has 29 modules, 37 with the quiet zone; level M survives 15 % damage."""
    code = mall.rotating(COUPON, NOW_MS).code
    image = from_png(3)(code)
    assert image.size == (111, 111)
    (read,) = zxingcpp.read_barcodes(image)
    assert read.ec_level == "M"
    assert b'viewBox="0 0 37 37"' in qr_svg(code)


@pytest.mark.parametrize("scale", [0, -1])
def test_a_picture_of_nothing(scale: int) -> None:
    with pytest.raises(ValueError, match="scale"):
        qr_png("X", scale)


def test_a_code_for_offline_gates(mall: Codes) -> None:
    """Good until the ticket ends, at this mall alone, and a picture that scanners read."""
    code = mall.offline(COUPON, "concert", 1_800_000_000_500)
    assert code.expires_at_ms == 1_800_000_000_500
    end = 1_800_000_001_000  # told in whole seconds, never before the ticket's own end
    good = Scan(OK, OFFLINE, COUPON, COUPON[1:17], 0)
    assert mall.read(code.code, end - 1) == good
    assert mall.read_many([code.code, "x"], end - 1) == [good, mall.read("x", 0)]
    assert mall.read(code.code, end).status == STALE
    assert mall.read(mall.offline(COUPON, "concert", None).code, 1 << 60).status == OK
    for other in (Codes(SECRET, "mall2"), Codes(SECRET, "mall", key_ids=(2,), active=2)):
        assert other.read(code.code, 0).status == INVALID
        assert other.public_keys != mall.public_keys
    (read,) = zxingcpp.read_barcodes(Image.open(io.BytesIO(qr_png(code.code, 4))).convert("L"))
    assert read.text == code.code
    assert b"<svg" in qr_svg(code.code)
