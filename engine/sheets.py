"""Sheets of printed coupons: A4 pages of pictures, as SVG, to be printed and cut.

The texts are set by whoever opens the page, so Chinese names need no font of ours.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape

from engine.codes import picture

COLUMNS, ROWS = 3, 8
A_PAGE = COLUMNS * ROWS
_WIDTH, _HEIGHT, _MARGIN = 210, 297, 8  # mm
_QR = 27  # mm, quiet zone included


@dataclass(slots=True, frozen=True)
class Label:
    """One coupon of a sheet: what its picture says, and the lines beside it."""

    code: str
    typed: str
    name: str
    validity: str
    number: str


def page(labels: Sequence[Label]) -> bytes:
    """A page of up to A_PAGE labels."""
    wide, high = (_WIDTH - 2 * _MARGIN) / COLUMNS, (_HEIGHT - 2 * _MARGIN) / ROWS
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH}mm" height="{_HEIGHT}mm"',
        f' viewBox="0 0 {_WIDTH} {_HEIGHT}"><rect width="100%" height="100%" fill="#fff"/>',
        '<g font-family="sans-serif" fill="#000">',
    ]
    for at, label in enumerate(labels):
        x, y = _MARGIN + at % COLUMNS * wide, _MARGIN + at // COLUMNS * high
        parts.append(_label(label, x, y, wide, high))
    parts.append("</g></svg>\n")
    return "".join(parts).encode()


def _label(label: Label, x: float, y: float, wide: float, high: float) -> str:
    left, top = x + 1.5, y + (high - _QR) / 2
    text = left + _QR + 1
    room = wide - _QR - 4
    lines = [(3.4, line) for line in _folded(label.name, 9)[:3]]
    lines += [(2.3, label.validity), (2.0, label.number)]
    said, down = [], y + 7.5
    for size, line in lines:
        said.append(f'<text x="{text:.2f}" y="{down:.2f}" font-size="{size}">{escape(line)}</text>')
        down += size * 1.35
    return (
        f'<rect x="{x:.2f}" y="{y:.2f}" width="{wide:.2f}" height="{high:.2f}" fill="none"'
        ' stroke="#bbb" stroke-width="0.15" stroke-dasharray="1 1"/>'
        f"{_picture(label.code, left, top - 1.5)}"
        f'<text x="{left + _QR / 2:.2f}" y="{top + _QR + 0.6:.2f}" font-size="2.6"'
        f' text-anchor="middle" font-family="monospace">{escape(label.typed)}</text>'
        f'<svg x="0" y="0" width="{text + room:.2f}" height="{_HEIGHT}">{"".join(said)}</svg>'
    )


def _picture(code: str, x: float, y: float) -> str:
    drawn = picture(code).svg_inline(border=4, light="#fff", omitsize=True, svgclass=None)
    return f'<svg x="{x:.2f}" y="{y:.2f}" width="{_QR}" height="{_QR}">{drawn}</svg>'


def _folded(text: str, width: int) -> list[str]:
    """Lines of about so many wide characters; a narrow one counts half."""
    lines, room = [""], float(width)
    for character in text:
        wide = 1.0 if ord(character) > 0x2E7F else 0.5
        if room < wide:
            lines.append("")
            room = width
        lines[-1] += character
        room -= wide
    return lines
