"""What a server counts, as Prometheus reads it; of several processes the sum."""

from __future__ import annotations

import os

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

#: Where the processes of one server write what they count, as prometheus_client has it; it looks
#: when it is imported.
SHARED = "PROMETHEUS_MULTIPROC_DIR"

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
_SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256)


class Metrics:
    """Counters of one process."""

    def __init__(self) -> None:
        self._registry = mine = CollectorRegistry()
        self.requests = Counter(
            "slimcls_requests", "Requests, by status.", ["status"], registry=mine
        )
        self.seconds = Histogram(
            "slimcls_request_seconds",
            "From a request's first byte to its answer.",
            registry=mine,
            buckets=_SECONDS,
        )
        self.batches = Histogram(
            "slimcls_batch_texts", "Texts computed together.", registry=mine, buckets=_SIZES
        )
        self.waiting = Gauge(
            "slimcls_waiting_texts", "Texts that wait.", registry=mine, multiprocess_mode="livesum"
        )

    def text(self) -> bytes:
        """All of them, of all processes, in Prometheus' text format."""
        registry = self._registry
        if SHARED in os.environ:
            registry = CollectorRegistry()
            MultiProcessCollector(registry)
        return generate_latest(registry)
