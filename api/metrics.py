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
SECONDS = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5, 1, 5)


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
        self._batches = Histogram(
            "hexiao_batch_size",
            "Operations that left together in one script call.",
            ("verb",),
            buckets=BATCHES,
            registry=self.registry,
        )
        self._seconds = Histogram(
            "hexiao_batch_seconds",
            "How long a script call took, there and back.",
            ("verb",),
            buckets=SECONDS,
            registry=self.registry,
        )
        self._verbs: dict[str, tuple[Histogram, Histogram]] = {}
        self.ping = Gauge(
            "hexiao_redis_ping_seconds",
            "A PING to Redis and back.",
            registry=self.registry,
            multiprocess_mode="mostrecent",
        )
        self.clock_offset = Gauge(
            "hexiao_redis_clock_offset_ms",
            "The Redis server's clock minus this process's.",
            registry=self.registry,
            multiprocess_mode="mostrecent",
        )
        self.budget_used = Gauge(
            "hexiao_budget_used_percent",
            "How much of the most used budget of any campaign is spent or set aside.",
            registry=self.registry,
            multiprocess_mode="mostrecent",
        )
        # Without a tenant in its labels: one mall's numbers are no business of another's.
        self.writer_lag = Gauge(
            "hexiao_writer_lag_facts",
            "Facts in the outbox that the books do not hold yet: the worst mall's, by cell.",
            ("cell",),
            registry=self.registry,
            multiprocess_mode="mostrecent",
        )
        self.writer_lag_ms = Gauge(
            "hexiao_writer_lag_ms",
            "Age of the oldest fact that the books do not hold yet: the worst mall's, by cell.",
            ("cell",),
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

    def batch(self, verb: str, operations: int, seconds: float) -> None:
        """The engine's observer: one script call of so many operations took so long."""
        children = self._verbs.get(verb)
        if children is None:
            children = self._batches.labels(verb), self._seconds.labels(verb)
            self._verbs[verb] = children
        children[0].observe(operations)
        children[1].observe(seconds)

    def page(self) -> bytes:
        """The text of /metrics: all processes' where there are several."""
        if not self.shared:
            return generate_latest(self.registry) + generate_latest(PROCESS)
        registry = CollectorRegistry()
        MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
        return generate_latest(registry)
