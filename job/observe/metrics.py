"""Every token in numbers, for Prometheus: the only importer of prometheus_client.

Gauges are read from the board at each collection, so that they are never stale; counters come
from the events.
"""

import math
import threading
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from itertools import accumulate

from prometheus_client import CollectorRegistry, ProcessCollector, write_to_textfile
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.exposition import choose_encoder
from prometheus_client.parser import text_string_to_metric_families

from job import __version__
from job.core import events
from job.observe.status import RefresherStatus

BUCKETS_S = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
BOUNDS = (*map(str, BUCKETS_S), "+Inf")
SUCCESS = "success"

EXCHANGES = "freshtoken_exchanges"
WRITES = "freshtoken_sink_writes"
DURATION = "freshtoken_exchange_duration_seconds"
COUNTERS: Mapping[str, tuple[str, tuple[str, ...]]] = {
    EXCHANGES: ("Token requests by how they ended.", ("token", "outcome")),
    WRITES: ("Writes to sinks by how they ended.", ("token", "sink", "outcome")),
}
"""What each counter counts, and its labels."""


class Metrics:
    """The counters, and a Prometheus collector of them and of the board. Thread-safe."""

    def __init__(self, statuses: Callable[[], list[RefresherStatus]]) -> None:
        """Begin to count; `statuses` is asked at each collection."""
        self._statuses = statuses
        self._counts: dict[str, Counter[tuple[str, ...]]] = {name: Counter() for name in COUNTERS}
        self._durations = [0] * (len(BUCKETS_S) + 1)
        self._duration_s = 0.0
        self._lock = threading.Lock()
        self._registry = CollectorRegistry()
        self._registry.register(self)
        ProcessCollector(registry=self._registry)

    def observe(self, event: events.Event) -> None:
        """Count an event."""
        with self._lock:
            match event:
                case events.TokenRefreshed():
                    self._counts[EXCHANGES][event.token, SUCCESS] += 1
                    seconds = event.exchange_ms / 1000
                    self._durations[bisect_left(BUCKETS_S, seconds)] += 1
                    self._duration_s += seconds
                case events.TokenUnchanged():
                    self._counts[EXCHANGES][event.token, "unchanged"] += 1
                case events.TokenRefreshFailed():
                    self._counts[EXCHANGES][event.token, event.code] += 1
                case events.TokenDelivered():
                    self._counts[WRITES][event.token, event.sink, SUCCESS] += 1
                case events.TokenDeliveryFailed():
                    self._counts[WRITES][event.token, event.sink, event.code] += 1
                case _:
                    pass

    def exposition(self, accept: str = "") -> tuple[bytes, str]:
        """Return all metrics and their content type, in the format that `accept` asks for."""
        encode, content_type = choose_encoder(accept)
        return encode(self._registry), content_type

    def write(self, path: str) -> None:
        """Write all metrics to a file of the textfile collector, atomically; raises OSError."""
        write_to_textfile(path, self._registry)

    def restore(self, path: str) -> None:
        """Continue the counters of such a file, so that they grow from one `once` to the next.

        A file that can't be read counts nothing.
        """
        try:
            with open(path, encoding="utf-8") as file:
                families = list(text_string_to_metric_families(file.read()))
        except (OSError, ValueError):
            return
        for family in families:
            for sample in family.samples:
                if 0 <= sample.value < math.inf:
                    self._go_on(sample.name, sample.labels, sample.value)

    def _go_on(self, name: str, labels: dict[str, str], value: float) -> None:
        if (counter := name.removesuffix("_total")) in COUNTERS:
            _, keys = COUNTERS[counter]
            self._counts[counter][tuple(labels.get(key, "") for key in keys)] += int(value)
        elif name == f"{DURATION}_sum":
            self._duration_s += value
        elif name == f"{DURATION}_bucket" and labels.get("le") in BOUNDS:
            # The buckets of the file are cumulative.
            position = BOUNDS.index(labels["le"])
            self._durations[position] += int(value)
            if position + 1 < len(self._durations):
                self._durations[position + 1] -= int(value)

    def collect(self) -> Iterator[Metric]:
        """Yield every metric: Prometheus's own protocol of a collector."""
        yield from _gauges(self._statuses())
        yield InfoMetricFamily(
            "freshtoken_build", "The version that runs.", value={"version": __version__}
        )
        with self._lock:
            counts = {name: counted.copy() for name, counted in self._counts.items()}
            buckets, duration_s = list(accumulate(self._durations)), self._duration_s
        for name, (text, labels) in COUNTERS.items():
            counter = CounterMetricFamily(name, text, labels=labels)
            for values, count in counts[name].items():
                counter.add_metric(values, count)
            yield counter
        duration = "How long a token request took, if it succeeded."
        histogram = HistogramMetricFamily(DURATION, duration)
        histogram.add_metric((), list(zip(BOUNDS, buckets, strict=True)), duration_s)
        yield histogram


def _gauges(statuses: list[RefresherStatus]) -> Iterator[Metric]:
    """Yield the status of the tokens."""
    expiry = GaugeMetricFamily(
        "freshtoken_token_expiry_timestamp_seconds",
        "When the token that readers of a sink have expires; 0 if they have none.",
        labels=("token", "sink"),
    )
    per_token = {
        name: GaugeMetricFamily(name, text, labels=("token",))
        for name, text in (
            ("freshtoken_token_refresh_timestamp_seconds", "When the next exchange is due."),
            ("freshtoken_token_current", "1 if every sink holds a valid token, else 0."),
            ("freshtoken_token_min_validity_seconds", "The promise to readers."),
            ("freshtoken_consecutive_failures", "Failures since the last success."),
        )
    }
    for token in statuses:
        for sink in token.sinks:
            if sink.state != "unknown":  # nothing has been looked at yet: say nothing
                expiry.add_metric((token.name, sink.label), sink.expires_at or 0)
        failures = token.failures + max(sink.failures for sink in token.sinks)
        numbers = (token.refresh_at, int(token.ready), token.min_validity_s, failures)
        for family, number in zip(per_token.values(), numbers, strict=True):
            family.add_metric((token.name,), number)
    yield expiry
    yield from per_token.values()
