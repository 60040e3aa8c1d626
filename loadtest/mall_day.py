"""A day of the mall in half a minute: shoppers and tills, the sale at ten, lunch, the evening."""

from __future__ import annotations

from typing import ClassVar

from loadtest import people
from loadtest.shapes import Stages


class Shopper(people.Shopper):
    """Most of them."""

    weight = 6


class Cashier(people.Cashier):
    """Always there."""

    weight = 3


class Buyer(people.Buyer):
    """The sale at ten."""

    weight = 4
    campaign = "ten"


class Driver(people.Driver):
    """They come and go."""

    weight = 2


class Day(Stages):
    """Morning, the sale, lunch, a quiet afternoon, the evening."""

    stages: ClassVar = ((4, 30, 15), (8, 200, 100), (14, 120, 60), (18, 60, 60), (25, 150, 60))
