"""Ten at night: everybody drives home at once."""

from __future__ import annotations

from typing import ClassVar

from loadtest.people import Driver as Driver
from loadtest.shapes import Stages


class Closing(Stages):
    """A few cars, then the cinema is over."""

    stages: ClassVar = ((3, 5, 5), (12, 80, 40))
