"""Tills: scan, quote, redeem, some goods back, some forged codes."""

from __future__ import annotations

from typing import ClassVar

from loadtest.people import Cashier as Cashier
from loadtest.shapes import Stages


class Tills(Stages):
    """Forty tills, opened one after the other."""

    stages: ClassVar = ((15, 40, 10),)
