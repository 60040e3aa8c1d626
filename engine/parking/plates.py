"""Number plates of mainland China: how they are written, and one spelling for each.

The forms are those of GA 36-2018 (civil plates, new-energy plates of 8 characters), of the armed
police (WJ) and of embassies and consulates. The letters I and O are on no plate; what a camera
reads as such is for the lot to tell.
"""

from __future__ import annotations

import re
import unicodedata

from engine.errors import InvalidRequest

PROVINCES = "京津沪渝冀豫云辽黑湘皖鲁新苏浙赣鄂桂甘晋蒙陕吉闽贵粤青藏川宁琼"
LONGEST = 64  # as sent, before blanks and dots are removed

_PLACE = f"[{PROVINCES}][A-HJ-NP-Z]"  # province and office
_ANY = "[A-HJ-NP-Z0-9]"
_POWER = "[A-HJK]"  # of new-energy plates: D, A, B, C, E pure electric, F, G, H, J, K others
_FORMS = re.compile(
    "|".join(
        (
            f"{_PLACE}{_ANY}{{5}}",  # blue, yellow
            f"{_PLACE}{_POWER}{_ANY}[0-9]{{4}}",  # new energy, small
            f"{_PLACE}[0-9]{{5}}{_POWER}",  # new energy, large
            f"{_PLACE}{_ANY}{{4}}[学警挂领]",  # learner, police, trailer, consulate
            f"粤Z{_ANY}{{4}}[港澳]",
            "使[0-9]{6}",
            "[0-9]{6}使",
            f"WJ[{PROVINCES}]?[0-9]{{4}}[0-9TDSHBXJ]",
        )
    )
)
# What people put between the parts of a plate; dots come in many forms.
_BETWEEN = re.compile(r"[\s\-.·•‧∙⋅・･]+")


def normalise(text: str, field: str = "plate") -> str:
    """The one spelling of a plate: full-width and lower case folded, blanks and dots removed.

    InvalidRequest when it is no plate.
    """
    plate = ""
    if len(text) <= LONGEST:
        plate = _BETWEEN.sub("", unicodedata.normalize("NFKC", text)).upper()
    if not _FORMS.fullmatch(plate):
        raise InvalidRequest(
            field,
            "This is no number plate: a province, a letter and 5 characters (6 for new energy),"
            " without I and O.",
            "车牌号不正确:应为省份简称、字母加5位(新能源6位)字符,不含字母 I 和 O。",
        )
    return plate
