"""How many people come when: a list of stages, scaled by LOADTEST_SCALE."""

from __future__ import annotations

import os
from typing import ClassVar

from locust import LoadTestShape

SCALE = float(os.environ.get("LOADTEST_SCALE", "1"))


class Stages(LoadTestShape):
    """``stages``: (until which second, people, how many of them come in a second)."""

    abstract = True
    stages: ClassVar[tuple[tuple[float, int, float], ...]] = ()

    def tick(self) -> tuple[int, float] | None:
        """Called by locust each second; None ends the run."""
        now = self.get_run_time()
        for until, people, rate in self.stages:
            if now < until:
                return max(1, round(people * SCALE)), max(1.0, rate * SCALE)
        return None
