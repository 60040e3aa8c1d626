"""What /metrics tells. With several API processes their numbers are added up by prometheus-client,
through files in the directory that PROMETHEUS_MULTIPROC_DIR names (set by ``serve``).
"""

from __future__ import annotations

import os
from collections.abc import Callable

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    generate_latest,
)
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import REGISTRY as PROCESS

BATCHES = (1, 2, 4, 8, 16, 32, 64)


class Metrics:
    """One per process."""

    def __init__(self) -> None:
        self.shared = "PROMETHEUS_MULTIPROC_DIR" in os.environ
        self.registry = CollectorRegistry()
        self._requests = Counter(
            "hexiao_requests",
            "Requests answered, by route, status and, of a refusal, its code.",
            ("method", "route", "status", "code"),
            registry=self.registry,
        )
        self.batches = Histogram(
            "hexiao_batch_size",
            "Operations that left together in one script call.",
            ("verb",),
            buckets=BATCHES,
            registry=self.registry,
        )
        self.clock_offset = Gauge(
            "hexiao_redis_clock_offset_ms",
            "The Redis server's clock minus this process's.",
            registry=self.registry,
            multiprocess_mode="mostrecent",
        )
        self.writer_lag = Gauge(
            "hexiao_writer_lag_facts",
            "Facts in the outbox that the books do not hold yet.",
            ("tenant", "cell"),
            registry=self.registry,
            multiprocess_mode="mostrecent",
        )
        self.writer_lag_ms = Gauge(
            "hexiao_writer_lag_ms",
            "Age of the oldest fact that the books do not hold yet.",
            ("tenant", "cell"),
            registry=self.registry,
            multiprocess_mode="mostrecent",
        )

    def counter(self, method: str, route: str) -> Callable[[int, str], None]:
        """Counts answers of one route: ``count(status, code)``; its children are found once."""
        known: dict[tuple[int, str], Counter] = {}

        def count(status: int, code: str) -> None:
            child = known.get((status, code))
            if child is None:
                child = self._requests.labels(method, route, str(status), code)
                known[status, code] = child
            child.inc()

        return count

    def page(self) -> bytes:
        """The text of /metrics: all processes' where there are several."""
        if not self.shared:
            return generate_latest(self.registry) + generate_latest(PROCESS)
        registry = CollectorRegistry()
        MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
        return generate_latest(registry)
