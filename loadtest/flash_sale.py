"""Ten o'clock sharp: a few wait, then everybody comes at once, and most are too late."""

from __future__ import annotations

from typing import ClassVar

from loadtest.people import Buyer as Buyer
from loadtest.shapes import Stages


class Spike(Stages):
    """Some early birds, a crowd within two seconds, those who keep pressing."""

    stages: ClassVar = ((3, 20, 20), (12, 500, 250), (20, 200, 100))
